package connectcluster

import (
	"context"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// fakeApplier applies nothing, and says whether it did.
type fakeApplier struct{ changes bool }

func (a *fakeApplier) Apply(context.Context, *v1alpha1.ConnectCluster, runtime.ApplyConfiguration) (bool, error) {
	return a.changes, nil
}

func (a *fakeApplier) Token(context.Context, *v1alpha1.ConnectCluster) (string, error) {
	return "token", nil
}

func (a *fakeApplier) Forget(types.NamespacedName) {}

// fakeFeed has three workers.
type fakeFeed struct{}

func (fakeFeed) Ensure(types.NamespacedName, feed.Target) {}

func (fakeFeed) Drop(types.NamespacedName) {}

func (fakeFeed) Cluster(types.NamespacedName) feed.ClusterView {
	return feed.ClusterView{Reachable: true, Cluster: &restapi.Cluster{Members: make([]restapi.Member, 3)}}
}

// TestReadyIsOfWhatTheWorkersRun has a cache that still holds the StatefulSet as it was before this pass changed it.
func TestReadyIsOfWhatTheWorkersRun(t *testing.T) {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{v1alpha1.AddToScheme, appsv1.AddToScheme, corev1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	cluster := testobj.Cluster("demo").Obj()
	replicas := int32(3)
	set := &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: render.WorkerName(cluster), OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(cluster, v1alpha1.SchemeGroupVersion.WithKind("ConnectCluster")),
		}},
		Spec:   appsv1.StatefulSetSpec{Replicas: &replicas},
		Status: appsv1.StatefulSetStatus{Replicas: 3, ReadyReplicas: 3, UpdatedReplicas: 3},
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(cluster, set).WithStatusSubresource(cluster, set).Build()
	applier := &fakeApplier{}
	r := New(c, applier, fakeFeed{}, events.NewFakeRecorder(100), Options{Live: c})
	for _, pass := range []struct {
		changes bool
		want    string
	}{{true, v1alpha1.ReasonProgressing}, {false, v1alpha1.ReasonWorkersReady}, {true, v1alpha1.ReasonProgressing}} {
		applier.changes = pass.changes
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cluster)}); err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
			t.Fatal(err)
		}
		if got := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionReady); got == nil || got.Reason != pass.want {
			t.Errorf("a pass that changes the children: %t; Ready is %+v, want %s", pass.changes, got, pass.want)
		}
	}
}
