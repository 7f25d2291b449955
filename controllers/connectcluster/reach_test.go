package connectcluster

import (
	"context"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/certs"
	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

// pod makes a pod of "name [https] [waiting|going]": its API speaks http, and it is ready, unless that says otherwise.
func pod(text string) corev1.Pod {
	words := strings.Fields(text)
	p := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        words[0],
			Namespace:   testobj.Namespace,
			Labels:      render.Selector(testobj.Cluster("demo").Obj()),
			Annotations: map[string]string{},
		},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{
				{Name: "sidecar", Ports: []corev1.ContainerPort{{Name: render.APIPort, ContainerPort: 1}}},
				{Name: render.WorkerContainer, Ports: []corev1.ContainerPort{{Name: render.APIPort, ContainerPort: 9090}}},
			},
		},
		Status: corev1.PodStatus{PodIP: words[0], Conditions: []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}},
	}
	for _, word := range words[1:] {
		switch word {
		case "https":
			p.Annotations[render.SchemeAnnotation] = render.HTTPS
		case "waiting":
			p.Status.Conditions[0].Status = corev1.ConditionFalse
		case "going":
			p.DeletionTimestamp, p.Finalizers = ptr.To(metav1.Now()), []string{"kubernetes.io/x"}
		}
	}
	return p
}

func TestWorkersAreCalledByWhatTheySpeak(t *testing.T) {
	cases := map[string]struct {
		pods   []string
		scheme string // of new pods
		want   string
	}{
		"pods are not seen yet":                           {nil, "https", "https "},
		"no pod is ready":                                 {[]string{"w-0 waiting", "w-1 going"}, "https", "https "},
		"none has TLS yet":                                {[]string{"w-0", "w-1", "w-2"}, "https", "http "},
		"the first with TLS starts":                       {[]string{"w-0", "w-1", "w-2 https waiting"}, "https", "http "},
		"the first with TLS is ready":                     {[]string{"w-0", "w-1", "w-2 https"}, "https", "https w-2:9090"},
		"the second leaves":                               {[]string{"w-0", "w-1 going", "w-2 https"}, "https", "https w-2:9090"},
		"the second has TLS":                              {[]string{"w-0", "w-1 https", "w-2 https"}, "https", "https w-2:9090"},
		"the last without leaves":                         {[]string{"w-0 going", "w-1 https", "w-2 https"}, "https", "https "},
		"all have TLS":                                    {[]string{"w-0 https", "w-1 https"}, "https", "https "},
		"more than ten":                                   {[]string{"w-9 https", "w-10 https", "w-2"}, "https", "https w-10:9090"},
		"TLS is turned off, and no pod knows it yet":      {[]string{"w-0 https", "w-1 https"}, "http", "https "},
		"TLS is turned off, and some pods are without it": {[]string{"w-0 https", "w-1 https", "w-2"}, "http", "https w-1:9090"},
		"TLS is off":                                      {[]string{"w-0", "w-1"}, "http", "http "},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var pods []corev1.Pod
			for _, p := range tc.pods {
				pods = append(pods, pod(p))
			}
			if scheme, pod := reach(tc.scheme, pods); scheme+" "+pod != tc.want {
				t.Errorf("got %s %s, want %s", scheme, pod, tc.want)
			}
		})
	}
}

// ensured remembers where workers are called.
type ensured struct {
	fakeFeed
	to feed.Target
}

func (e *ensured) Ensure(_ types.NamespacedName, to feed.Target) { e.to = to }

// kept has one pair of keys, and keeps the certificates that are applied.
type kept struct {
	fakeApplier
	client client.Client
	keys   certs.Keys
}

func (k *kept) Keys(context.Context, *v1alpha1.ConnectCluster) (certs.Keys, error) {
	return k.keys, nil
}

func (k *kept) Apply(ctx context.Context, owner *v1alpha1.ConnectCluster, want runtime.ApplyConfiguration) (bool, error) {
	conf, ok := want.(*corev1ac.ConfigMapApplyConfiguration)
	if !ok || *conf.Name != render.TLSName(owner) {
		return false, nil
	}
	object := &corev1.ConfigMap{
		Data: conf.Data,
		ObjectMeta: metav1.ObjectMeta{Namespace: owner.Namespace, Name: *conf.Name, OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(owner, v1alpha1.SchemeGroupVersion.WithKind("ConnectCluster")),
		}},
	}
	if err := k.client.Create(ctx, object); !apierrors.IsAlreadyExists(err) {
		return false, err
	}
	return false, k.client.Update(ctx, object)
}

func TestTheRollToTLSIsFollowed(t *testing.T) {
	c, cluster := running(t)
	keys, err := (&fakeApplier{}).Keys(t.Context(), cluster)
	if err != nil {
		t.Fatal(err)
	}
	called := &ensured{}
	applier := &kept{client: c, keys: keys}
	r := New(c, applier, called, events.NewFakeRecorder(100), Options{Live: c})
	var first certs.Issued
	for _, step := range []struct {
		pods []string
		want string
	}{
		{[]string{"w-0", "w-1"}, "http://demo-api.test.svc:8082 "},
		{[]string{"w-0", "w-1 https"}, "https://demo-api.test.svc:8082 w-1:9090"},
		{[]string{"w-0 https", "w-1 https"}, "https://demo-api.test.svc:8082 "},
	} {
		if err := c.DeleteAllOf(t.Context(), &corev1.Pod{}, client.InNamespace(cluster.Namespace)); err != nil {
			t.Fatal(err)
		}
		for _, text := range step.pods {
			p := pod(text)
			if err := c.Create(t.Context(), &p); err != nil {
				t.Fatal(err)
			}
		}
		set := &appsv1.StatefulSet{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: cluster.Namespace, Name: render.WorkerName(cluster)}, set); err != nil {
			t.Fatal(err)
		}
		set.Status.ReadyReplicas = int32(len(step.pods))
		if err := c.Status().Update(t.Context(), set); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cluster)}); err != nil {
			t.Fatal(err)
		}
		if got := called.to.Address + " " + called.to.Pod; got != step.want {
			t.Errorf("%v: called at %s, want %s", step.pods, got, step.want)
		}
		conf := &corev1.ConfigMap{}
		if err := c.Get(t.Context(), client.ObjectKey{Namespace: cluster.Namespace, Name: render.TLSName(cluster)}, conf); err != nil {
			t.Fatal(err)
		}
		issued := certs.Issued{Certificate: conf.Data[render.CertificateKey], Authorities: conf.Data[render.AuthoritiesKey]}
		if first == (certs.Issued{}) {
			first = issued
		}
		if issued != first || issued.Certificate == "" || called.to.Authorities != issued.Authorities {
			t.Errorf("%v: another certificate in each pass", step.pods)
		}
	}
	// Keys that are none leave what runs, and how it is called, as it is.
	applier.keys.Workers = []byte("none")
	before := called.to
	if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cluster)}); err != nil {
		t.Fatal(err)
	}
	if err := c.Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
		t.Fatal(err)
	}
	if got := cluster.Status.Conditions[0]; got.Reason != v1alpha1.ReasonNameConflict ||
		!strings.Contains(got.Message, "Secret demo-api-tls: the workers' key: ") ||
		!strings.Contains(got.Message, "delete the Secret") {
		t.Errorf("with a spoilt key: %+v", got)
	}
	if called.to != before {
		t.Errorf("with a spoilt key the workers are called at %s", called.to.Address)
	}
}
