package control

import (
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func TestQuantiles(t *testing.T) {
	var all []time.Duration
	for i := range 200 {
		all = append(all, time.Duration(i)*time.Millisecond)
	}
	if got, want := quantiles(all), "p50 100.0 ms, p90 180.0 ms, p99 198.0 ms"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestShownCountsWhatRunsElsewhere(t *testing.T) {
	s := &shown{connectors: map[string]restapi.ConnectorStatus{}}
	event := func(typ, name string, tasks ...restapi.TaskStatus) {
		t.Helper()
		if err := s.take(restapi.WatchEvent{Type: typ, Name: name, Connector: &restapi.ConnectorStatus{Tasks: tasks}}); err != nil {
			t.Fatal(err)
		}
	}
	on := func(worker, state string) restapi.TaskStatus { return restapi.TaskStatus{Worker: worker, State: state} }
	event(restapi.EventConnector, "gone before the snapshot", on("a", restapi.StateRunning))
	event(restapi.EventSnapshot, "")
	event(restapi.EventConnector, "c", on("a", restapi.StateRunning), on("b", restapi.StateRunning), on("b", restapi.StateUnassigned))
	event(restapi.EventConnector, "d", on("b", restapi.StateRunning))
	event(restapi.EventDeleted, "d")
	for but, want := range map[string]int{"": 2, "a": 1, "b": 1, "another": 2} {
		if got, _ := s.running(but); got != want {
			t.Errorf("but for %q: %d, want %d", but, got, want)
		}
	}
}

func TestEachCallsForAll(t *testing.T) {
	got := make([]bool, 100)
	if err := each(len(got), 8, func(i int) error { got[i] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	for i, called := range got {
		if !called {
			t.Errorf("not called for %d", i)
		}
	}
}
