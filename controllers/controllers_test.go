//go:build envtest

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers"
	"github.com/rocketmq-connect/operator/controllers/testenv"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

var (
	api *testenv.Server
	// addresses has the REST API of each namespace's clusters.
	addresses sync.Map
)

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, func(s *testenv.Server) func() {
		api = s
		mgr, err := newManager(s)
		if err != nil {
			panic(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- mgr.Start(ctx) }()
		return func() {
			cancel()
			if err := <-ended; err != nil {
				panic(err)
			}
		}
	}))
}

func newManager(s *testenv.Server) (ctrl.Manager, error) {
	log := zap.NewNop()
	if os.Getenv("TEST_LOG") != "" {
		log = zap.Must(zap.NewDevelopment())
	}
	ctrl.SetLogger(zapr.NewLogger(log))
	cfg, err := asOperator(s)
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: s.Client.Scheme(), Cache: controllers.CacheOptions(nil),
		Client:  client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Metrics: server.Options{BindAddress: "0"},
	})
	if err != nil {
		return nil, err
	}
	address := func(c *v1alpha1.ConnectCluster) string {
		if a, ok := addresses.Load(c.Namespace); ok {
			return a.(string)
		}
		return "http://127.0.0.1:1"
	}
	probe := func(_ context.Context, worker string) string {
		return "not ready: RocketMQ cannot be reached, says " + worker
	}
	return mgr, controllers.Setup(
		context.Background(),
		mgr,
		controllers.Options{DefaultWorkerImage: "worker:default", Address: address, Probe: probe},
	)
}

// asOperator gives the rights that the chart gives, so that a missing one fails a test.
func asOperator(s *testenv.Server) (*rest.Config, error) {
	helpers, err := os.ReadFile(testenv.Path("charts", "rocketmq-connect-operator", "templates", "_helpers.tpl"))
	if err != nil {
		return nil, err
	}
	_, rules, _ := strings.Cut(string(helpers), `{{- define "operator.rules" -}}`)
	rules, _, _ = strings.Cut(rules, "{{- end }}")
	role := &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: "operator"}}
	if err := yaml.UnmarshalStrict([]byte(rules), &role.Rules); err != nil || len(role.Rules) == 0 {
		return nil, fmt.Errorf("reading the chart's rules (%d): %w", len(role.Rules), err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "operator"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "operator"},
		Subjects:   []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "operator"}},
	}
	for _, o := range []client.Object{role, binding} {
		if err := s.Client.Create(context.Background(), o); err != nil {
			return nil, err
		}
	}
	cfg := rest.CopyConfig(s.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: "operator", Groups: []string{"system:authenticated"}}
	return cfg, nil
}

// fixture is a namespace with the workers of its clusters.
type fixture struct {
	testing.TB
	ns      string
	workers *fakeWorkers
}

func newFixture(t *testing.T) *fixture {
	f := &fixture{TB: t, ns: api.Namespace(t), workers: startWorkers(t, "demo-worker-0", "demo-worker-1", "demo-worker-2")}
	addresses.Store(f.ns, f.workers.server.URL)
	return f
}

func (f *fixture) create(objs ...client.Object) {
	f.Helper()
	for _, o := range objs {
		o.SetNamespace(f.ns)
		o.SetUID("")
		if err := api.Client.Create(f.Context(), o); err != nil {
			f.Fatalf("creating %s: %v", o.GetName(), err)
		}
	}
}

func (f *fixture) get(name string, o client.Object) error {
	return api.Client.Get(f.Context(), types.NamespacedName{Namespace: f.ns, Name: name}, o)
}

// eventually polls until check returns nil, and fails with its last error.
func (f *fixture) eventually(what string, check func() error) {
	f.Helper()
	var last error
	err := wait.PollUntilContextTimeout(f.Context(), 50*time.Millisecond, 30*time.Second, true, func(context.Context) (bool, error) {
		last = check()
		return last == nil, nil
	})
	if err != nil {
		f.Fatalf("%s: %v", what, last)
	}
}

// summary is an object's conditions in short: Ready=True/Running, with |Stalled/… or |Reconciling/…
func summary(conditions []metav1.Condition) string {
	ready, phase := "none", ""
	for _, c := range conditions {
		if c.Type == v1alpha1.ConditionReady {
			ready = string(c.Status) + "/" + c.Reason
		} else {
			phase += "|" + c.Type + "/" + c.Reason
		}
	}
	return ready + phase
}

func (f *fixture) wantConnector(name, want string) *v1alpha1.Connector {
	f.Helper()
	c := &v1alpha1.Connector{}
	f.eventually("connector "+name, func() error {
		if err := f.get(name, c); err != nil {
			return err
		}
		if got := summary(c.Status.Conditions); got != want || c.Status.ObservedGeneration != c.Generation {
			return fmt.Errorf("is %s at generation %d of %d, want %s; %+v", got, c.Status.ObservedGeneration, c.Generation, want, c.Status)
		}
		return nil
	})
	return c
}

func (f *fixture) wantCluster(name, want string) *v1alpha1.ConnectCluster {
	f.Helper()
	c := &v1alpha1.ConnectCluster{}
	f.eventually("cluster "+name, func() error {
		if err := f.get(name, c); err != nil {
			return err
		}
		if got := summary(c.Status.Conditions); got != want || c.Status.ObservedGeneration != c.Generation {
			return fmt.Errorf("is %s, want %s; %+v", got, want, c.Status)
		}
		return nil
	})
	return c
}

func (f *fixture) change(o client.Object, fn func()) {
	f.Helper()
	f.eventually("changing "+o.GetName(), func() error {
		if err := api.Client.Get(f.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		fn()
		return api.Client.Update(f.Context(), o)
	})
}

// pods plays the StatefulSet's controller, which an API server alone does not have.
func (f *fixture) pods(cluster string, n int32) {
	f.Helper()
	f.eventually("pods of "+cluster, func() error {
		set := &appsv1.StatefulSet{}
		if err := f.get(cluster+"-worker", set); err != nil {
			return err
		}
		if *set.Spec.Replicas != n {
			return fmt.Errorf("%d replicas are asked for, not %d", *set.Spec.Replicas, n)
		}
		set.Status = appsv1.StatefulSetStatus{
			ObservedGeneration: set.Generation, Replicas: n, ReadyReplicas: n, UpdatedReplicas: n, CurrentReplicas: n, AvailableReplicas: n,
		}
		return api.Client.Status().Update(f.Context(), set)
	})
}

// ready makes the cluster demo with three workers.
func (f *fixture) ready() *v1alpha1.ConnectCluster {
	f.Helper()
	c := testobj.Cluster("demo").Obj()
	f.create(c)
	f.pods("demo", 3)
	return f.wantCluster("demo", "True/WorkersReady")
}

// settled plays the StatefulSet's controller until the cluster has become as wanted.
func (f *fixture) settled(name string, pods int32, want string) {
	f.Helper()
	f.eventually("cluster "+name, func() error {
		f.pods(name, pods)
		c := &v1alpha1.ConnectCluster{}
		if err := f.get(name, c); err != nil {
			return err
		}
		if got := summary(c.Status.Conditions); got != want || c.Status.ObservedGeneration != c.Generation {
			return fmt.Errorf("is %s, want %s; %+v", got, want, c.Status)
		}
		return nil
	})
}

func (f *fixture) wantEvent(name, reason string) {
	f.Helper()
	f.eventually("event "+reason+" of "+name, func() error {
		var list eventsv1.EventList
		if err := api.Client.List(f.Context(), &list, client.InNamespace(f.ns)); err != nil {
			return err
		}
		var seen []string
		for _, e := range list.Items {
			if e.Regarding.Name == name && e.Reason == reason {
				return nil
			}
			seen = append(seen, e.Regarding.Name+"/"+e.Reason)
		}
		return fmt.Errorf("only %s", strings.Join(seen, " "))
	})
}

func (f *fixture) wantGone(o client.Object) {
	f.Helper()
	f.eventually(o.GetName()+" to be gone", func() error {
		err := api.Client.Get(f.Context(), client.ObjectKeyFromObject(o), o)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(fmt.Errorf("still there: %v", o.GetFinalizers()), err)
	})
}
