//go:build envtest

package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// replacePod plays the StatefulSet's controller for one pod: it is recreated of the template as it is now.
func (f *fixture) replacePod(c *v1alpha1.ConnectCluster, number int) {
	f.Helper()
	set := &appsv1.StatefulSet{}
	if err := f.get(render.WorkerName(c), set); err != nil {
		f.Fatal(err)
	}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("%s-%d", set.Name, number), Namespace: f.ns}}
	if err := api.Client.Delete(f.Context(), pod); err == nil {
		f.wantGone(pod)
	}
	pod = &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: pod.Name, Labels: set.Spec.Template.Labels}, Spec: set.Spec.Template.Spec}
	pod.Spec.ServiceAccountName = "" // no controller makes its token here
	pod.Spec.TerminationGracePeriodSeconds = new(int64)
	f.create(pod)
}

func (f *fixture) wantMounted(name string, want ...string) {
	f.Helper()
	f.eventually("the Secrets that all workers mount", func() error {
		c := &v1alpha1.ConnectCluster{}
		if err := f.get(name, c); err != nil {
			return err
		}
		if !slices.Equal(c.Status.MountedSecrets, want) {
			return fmt.Errorf("%v, want %v", c.Status.MountedSecrets, want)
		}
		return nil
	})
}

// A connector is changed to refer to a Secret: first the cluster does not mount it, then it rolls, and all the while
// the connector runs on as it was.
func TestAConnectorWaitsForItsSecret(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cluster := f.ready()
	for i := range 3 {
		f.replacePod(cluster, i)
	}
	c := testobj.Connector("orders").Config("sasl.password", "in the clear").Obj()
	f.create(c)
	f.wantConnector("orders", "True/Running")

	f.change(c, func() { c.Spec.Config["sasl.password"] = "${secret:kafka:password}" })
	got := f.wantConnector("orders", "False/SecretNotMounted|Reconciling/SecretNotMounted")
	for _, condition := range got.Status.Conditions {
		if want := "add it to ConnectCluster demo, spec.secrets: [{name: kafka}]; the last accepted configuration " +
			"stays in use"; !strings.Contains(
			condition.Message,
			want,
		) {
			t.Errorf("%s says %q, want %q in it", condition.Type, condition.Message, want)
		}
	}
	f.wantEvent("orders", v1alpha1.EventSecretNotMounted)
	if w, _ := f.workers.get("orders"); w.Config["sasl.password"] != "in the clear" || got.Status.Tasks.Running != 4 {
		t.Errorf("what ran does not run on: %+v, status %+v", w, got.Status)
	}
	f.change(c, func() { c.Spec.State = v1alpha1.ConnectorPaused }) // what runs can be paused
	f.eventually("the pause", func() error {
		if w, _ := f.workers.get("orders"); w.State != restapi.StatePaused {
			return fmt.Errorf("is %s", w.State)
		}
		return nil
	})
	f.change(c, func() { c.Spec.State = v1alpha1.ConnectorRunning })

	set := &appsv1.StatefulSet{}
	f.change(cluster, func() { cluster.Spec.Secrets = []v1alpha1.MountedSecret{{Name: "kafka"}} })
	f.eventually("another template", func() error {
		if err := f.get("demo-worker", set); err != nil {
			return err
		}
		for _, v := range set.Spec.Template.Spec.Volumes {
			if v.Secret != nil && v.Secret.SecretName == "kafka" && *v.Secret.Optional && *v.Secret.DefaultMode == 0o440 {
				return nil
			}
		}
		return fmt.Errorf("volumes %+v", set.Spec.Template.Spec.Volumes)
	})
	if roll := set.Spec.UpdateStrategy; roll.Type != appsv1.RollingUpdateStatefulSetStrategyType ||
		roll.RollingUpdate.MaxUnavailable.IntValue() != 1 {
		t.Errorf("the workers are not replaced one by one: %+v", roll)
	}
	for i := range 3 {
		f.wantMounted("demo")
		got = f.wantConnector("orders", "False/SecretNotMounted|Reconciling/SecretNotMounted")
		if w, _ := f.workers.get("orders"); w.Config["sasl.password"] != "in the clear" {
			t.Errorf("the workers got the change while %d of 3 mount the Secret: %+v", i, got.Status)
		}
		f.replacePod(cluster, i)
	}
	f.wantMounted("demo", "kafka")
	f.wantConnector("orders", "True/Running") // with nothing done to it
	if w, _ := f.workers.get("orders"); w.Config["sasl.password"] != "${secret:kafka:password}" {
		t.Errorf("the workers have %+v", w)
	}

	f.change(cluster, func() { cluster.Spec.Secrets = nil })
	f.replacedAll(cluster)
	f.wantMounted("demo")
	f.wantConnector("orders", "False/SecretNotMounted|Reconciling/SecretNotMounted")
}

// replacedAll replaces the pods once the template mounts what the spec says.
func (f *fixture) replacedAll(c *v1alpha1.ConnectCluster) {
	f.Helper()
	f.eventually("a template without Secrets", func() error {
		set := &appsv1.StatefulSet{}
		if err := f.get(render.WorkerName(c), set); err != nil {
			return err
		}
		for _, v := range set.Spec.Template.Spec.Volumes {
			if strings.HasPrefix(v.Name, "secret-") {
				return fmt.Errorf("it has %s", v.Name)
			}
		}
		return nil
	})
	f.replacePod(c, 0)
}

func TestAMountedSecretThatIsMissingIsTold(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
		c.Spec.Secrets = []v1alpha1.MountedSecret{{Name: "kafka"}, {Name: "db"}}
	}).Obj())
	f.pods("demo", 3)
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "db"}})
	f.wantCluster("demo", "True/WorkersReady|SecretsFound/SecretsMissing")
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "kafka"}})
	f.wantCluster("demo", "True/WorkersReady")
}

func TestReferencesOnlyIsASettingOfTheWorkers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.ready()
	if c.Spec.SecretsPolicy != v1alpha1.SecretsAllowInline {
		t.Errorf("by default it is %q", c.Spec.SecretsPolicy)
	}
	f.change(c, func() { c.Spec.SecretsPolicy = v1alpha1.SecretsReferenceOnly })
	f.eventually("the setting", func() error {
		conf := &corev1.ConfigMap{}
		if err := f.get("demo-worker", conf); err != nil {
			return err
		}
		if !strings.Contains(conf.Data[render.ConfigKey], "\nconfig.secrets=reference-only\n") {
			return fmt.Errorf("connect.conf is %s", conf.Data[render.ConfigKey])
		}
		return nil
	})
}
