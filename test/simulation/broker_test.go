package simulation

import (
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// broker is one master on which some topics lie. A name server forgets it when it is away, at once or after a while.
type broker struct {
	name    string
	down    bool
	hung    bool // it takes connections and answers nothing
	shown   bool // by the name servers
	slow    time.Duration
	conn    int // another after each restart, for all who talk to it
	address int // another once a replica has taken over: what is on its way to the old one is lost
	queues  int // of the data topic
}

func (b *broker) answers() bool { return !b.down && !b.hung }

const (
	dataTopic    = "data"
	recheckEvery = 2 * time.Second // how often a task looks at the routes
	// maxQueues is up to how many queues the data topic grows.
	maxQueues = 5
)

// newBrokers: the data topic lies on the first two of three, the internal topics on any of them.
func (s *sim) newBrokers() {
	for _, name := range []string{"b0", "b1", "b2"} {
		s.brokers = append(s.brokers, &broker{name: name, shown: true})
	}
	s.home = s.brokers[0]
}

func (s *sim) broker(name string) *broker {
	if i := slices.IndexFunc(s.brokers, func(b *broker) bool { return b.name == name }); i >= 0 {
		return s.brokers[i]
	}
	return nil
}

// grow gives the data topic a queue more on a broker.
func (s *sim) grow(b *broker) {
	i := len(s.data)
	q := rmq.Queue{Topic: dataTopic, Broker: b.name, ID: b.queues}
	b.queues++
	s.data = append(s.data, &topic{name: q.String(), broker: b, queue: q, stored: func(e rmq.Entry) {
		if !s.quiet {
			s.flow.stored(i, e)
		}
	}, forgotten: func(lost []rmq.Entry, acked []bool) { s.flow.lost(i, lost, acked) }})
	s.flow.grow()
	s.tracef("the topic has %s", q)
}

func (s *sim) indexOf(q rmq.Queue) int {
	return slices.IndexFunc(s.data, func(t *topic) bool { return t.queue == q })
}

// shown is what the name servers show of the data topic.
func (s *sim) shown() []rmq.Queue {
	var out []rmq.Queue
	for _, t := range s.data {
		if t.broker.shown {
			out = append(out, t.queue)
		}
	}
	return out
}

// reaches reports whether p can talk to a topic.
func (s *sim) reaches(p *proc, t *topic) bool { return !p.cut && t.there() }

func (s *sim) setDown(b *broker, down bool) {
	s.tracef("%s down=%t", b.name, down)
	if b.hung = false; down && !b.down {
		b.conn++
	}
	b.down = down
	after := time.Duration(0)
	if s.rough && s.rng.IntN(2) == 0 {
		after = s.random(15 * time.Second)
	}
	if !down {
		after /= 10
	}
	show := func() {
		if b.down == down {
			b.shown = !down
		}
	}
	if after == 0 {
		show()
	} else {
		s.at(after, show)
	}
	s.wakeAll()
}

func (s *sim) hang(b *broker) {
	s.tracef("%s hangs", b.name)
	b.hung = true
}

// roll restarts all brokers one after another, each once the one before is back.
func (s *sim) roll(brokers []*broker, each time.Duration) {
	if len(brokers) == 0 {
		return
	}
	s.setDown(brokers[0], true)
	s.at(each, func() {
		s.setDown(brokers[0], false)
		s.at(each/2, func() { s.roll(brokers[1:], each) })
	})
}

// restartNameServers has them forget all; each broker reports again at a moment of its own.
func (s *sim) restartNameServers() {
	s.tracef("the name servers are restarted")
	for _, b := range s.brokers {
		b.shown = false
		s.at(s.random(5*time.Second), func() { b.shown = b.shown || !b.down })
	}
}

// failover has a replica take over after a while: under the same name, at another address, and without the newest
// records of each topic, up to so many.
func (s *sim) failover(b *broker, after time.Duration, most int) {
	s.tracef("%s fails over", b.name)
	s.setDown(b, true)
	s.at(after, func() {
		s.move(b)
		for _, t := range s.on(b) {
			if n := min(most, len(t.entries)/2); n > 0 {
				s.lose(t, 1+s.rng.IntN(n))
			}
		}
		s.setDown(b, false)
	})
}

// empty creates a broker again under its name, with nothing on it. The data topic is there again at once.
func (s *sim) empty(b *broker, after time.Duration) {
	s.tracef("%s is recreated, empty", b.name)
	s.setDown(b, true)
	s.at(after, func() {
		s.move(b)
		for _, t := range s.on(b) {
			s.lose(t, len(t.entries))
			t.missing = t.queue.Topic == ""
		}
		s.setDown(b, false)
	})
}

// move gives a broker another address: all who talk to it reconnect.
func (s *sim) move(b *broker) {
	b.address++
	b.conn++
}

func (s *sim) on(b *broker) []*topic {
	return slices.DeleteFunc(s.topics(), func(t *topic) bool { return t.broker != b })
}

// ensure has p create each internal topic on its broker, once that one has said for longer than a session that it is
// not there. Each time that it says so counts for a piece at most.
//
// Invariant C2: by then no lease is left of what the log held.
func (s *sim) ensure(p *proc) {
	session := time.Duration(s.terms.TimeoutMS) * time.Millisecond
	now := s.time(p).Boot
	piece := min(now-p.asked, session/10)
	p.asked = now
	if s.plant.elsewhere && p.log == s.log && !p.cut && !p.log.there() {
		if p.away += piece; p.away > session {
			s.createElsewhere(p)
		}
		return
	}
	for i, t := range s.internal {
		switch {
		case p.cut || !t.broker.answers() || !t.missing:
			p.absent[i] = 0
		case s.rough && s.rng.IntN(4) == 0: // nobody asked
		default:
			if p.absent[i] += piece; p.absent[i] > session {
				s.tracef("%s creates the %s topic on %s", p.id, t.name, t.broker.name)
				t.missing = false
				if t == s.log {
					s.anew++
				}
			}
		}
	}
}

// createElsewhere is what must not be: a second log on another broker.
func (s *sim) createElsewhere(p *proc) {
	i := slices.IndexFunc(s.brokers, func(b *broker) bool { return b.answers() && b != s.home })
	if i < 0 {
		return
	}
	if s.second == nil {
		s.second = &topic{name: "cluster", broker: s.brokers[i], stored: func(rmq.Entry) {}, forgotten: func([]rmq.Entry, []bool) {}}
	}
	p.log = s.second
	p.m.GiveUp(s.time(p))
	s.bootstrap(p, member.FromSnapshot)
}
