package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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
	// Grow adds the partition of the number Partitions to what Config reads. Nil if the system cannot.
	Grow func(t testing.TB)
	// Unreachable is a config of a system that nobody serves.
	Unreachable connector.Config
	// Patience is how long the suite waits for what has to come, and for calls whose context has ended: 30 s if it is 0.
	Patience time.Duration
}

func (s SourceSystem) calls() calls { return callsWithin(s.Patience) }

// RunSource holds a source connector to the contract of package connector. setup makes a system for each test.
func RunSource(t *testing.T, c connector.SourceConnector, setup func(t *testing.T) SourceSystem) {
	tests := map[string]func(*testing.T, connector.SourceConnector, SourceSystem){
		"delivers each partition in order":                        sourceDelivers,
		"goes on from its positions and loses nothing":            sourceResumes,
		"all tasks go on from the positions of all":               sharesResume,
		"repeats what was not stored":                             sourceRepeats,
		"tasks share the partitions":                              sourceShares,
		"a partition that appears is read from its start":         sourceGrows,
		"positions that were stored are committed":                sourceCommits,
		"poll ends with its context and the source goes on":       sourcePollEnds,
		"records stay as they were handed over":                   sourceKeepsBytes,
		"a partition that is paused is left alone, and no other":  sourcePauses,
		"a system that is away is reported as not connected":      sourceUnreachable,
		"an open whose context has ended fails and can be closed": sourceOpenEnded,
		"a close whose context has ended releases everything":     sourceCloseEnded,
		"a close without an open does nothing":                    sourceCloseUnopened,
		"in a worker, faults fail one task and lose nothing":      sourceInWorker,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			test(t, c, setup(t))
		})
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
	tk := s.calls().openTask(t, c, s.Config, w.Env(0, 1), nil)
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
	first := s.calls().openTask(t, c, s.Config, w.Env(0, 1), nil)
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
	second := s.calls().openTask(t, c, s.Config, w.Env(0, 1), stored)
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
	source := s.calls().newSource(t, c)
	for range 2 {
		tk := &task{calls: s.calls(), source: source, progress: record.Positions{}}
		tk.open(t, w.Env(0, 1), s.Config, nil)
		tk.collect(t, 20*s.Partitions)
		tk.close(t)
		s.wantValues(t, tk, 0, 20)
	}
}

// sourceCommits is for a source that is a Committer.
func sourceCommits(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	tk := s.calls().openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	defer tk.close(t)
	committer, ok := tk.source.(connector.Committer)
	if !ok {
		t.Skip("the source commits nothing")
	}
	for i := range 2 {
		s.produceAll(t, 5*i, 5*i+5)
		tk.collect(t, 5*(i+1)*s.Partitions)
		ctx, upTo := tk.waiting(t), tk.progress.Clone()
		if err := tk.do(t, "Commit", func() error { return committer.Commit(ctx, upTo) }); err != nil {
			t.Errorf("committing: %v", err)
		}
	}
	s.wantValues(t, tk, 0, 10)
}

func sourcePollEnds(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	tk := s.calls().openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	defer tk.close(t)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tk.poll(t, ended); err != nil {
		t.Errorf("polling with an ended context: %v", err)
	}
	// What was read when the context ended is not lost: a Pauser's polls end like this all the time.
	s.produceAll(t, 0, 5)
	for range 3 {
		if err := tk.poll(t, ended); err != nil {
			t.Errorf("polling with an ended context: %v", err)
		}
	}
	tk.collect(t, 5*s.Partitions)
	// Nothing is there to read: only the context's end can end this one.
	blocked, cancel := context.WithCancel(context.Background())
	var ending service.Group
	defer ending.Wait()
	err := tk.do(t, "Poll", func() (err error) {
		ending.Go(cancel)
		for blocked.Err() == nil && err == nil {
			err = tk.take(blocked)
		}
		return err
	})
	if err != nil {
		t.Errorf("polling when the context ends: %v", err)
	}
	s.produceAll(t, 5, 10)
	tk.collect(t, 10*s.Partitions)
	s.wantValues(t, tk, 0, 10)
}

func sourceKeepsBytes(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	s.produceAll(t, 0, 30)
	tk := s.calls().openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
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
	tk := s.calls().openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	defer tk.close(t)
	pauser, ok := tk.source.(connector.Pauser)
	if !ok || s.Partitions < 2 {
		t.Skip("the source cannot leave partitions alone, or has only one")
	}
	cut := func(n int) { // ends Polls at any time, until n records came
		ctx := tk.waiting(t)
		for len(tk.records) < n && ctx.Err() == nil {
			short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			if err := tk.poll(t, short); err != nil {
				t.Fatalf("polling: %v", err)
			}
			cancel()
		}
	}
	s.produceAll(t, 0, 10)
	cut(10 * s.Partitions)
	pause := func(partitions ...record.SourcePartition) {
		_ = tk.do(t, "Pause", func() error { pauser.Pause(partitions); return nil })
	}
	pause(s.Name(0))
	s.produceAll(t, 10, 20)
	cut(10*s.Partitions + 10*(s.Partitions-1))
	if n := len(tk.values()[s.Name(0)]); n != 10 {
		t.Errorf("%d records of the partition that is paused, want the 10 from before", n)
	}
	pause()
	cut(20 * s.Partitions)
	s.wantValues(t, tk, 0, 20)
}

func sourceUnreachable(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	s.failedOpen(t, c, s.calls().waiting(t), s.Unreachable, connector.ErrNotConnected)
}

func sourceOpenEnded(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.failedOpen(t, c, ended, s.Config, context.Canceled)
}

// failedOpen opens a source for which that has to fail, and closes it.
func (s SourceSystem) failedOpen(t *testing.T, c connector.SourceConnector, ctx context.Context, cfg connector.Config, want error) {
	t.Helper()
	tk := &task{calls: s.calls(), source: s.calls().newSource(t, c)}
	err := tk.do(t, "Open", func() error { return tk.source.Open(ctx, NewWorker(nil).Env(0, 1), cfg, nil) })
	if !errors.Is(err, want) {
		t.Errorf("an open that has to fail with %q: %v", want, err)
	}
	tk.close(t)
}

// sourceCloseUnopened closes as a worker does that was told to stop before it could open.
func sourceCloseUnopened(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	tk := &task{calls: s.calls(), source: s.calls().newSource(t, c)}
	tk.close(t)
}

// sourceCloseEnded closes as a worker does that has no time left.
func sourceCloseEnded(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	s.produceAll(t, 0, 5)
	tk := s.calls().openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	tk.collect(t, 5*s.Partitions)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := tk.do(t, "Close", func() error { return tk.source.Close(ended) }); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("closing: %v", err)
	}
}
