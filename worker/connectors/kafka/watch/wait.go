package watch

import (
	"context"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

const (
	// gather is how long a broker is not asked after somebody came to wait: each comer ends the request under way, and
	// with it the connection, and they come in crowds.
	gather = 20 * time.Millisecond
	// firstPause and longestPause are between two looks for a leader, or two requests to a broker that fails.
	firstPause   = 100 * time.Millisecond
	longestPause = 2 * time.Second
)

// Partition is one partition of a Kafka topic.
type Partition struct {
	Topic  string
	Number int32
}

// spot is a partition that somebody waits at.
type spot struct {
	leader  int32 // -1: to be found out
	waiters map[*waiter]struct{}
}

// from is the lowest offset that somebody waits for.
func (s *spot) from(p Partition) int64 {
	lowest := int64(-1)
	for w := range s.waiters {
		if offset := w.from[p]; lowest < 0 || offset < lowest {
			lowest = offset
		}
	}
	return lowest
}

type waiter struct {
	from map[Partition]int64 // guarded by the hub
	news chan struct{}       // capacity 1
}

// Wait returns when a partition has a record at its offset or later, when one cannot be read, or when ctx ends. It
// returns the offsets, moved past what is no record for users: marks and aborted records of transactions.
//
// It only says that looking is worth it, and may be wrong: whoever reads decides by what it reads.
func (h *Hub) Wait(ctx context.Context, from map[Partition]int64) map[Partition]int64 {
	w := &waiter{from: maps.Clone(from), news: make(chan struct{}, 1)}
	h.enter(w)
	select {
	case <-w.news:
	case <-ctx.Done():
	}
	h.leave(w)
	return w.from
}

func (h *Hub) enter(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p := range w.from {
		s := h.spots[p]
		if s == nil {
			s = &spot{leader: -1, waiters: make(map[*waiter]struct{})}
			h.spots[p] = s
		}
		s.waiters[w] = struct{}{}
		if leader, known := h.leaders[p]; known {
			h.settle(s, leader)
		} else {
			s.leader = -1
			service.Signal(h.unplaced)
		}
	}
}

func (h *Hub) leave(w *waiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(w)
}

// wake ends a wait. Nothing is asked for it any more, or the same answer would come again at once. h.mu is held.
func (h *Hub) wake(w *waiter) {
	service.Signal(w.news)
	h.remove(w)
}

// remove is done once for each waiter or more often. h.mu is held.
func (h *Hub) remove(w *waiter) {
	for p := range w.from {
		s := h.spots[p]
		if s == nil {
			continue
		}
		if delete(s.waiters, w); len(s.waiters) == 0 {
			delete(h.spots, p)
		}
	}
}

// settle has the leader's fetcher ask for the spot from now on. h.mu is held.
func (h *Hub) settle(s *spot, leader int32) {
	s.leader = leader
	f := h.fetchers[leader]
	if f == nil {
		f = &fetcher{h: h, broker: leader, wake: make(chan struct{}, 1)}
		h.fetchers[leader] = f
		h.tasks.Go(f.run)
	}
	f.again()
}

// place looks for the leaders of spots that have none, until the hub ends.
func (h *Hub) place() {
	var pause backoff.Doubling
	for {
		select {
		case <-h.unplaced:
		case <-h.ctx.Done():
			return
		}
		topics := h.homeless()
		if len(topics) == 0 {
			continue
		}
		details, err := h.topics(h.ctx, topics)
		if err == nil && h.assign(details) {
			pause.Reset()
			continue
		}
		if service.Sleep(h.ctx, pause.Next(firstPause, longestPause)) != nil {
			return
		}
		service.Signal(h.unplaced)
	}
}

// homeless lists the topics of spots without a leader.
func (h *Hub) homeless() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	topics := make(map[string]struct{})
	for p, s := range h.spots {
		if s.leader < 0 {
			topics[p.Topic] = struct{}{}
		}
	}
	out := make([]string, 0, len(topics))
	for t := range topics {
		out = append(out, t)
	}
	return out
}

// assign gives spots their leaders; it says whether all have one. Who waits at a topic that is gone is woken.
func (h *Hub) assign(details kadm.TopicDetails) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.learn(details)
	all := true
	for p, s := range h.spots {
		if s.leader >= 0 {
			continue
		}
		d, asked := details[p.Topic]
		leader, known := h.leaders[p]
		switch {
		case !asked: // came meanwhile
			all = false
		case d.Err == nil && known:
			h.settle(s, leader)
		default:
			all = false
			for w := range s.waiters {
				if d.Err != nil {
					h.wake(w)
				}
			}
		}
	}
	return all
}
