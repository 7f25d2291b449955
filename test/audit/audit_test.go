package audit

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func line(kind, worker string, task int, generation, at int64) Event {
	return Event{
		Kind:       kind,
		Worker:     worker,
		Connector:  "c",
		Task:       task,
		Generation: generation,
		Epoch:      1,
		Attempt:    1,
		At:         at * int64(time.Second),
	}
}

func ended(e Event, at int64) Event {
	e.Ended = at * int64(time.Second)
	return e
}

func TestParseTakesAuditLinesOnly(t *testing.T) {
	cases := map[string]struct {
		line string
		want bool
	}{
		"a start": {
			`{"level":"info","audit":"task-start","worker":"w0","connector":"c","task":1,"generation":7,"epoch":2,"attempt":1,"boottime_ns":5}`,
			true,
		},
		"another message":   {`{"level":"info","msg":"Starting task"}`, false},
		"an unknown kind":   {`{"audit":"something"}`, false},
		"not JSON":          {`"audit" of nothing`, false},
		"a line cut in two": {`{"audit":"task-start","worker":"w`, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e, ok := Parse(tc.line)
			if ok != tc.want {
				t.Fatalf("ok = %v", ok)
			}
			if want := (Event{Kind: Start, Worker: "w0", Connector: "c", Task: 1, Generation: 7, Epoch: 2, Attempt: 1, At: 5}); ok && e != want {
				t.Errorf("got %+v, want %+v", e, want)
			}
		})
	}
}

func TestIntervalsOverlapsAndGaps(t *testing.T) {
	const s = time.Second
	cases := map[string]struct {
		events       []Event
		deaths       []Death
		wantOverlaps int
		wantGaps     []Gap
	}{
		"a clean hand-over": {
			events:   []Event{line(Start, "w0", 0, 5, 1), line(Stop, "w0", 0, 5, 10), line(Start, "w1", 0, 9, 11)},
			wantGaps: []Gap{{Task{"c", 0}, "w0", "w1", 10 * s, 11 * s}},
		},
		"a killed worker writes no stop: its death ends the interval": {
			events:   []Event{line(Start, "w0", 0, 5, 1), line(Start, "w1", 0, 9, 16)},
			deaths:   []Death{{"w0", 12 * s}},
			wantGaps: []Gap{{Task{"c", 0}, "w0", "w1", 12 * s, 16 * s}},
		},
		"a frozen worker writes its stop late: its deliveries had ended with its lease": {
			events:   []Event{line(Start, "w0", 0, 5, 1), line(Start, "w1", 0, 9, 16), ended(line(Stop, "w0", 0, 5, 22), 14)},
			wantGaps: []Gap{{Task{"c", 0}, "w0", "w1", 14 * s, 16 * s}},
		},
		"a frozen worker that delivered on waking": {
			events:       []Event{line(Start, "w0", 0, 5, 1), line(Start, "w1", 0, 9, 16), ended(line(Stop, "w0", 0, 5, 22), 21)},
			wantOverlaps: 1,
			wantGaps:     []Gap{{Task{"c", 0}, "w0", "w1", 21 * s, 16 * s}},
		},
		"a worker frozen before it wrote its start delivered nothing": {
			events: []Event{line(Start, "w1", 0, 9, 16), line(Start, "w0", 0, 5, 21), ended(line(Stop, "w0", 0, 5, 22), 14)},
		},
		"no stop line ends later than it was written": {
			events:   []Event{line(Start, "w0", 0, 5, 1), ended(line(Stop, "w0", 0, 5, 10), 15), line(Start, "w1", 0, 9, 11)},
			wantGaps: []Gap{{Task{"c", 0}, "w0", "w1", 10 * s, 11 * s}},
		},
		"two workers at once": {
			events:       []Event{line(Start, "w0", 0, 5, 1), line(Start, "w1", 0, 9, 8), line(Stop, "w0", 0, 5, 10)},
			wantOverlaps: 1,
			wantGaps:     []Gap{{Task{"c", 0}, "w0", "w1", 10 * s, 8 * s}},
		},
		"an open interval overlaps what starts later": {
			events:       []Event{line(Start, "w0", 0, 5, 1), line(Start, "w1", 0, 9, 8)},
			wantOverlaps: 1,
			wantGaps:     []Gap{{Task{"c", 0}, "w0", "w1", 100 * s, 8 * s}},
		},
		"repeated lines count once, other tasks do not matter": {
			events: []Event{line(Start, "w0", 0, 5, 1), line(Start, "w0", 0, 5, 1), line(Start, "w1", 1, 6, 2), line(Stop, "w0", 0, 5, 3)},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := Intervals(tc.events, tc.deaths, 100*s)
			if got := Overlaps(in); len(got) != tc.wantOverlaps {
				t.Errorf("overlaps: %q, want %d", got, tc.wantOverlaps)
			}
			if d := cmp.Diff(tc.wantGaps, Gaps(in, 0)); d != "" {
				t.Error(d)
			}
		})
	}
}
