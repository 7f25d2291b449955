package queues

import (
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// SettleLooks is after how many further looks at the routes a task takes a queue that another task had: that one
// releases it at its own next look. Taking it too early would repeat records, never lose any.
const SettleLooks = 2

// Share is one task's part of the queues of its connector's topics.
type Share struct {
	task, tasks int
	seen        Seen
	index       map[rmq.Queue]int
	mine        map[rmq.Queue]bool
	// waiting counts looks since a queue that another task had became this task's.
	waiting map[rmq.Queue]int
	started bool
}

// NewShare makes the share of a task out of tasks. known are the queues that the connector read at other times: those
// with a stored offset, of whatever task.
func NewShare(task, tasks int, known ...rmq.Queue) *Share {
	s := &Share{task: task, tasks: max(tasks, 1), index: map[rmq.Queue]int{}, mine: map[rmq.Queue]bool{}, waiting: map[rmq.Queue]int{}}
	s.seen.Know(known...)
	return s
}

// Step takes the queues that a name server shows of all topics, and returns what this task starts to read and what it
// stops to read. A broker that is away keeps its queues, and nothing of another broker moves when one leaves or comes
// back: queues are dealt within their broker.
func (s *Share) Step(shown []rmq.Queue) (add, drop []rmq.Queue) {
	s.seen.Look(shown)
	all := s.seen.All()
	want := map[rmq.Queue]bool{}
	s.deal(all, want)
	for _, q := range all {
		switch {
		case !want[q] || s.mine[q]:
			delete(s.waiting, q)
		case s.takes(q):
			delete(s.waiting, q)
			s.mine[q] = true
			add = append(add, q)
		}
	}
	for _, q := range s.Mine() {
		if !want[q] {
			delete(s.mine, q)
			drop = append(drop, q)
		}
	}
	clear(s.index)
	first := 0
	for i, q := range all {
		if q.Topic != all[first].Topic {
			first = i
		}
		s.index[q] = i - first
	}
	s.started = true
	return add, drop
}

// deal finds the queues of this task among all, which are sorted by (topic, broker, id).
func (s *Share) deal(all []rmq.Queue, want map[rmq.Queue]bool) {
	for from, rank := 0, 0; from < len(all); rank++ {
		to := from
		for to < len(all) && all[to].Topic == all[from].Topic && all[to].Broker == all[from].Broker {
			to++
		}
		for _, i := range allocate.BrokerQueues(to-from, rank, s.task, s.tasks) {
			want[all[from+i]] = true
		}
		from = to
	}
}

// takes says whether a queue that has become this task's is read from now on.
func (s *Share) takes(q rmq.Queue) bool {
	if _, known := s.index[q]; !known || !s.started {
		return true
	}
	s.waiting[q]++
	return s.waiting[q] > SettleLooks
}

// Mine lists the queues that the task reads, sorted by (topic, broker, id).
func (s *Share) Mine() []rmq.Queue { return slices.SortedFunc(maps.Keys(s.mine), byBroker) }

// Index is a queue's place among all known ones of its topic, sorted by (broker, id): a broker that is away shifts
// nothing.
func (s *Share) Index(q rmq.Queue) int { return s.index[q] }

// Count is how many queues of a topic are known.
func (s *Share) Count(topic string) (n int) {
	for q := range s.seen.queues {
		if q.Topic == topic {
			n++
		}
	}
	return n
}

// Away lists this task's queues that no name server shows, sorted by (topic, broker, id).
func (s *Share) Away() []rmq.Queue {
	return slices.DeleteFunc(s.Mine(), func(q rmq.Queue) bool { return s.seen.queues[q] })
}
