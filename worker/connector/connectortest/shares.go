package connectortest

import (
	"context"
	"maps"
	"slices"
	"testing"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
)

// polled is what one Poll of one of several tasks returned.
type polled struct {
	task    int
	records []record.Record
	err     error
}

// pollAll polls the tasks at the same time until ctx ends, and then closes the channel.
func pollAll(ctx context.Context, open []*task) <-chan polled {
	out := make(chan polled)
	var tasks, all service.Group
	for i, tk := range open {
		tasks.Go(func() {
			for ctx.Err() == nil {
				p := polled{task: i}
				p.err = service.Guard(func() (err error) { p.records, err = tk.source.Poll(ctx); return err })
				out <- p
			}
		})
	}
	all.Go(func() {
		tasks.Wait()
		close(out)
	})
	return out
}

// shares is the tasks of a connector, and who read what.
type shares struct {
	open  []*task
	owner map[record.SourcePartition]int
	all   *task
}

// openShares opens as many tasks as the connector makes for at most that many, each from the positions of all.
func (s SourceSystem) openShares(t *testing.T, c connector.SourceConnector, most int, from record.Positions) *shares {
	t.Helper()
	w, ctx := NewWorker(nil), s.calls().waiting(t)
	var cfgs []connector.Config
	err := s.calls().do(t, "Tasks", func() (err error) { cfgs, err = c.Tasks(ctx, s.Config, most); return err })
	if err != nil || len(cfgs) == 0 || len(cfgs) > most {
		t.Fatalf("%d task configs for at most %d tasks: %v", len(cfgs), most, err)
	}
	sh := &shares{owner: make(map[record.SourcePartition]int), all: &task{}}
	for i, cfg := range cfgs {
		tk := s.calls().openTask(t, c, cfg, w.Env(i, len(cfgs)), from)
		t.Cleanup(func() { tk.close(t) })
		sh.open = append(sh.open, tk)
	}
	return sh
}

// run polls all tasks at once until enough records came or an error did. enough is asked after each poll.
func (sh *shares) run(t *testing.T, c calls, enough func(have int) bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(c.waiting(t))
	results := pollAll(ctx, sh.open)
	defer func() { // also when enough has the test fail
		cancel()
		for range results {
		}
	}()
	for p := range results {
		if p.err != nil {
			t.Errorf("task %d: %v", p.task, p.err)
			cancel()
		}
		for _, r := range p.records {
			if had, ok := sh.owner[r.Partition]; ok && had != p.task {
				t.Errorf("tasks %d and %d both read %s", had, p.task, r.Partition)
			}
			sh.owner[r.Partition] = p.task
		}
		if sh.all.records = append(sh.all.records, p.records...); enough(len(sh.all.records)) {
			cancel()
		}
	}
}

func sourceShares(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	const most = 2
	s.produceAll(t, 0, 10)
	sh := s.openShares(t, c, most, nil)
	sh.run(t, s.calls(), func(have int) bool { return have >= 10*s.Partitions })
	s.wantValues(t, sh.all, 0, 10)
	if used := slices.Compact(slices.Sorted(maps.Values(sh.owner))); s.Partitions >= most && len(used) < len(sh.open) {
		t.Errorf("only tasks %v got partitions", used)
	}
}

// sharesResume has several tasks go on from what one has stored: each is given the positions of the whole connector.
func sharesResume(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	s.produceAll(t, 0, 10)
	first := s.calls().openTask(t, c, s.Config, NewWorker(nil).Env(0, 1), nil)
	first.collect(t, 10*s.Partitions)
	first.close(t)
	stored := record.Positions{}
	for _, r := range first.records {
		stored[r.Partition] = r.Position
	}
	s.produceAll(t, 10, 20)
	sh := s.openShares(t, c, 2, stored)
	sh.run(t, s.calls(), func(have int) bool { return have >= 10*s.Partitions })
	s.wantValues(t, sh.all, 10, 20)
}

// sourceGrows adds a partition while tasks poll: one of them reads it from its start, and each keeps what it had.
func sourceGrows(t *testing.T, c connector.SourceConnector, s SourceSystem) {
	if s.Grow == nil {
		t.Skip("the system has the partitions that it has")
	}
	s.produceAll(t, 0, 10)
	sh := s.openShares(t, c, 2, nil)
	more, grown := s, false
	more.Partitions++
	sh.run(t, s.calls(), func(have int) bool {
		if have >= 10*s.Partitions && !grown {
			grown = true
			s.Grow(t)
			s.Produce(t, s.Partitions, numbered(s.Partitions, 0, 10)...)
			more.produceAll(t, 10, 20)
		}
		return have >= 20*more.Partitions
	})
	more.wantValues(t, sh.all, 0, 20)
}
