package connectcluster

import (
	"context"
	"errors"
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
	"github.com/rocketmq-connect/operator/controllers/certs"
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

func (a *fakeApplier) Keys(context.Context, *v1alpha1.ConnectCluster) (certs.Keys, error) {
	keys := certs.Keys{}
	var errs [2]error
	keys.Authority, errs[0] = certs.NewKey()
	keys.Workers, errs[1] = certs.NewKey()
	return keys, errors.Join(errs[:]...)
}

func (a *fakeApplier) Forget(types.NamespacedName) {}

// fakeFeed has three workers.
type fakeFeed struct{ report restapi.Cluster }

func (*fakeFeed) Ensure(types.NamespacedName, feed.Target) {}

func (*fakeFeed) Drop(types.NamespacedName) {}

func (f *fakeFeed) Cluster(types.NamespacedName) feed.ClusterView {
	report := f.report
	report.Members = make([]restapi.Member, 3)
	return feed.ClusterView{Reachable: true, Cluster: &report}
}

// running is a client of a cluster whose three workers are ready.
func running(t *testing.T) (client.Client, *v1alpha1.ConnectCluster) {
	t.Helper()
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
	return c, cluster
}

// TestReadyIsOfWhatTheWorkersRun has a cache that still holds the StatefulSet as it was before this pass changed it.
func TestReadyIsOfWhatTheWorkersRun(t *testing.T) {
	c, cluster := running(t)
	applier := &fakeApplier{}
	r := New(c, applier, &fakeFeed{}, events.NewFakeRecorder(100), Options{Live: c})
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

func TestWhatWorkersSayOfStoresAndTopicsIsShown(t *testing.T) {
	c, cluster := running(t)
	reported := &fakeFeed{}
	r := New(c, &fakeApplier{}, reported, events.NewFakeRecorder(100), Options{Live: c})
	for _, tc := range []struct {
		report    restapi.Cluster
		wantReady string
		wantWarn  bool
	}{
		{restapi.Cluster{Warnings: []string{"w"}}, v1alpha1.ReasonWorkersReady, true},
		{restapi.Cluster{Warnings: []string{"w"}, StoresNotWritten: restapi.StoresNotWritten + "p"}, v1alpha1.ReasonStoresNotWritten, true},
		{restapi.Cluster{}, v1alpha1.ReasonWorkersReady, false},
	} {
		reported.report = tc.report
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cluster)}); err != nil {
			t.Fatal(err)
		}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(cluster), cluster); err != nil {
			t.Fatal(err)
		}
		ready := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionReady)
		warned := meta.FindStatusCondition(cluster.Status.Conditions, v1alpha1.ConditionInternalTopicsHealthy) != nil
		if ready == nil || ready.Reason != tc.wantReady || warned != tc.wantWarn {
			t.Errorf("%+v: Ready is %+v, warned %t; want %s, %t", tc.report, ready, warned, tc.wantReady, tc.wantWarn)
		}
	}
}
