package simulation

import (
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/task/queues"
	"github.com/rocketmq-connect/operator/worker/task/track"
)

const (
	partitions = 3 // of the other system that the source reads
	// perSecond is how many records each partition gets.
	perSecond = 4
	maxAhead  = 12 // records of a source on their way in lanes that move
	maxBatch  = 8
	lanePause = 100 * time.Millisecond
	// standsAfter is how long a batch is not confirmed before nothing more is polled for its lane.
	standsAfter = time.Second
)

func partitionName(i int) record.SourcePartition {
	return record.SourcePartition("p" + strconv.Itoa(i))
}

// bindingName is under which name the binding of a partition is stored, beside its position.
func bindingName(i int) record.SourcePartition {
	return "@queues/" + dataTopic + "/" + partitionName(i)
}

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
	mine    []int
	next    map[int]int // the record to poll next, from 1
	tracker *track.Tracker
	streams [partitions]stream
	lanes   []lane // by queue
	shown   []rmq.Queue
	look    time.Duration // when to look at the routes next
}

// stream is a partition on its way to its queue.
type stream struct {
	binding  queues.Binding
	stored   record.Position // the form of the binding in which it is stored
	looked   bool            // the routes were looked at since the binding was made or grew
	queue    int
	inFlight int
}

// lane is the ordered way to one queue: one batch is in flight, and sent again until the broker confirms it.
type lane struct {
	waiting []outgoing
	busy    bool
	until   time.Duration // true time until which the batch that was sent may last
	retryAt time.Duration
	moved   time.Duration // when a batch was confirmed last, or the first record came
}

// stands reports whether the lane waits for its broker.
func (l *lane) stands(now time.Duration) bool { return len(l.waiting) > 0 && now-l.moved > standsAfter }

type outgoing struct {
	partition, n int
	ticket       track.Ticket
}

func newSource(task, tasks int) *source {
	return &source{mine: allocate.Queues(partitions, task, tasks), next: map[int]int{}, tracker: track.New()}
}

func (s *sim) openSource(p *proc, a *attempt, stored record.Positions) {
	for _, i := range a.source.mine {
		a.source.next[i] = 1
		if at, ok := stored[partitionName(i)]; ok {
			a.source.next[i] = number(at) + 1
		}
		text, ok := stored[bindingName(i)]
		if !ok {
			continue
		}
		b, err := queues.ParseBinding(dataTopic, string(text))
		if err != nil {
			s.fail("source: %w", err)
			return
		}
		s.bind(a.source, i, b)
		a.stored[bindingName(i)] = text
	}
	s.open(p, a)
}

// bind has the records of a partition go by a binding from here on.
func (s *sim) bind(src *source, i int, b queues.Binding) {
	st := &src.streams[i]
	st.binding, st.stored = b, record.Position(b.String())
	st.queue = s.indexOf(b.Queue(i))
	if !s.plant.routed {
		s.flow.bound(s, i, b)
	}
}

func (s *sim) runSource(p *proc, a *attempt, left time.Duration) {
	src := a.source
	if !a.draining {
		if s.now >= src.look && !p.cut {
			src.look, src.shown = s.now+recheckEvery, s.shown()
			for i := range src.streams {
				src.streams[i].looked = true
			}
		}
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
	stored := s.saveSource(p, a)
	if a.draining && src.inFlight(func(*lane) bool { return true }) == 0 && stored && !a.dead {
		s.end(p, a, nil)
	}
}

func (src *source) inFlight(of func(*lane) bool) (n int) {
	for q := range src.lanes {
		if l := &src.lanes[q]; of(l) {
			n += len(l.waiting)
		}
	}
	return n
}

func (s *sim) poll(src *source) {
	ahead := src.inFlight(func(l *lane) bool { return !l.stands(s.now) })
	for _, i := range src.mine {
		st := &src.streams[i]
		s.rebind(src, i)
		if st.binding.Len() == 0 {
			continue // the name servers show no queue
		}
		for len(src.lanes) <= st.queue {
			src.lanes = append(src.lanes, lane{})
		}
		l := &src.lanes[st.queue]
		if l.stands(s.now) {
			continue
		}
		for k := 0; k < 4 && src.next[i] <= s.flow.produced && ahead < maxAhead; k++ {
			n := src.next[i]
			if len(l.waiting) == 0 {
				l.moved = s.now
			}
			l.waiting = append(l.waiting, outgoing{i, n, src.tracker.Add(partitionName(i), place(n))})
			ahead++
			st.inFlight++
			src.next[i]++
			s.flow.orders[i].polled = max(s.flow.orders[i].polled, n)
		}
	}
}

// rebind binds a partition when it is first used, and lets its binding grow while none of its records is on its way.
func (s *sim) rebind(src *source, i int) {
	st := &src.streams[i]
	if !st.looked || len(src.shown) == 0 {
		return
	}
	if s.plant.routed {
		st.looked = false
		s.bind(src, i, queues.Bind(queues.ByID, src.shown))
		return
	}
	if st.inFlight > 0 {
		return
	}
	st.looked = false
	if st.binding.Len() == 0 {
		s.bind(src, i, queues.Bind(queues.ByID, src.shown))
	} else if b, grown := st.binding.Grown(src.shown); grown {
		s.bind(src, i, b)
	}
}

// saveSource stores bindings, then positions: no position is stored before the binding by which its records went.
func (s *sim) saveSource(p *proc, a *attempt) (nothing bool) {
	bindings := record.Positions{}
	for _, i := range a.source.mine {
		if st := a.source.streams[i]; st.binding.Len() > 0 && a.stored[bindingName(i)] != st.stored && !s.plant.routed {
			bindings[bindingName(i)] = st.stored
		}
	}
	if len(bindings) > 0 && !s.plant.late {
		s.save(p, a, bindings, true)
		return false
	}
	nothing = s.save(p, a, a.source.tracker.Positions(), a.draining)
	if len(bindings) > 0 && !a.dead {
		return s.save(p, a, bindings, a.draining) && nothing
	}
	return nothing
}

func (s *sim) sendBatch(p *proc, a *attempt, q int) {
	src := a.source
	batch := src.lanes[q].waiting[:min(len(src.lanes[q].waiting), maxBatch)]
	var entries []rmq.Entry
	for _, o := range batch {
		entries = append(entries, rmq.Entry{Key: string(partitionName(o.partition)), Value: []byte(place(o.n))})
	}
	src.lanes[q].busy, src.lanes[q].until = true, s.now+simSendTimeout
	s.carry(p, s.data[q], entries, func(_ int64, err error) {
		l := &src.lanes[q]
		l.busy = false
		if a.dead {
			return
		}
		if err != nil {
			l.retryAt = s.now + lanePause
			return
		}
		l.waiting, l.moved = l.waiting[len(batch):], s.now
		for _, o := range batch {
			src.streams[o.partition].inFlight--
			s.flow.confirm(o.partition, o.n)
			src.tracker.Settle(o.ticket)
		}
	})
}
