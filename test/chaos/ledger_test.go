package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/test/flow"
)

const s = time.Second

func event(kind, worker string, task int, generation int64, at time.Duration) audit.Event {
	return audit.Event{Kind: kind, Worker: worker, Connector: "c", Task: task, Generation: generation, Epoch: 1, Attempt: 1, At: int64(at)}
}

func TestAWorkerThatWasShutOutRanUntilItsLease(t *testing.T) {
	shuts := []shut{{Worker: "w0", From: 10 * s, To: 20 * s}}
	late := []audit.Event{event(audit.Start, "w0", 0, 1, s), event(audit.Start, "w1", 0, 2, 16*s), event(audit.Stop, "w0", 0, 1, 21*s)}
	cases := map[string]struct {
		events       []audit.Event
		shuts        []shut
		exact        bool
		wantOverlaps int
	}{
		"it writes its stop after another took over":   {events: late, shuts: shuts},
		"it never was shut out":                        {events: late, wantOverlaps: 1},
		"it was shut out for less than its lease":      {events: late, shuts: []shut{{"w0", 10 * s, 13 * s}}, wantOverlaps: 1},
		"somebody else was":                            {events: late, shuts: []shut{{"w1", 10 * s, 20 * s}}, wantOverlaps: 1},
		"its lines are exact, and say that it went on": {events: late, shuts: shuts, exact: true, wantOverlaps: 1},
		"another took over before its lease could have ended": {
			events: []audit.Event{late[0], event(audit.Start, "w1", 0, 2, 14*s), late[2]}, shuts: shuts, wantOverlaps: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			own := ownership{events: tc.events, shuts: tc.shuts, exact: tc.exact}
			if got := audit.Overlaps(own.intervals(30 * s)); len(got) != tc.wantOverlaps {
				t.Errorf("got overlaps %v, want %d", got, tc.wantOverlaps)
			}
		})
	}
}

func TestEachGapIsChargedToTheNewestMarkBeforeIt(t *testing.T) {
	gap := func(from, to time.Duration) audit.Gap {
		return audit.Gap{Task: audit.Task{Connector: "c"}, OldWorker: "w0", NewWorker: "w1", From: from, To: to}
	}
	marks := []*mark{{Kind: killedForGood, Since: 10 * s}, {Kind: joined, Since: 14 * s}, {Kind: brokerKilled, Since: 20 * s, Origin: 28 * s}}
	gaps := []audit.Gap{gap(5*s, 12*s), gap(10*s, 16*s), gap(15*s, 15*s+100), gap(24*s, 30*s), gap(24*s, 27*s), gap(11*s, 11*s)}
	marks = append(
		marks,
		&mark{Kind: frozen, Worker: "w2", Since: 40 * s, Origin: 40 * s},
		&mark{Kind: frozen, Worker: "w0", Since: 50 * s, Origin: 50 * s},
	)
	gaps = append(gaps, gap(45*s, 46*s), gap(54*s, 56*s))
	want := []unowned{
		{killedForGood, gaps[1], 6 * s}, {joined, gaps[2], 100}, {brokerKilled, gaps[3], 2 * s}, {moved, gaps[6], s}, {frozen, gaps[7], 6 * s},
	}
	if d := cmp.Diff(want, charge(gaps, marks)); d != "" {
		t.Error(d)
	}
}

func TestAuditLinesOfAGrowingLogAreReadOnce(t *testing.T) {
	l := auditLog{path: filepath.Join(t.TempDir(), "log")}
	const first = `{"audit":"task-start","worker":"w0","connector":"c","task":1,"boottime_ns":5}` + "\n{\"msg\":\"other\"}\n"
	const second = `{"audit":"task-stop","worker":"w0","connector":"c","task":1,"boottime_ns":9,"ended_ns":8}` + "\n"
	steps := []struct {
		text      string
		want      int
		wantExact bool
	}{{"", 0, false}, {first + second[:20], 1, false}, {first + second[:20], 0, false}, {first + second, 1, true}, {first + second, 0, true}}
	for i, step := range steps {
		if step.text != "" {
			if err := os.WriteFile(l.path, []byte(step.text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		got, err := l.next()
		if err != nil || len(got) != step.want || l.exact != step.wantExact {
			t.Errorf("step %d: %d events, exact %t, %v; want %d, %t", i, len(got), l.exact, err, step.want, step.wantExact)
		}
	}
}

func TestRepeatsAreBoundByWhatTheFaultEnded(t *testing.T) {
	in := func(connector, worker string, task int, from, to time.Duration, open bool) audit.Interval {
		return audit.Interval{Task: audit.Task{Connector: connector, Task: task}, Worker: worker, From: from, To: to, Open: open}
	}
	kill := []*mark{{Kind: killedForGood, Worker: "w0", Since: 10 * s}}
	away := []*mark{{Kind: brokerKilled, Since: 10 * s, Origin: 20 * s}}
	const rate = 400 // 100 a task and second
	cases := map[string]struct {
		bound     bound
		intervals []audit.Interval
		marks     []*mark
		want      int
	}{
		"nothing was done": {intervals: []audit.Interval{in(sourceName, "w0", 0, s, 11*s, false)}},
		"all live on":      {intervals: []audit.Interval{in(sourceName, "w0", 0, s, 30*s, true)}, marks: away},
		"a source lives on, with a batch in flight": {bound: bound{resent: 1}, marks: away,
			intervals: []audit.Interval{in(sourceName, "w0", 0, s, 30*s, true), in(sinkName, "w0", 0, s, 30*s, true)}, want: 201},
		"a worker's two tasks end, and another one moves": {marks: kill, want: 602, intervals: []audit.Interval{
			in(sourceName, "w0", 0, s, 10*s, false), in(sinkName, "w0", 0, s, 10*s, false), in(sinkName, "w1", 1, s, 12*s, false)}},
		"a task ends before the fault": {marks: kill, intervals: []audit.Interval{in(sinkName, "w0", 0, s, 9*s, false)}},
		"a task ends after it, while it catches up": {bound: bound{peak: 4000}, marks: away, want: 3001,
			intervals: []audit.Interval{in(sinkName, "w0", 0, s, 22*s, false)}},
		"a window of records was lost": {bound: bound{gone: 50, queues: 8}, marks: away, want: 100 + 8*64},
	}
	for name, tc := range cases {
		tc.bound.rate, tc.bound.share = rate, 0.25
		if got := tc.bound.repeats(tc.intervals, tc.marks); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

func TestSlopeIsGrowthPerHour(t *testing.T) {
	cases := map[string]struct {
		hours, values []float64
		want          float64
	}{
		"steady":       {[]float64{0, 0.5, 1}, []float64{7, 7, 7}, 0},
		"growing":      {[]float64{0, 0.5, 1}, []float64{1, 2, 3}, 2},
		"one sample":   {[]float64{0}, []float64{3}, 0},
		"back to rest": {[]float64{0, 0.5, 1}, []float64{3, 9, 3}, 0},
	}
	for name, tc := range cases {
		if got := (&series{hours: tc.hours, values: tc.values}).slope(); got < tc.want-1e-9 || got > tc.want+1e-9 {
			t.Errorf("%s: slope %v, want %v", name, got, tc.want)
		}
	}
}

func TestResultsOfSeveralRunsMakeOneReport(t *testing.T) {
	path := filepath.Join(t.TempDir(), "results")
	r, err := newResults(path)
	if err != nil {
		t.Fatal(err)
	}
	done := []outcome{
		{Seed: 1, Round: 0, Fault: frozen, Took: 9 * s, Sent: 100, CameOut: 100, Repeats: 3, Allowed: 9, Attempts: 8,
			Unowned: []unowned{{Kind: frozen, Took: 5500 * time.Millisecond}, {Kind: joined, Took: 2 * s}}},
		{Seed: 2, Round: 7, Fault: frozen, Took: s, Sent: 50, CameOut: 48, Repeats: 5, Allowed: 6, Lost: 2, Peak: 90,
			Unowned: []unowned{{Kind: frozen, Took: 4 * s}}},
		{Seed: 2, Round: 8, Fault: diskFull, Skipped: "why"},
		{Seed: 2, Round: 9, Fault: cleanStop, Repeats: 1, Missing: 1, Violations: []string{"something"}},
	}
	for _, o := range done {
		if err := r.add(o); err != nil {
			t.Fatal(err)
		}
	}
	r.Close()
	read, err := readResults([]string{path})
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	if err := report(&b, read, "a machine"); !errors.Is(err, errViolated) {
		t.Errorf("got %v", err)
	}
	for _, want := range []string{
		"seed 1, rounds 0 to 0; seed 2, rounds 7 to 9\n4 rounds (1 left out) in 10s; 8 attempts of tasks; violations: 1\n",
		"records sent 150, come out 148, missing 1, lost with a broker's store 2, repeats 9,",
		"| frozen | 2 | 2 | 5500 | 5500 | 5500 | 6000 | yes |\n", "| joined or came back | 1 | 1 | 2000 | 2000 | 2000 | 500 | no (1 of 1) |\n",
		"| frozen | 2 | 8 | 5 | 6 | " +
			"90 | 2 |\n", "seed 2, round 8 (store disk full) was left out: why", "round 9 (stopped cleanly): VIOLATION: something",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestTheReportNamesTheTopologyAndTheOrderOfPartitions(t *testing.T) {
	done := []outcome{
		{Topology: "masters", Seed: 2, Round: 3, Fault: brokersRolled, OutOfOrder: 3, Overtaken: 4},
		{Topology: "controller", Seed: 2, Round: 5, Fault: failoverKill, Unowned: []unowned{{Kind: failoverKill, Took: s}}},
	}
	var b strings.Builder
	if err := report(&b, done, "a machine"); err != nil {
		t.Error(err)
	}
	for _, want := range []string{
		"controller, seed 2, rounds 5 to 5; masters, seed 2, rounds 3 to 3\n", "out of order by key 3 and by partition 4, changed 0",
		"| failover: master killed | 1 | 1 | 1000 | 1000 | 1000 | 2000 | yes |\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in\n%s", want, b.String())
		}
	}
}

func TestWhatCameOutWrongIsToldFlowByFlow(t *testing.T) {
	tally := func(name string, byKey, byPartition int) traffic.Tally {
		return traffic.Tally{Name: name, Result: flow.Result{OutOfOrder: byKey, Overtaken: byPartition}}
	}
	after := traffic.Tallies{tally("partition", 0, 7), tally("key", 2, 0)}
	cases := map[string]struct {
		before traffic.Tallies
		want   []string
	}{
		"since the start": {nil, []string{"7 records came out of the order of their partition (queue by partition)",
			"2 records came out of the order of their key (queue by key)"}},
		"since a mark": {
			traffic.Tallies{tally("partition", 0, 5), tally("key", 2, 0)},
			[]string{"2 records came out of the order of their partition (queue by partition)"},
		},
		"nothing since a mark": {after, nil},
	}
	for name, tc := range cases {
		if d := cmp.Diff(tc.want, compare(tc.before, after)); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
