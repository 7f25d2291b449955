// Package queues says which queue the records of a source take and which queues a sink's task reads, while brokers come
// and go: by the queues that were ever seen of a topic, not by those that a name server shows just now. Plain values:
// no IO, no lock, no clock.
package queues

import (
	"cmp"
	"slices"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Seen is the queues that were ever seen of some topics. A broker that a name server no longer shows keeps its queues:
// it is away. One that is shown with fewer queues than before has given the others up. The zero value knows nothing.
type Seen struct {
	queues map[rmq.Queue]bool // the value says whether its broker was shown when the topic was looked at last
}

// Know notes queues from other times: those with a stored offset.
func (s *Seen) Know(queues ...rmq.Queue) {
	for _, q := range queues {
		if _, known := s.queues[q]; !known {
			s.set(q, false)
		}
	}
}

// Look takes what a name server shows now of all topics.
func (s *Seen) Look(shown []rmq.Queue) {
	type place struct{ topic, broker string }
	there, present := map[rmq.Queue]bool{}, map[place]bool{}
	for _, q := range shown {
		there[q], present[place{q.Topic, q.Broker}] = true, true
	}
	for q := range s.queues {
		switch {
		case there[q]:
		case present[place{q.Topic, q.Broker}]:
			delete(s.queues, q)
		default:
			s.queues[q] = false
		}
	}
	for q := range there {
		s.set(q, true)
	}
}

func (s *Seen) set(q rmq.Queue, shown bool) {
	if s.queues == nil {
		s.queues = map[rmq.Queue]bool{}
	}
	s.queues[q] = shown
}

// All lists the queues, sorted by (topic, broker, id).
func (s *Seen) All() []rmq.Queue {
	out := make([]rmq.Queue, 0, len(s.queues))
	for q := range s.queues {
		out = append(out, q)
	}
	slices.SortFunc(out, byBroker)
	return out
}

func byBroker(a, b rmq.Queue) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Broker, b.Broker), cmp.Compare(a.ID, b.ID))
}

func byID(a, b rmq.Queue) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Broker, b.Broker))
}
