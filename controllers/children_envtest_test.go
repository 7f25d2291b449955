//go:build envtest

package controllers_test

import (
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

func TestChildrenThatLostTheirLabelsAreRepaired(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	set := &appsv1.StatefulSet{}
	if err := f.get("demo-worker", set); err != nil {
		t.Fatal(err)
	}
	f.change(set, func() { set.Labels[render.ManagedByLabel] = "somebody" })
	f.eventually("the label to be back", func() error {
		if err := f.get("demo-worker", set); err != nil {
			return err
		}
		if got := set.Labels[render.ManagedByLabel]; got != render.ManagedBy {
			return fmt.Errorf("is %s", got)
		}
		return nil
	})
	f.wantCluster("demo", "True/WorkersReady")
}

// TestChildrenOfADeletedClusterAreWaitedFor plays a cluster that was made again before Kubernetes had collected what
// the former one left.
func TestChildrenOfADeletedClusterAreWaitedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	former := testobj.Cluster("demo").Obj()
	former.UID = types.UID("former")
	owned := func(name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Name: name, OwnerReferences: []metav1.OwnerReference{
			*metav1.NewControllerRef(former, v1alpha1.SchemeGroupVersion.WithKind("ConnectCluster")),
		}}
	}
	secret := &corev1.Secret{ObjectMeta: owned("demo-api"), Data: map[string][]byte{render.TokenKey: []byte("former")}}
	conf := &corev1.ConfigMap{ObjectMeta: owned("demo-worker")}
	f.create(secret, conf, testobj.Cluster("demo").Obj())
	for _, left := range []struct {
		object client.Object
		named  string
	}{{secret, "Secret demo-api"}, {conf, "ConfigMap demo-worker"}} {
		f.eventually(left.named+" to be waited for", func() error {
			c := f.wantCluster("demo", "False/ApplyFailed|Reconciling/ApplyFailed")
			if message := c.Status.Conditions[0].Message; !strings.Contains(message, left.named+": left by a deleted ConnectCluster") {
				return fmt.Errorf("it says %s", message)
			}
			return nil
		})
		if err := api.Client.Delete(t.Context(), left.object); err != nil {
			t.Fatal(err)
		}
	}
	f.pods("demo", 3)
	f.wantCluster("demo", "True/WorkersReady")
	if err := f.get("demo-api", secret); err != nil || string(secret.Data[render.TokenKey]) == "former" {
		t.Errorf("the former cluster's token was taken (%v)", err)
	}
}

func TestUsersMayBringTheirOwnToken(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "demo-api"}, Data: map[string][]byte{render.TokenKey: []byte("mine\n")}})
	f.ready()
	f.create(testobj.Connector("orders").Obj())
	f.wantConnector("orders", "True/Running")
	f.workers.mu.Lock()
	defer f.workers.mu.Unlock()
	if f.workers.token != "Bearer mine" {
		t.Errorf("the workers were called with %q", f.workers.token)
	}
}
