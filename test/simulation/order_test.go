package simulation

import (
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/task/queues"
)

// order is in which order the records of one source partition reached the other system.
type order struct {
	seen    map[int]bool
	last    int
	polled  int            // the newest that any task read
	binding queues.Binding // the newest that was used
	placed  bool           // a position was stored
	// moved is the newest record that was read when the partition's queue became another, for a reason: nothing is said of
	// the order of those up to it.
	moved int
}

// sighted looks at the order in which the other system gets the records of a partition for the first time. Excused are
// those that a broker had confirmed and lost, or that stand where a reader may be beyond since offsets were given out
// twice.
func (f *flow) sighted(s *sim, d delivered) {
	o, n := &f.orders[number(d.partition[1:])], number(d.value)
	if o.seen[n] {
		return
	}
	if o.seen == nil {
		o.seen = map[int]bool{}
	}
	o.seen[n] = true
	if name := d.partition + "/" + d.value; n < o.last && n > o.moved && !f.excused[name] && !f.passed[name] {
		s.fail("ORDER: record %d of %s comes to the sink's target through %s after record %d", n, d.partition, s.data[d.queue].name, o.last)
	}
	o.last = max(o.last, n)
}

// bound notes the binding by which a partition's records go from here on. A growth of the topic may move the queue of
// what chooses beyond the old row, and so may a position store that lost the binding.
func (f *flow) bound(s *sim, i int, b queues.Binding) {
	o := &f.orders[i]
	old := o.binding
	o.binding = b
	if old.Len() == 0 || old.Queue(i) == b.Queue(i) {
		return
	}
	grown := i >= min(old.Len(), b.Len()) && sameRow(old, b)
	if grown || o.placed && s.position.losses > 0 {
		s.tracef("the queue of %s is %s from here on: %s", partitionName(i), b.Queue(i), b)
		o.moved = o.polled
		s.moves++
	}
}

// sameRow reports whether one row begins with the other.
func sameRow(a, b queues.Binding) bool {
	for i := range min(a.Len(), b.Len()) {
		if a.Queue(i) != b.Queue(i) {
			return false
		}
	}
	return true
}

// checkPlaced looks at a position that was stored: by which binding its records went is stored already.
func (f *flow) checkPlaced(s *sim, i int) {
	f.orders[i].placed = true
	if s.plant.routed || s.position.losses > 0 {
		return
	}
	held, _ := f.judges[s.position].fold.(interface {
		Read(connector string) record.Positions
	})
	if _, ok := held.Read(sourceConnector)[bindingName(i)]; !ok {
		s.fail("ORDER: a position of %s is stored before its binding", partitionName(i))
	}
}

// checkDrop looks at what a sink's task stops to read: nothing while it is told of no queue that is new to it, whoever
// is away.
func (f *flow) checkDrop(s *sim, a *attempt, shown, drop []rmq.Queue) {
	fresh := false
	for _, q := range shown {
		if !a.sink.seen[q] {
			a.sink.seen[q], fresh = true, true
		}
	}
	if len(drop) > 0 && !fresh {
		s.fail("QUEUES: %s stops to read %v though no queue is new", a.unit, drop)
	}
}
