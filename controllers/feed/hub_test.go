package feed

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var demo = types.NamespacedName{Namespace: "test", Name: "demo"}

// script is a worker whose streams are what a test sends.
type script struct {
	Workers
	events chan restapi.WatchEvent
	breaks chan error
}

func newScript() *script {
	return &script{events: make(chan restapi.WatchEvent), breaks: make(chan error)}
}

func (s *script) Watch(ctx context.Context, _ int64, fn func(restapi.WatchEvent) error) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.breaks:
			return err
		case ev := <-s.events:
			if err := fn(ev); err != nil {
				return err
			}
		}
	}
}

func (s *script) send(events ...restapi.WatchEvent) {
	for _, ev := range events {
		s.events <- ev
	}
	synctest.Wait()
}

func reported(name, state string) restapi.WatchEvent {
	return restapi.WatchEvent{Type: restapi.EventConnector, Name: name, Connector: &restapi.ConnectorStatus{Name: name, State: state}}
}

func ev(kind string) restapi.WatchEvent { return restapi.WatchEvent{Type: kind} }

// fixture is a Hub with queues, in a synctest bubble.
type fixture struct {
	hub                  *Hub
	worker               *script
	connectors, clusters queue
	stop                 func()
}

func start(t *testing.T, objects ...string) *fixture {
	t.Helper()
	f := &fixture{worker: newScript()}
	f.hub = New(func(Target) Workers { return f.worker }, logr.Discard())
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](time.Millisecond, time.Second)
	f.connectors = workqueue.NewTypedRateLimitingQueue(limiter)
	f.clusters = workqueue.NewTypedRateLimitingQueue(limiter)
	ctx, cancel := context.WithCancel(context.Background())
	list := func(context.Context, types.NamespacedName) ([]string, error) { return slices.Clone(objects), nil }
	if err := errors.Join(f.hub.Connectors(list).Start(ctx, f.connectors), f.hub.Clusters().Start(ctx, f.clusters)); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- f.hub.Start(ctx) }()
	f.stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the hub ended with %v", err)
		}
		f.connectors.ShutDown()
		f.clusters.ShutDown()
	}
	synctest.Wait()
	return f
}

// asked empties a queue and returns the names in it.
func asked(q queue) []string {
	var names []string
	for q.Len() > 0 {
		r, _ := q.Get()
		names = append(names, r.Name)
		q.Done(r)
	}
	slices.Sort(names)
	return names
}

func (f *fixture) wantAsked(t *testing.T, want ...string) {
	t.Helper()
	if got := asked(f.connectors); !slices.Equal(got, want) {
		t.Errorf("asked for %v, want %v", got, want)
	}
}

func TestReportReachesTheConnectorsItConcerns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, "a", "without-report")
		defer f.stop()
		if v := f.hub.Connector(demo, "a"); v.Reachable || v.Workers != nil || v.Problem == "" {
			t.Errorf("without a stream: %+v", v)
		}
		f.hub.Ensure(demo, Target{Address: "http://demo"})
		f.worker.send(ev(restapi.EventSnapshot), reported("a", "Running"))
		if v := f.hub.Connector(demo, "a"); v.Reachable || v.Status != nil {
			t.Errorf("half a state counts: %+v", v)
		}
		f.wantAsked(t)
		f.worker.send(ev(restapi.EventSynced))
		f.wantAsked(t, "a", "without-report")
		if v := f.hub.Connector(demo, "a"); !v.Reachable || v.Session != 1 || v.Status.State != "Running" {
			t.Errorf("after the whole state: %+v", v)
		}
		f.worker.send(ev(restapi.EventPing))
		f.wantAsked(t)
		f.worker.send(reported("a", "Paused"))
		f.wantAsked(t, "a")
		f.worker.send(restapi.WatchEvent{Type: restapi.EventDeleted, Name: "a"})
		f.wantAsked(t, "a")
		if v := f.hub.Connector(demo, "a"); v.Status != nil {
			t.Errorf("a deleted connector is reported: %+v", v.Status)
		}
		f.worker.send(restapi.WatchEvent{Type: restapi.EventCluster, Cluster: &restapi.Cluster{Members: make([]restapi.Member, 2)}})
		if v := f.hub.Cluster(demo); len(v.Cluster.Members) != 2 {
			t.Errorf("cluster: %+v", v)
		}
		time.Sleep(gather)
		synctest.Wait()
		if got := asked(f.clusters); !slices.Equal(got, []string{"demo"}) {
			t.Errorf("asked for clusters %v", got)
		}
	})
}

func TestShortBreaksAreNotSeen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, "a")
		defer f.stop()
		f.hub.Ensure(demo, Target{Address: "http://demo"})
		f.worker.send(ev(restapi.EventSnapshot), reported("a", "Running"), reported("b", "Running"), ev(restapi.EventSynced))
		asked(f.connectors)
		f.worker.breaks <- errors.New("worker left")
		synctest.Wait()
		f.wantAsked(t)
		if v := f.hub.Connector(demo, "a"); !v.Reachable || v.Status == nil {
			t.Errorf("right after a break: %+v", v)
		}
		// The next stream is another worker's; what it does not know is gone.
		f.worker.send(ev(restapi.EventSnapshot), reported("a", "Running"), ev(restapi.EventSynced))
		f.wantAsked(t, "a")
		if v := f.hub.Connector(demo, "b"); v.Session != 2 || v.Status != nil {
			t.Errorf("after another stream: %+v", v)
		}
	})
}

func TestLongBreaksMakeTheClusterUnreachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, "a")
		defer f.stop()
		f.hub.Ensure(demo, Target{Address: "http://demo"})
		f.worker.send(ev(restapi.EventSnapshot), reported("a", "Running"), ev(restapi.EventSynced))
		asked(f.connectors)
		began := time.Now()
		for time.Since(began) < grace+maxRetry*2 {
			f.worker.breaks <- errors.New("refused")
		}
		synctest.Wait()
		f.wantAsked(t, "a")
		v := f.hub.Connector(demo, "a")
		if want := "the workers at http://demo do not answer: refused"; v.Reachable || v.Problem != want || v.Status == nil {
			t.Errorf("after a long break: %+v", v)
		}
		f.worker.send(ev(restapi.EventSnapshot), reported("a", "Running"), ev(restapi.EventSynced))
		f.wantAsked(t, "a")
	})
}

func TestEnsureKeepsAStreamUntilItsTargetChanges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, "a")
		defer f.stop()
		f.hub.Ensure(demo, Target{Address: "http://demo", Token: "1"})
		f.worker.send(ev(restapi.EventSnapshot), reported("a", "Running"), ev(restapi.EventSynced))
		f.hub.Ensure(demo, Target{Address: "http://demo", Token: "1"})
		if !f.hub.Cluster(demo).Reachable {
			t.Error("the same target lost its stream")
		}
		f.hub.Ensure(demo, Target{Address: "http://demo", Token: "2"})
		if f.hub.Cluster(demo).Reachable {
			t.Error("another target kept the old report")
		}
		asked(f.connectors)
		f.hub.Drop(demo)
		f.wantAsked(t, "a")
		f.hub.Drop(demo)
		f.wantAsked(t)
	})
}

func TestAnotherWayToTheSameWorkersKeepsTheirReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := start(t, "a")
		defer f.stop()
		f.hub.Ensure(demo, Target{Address: "http://demo", Token: "1"})
		f.worker.send(ev(restapi.EventSnapshot), reported("a", "Running"), ev(restapi.EventSynced))
		f.hub.Ensure(demo, Target{Address: "https://demo", Token: "1", Pod: "10.0.0.1:8082"})
		synctest.Wait()
		if v := f.hub.Connector(demo, "a"); !v.Reachable || v.Session != 1 || v.Status == nil {
			t.Errorf("right after: %+v", v)
		}
		time.Sleep(grace)
		if v := f.hub.Connector(demo, "a"); v.Reachable {
			t.Errorf("the other way brings nothing: %+v", v)
		}
		f.worker.send(ev(restapi.EventSnapshot), ev(restapi.EventSynced))
		if v := f.hub.Connector(demo, "a"); !v.Reachable || v.Session != 2 || v.Status != nil {
			t.Errorf("once it has reported: %+v", v)
		}
	})
}

func TestEnsureBeforeStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		worker := newScript()
		hub := New(func(Target) Workers { return worker }, logr.Discard())
		hub.Ensure(demo, Target{})
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error)
		go func() { done <- hub.Start(ctx) }()
		worker.send(ev(restapi.EventSnapshot), ev(restapi.EventSynced))
		if !hub.Cluster(demo).Reachable {
			t.Error("a stream of before the start was not launched")
		}
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		hub.Ensure(types.NamespacedName{Name: "late"}, Target{}) // must not start anything
	})
}
