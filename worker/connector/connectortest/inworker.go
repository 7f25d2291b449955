package connectortest

import (
	"maps"
	"slices"
	"testing"

	"github.com/rocketmq-connect/operator/worker/connector"
)

// sourceTraps is every way in which a source can disturb its worker, and what the worker makes of it.
func sourceTraps(pauses bool) []*trap {
	traps := []*trap{
		{method: "Validate", how: panics, spared: 1, fails: "checking the config: "}, // the first is that of the request
		{method: "Tasks", how: panics, fails: "dividing the connector into tasks: "},
		{method: "NewSource", how: panics, fails: "making the source: "},
		{method: "Open", how: panics, fails: "opening the source: "},
		{method: "Poll", how: panics, fails: "polling the source: "},
		{method: "Poll", how: late, restart: true},
		{method: "Progressed", how: panics, fails: "asking the source how far it read: "},
		{method: "Commit", how: panics, restart: true, warns: "Committing positions to the source failed; they are stored all the same"},
		{method: "Close", how: panics, restart: true, warns: "Closing the source failed"},
		{method: "Close", how: hangs, restart: true},
	}
	if pauses {
		traps = append(traps, &trap{method: "Pause", how: panics, fails: "polling the source: pausing partitions: "})
	}
	return traps
}

// sourceInWorker runs the source as often as there are traps, each with one of them, on the same system.
func sourceInWorker(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	_, pauses := s.calls().newSource(t, c).(connector.Pauser)
	traps := sourceTraps(pauses)
	var classes []connector.Connector
	for _, tr := range traps {
		tr.set(c.Spec())
		classes = append(classes, trappedSource{c, tr})
	}
	h := s.calls().startHost(t, classes...)
	s.produceAll(t, 0, 20)
	for _, tr := range traps {
		cfg := maps.Clone(s.Config)
		cfg["topic.rename.format"] = tr.name()
		h.put(t, tr.name(), tr.class, cfg)
	}
	for _, tr := range traps {
		t.Run(tr.method+" "+string(tr.how), func(t *testing.T) {
			if tr.restart && tr.how != late { // else nothing comes before the restart
				h.wantIn(t, tr.name(), s.all(0, 20))
			}
			if tr.how == late {
				h.until(t, "no record was polled", func() bool { return closed(tr.met) })
			}
			h.check(t, tr)
		})
	}
	more := s
	if s.Grow != nil {
		s.Grow(t)
		more.Partitions++
		s.Produce(t, s.Partitions, numbered(s.Partitions, 0, 20)...)
	}
	more.produceAll(t, 20, 40)
	for _, tr := range traps {
		t.Run("nothing is lost when "+tr.method+" "+string(tr.how), func(t *testing.T) { h.wantIn(t, tr.name(), more.all(0, 40)) })
	}
}

// all is the values of all partitions.
func (s SourceSystem) all(from, to int) (out []string) {
	for p := range s.Partitions {
		out = append(out, numbered(p, from, to)...)
	}
	return out
}

// wantIn waits until a RocketMQ topic has all the values, and checks that it has no others.
func (h *host) wantIn(t *testing.T, topic string, want []string) {
	t.Helper()
	h.wantAll(t, want, func() map[string]bool { return h.values(t, topic) })
}

func (h *host) wantAll(t *testing.T, want []string, look func() map[string]bool) {
	t.Helper()
	var got map[string]bool
	ctx := h.waiting(t)
	missing := func() []string {
		got = look()
		return slices.DeleteFunc(slices.Clone(want), func(v string) bool { return got[v] })
	}
	left := missing()
	for ; len(left) > 0 && ctx.Err() == nil; left = missing() {
		pause(ctx)
	}
	if len(left) > 0 {
		t.Errorf("%d of %d records are lost, the first is %s", len(left), len(want), left[0])
	}
	if len(got)+len(left) > len(want) {
		t.Errorf("%d records came that nobody wrote", len(got)+len(left)-len(want))
	}
}

// sinkTraps is every way in which a sink can disturb its worker, and what the worker makes of it.
func sinkTraps(placed bool) []*trap {
	traps := []*trap{
		{method: "Validate", how: panics, spared: 1, fails: "checking the config: "}, // the first is that of the request
		{method: "Tasks", how: panics, fails: "dividing the connector into tasks: "},
		{method: "NewSink", how: panics, fails: "making the sink: "},
		{method: "Open", how: panics, fails: "opening the sink: "},
		{method: "Put", how: panics, fails: "putting records into the sink: "},
		{method: "Flush", how: panics, fails: "flushing the sink: "},
		{method: "LastWrite", how: panics, restart: true, warns: "Asking the sink when it last wrote failed"},
		{method: "Close", how: panics, restart: true, warns: "Closing the sink failed"},
		{method: "Close", how: hangs, restart: true},
	}
	if placed {
		traps = append(traps, &trap{method: "Place", how: panics})
	}
	return traps
}

// sinkInWorker runs the sink as often as there are traps, each with one of them, to a system of its own.
func sinkInWorker(t *testing.T, c connector.SinkConnector, setup func(t *testing.T) SinkSystem) {
	first := setup(t)
	_, placed := first.made(t, c).sink.(connector.Placed)
	traps, systems := sinkTraps(placed), []SinkSystem{first}
	var classes []connector.Connector
	for i, tr := range traps {
		tr.set(c.Spec())
		classes = append(classes, trappedSink{c, tr})
		if i > 0 {
			systems = append(systems, setup(t))
		}
	}
	h := first.calls().startHost(t, classes...)
	h.produceFor(t, systems, 0, 60)
	for i, tr := range traps {
		h.put(t, tr.name(), tr.class, systems[i].Config)
	}
	want := func(t *testing.T, s SinkSystem, to int) {
		h.wantAll(t, valuesOf(s.batch(0, to)), func() map[string]bool { return s.delivered(t) })
	}
	for i, tr := range traps {
		t.Run(tr.method+" "+string(tr.how), func(t *testing.T) {
			if tr.restart {
				want(t, systems[i], 60)
			}
			h.check(t, tr)
		})
	}
	h.produceFor(t, systems, 60, 120)
	for i, tr := range traps {
		t.Run("nothing is lost when "+tr.method+" "+string(tr.how), func(t *testing.T) { want(t, systems[i], 120) })
	}
}

// produceFor writes records to the RocketMQ topics of the systems, once to those that several read.
func (h *host) produceFor(t *testing.T, systems []SinkSystem, from, to int) {
	t.Helper()
	done := map[string]bool{}
	for _, s := range systems {
		if !done[s.Topic] {
			done[s.Topic] = true
			h.broker.Create(s.Topic, s.Queues)
			h.produce(t, s.batch(from, to))
		}
	}
}

// delivered is the values that arrived so far.
func (s SinkSystem) delivered(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for _, v := range s.Delivered(t, 0) {
		out[v] = true
	}
	return out
}
