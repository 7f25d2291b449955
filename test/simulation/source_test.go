package simulation

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/task"
	"github.com/rocketmq-connect/operator/worker/task/track"
)

const (
	partitions = 3 // of the other system that the source reads
	// perSecond is how many records each partition gets.
	perSecond  = 4
	maxAhead   = 12 // records of a source on their way
	maxBatch   = 8
	lanePause  = 100 * time.Millisecond
	flushTakes = 300 * time.Millisecond
)

func partitionName(i int) record.SourcePartition {
	return record.SourcePartition("p" + strconv.Itoa(i))
}

func queueName(i int) string { return "data/b/" + strconv.Itoa(i) }

func number[T ~string](text T) int {
	n, err := strconv.Atoi(string(text))
	if err != nil {
		panic(err)
	}
	return n
}

func place(n int) record.Position { return record.Position(strconv.Itoa(n)) }

// source is an attempt of a source task: its partitions are polled, and each record goes to the lane of its queue.
type source struct {
	mine     []int
	next     map[int]int // the record to poll next, from 1
	tracker  *track.Tracker
	inFlight int
	lanes    [dataQueues]lane
}

// lane is the ordered way to one queue: one batch is in flight, and sent again until the broker confirms it.
type lane struct {
	waiting []outgoing
	busy    bool
	until   time.Duration // true time until which the batch that was sent may last
	retryAt time.Duration
}

type outgoing struct {
	partition, n int
	ticket       track.Ticket
}

func newSource(task, tasks int) *source {
	return &source{mine: allocate.Queues(partitions, task, tasks), next: map[int]int{}, tracker: track.New()}
}

func (s *sim) openSource(a *attempt, stored record.Positions) {
	for _, i := range a.source.mine {
		a.source.next[i] = 1
		if at, ok := stored[partitionName(i)]; ok {
			a.source.next[i] = number(at) + 1
		}
	}
	a.running, a.nextSave = true, s.now+flushInterval
}

func (s *sim) runSource(p *proc, a *attempt, left time.Duration) {
	src := a.source
	if !a.draining {
		s.poll(src)
	}
	var until time.Duration
	for q := range src.lanes {
		l := &src.lanes[q]
		// Invariant C2: a batch is sent only while the send time-out fits into the lease.
		if !l.busy && len(l.waiting) > 0 && s.now >= l.retryAt && left > simSendTimeout {
			s.sendBatch(p, a, q)
		}
		if l.busy {
			until = max(until, l.until)
		}
	}
	if until > s.now {
		s.hold(p, a.grant, until)
	}
	stored := s.save(p, a, src.tracker.Positions(), a.draining)
	if a.draining && src.inFlight == 0 && stored && !a.dead {
		s.end(p, a, nil)
	}
}

func (s *sim) poll(src *source) {
	for _, i := range src.mine {
		for k := 0; k < 4 && src.next[i] <= s.flow.produced && src.inFlight < maxAhead; k++ {
			n := src.next[i]
			l := &src.lanes[i%dataQueues]
			l.waiting = append(l.waiting, outgoing{i, n, src.tracker.Add(partitionName(i), place(n))})
			src.inFlight++
			src.next[i]++
		}
	}
}

func (s *sim) sendBatch(p *proc, a *attempt, q int) {
	src := a.source
	l := &src.lanes[q]
	batch := l.waiting[:min(len(l.waiting), maxBatch)]
	var entries []rmq.Entry
	for _, o := range batch {
		entries = append(entries, rmq.Entry{Key: string(partitionName(o.partition)), Value: []byte(place(o.n))})
	}
	l.busy, l.until = true, s.now+simSendTimeout
	s.carry(p, s.data[q], entries, func(_ int64, err error) {
		l.busy = false
		if a.dead {
			return
		}
		if err != nil {
			l.retryAt = s.now + lanePause
			return
		}
		l.waiting = l.waiting[len(batch):]
		src.inFlight -= len(batch)
		for _, o := range batch {
			s.flow.confirm(o.partition, o.n)
			src.tracker.Settle(o.ticket)
		}
	})
}

// sink is an attempt of a sink task: its queues are read and put, and a flush makes what was put durable.
type sink struct {
	mine      []int
	next      map[int]int64
	marks     *track.Marks
	put       []delivered // since the last flush
	covered   bool        // by a lease, from a put to the flush that makes it durable
	flushing  bool
	nextFlush time.Duration
}

type delivered struct {
	queue  int
	offset int64
	value  string
}

func newSink(task, tasks int) *sink {
	return &sink{mine: allocate.Queues(dataQueues, task, tasks), next: map[int]int64{}, marks: track.NewMarks()}
}

// openSink begins at the stored offsets, and stores those of queues that have none.
func (s *sim) openSink(p *proc, a *attempt, stored record.Positions) {
	k := a.sink
	fresh := record.Positions{}
	for _, q := range k.mine {
		name := record.SourcePartition(s.data[q].name)
		at, known := stored[name]
		if known {
			k.next[q] = int64(number(at))
		}
		if !known || k.next[q] > int64(len(s.data[q].entries)) {
			k.next[q] = 0
			fresh[name] = place(0)
		}
	}
	ready := func() { a.running, k.nextFlush = true, s.now+flushInterval }
	if len(fresh) == 0 {
		ready()
		return
	}
	s.write(p, a, fresh, func(err error) {
		if err != nil {
			s.end(p, a, err)
			return
		}
		ready()
	})
}

func (s *sim) runSink(p *proc, a *attempt, left time.Duration) {
	k := a.sink
	if k.covered && left == 0 {
		s.end(p, a, task.ErrLeaseOver)
		return
	}
	if !k.flushing && left > s.leaseMargin() {
		if !a.draining && s.reaches(p) {
			s.pull(k)
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

func (s *sim) pull(k *sink) {
	for _, q := range k.mine {
		t := s.data[q]
		if k.next[q] > int64(len(t.entries)) {
			k.next[q] = 0 // the queue lost what was asked for: it is read from its start
		}
		end := min(k.next[q]+maxBatch, int64(len(t.entries)))
		if end == k.next[q] {
			continue
		}
		for _, e := range t.entries[k.next[q]:end] {
			k.put = append(k.put, delivered{q, e.Offset, e.Key + "/" + string(e.Value)})
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
