package connectcluster

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// metadataOnly fails a test that reads values of Secrets, and counts the requests.
type metadataOnly struct {
	client.Reader
	t        *testing.T
	requests int
}

func (m *metadataOnly) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if _, ok := o.(*corev1.Secret); ok {
		m.t.Errorf("the values of Secret %s are read", key)
	}
	m.requests++
	return m.Reader.Get(ctx, key, o, opts...)
}

func TestSecretsOfConnectorsAreLookedForNowAndThen(t *testing.T) {
	c, cluster := running(t)
	cluster.Spec.Secrets = []v1alpha1.MountedSecret{{Name: "kafka"}, {Name: "db"}}
	live := &metadataOnly{Reader: c, t: t}
	r := New(c, &fakeApplier{}, &fakeFeed{}, events.NewFakeRecorder(100), Options{Live: live})
	now := time.Unix(1_700_000_000, 0)
	look := func(after time.Duration, wantRequests int, wantAgain time.Duration, wantAbsent ...string) {
		t.Helper()
		now = now.Add(after)
		live.requests = 0
		s := &scope{object: cluster, key: client.ObjectKeyFromObject(cluster), result: ctrl.Result{RequeueAfter: resync}}
		if err := r.lookForSecrets(t.Context(), s, now); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(
			append([]string{}, wantAbsent...),
			s.seen.AbsentSecrets,
		); diff != "" || live.requests != wantRequests ||
			s.result.RequeueAfter != wantAgain {
			t.Errorf(
				"%d requests, again after %s, want %d, %s; absent (-want +got):\n%s",
				live.requests,
				s.result.RequeueAfter,
				wantRequests,
				wantAgain,
				diff,
			)
		}
	}
	secret := func(name string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: cluster.Namespace, Name: name}}
	}
	if err := c.Create(t.Context(), secret("kafka")); err != nil {
		t.Fatal(err)
	}
	look(0, 2, absentAgain, "db")
	look(time.Second, 0, absentAgain, "db") // a report of the workers
	if err := c.Create(t.Context(), secret("db")); err != nil {
		t.Fatal(err)
	}
	look(absentAgain, 2, resync)
	look(time.Minute, 0, resync)
	if err := c.Delete(t.Context(), secret("kafka")); err != nil {
		t.Fatal(err)
	}
	look(resync, 2, absentAgain, "kafka")
	cluster.Generation++
	cluster.Spec.Secrets = cluster.Spec.Secrets[1:]
	look(time.Second, 1, resync)
	cluster.UID, cluster.Spec.Secrets = "another of this name", nil
	look(time.Second, 0, resync)
}
