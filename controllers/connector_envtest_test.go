//go:build envtest

package controllers_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"context"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func TestConnectorRunsOnItsCluster(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.create(testobj.Connector("orders").Obj())
	f.wantConnector("orders", "False/ClusterNotFound|Reconciling/ClusterNotFound")
	f.wantEvent("orders", v1alpha1.EventClusterNotFound)
	f.create(testobj.Cluster("demo").Obj())
	f.wantConnector("orders", "False/ClusterNotReady|Reconciling/ClusterNotReady")
	f.pods("demo", 3)
	c := f.wantConnector("orders", "True/Running")
	want := v1alpha1.ConnectorTasks{Total: 4, Running: 4}
	if *c.Status.Tasks != want || c.Status.TasksReady != "4/4" || c.Status.Type != "Source" || c.Status.Topics[0] != "orders" {
		t.Errorf("status %+v", c.Status)
	}
	f.wantEvent("orders", v1alpha1.EventConnectorCreated)
	f.eventually("the cluster's counts", func() error {
		cc := &v1alpha1.ConnectCluster{}
		if err := f.get(
			"demo",
			cc,
		); err != nil || cc.Status.Connectors == nil || cc.Status.Connectors.Running != 1 ||
			cc.Status.TasksReady != "4/4" {
			return fmt.Errorf("%+v (%w)", cc.Status, err)
		}
		return nil
	})
}

func TestConnectorFollowsItsSpec(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	c := testobj.Connector("orders").Obj()
	f.create(c)
	f.wantConnector("orders", "True/Running")
	f.change(c, func() { c.Spec.Config["kafka.topics"] = "orders,returns" })
	f.eventually("the workers' config", func() error {
		if got, _ := f.workers.get("orders"); got.Config["kafka.topics"] != "orders,returns" {
			return fmt.Errorf("%v", got)
		}
		return nil
	})
	f.wantConnector("orders", "True/Running")
	f.wantEvent("orders", v1alpha1.EventConfigUpdated)
	for state, want := range map[v1alpha1.ConnectorState]string{
		v1alpha1.ConnectorPaused: "True/Paused", v1alpha1.ConnectorStopped: "True/Stopped", v1alpha1.ConnectorRunning: "True/Running",
	} {
		f.change(c, func() { c.Spec.State = state })
		f.wantConnector("orders", want)
	}
	f.wantEvent("orders", v1alpha1.EventStateChanged)
}

func TestRefusedConfigLeavesTheLastOneRunning(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	c := testobj.Connector("orders").Config("sasl.password", "hunter2hunter2").Obj()
	f.create(c)
	f.wantConnector("orders", "True/Running")
	f.change(c, func() { c.Spec.Class = "Unknown" })
	got := f.wantConnector("orders", "False/ConfigRejected|Stalled/ConfigRejected")
	for _, condition := range got.Status.Conditions {
		if !strings.Contains(condition.Message, "try KafkaSource") || strings.Contains(condition.Message, "hunter2") {
			t.Errorf("message %q", condition.Message)
		}
	}
	f.wantEvent("orders", v1alpha1.EventConfigRejected)
	if w, ok := f.workers.get("orders"); !ok || w.Class != "KafkaSource" || got.Status.Tasks.Running != 4 {
		t.Errorf("the workers have %+v, status %+v", w, got.Status)
	}
	// What runs can still be paused.
	f.change(c, func() { c.Spec.State = v1alpha1.ConnectorPaused })
	f.eventually("the pause", func() error {
		if w, _ := f.workers.get("orders"); w.State != restapi.StatePaused {
			return fmt.Errorf("is %s", w.State)
		}
		return nil
	})
	f.change(c, func() { c.Spec.Class, c.Spec.State = "KafkaSource", v1alpha1.ConnectorRunning })
	f.wantConnector("orders", "True/Running")
}

func TestTaskFailuresAreSeenWithoutSecrets(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	f.workers.change(func() { f.workers.failing["orders"] = "login with hunter2hunter2 refused" })
	f.create(testobj.Connector("orders").Config("sasl.password", "hunter2hunter2").Obj())
	c := f.wantConnector("orders", "False/TasksFailed|Reconciling/BackingOff")
	if len(c.Status.TaskFailures) != 1 || c.Status.TaskFailures[0].Message != "login with ******** refused" || c.Status.TasksReady != "3/4" {
		t.Errorf("status %+v", c.Status)
	}
	if text := fmt.Sprint(c.Status); strings.Contains(text, "hunter2") {
		t.Errorf("the status has the password: %s", text)
	}
	f.wantEvent("orders", v1alpha1.EventTaskFailed)
	f.workers.change(func() { delete(f.workers.failing, "orders") })
	f.wantConnector("orders", "True/Running")
}

func TestChangesOnTheWorkersAreUndone(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	f.create(testobj.Connector("orders").Obj())
	f.wantConnector("orders", "True/Running")
	f.workers.change(func() {
		f.workers.revision++
		c := f.workers.connectors["orders"]
		c.Revision, c.Config = f.workers.revision, map[string]string{"kafka.topics": "others"}
	})
	f.eventually("the config to be back", func() error {
		if c, _ := f.workers.get("orders"); c.Config["kafka.topics"] != "orders" {
			return fmt.Errorf("%v", c.Config)
		}
		return nil
	})
	f.wantConnector("orders", "True/Running")
	f.workers.change(func() { delete(f.workers.connectors, "orders") })
	f.eventually("the connector to be back", func() error {
		if _, ok := f.workers.get("orders"); !ok {
			return fmt.Errorf("still gone")
		}
		return nil
	})
	f.wantConnector("orders", "True/Running")
}

func TestConnectorsOfOthersAreOnlyCounted(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.workers.change(func() {
		f.workers.connectors["by-hand"] = &stored{
			Connector: restapi.Connector{Name: "by-hand", State: restapi.StateRunning, MaxTasks: 1, Revision: 1},
		}
	})
	f.ready()
	f.eventually("the count", func() error {
		c := &v1alpha1.ConnectCluster{}
		if err := f.get("demo", c); err != nil || c.Status.Connectors.Unmanaged != 1 {
			return fmt.Errorf("%+v (%w)", c.Status.Connectors, err)
		}
		return nil
	})
	if _, ok := f.workers.get("by-hand"); !ok {
		t.Error("the connector without an object was removed")
	}
}

func TestDeletion(t *testing.T) {
	t.Parallel()
	orphan := func(c *v1alpha1.Connector) { c.Spec.DeletionPolicy = v1alpha1.DeletionOrphan }
	t.Run("waits for the workers", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.workers.slow = true
		f.ready()
		c := testobj.Connector("orders").Obj()
		f.create(c)
		f.wantConnector("orders", "True/Running")
		if err := api.Client.Delete(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		f.wantConnector("orders", "False/Deleting|Reconciling/Deleting")
		f.workers.finish()
		f.wantGone(c)
		f.wantEvent("orders", v1alpha1.EventConnectorRemoved)
	})
	t.Run("leaves an orphan running", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ready()
		c := testobj.Connector("orders").With(orphan).Obj()
		f.create(c)
		f.wantConnector("orders", "True/Running")
		if err := api.Client.Delete(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		f.wantGone(c)
		if _, ok := f.workers.get("orders"); !ok {
			t.Error("the orphan was removed from the workers")
		}
		f.wantEvent("orders", v1alpha1.EventFinalizerReleased)
	})
	t.Run("does not wait for a cluster that is gone", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		cluster := f.ready()
		c := testobj.Connector("orders").Obj()
		f.create(c)
		f.wantConnector("orders", "True/Running")
		if err := api.Client.Delete(t.Context(), cluster); err != nil {
			t.Fatal(err)
		}
		f.wantConnector("orders", "False/ClusterNotFound|Reconciling/ClusterNotFound")
		if err := api.Client.Delete(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		f.wantGone(c)
	})
	t.Run("of what the workers never accepted", func(t *testing.T) {
		t.Parallel()
		f := newFixture(t)
		f.ready()
		c := testobj.Connector("orders").Class("Unknown").Obj()
		f.create(c)
		f.wantConnector("orders", "False/ConfigRejected|Stalled/ConfigRejected")
		if err := api.Client.Delete(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		f.wantGone(c)
	})
}

func TestWorkersThatPutChangesOffAreAskedAgain(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	f.workers.change(func() { f.workers.busy = true })
	f.create(testobj.Connector("orders").Obj())
	f.wantConnector("orders", "False/RebalanceInProgress|Reconciling/RebalanceInProgress")
	f.workers.change(func() { f.workers.busy = false })
	f.wantConnector("orders", "True/Running")
}

func TestWorkersThatGoAwayComeBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	f.create(testobj.Connector("orders").Obj())
	f.wantConnector("orders", "True/Running")
	f.workers.stop()
	c := f.wantConnector("orders", "False/ClusterNotReady|Reconciling/ClusterNotReady")
	if c.Status.Tasks.Running != 4 {
		t.Errorf("the last report is gone: %+v", c.Status)
	}
	again := startWorkers(t, "demo-worker-0", "demo-worker-1", "demo-worker-2")
	addresses.Store(f.ns, again.server.URL)
	cc := &v1alpha1.ConnectCluster{}
	if err := f.get("demo", cc); err != nil {
		t.Fatal(err)
	}
	f.pods("demo", 3)
	f.change(cc, func() { cc.Spec.Config = map[string]v1alpha1.WorkerSetting{"logLevel": "debug"} })
	f.wantConnector("orders", "True/Running")
	if _, ok := again.get("orders"); !ok {
		t.Error("workers that know nothing were not told")
	}
}

func TestAtRestNothingIsWritten(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	f.ready()
	f.create(testobj.Connector("orders").Obj())
	c := f.wantConnector("orders", "True/Running")
	cc := &v1alpha1.ConnectCluster{}
	f.eventually("the cluster's counts", func() error {
		if err := f.get("demo", cc); err != nil || cc.Status.Connectors.Running != 1 {
			return fmt.Errorf("%+v (%w)", cc.Status, err)
		}
		return nil
	})
	puts := f.workers.counted()
	err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, 4*time.Second, true, func(context.Context) (bool, error) {
		c2, cc2 := &v1alpha1.Connector{}, &v1alpha1.ConnectCluster{}
		if err := f.get("orders", c2); err != nil {
			return false, err
		}
		if err := f.get("demo", cc2); err != nil {
			return false, err
		}
		return c2.ResourceVersion != c.ResourceVersion || cc2.ResourceVersion != cc.ResourceVersion, nil
	})
	if !wait.Interrupted(err) {
		t.Errorf("something was written at rest (%v)", err)
	}
	if n := f.workers.counted(); n != puts {
		t.Errorf("%d calls at rest", n-puts)
	}
}
