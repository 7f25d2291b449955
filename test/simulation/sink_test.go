package simulation

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/task"
	"github.com/rocketmq-connect/operator/worker/task/queues"
	"github.com/rocketmq-connect/operator/worker/task/track"
)

const flushTakes = 300 * time.Millisecond

// sink is an attempt of a sink task: its queues are read and put, and a flush makes what was put durable.
type sink struct {
	task, tasks int
	share       *queues.Share
	seen        map[rmq.Queue]bool // that the share has been told of
	look        time.Duration      // when to look at the routes next
	mine        []int
	next        map[int]int64
	marks       *track.Marks
	put         []delivered // since the last flush
	covered     bool        // by a lease, from a put to the flush that makes it durable
	flushing    bool
	nextFlush   time.Duration
}

type delivered struct {
	queue     int
	offset    int64
	partition string
	value     string
}

func newSink(task, tasks int) *sink {
	return &sink{task: task, tasks: tasks, seen: map[rmq.Queue]bool{}, next: map[int]int64{}, marks: track.NewMarks()}
}

func parseQueue(name record.SourcePartition) rmq.Queue {
	parts := strings.Split(string(name), "/")
	return rmq.Queue{Topic: parts[0], Broker: parts[1], ID: number(parts[2])}
}

// openSink deals by the queues that any task of the connector has stored an offset of, and those that are shown.
func (s *sim) openSink(p *proc, a *attempt, stored record.Positions) {
	k := a.sink
	var known []rmq.Queue
	for name := range stored {
		known = append(known, parseQueue(name))
		k.seen[parseQueue(name)] = true
	}
	if p.cut {
		s.end(p, a, errors.New("asking for the queues"))
		return
	}
	k.share = queues.NewShare(k.task, k.tasks, known...)
	s.deal(p, a, func() { s.open(p, a) })
}

// deal looks at what the name servers show. Queues that are added are read from their stored offset, which is stored first
// where there is none; of those that are dropped what was put is flushed and stored.
func (s *sim) deal(p *proc, a *attempt, ready func()) {
	k := a.sink
	shown := s.shown()
	add, drop := k.share.Step(shown)
	s.flow.checkDrop(s, a, shown, drop)
	k.look = s.now + recheckEvery
	k.mine = slices.DeleteFunc(k.mine, func(q int) bool { return slices.Contains(drop, s.data[q].queue) })
	stored, fresh := a.progress.Read(a.unit.Connector), record.Positions{}
	for _, queue := range add {
		q, name := s.indexOf(queue), record.SourcePartition(queue.String())
		at, known := stored[name]
		if known {
			k.next[q] = int64(number(at))
		}
		if !known || s.reaches(p, s.data[q]) && k.next[q] > int64(len(s.data[q].entries)) {
			k.next[q] = 0
			fresh[name] = place(0)
		}
	}
	begin := func() {
		for _, queue := range add {
			if slices.Contains(k.share.Mine(), queue) {
				k.mine = append(k.mine, s.indexOf(queue))
			}
		}
		slices.Sort(k.mine)
		ready()
	}
	if len(fresh) == 0 {
		begin()
		return
	}
	s.write(p, a, fresh, func(err error) {
		if err != nil {
			s.end(p, a, err)
			return
		}
		begin()
	})
}

func (s *sim) runSink(p *proc, a *attempt, left time.Duration) {
	k := a.sink
	if k.covered && left == 0 {
		s.end(p, a, task.ErrLeaseOver)
		return
	}
	if !k.flushing && left > s.leaseMargin() {
		if !a.draining && !p.cut {
			if s.now >= k.look {
				s.deal(p, a, func() {})
			}
			s.pull(p, k)
		}
		if len(k.put) > 0 && (a.draining || s.now >= k.nextFlush) {
			s.flush(p, a)
		}
	}
	if k.covered {
		s.hold(p, a.grant, s.now+min(left, simSlice))
	}
	stored := s.save(p, a, k.marks.Positions(), a.draining)
	if a.draining && len(k.put) == 0 && !k.flushing && stored && !a.dead {
		s.end(p, a, nil)
	}
}

func (s *sim) pull(p *proc, k *sink) {
	for _, q := range k.mine {
		t := s.data[q]
		if !s.reaches(p, t) {
			continue
		}
		if k.next[q] > int64(len(t.entries)) {
			k.next[q] = 0 // the queue lost what was asked for: it is read from its start
		}
		end := min(k.next[q]+maxBatch, int64(len(t.entries)))
		if end == k.next[q] {
			continue
		}
		for _, e := range t.entries[k.next[q]:end] {
			k.put = append(k.put, delivered{q, e.Offset, e.Key, string(e.Value)})
		}
		k.covered, k.next[q] = true, end
		k.marks.Put(record.SourcePartition(t.name), place(int(end)))
	}
}

func (s *sim) flush(p *proc, a *attempt) {
	k := a.sink
	k.flushing, k.nextFlush = true, s.now+flushInterval
	fails := s.rough && s.rng.IntN(50) == 0
	s.at(s.random(flushTakes), func() {
		s.run(p, func() {
			left, owned := p.m.Open(s.time(p), a.grant)
			switch {
			case a.dead:
			case !owned:
				s.end(p, a, task.ErrLost)
			case left == 0:
				s.end(p, a, task.ErrLeaseOver)
			case fails:
				s.end(p, a, errors.Join(errors.New("flushing the sink"), context.DeadlineExceeded))
			default:
				for _, d := range k.put {
					s.flow.deliver(s, d)
				}
				k.put, k.flushing, k.covered = nil, false, false
				s.dropHold(p, a.grant)
				k.marks.Flushed()
				s.save(p, a, k.marks.Positions(), true)
			}
		})
	})
}

// idle says which queue is not read by exactly one task; "" if each is.
func (s *sim) idle() string {
	for q, t := range s.data {
		readers := 0
		for _, p := range s.procs {
			for _, a := range p.worker.runs {
				if p.alive && p.fatal == nil && a.sink != nil && a.running && !a.draining && slices.Contains(a.sink.mine, q) {
					readers++
				}
			}
		}
		if readers != 1 {
			return fmt.Sprintf("queue %s is read by %d tasks", t.name, readers)
		}
	}
	return ""
}
