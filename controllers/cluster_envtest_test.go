//go:build envtest

package controllers_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

func TestClusterGetsItsChildren(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(testobj.Cluster("demo").Obj())
	f.wantCluster("demo", "False/Progressing|Reconciling/Progressing")
	for name, o := range map[string]client.Object{
		"demo-worker":  &appsv1.StatefulSet{},
		"demo-worker ": &corev1.ConfigMap{}, "demo-worker  ": &corev1.Service{}, "demo-worker   ": &corev1.ServiceAccount{},
		"demo-worker    ": &policyv1.PodDisruptionBudget{}, "demo-worker     ": &networkingv1.NetworkPolicy{},
		"demo-api": &corev1.Service{}, "demo-api ": &corev1.Secret{}, "demo-api-tls": &corev1.Secret{}, "demo-api-tls ": &corev1.ConfigMap{},
	} {
		f.eventually(name, func() error { return f.get(strings.TrimSpace(name), o) })
		if owner := metav1.GetControllerOf(o); owner == nil || owner.Kind != "ConnectCluster" || owner.Name != "demo" {
			t.Errorf("%T %s is controlled by %v", o, name, owner)
		}
	}
	f.pods("demo", 3)
	c := f.wantCluster("demo", "True/WorkersReady")
	if c.Status.Workers.Joined != 3 || c.Status.ReadyReplicas != 3 || c.Status.Selector == "" || c.Status.ClusterID != f.ns+"-demo" {
		t.Errorf("status %+v", c.Status)
	}
}

func TestClusterFollowsItsSpec(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.ready()
	set := &appsv1.StatefulSet{}
	if err := f.get("demo-worker", set); err != nil {
		t.Fatal(err)
	}
	hash := set.Spec.Template.Annotations[render.ConfigHashAnnotation]
	f.change(c, func() { c.Spec.Config = map[string]v1alpha1.WorkerSetting{"logLevel": "debug"} })
	f.eventually("another template", func() error {
		if err := f.get("demo-worker", set); err != nil {
			return err
		}
		if set.Spec.Template.Annotations[render.ConfigHashAnnotation] == hash {
			return fmt.Errorf("still %s", hash)
		}
		return nil
	})
	// A refused configuration leaves what runs as it is.
	f.change(c, func() { c.Spec.Config["sessionTimeout"] = "soon" })
	f.wantCluster("demo", "False/ConfigInvalid|Stalled/ConfigInvalid")
	f.wantEvent("demo", v1alpha1.EventConfigInvalid)
	conf := &corev1.ConfigMap{}
	if err := f.get("demo-worker", conf); err != nil || strings.Contains(conf.Data[render.ConfigKey], "soon") {
		t.Errorf("the refused setting is in the ConfigMap (%v)", err)
	}
	f.change(c, func() { c.Spec.Config = nil })
	f.settled("demo", 3, "True/WorkersReady")
}

func TestClusterScales(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.ready()
	scale := &autoscalingv1.Scale{}
	if err := api.Client.SubResource(
		"scale",
	).Get(
		t.Context(),
		c,
		scale,
	); err != nil || scale.Status.Selector == "" ||
		scale.Status.Replicas != 3 {
		t.Fatalf("scale %+v (%v)", scale, err)
	}
	scale.Spec.Replicas = 1
	if err := api.Client.SubResource("scale").Update(t.Context(), c, client.WithSubResourceBody(scale)); err != nil {
		t.Fatal(err)
	}
	f.settled("demo", 1, "False/MissingMembers|Reconciling/MissingMembers")
	f.workers.join("demo-worker-0")
	f.wantCluster("demo", "True/WorkersReady")
	f.change(c, func() { c.Spec.Replicas = ptr.To[int32](0) })
	f.settled("demo", 0, "True/ScaledToZero")
}

func TestDriftOfChildrenIsUndone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	conf := &corev1.ConfigMap{}
	f.eventually("drift", func() error {
		if err := f.get("demo-worker", conf); err != nil {
			return err
		}
		conf.Data[render.ConfigKey] = "workerId=same"
		return api.Client.Update(t.Context(), conf)
	})
	f.eventually("the ConfigMap to be as it was", func() error {
		if err := f.get("demo-worker", conf); err != nil {
			return err
		}
		if conf.Data[render.ConfigKey] == "workerId=same" {
			return fmt.Errorf("still changed")
		}
		return nil
	})
	if err := api.Client.Delete(t.Context(), conf); err != nil {
		t.Fatal(err)
	}
	f.eventually("the ConfigMap to be back", func() error { return f.get("demo-worker", &corev1.ConfigMap{}) })
}

func TestTokenIsMadeOnceAndNeverOverwritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.ready()
	secret := &corev1.Secret{}
	if err := f.get("demo-api", secret); err != nil {
		t.Fatal(err)
	}
	token := string(secret.Data[render.TokenKey])
	if raw, err := base64.RawURLEncoding.DecodeString(token); err != nil || len(raw) != 32 {
		t.Errorf("a token of %d bytes (%v)", len(raw), err)
	}
	f.create(testobj.Connector("orders").Obj())
	f.wantConnector("orders", "True/Running")
	f.workers.mu.Lock()
	if f.workers.token != "Bearer "+token {
		t.Error("the workers were called with another token")
	}
	f.workers.mu.Unlock()
	f.change(c, func() { c.Spec.Config = map[string]v1alpha1.WorkerSetting{"logLevel": "debug"} })
	f.settled("demo", 3, "True/WorkersReady")
	if err := f.get("demo-api", secret); err != nil || string(secret.Data[render.TokenKey]) != token {
		t.Errorf("the token was changed (%v)", err)
	}
}

func TestObjectsOfOthersAreLeftAlone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	theirs := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "demo-worker"}, Data: map[string]string{"a": "b"}}
	f.create(theirs, testobj.Cluster("demo").Obj())
	f.wantCluster("demo", "False/NameConflict|Stalled/NameConflict")
	f.wantEvent("demo", v1alpha1.EventNameConflict)
	if err := f.get("demo-worker", theirs); err != nil || len(theirs.OwnerReferences) > 0 || theirs.Data["a"] != "b" {
		t.Errorf("another's ConfigMap was changed: %+v (%v)", theirs, err)
	}
}

func TestTwoClustersDoNotShareAnID(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := func(c *v1alpha1.ConnectCluster) { c.Spec.ClusterID = f.ns }
	first := testobj.Cluster("first").With(id).Obj()
	f.create(first)
	f.pods("first", 3)
	f.wantCluster("first", "True/WorkersReady")
	f.create(testobj.Cluster("second").With(id).Obj())
	f.wantCluster("second", "False/NameConflict|Stalled/NameConflict")
	f.wantCluster("first", "True/WorkersReady")
	// On another RocketMQ the id is free.
	f.create(testobj.Cluster("third").With(id).With(func(c *v1alpha1.ConnectCluster) {
		c.Spec.RocketMQ.NameServers = []string{"elsewhere:9876"}
	}).Obj())
	f.wantCluster("third", "False/Progressing|Reconciling/Progressing")
}

func TestClusterReportsWorkersThatDoNotAnswer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	addresses.Store(f.ns, "http://127.0.0.1:1")
	f.create(testobj.Cluster("demo").Obj())
	f.pods("demo", 3)
	c := f.wantCluster("demo", "False/WorkersUnreachable|Reconciling/WorkersUnreachable")
	for _, condition := range c.Status.Conditions {
		if strings.Contains(condition.Message, "->") {
			t.Errorf("a message that changes with each connection: %s", condition.Message)
		}
	}
}

func TestClusterWaitsForItsCredentials(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
		c.Spec.RocketMQ.CredentialsSecretRef = &v1alpha1.SecretReference{Name: "keys"}
	}).Obj())
	f.eventually("a StatefulSet without ready pods", func() error {
		set := &appsv1.StatefulSet{}
		if err := f.get("demo-worker", set); err != nil {
			return err
		}
		set.Status = appsv1.StatefulSetStatus{ObservedGeneration: set.Generation, Replicas: 3, UpdatedReplicas: 3}
		return api.Client.Status().Update(t.Context(), set)
	})
	f.wantCluster("demo", "False/SecretNotFound|Reconciling/SecretNotFound")
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "keys"}})
	f.pods("demo", 3)
	f.wantCluster("demo", "True/WorkersReady")
}

func TestClusterSaysWhyItsWorkersAreNotReady(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := testobj.Cluster("demo").Obj()
	f.create(c)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "demo-worker-0", Labels: render.Labels(c)},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: render.WorkerContainer, Image: "worker"}}},
	}
	f.create(pod)
	pod.Status = corev1.PodStatus{
		Phase:  corev1.PodRunning,
		PodIP:  "10.1.2.3",
		PodIPs: []corev1.PodIP{{IP: "10.1.2.3"}},
		ContainerStatuses: []corev1.ContainerStatus{
			{Name: render.WorkerContainer, Image: "worker", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}},
		},
	}
	if err := api.Client.Status().Update(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	set := &appsv1.StatefulSet{}
	f.eventually("a StatefulSet without ready pods", func() error {
		if err := f.get("demo-worker", set); err != nil {
			return err
		}
		set.Status = appsv1.StatefulSetStatus{ObservedGeneration: set.Generation, Replicas: 3, UpdatedReplicas: 3}
		return api.Client.Status().Update(t.Context(), set)
	})
	got := f.wantCluster("demo", "False/PodsNotReady|Reconciling/PodsNotReady")
	want := "0 of 3 worker pods are ready; demo-worker-0: not ready: RocketMQ cannot be reached, says 10.1.2.3:8081"
	if message := got.Status.Conditions[0].Message; message != want {
		t.Errorf("message %q, want %q", message, want)
	}
}
