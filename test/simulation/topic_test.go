package simulation

import (
	"errors"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// topic is one queue of the broker.
type topic struct {
	name    string
	entries []rmq.Entry
	acked   []bool // by offset: the broker said that it has the entry
	slow    time.Duration
	// stored is told of each entry as it is stored; forgotten, that what is true is to be made out anew from those left.
	stored    func(e rmq.Entry)
	forgotten func(lost []rmq.Entry, acked []bool)
}

const dataQueues = 2

func (s *sim) newTopics() {
	s.truth.init(s)
	s.log = &topic{name: "cluster", stored: func(e rmq.Entry) { s.truth.observe(s, e) }, forgotten: func([]rmq.Entry, []bool) { s.truth.forget() }}
	s.config, s.position, s.offset = s.newStore("config"), s.newStore("position"), s.newStore("offset")
	for i := range dataQueues {
		s.data = append(s.data, &topic{name: queueName(i), stored: func(rmq.Entry) {},
			forgotten: func(lost []rmq.Entry, acked []bool) { s.flow.lost(i, lost, acked) }})
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
	if p.cut || s.down && s.rng.IntN(2) == 0 {
		s.at(s.latency, func() { reply(0, errUnreachable) })
		return
	}
	delay, lost := s.latency+s.slow+t.slow, false
	if s.rough {
		delay += s.random(30 * time.Millisecond)
		switch s.rng.IntN(25) {
		case 0:
			delay += s.random(10 * time.Second)
		case 1:
			lost = true
		case 2:
			s.at(delay+s.random(10*time.Second), func() { s.keep(t, entries, func(int64) {}) })
		}
	}
	s.at(delay, func() {
		s.keep(t, entries, func(first int64) {
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

// keep puts entries into a topic, once the broker is up.
func (s *sim) keep(t *topic, entries []rmq.Entry, stored func(first int64)) {
	if s.down {
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
	if slices.Contains(s.data, t) {
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

// lose is a broker that comes back without the newest records of a topic, acknowledged ones too. Their offsets are given
// out again. What is true from here on is what is left.
func (s *sim) lose(t *topic, n int) {
	kept := max(0, len(t.entries)-n)
	s.tracef("%s loses its tail from %d on, of %d", t.name, kept, len(t.entries))
	lost, acked := slices.Clone(t.entries[kept:]), slices.Clone(t.acked[kept:])
	t.entries, t.acked = slices.Clone(t.entries[:kept]), slices.Clone(t.acked[:kept])
	if t == s.log {
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
	p.conn = s.conn
	switch {
	case s.plant.blind || p.read == 0:
	case p.read > len(s.log.entries):
		s.tracef("%s starts over: log ends at %d and was read to %d", p.id, len(s.log.entries), p.read)
		s.bootstrap(p)
	default:
		p.read = max(p.first, p.read-goneOver)
	}
}

// goneOver is how many records a rmq.Log's Follow hands on again.
const goneOver = 64
