package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
)

// SourceSystem is a system with nothing to read yet, made for one test.
type SourceSystem struct {
	// Config makes the connector read it.
	Config connector.Config
	// Partitions is how many ordered streams it has; Name gives the SourcePartition of each.
	Partitions int
	Name       func(partition int) record.SourcePartition
	// Produce appends values to one partition, in order, and returns when they can be read.
	Produce func(t testing.TB, partition int, values ...string)
	// Unreachable is a config of a system that nobody serves.
	Unreachable connector.Config
}

// RunSource holds a source connector to the contract of package connector. setup makes a system for each test.
func RunSource(t *testing.T, c connector.SourceConnector, setup func(t *testing.T) SourceSystem) {
	tests := map[string]func(*testing.T, connector.SourceConnector, SourceSystem){
		"delivers each partition in order":                        sourceDelivers,
		"goes on from its positions and loses nothing":            sourceResumes,
		"repeats what was not stored":                             sourceRepeats,
		"tasks share the partitions":                              sourceShares,
		"poll ends with its context and the source goes on":       sourcePollEnds,
		"records stay as they were handed over":                   sourceKeepsBytes,
		"a partition that is paused is left alone, and no other":  sourcePauses,
		"a system that is away is reported as not connected":      sourceUnreachable,
		"an open whose context has ended fails and can be closed": sourceOpenEnded,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, c, setup(t)) })
	}
}

func numbered(partition, from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf("p%d-%d", partition, i))
	}
	return out
}

func (s SourceSystem) produceAll(t *testing.T, from, to int) {
	t.Helper()
	for p := range s.Partitions {
		s.Produce(t, p, numbered(p, from, to)...)
	}
}

// values groups what came by partition.
func (tk *task) values() map[record.SourcePartition][]string {
	out := make(map[record.SourcePartition][]string)
	for _, r := range tk.records {
		out[r.Partition] = append(out[r.Partition], string(r.Value))
	}
	return out
}

func (s SourceSystem) wantValues(t *testing.T, tk *task, from, to int) {
	t.Helper()
	want := make(map[record.SourcePartition][]string)
	for p := range s.Partitions {
		want[s.Name(p)] = numbered(p, from, to)
	}
	if diff := cmp.Diff(want, tk.values()); diff != "" {
		t.Errorf("records per partition (-want +got):\n%s", diff)
	}
}

func sourceDelivers(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	w := NewWorker(nil)
	s.produceAll(t, 0, 50)
	tk := openTask(t, c, s.Config, w.Env(0, 1), nil)
	defer tk.close(t)
	tk.collect(t, 50*s.Partitions)
	s.produceAll(t, 50, 60)
	tk.collect(t, 60*s.Partitions)
	s.wantValues(t, tk, 0, 60)
	for _, r := range tk.records {
		if r.Topic == "" || r.Position == "" || w.Topics()[r.Topic] == 0 {
			t.Fatalf("a record has topic %q (queues %d) and position %q", r.Topic, w.Topics()[r.Topic], r.Position)
		}
	}
}

func sourceResumes(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	w := NewWorker(nil)
	s.produceAll(t, 0, 40)
	first := openTask(t, c, s.Config, w.Env(0, 1), nil)
	first.collect(t, 40*s.Partitions)
	first.close(t)
	// The positions of any record are good to go on from, not only the last.
	stored, cut := make(record.Positions), make(map[record.SourcePartition][]string)
	for _, r := range first.records {
		if string(r.Value)[len(r.Value)-1] == '7' && stored[r.Partition] == "" {
			stored[r.Partition] = r.Position
			cut[r.Partition] = nil
		} else if stored[r.Partition] != "" {
			cut[r.Partition] = append(cut[r.Partition], string(r.Value))
		}
	}
	second := openTask(t, c, s.Config, w.Env(0, 1), stored)
	defer second.close(t)
	left := 0
	for _, values := range cut {
		left += len(values)
	}
	second.collect(t, left)
	if diff := cmp.Diff(cut, second.values()); diff != "" {
		t.Errorf("records after the stored positions (-want +got):\n%s", diff)
	}
	s.produceAll(t, 40, 41)
	second.collect(t, left+s.Partitions)
}

func sourceRepeats(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	w := NewWorker(nil)
	s.produceAll(t, 0, 20)
	source := c.NewSource()
	for range 2 {
		tk := &task{source: source, progress: record.Positions{}}
		if err := source.Open(waiting(t), w.Env(0, 1), s.Config, nil); err != nil {
			t.Fatalf("opening again after a close: %v", err)
		}
		tk.collect(t, 20*s.Partitions)
		tk.close(t)
		s.wantValues(t, tk, 0, 20)
	}
}

// pollResult is what one Poll of one of several tasks returned.
type pollResult struct {
	task    int
	records []record.Record
	err     error
}

// pollAll polls the tasks at the same time until ctx ends, and then closes the channel.
func pollAll(ctx context.Context, open []*task) <-chan pollResult {
	out := make(chan pollResult)
	var tasks, all service.Group
	for i, tk := range open {
		tasks.Go(func() {
			for ctx.Err() == nil {
				records, err := tk.source.Poll(ctx)
				select {
				case out <- pollResult{i, records, err}:
				case <-ctx.Done():
				}
			}
		})
	}
	all.Go(func() {
		tasks.Wait()
		close(out)
	})
	return out
}

func sourceShares(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	w := NewWorker(nil)
	s.produceAll(t, 0, 10)
	const most = 2
	cfgs, err := c.Tasks(waiting(t), s.Config, most)
	if err != nil || len(cfgs) == 0 || len(cfgs) > most {
		t.Fatalf("%d task configs for at most %d tasks: %v", len(cfgs), most, err)
	}
	var open []*task
	for i, cfg := range cfgs {
		tk := openTask(t, c, cfg, w.Env(i, len(cfgs)), nil)
		defer tk.close(t)
		open = append(open, tk)
	}
	ctx, cancel := context.WithCancel(waiting(t))
	defer cancel()
	all, owner := &task{}, make(map[record.SourcePartition]int)
	for p := range pollAll(ctx, open) {
		if p.err != nil {
			t.Errorf("task %d: %v", p.task, p.err)
			cancel()
		}
		for _, r := range p.records {
			if had, ok := owner[r.Partition]; ok && had != p.task {
				t.Errorf("tasks %d and %d both read %s", had, p.task, r.Partition)
			}
			owner[r.Partition] = p.task
		}
		if all.records = append(all.records, p.records...); len(all.records) >= 10*s.Partitions {
			cancel()
		}
	}
	s.wantValues(t, all, 0, 10)
	if used := slices.Compact(slices.Sorted(maps.Values(owner))); s.Partitions >= most && len(used) < len(cfgs) {
		t.Errorf("only tasks %v got partitions", used)
	}
}

func sourcePollEnds(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	tk := openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	defer tk.close(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tk.poll(ended); err != nil {
		t.Errorf("polling with an ended context: %v", err)
	}
	// Nothing is there to read: only the context's end can end this one.
	blocked, cancel := context.WithCancel(context.Background())
	polled := make(chan error, 1)
	var polling service.Group
	polling.Go(func() {
		var err error
		for blocked.Err() == nil && err == nil {
			err = tk.poll(blocked)
		}
		polled <- err
	})
	cancel()
	select {
	case err := <-polled:
		if err != nil {
			t.Errorf("polling when the context ends: %v", err)
		}
	case <-waiting(t).Done():
		t.Fatal("Poll does not end with its context")
	}
	s.produceAll(t, 0, 5)
	tk.collect(t, 5*s.Partitions)
	s.wantValues(t, tk, 0, 5)
}

func sourceKeepsBytes(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	s.produceAll(t, 0, 30)
	tk := openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	tk.collect(t, 30*s.Partitions)
	was := make([][]byte, len(tk.records))
	for i, r := range tk.records {
		was[i] = bytes.Clone(r.Value)
	}
	had := tk.records
	s.produceAll(t, 30, 60)
	tk.collect(t, 60*s.Partitions)
	tk.close(t)
	for i := range had {
		if !bytes.Equal(had[i].Value, was[i]) {
			t.Fatalf("a record read %q when it was handed over and %q later", was[i], had[i].Value)
		}
	}
}

// sourcePauses is for a source that is a Pauser.
func sourcePauses(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	tk := openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	defer tk.close(t)
	pauser, ok := tk.source.(connector.Pauser)
	if !ok || s.Partitions < 2 {
		t.Skip("the source cannot leave partitions alone, or has only one")
	}
	cut := func(n int) { // ends Polls at any time, until n records came
		ctx := waiting(t)
		for len(tk.records) < n && ctx.Err() == nil {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			if err := tk.poll(short); err != nil {
				t.Fatalf("polling: %v", err)
			}
			cancel()
		}
	}
	s.produceAll(t, 0, 10)
	cut(10 * s.Partitions)
	pauser.Pause([]record.SourcePartition{s.Name(0)})
	s.produceAll(t, 10, 20)
	cut(10*s.Partitions + 10*(s.Partitions-1))
	if n := len(tk.values()[s.Name(0)]); n != 10 {
		t.Errorf("%d records of the partition that is paused, want the 10 from before", n)
	}
	pauser.Pause(nil)
	cut(20 * s.Partitions)
	s.wantValues(t, tk, 0, 20)
}

func sourceUnreachable(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	source := c.NewSource()
	err := source.Open(waiting(t), NewWorker(nil).Env(0, 1), s.Unreachable, nil)
	if !errors.Is(err, connector.ErrNotConnected) {
		t.Errorf("opening an unreachable system: %v", err)
	}
	if err := source.Close(waiting(t)); err != nil {
		t.Errorf("closing after a failed open: %v", err)
	}
}

func sourceOpenEnded(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	source := c.NewSource()
	if err := source.Open(ended, NewWorker(nil).Env(0, 1), s.Config, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("opening with an ended context: %v", err)
	}
	if err := source.Close(waiting(t)); err != nil {
		t.Errorf("closing after a failed open: %v", err)
	}
}
