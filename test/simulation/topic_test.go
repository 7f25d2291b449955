package simulation

import (
	"errors"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// topic is one queue of a broker.
type topic struct {
	name    string
	broker  *broker
	queue   rmq.Queue // of the data topic; else none
	missing bool      // the broker was recreated, and nobody has created the topic there yet
	losses  int
	entries []rmq.Entry
	acked   []bool // by offset: the broker said that it has the entry
	slow    time.Duration
	// stored is told of each entry as it is stored; forgotten, that what is true is to be made out again from those left.
	stored    func(e rmq.Entry)
	forgotten func(lost []rmq.Entry, acked []bool)
}

// there reports whether the topic answers.
func (t *topic) there() bool { return t.broker.answers() && !t.missing }

func (s *sim) newTopics() {
	s.truth.init(s)
	s.log = &topic{
		name:      "cluster",
		stored:    func(e rmq.Entry) { s.truth.observe(s, e) },
		forgotten: func([]rmq.Entry, []bool) { s.truth.forget() },
	}
	s.config, s.position, s.offset = s.newStore("config"), s.newStore("position"), s.newStore("offset")
	s.internal = []*topic{s.log, s.config, s.position, s.offset}
	s.place(s.home)
	s.quiet = true
	s.grow(s.brokers[0])
	s.grow(s.brokers[1])
	s.quiet = false
}

// place puts the internal topics on a broker.
func (s *sim) place(b *broker) {
	s.home = b
	for _, t := range s.internal {
		t.broker = b
	}
}

const simSendTimeout = 2 * time.Second

var (
	errTimedOut    = errors.New("timed out")
	errUnreachable = errors.New("unreachable")
)

// carry brings a batch to a topic. It may arrive late, twice, or lose its answer; the sender gives up after a while and
// knows no more.
func (s *sim) carry(p *proc, t *topic, entries []rmq.Entry, answer func(first int64, err error)) {
	answered := false
	reply := func(first int64, err error) {
		if !answered {
			s.run(p, func() {
				if !answered {
					answered = true
					answer(first, err)
				}
			})
		}
	}
	s.at(simSendTimeout, func() { reply(0, errTimedOut) })
	b := t.broker
	if p.cut || b.answers() && !t.there() || b.down && s.rng.IntN(2) == 0 {
		s.at(s.latency, func() { reply(0, errUnreachable) })
		return
	}
	address, delay, lost := b.address, s.latency+b.slow+t.slow, false
	if s.rough {
		delay += s.random(30 * time.Millisecond)
		switch s.rng.IntN(25) {
		case 0:
			delay += s.random(10 * time.Second)
		case 1:
			lost = true
		case 2:
			s.at(delay+s.random(10*time.Second), func() { s.arrive(t, address, entries, func(int64) {}) })
		}
	}
	s.at(delay, func() {
		s.arrive(t, address, entries, func(first int64) {
			if lost || p.cut {
				return
			}
			for i := range entries {
				t.acked[first+int64(i)] = true
			}
			s.at(s.latency, func() { reply(first, nil) })
		})
	})
}

// arrive keeps what was sent to a broker's address, unless another has taken over from it.
func (s *sim) arrive(t *topic, address int, entries []rmq.Entry, stored func(first int64)) {
	switch {
	case t.broker.address != address:
	case t.there():
		s.keep(t, entries, stored)
	default:
		s.at(100*time.Millisecond, func() { s.arrive(t, address, entries, stored) })
	}
}

// keep puts entries into a topic, once it answers.
func (s *sim) keep(t *topic, entries []rmq.Entry, stored func(first int64)) {
	if !t.there() {
		s.at(100*time.Millisecond, func() { s.keep(t, entries, stored) })
		return
	}
	first := int64(len(t.entries))
	for _, e := range entries {
		e.Offset = int64(len(t.entries))
		t.entries, t.acked = append(t.entries, e), append(t.acked, false)
		t.stored(e)
	}
	stored(first)
	if t.queue.Topic != "" {
		return // sinks look for themselves
	}
	for _, p := range s.procs {
		d := s.latency
		if s.rough {
			d += s.random(20 * time.Millisecond)
		}
		if p.alive && p.fatal == nil {
			s.at(d, func() { s.wake(p) })
		}
	}
}

// lose is a broker that comes back without the newest records of a topic, acknowledged ones too. Their offsets are
// given out again. What is true from here on is what is left.
func (s *sim) lose(t *topic, n int) {
	kept := max(0, len(t.entries)-n)
	s.tracef("%s loses its tail from %d on, of %d", t.name, kept, len(t.entries))
	lost, acked := slices.Clone(t.entries[kept:]), slices.Clone(t.acked[kept:])
	t.entries, t.acked = slices.Clone(t.entries[:kept]), slices.Clone(t.acked[:kept])
	t.losses++
	if t == s.log && kept > 0 {
		s.losses = append(s.losses, s.now)
	}
	t.forgotten(lost, acked)
	s.quiet = true
	for _, e := range t.entries {
		t.stored(e)
	}
	s.quiet = false
}

// reconnect has p read again the last of what it read of the cluster log, as a rmq.Log's Follow does.
func (s *sim) reconnect(p *proc) {
	p.conn = p.log.broker.conn
	switch {
	case s.plant.blind || p.read == 0:
	case p.read > len(p.log.entries):
		s.tracef("%s starts over: log ends at %d and was read to %d", p.id, len(p.log.entries), p.read)
		s.bootstrap(p, member.FromSnapshot)
	default:
		p.read = max(p.first, p.read-rmq.GoneOver)
	}
}
