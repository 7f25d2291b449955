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

const (
	flushTakes = 300 * time.Millisecond
	flushBytes = 400 // put before the sink is flushed ahead of its interval
)

// sink is an attempt of a sink task: its queues are read and put, and a flush makes what was put durable.
type sink struct {
	task, tasks int
	reading     *queues.Reading
	seen        map[rmq.Queue]bool // that the reading has been told of
	look        time.Duration      // when to look at the routes next
	mine        []int
	next        map[int]int64
	puts        *track.Puts
	held        []delivered // what the sink itself was given since its last flush, and may deliver at any time
	flushing    bool
}

type delivered struct {
	queue     int
	offset    int64
	partition string
	value     string
}

func newSink(task, tasks int) *sink {
	return &sink{task: task, tasks: tasks, seen: map[rmq.Queue]bool{}, next: map[int]int64{}, puts: track.NewPuts()}
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
	k.reading = queues.NewReading(k.task, k.tasks, known...)
	shown := queues.Routes{Queues: s.shown()}
	s.deal(p, a, shown.Queues, k.reading.Begin(shown), nil, func() { s.open(p, a) })
}

// lookAgain looks at what the name servers show.
func (s *sim) lookAgain(p *proc, a *attempt) {
	shown := queues.Routes{Queues: s.shown()}
	add, drop := a.sink.reading.Follow(shown)
	s.deal(p, a, shown.Queues, add, drop, func() {})
}

// deal changes what is read. Queues that are added are read from their stored offset, which is stored first where there
// is none; of those that are dropped what was put is flushed and stored.
func (s *sim) deal(p *proc, a *attempt, shown, add, drop []rmq.Queue, ready func()) {
	k := a.sink
	s.flow.checkDrop(s, a, shown, drop)
	k.look = s.now + recheckEvery
	k.mine = slices.DeleteFunc(k.mine, func(q int) bool { return slices.Contains(drop, s.data[q].queue) })
	stored, fresh := a.progress.Read(a.unit.Connector), record.Positions{}
	for _, queue := range add {
		q, name := s.indexOf(queue), record.SourcePartition(queue.String())
		pos, known := stored[name]
		offset, held := queues.Offset{}, true
		if known {
			var err error
			if offset, err = queues.ParseOffset(pos); err != nil {
				s.fail("sink: %w", err)
				return
			}
		}
		k.next[q] = offset.Next
		if s.reaches(p, s.data[q]) {
			k.next[q], held = offset.Held(0, int64(len(s.data[q].entries)))
		}
		if !known || !held {
			fresh[name] = place(int(k.next[q]))
		}
	}
	begin := func() {
		for _, queue := range add {
			if slices.Contains(k.reading.Queues(), queue) {
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
	if k.puts.Covered() && left == 0 {
		s.end(p, a, task.ErrLeaseOver)
		return
	}
	if !k.flushing && left > s.leaseMargin() {
		if !a.draining && !p.cut {
			if s.now >= k.look {
				s.lookAgain(p, a)
			}
			s.pull(p, k)
		}
		if a.draining && len(k.held) > 0 || k.puts.Due(s.clock(p), flushInterval, flushBytes) {
			s.flush(p, a)
		}
	}
	if len(k.held) > 0 {
		until := s.now + simSlice
		if k.puts.Covered() {
			until = min(until, s.now+left) // then the lease's context ends what the sink does
		}
		s.hold(p, a.grant, until)
	}
	stored := s.save(p, a, k.puts.Storable(), a.draining)
	if a.draining && len(k.held) == 0 && !k.flushing && stored && !a.dead {
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
		k.puts.Open()
		for _, e := range t.entries[k.next[q]:end] {
			k.held = append(k.held, delivered{q, e.Offset, e.Key, string(e.Value)})
			k.puts.Add(len(e.Value))
		}
		k.puts.Back(s.clock(p))
		k.next[q] = end
		last := rmq.Received{Queue: t.queue, Offset: end - 1, NextOffset: end}
		k.puts.Reached(queues.Partition(t.queue), k.reading.Reached(&last))
	}
}

func (s *sim) flush(p *proc, a *attempt) {
	k := a.sink
	if !k.puts.Try(s.clock(p)) {
		k.puts.Durable()
		return
	}
	k.flushing = true
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
				for _, d := range k.held {
					s.flow.deliver(s, d)
				}
				k.held, k.flushing = nil, false
				s.dropHold(p, a.grant)
				k.puts.Back(s.clock(p))
				k.puts.Durable()
				s.save(p, a, k.puts.Storable(), true)
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
