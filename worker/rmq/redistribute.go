package rmq

import (
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/lane"
	"github.com/rocketmq-connect/operator/worker/rmq/redistribute"
	"github.com/rocketmq-connect/operator/worker/rmq/room"
)

// GivenUpAfter is for how long a broker that is there must let nobody write to a queue before what is bound to it
// goes to others.
const GivenUpAfter = redistribute.GivenUpAfter

// outlet is a queue as its Sender sees it: the lane that leads there, and what that has reported. Its exported
// methods are those of lane.Owner: all reports come in by them, on the goroutine of the lane, which holds no lock
// meanwhile.
//
// Lock order: under a Sender's mu, and under a route cache's, no other lock is taken. Under a lane's mu only those of
// parts of the room are, one at a time. Who hands records over holds none, and takes the mu of the lane that gets
// them: two lanes may hand over to each other.
type outlet struct {
	s    *Sender
	q    Queue
	lane *lane.Lane
	part *room.Part
	// shunned is until when, since the sender's start, messages that may go anywhere go elsewhere.
	shunned atomic.Int64
	// doubt is about the batch in hand. Only the lane's goroutine uses it.
	doubt redistribute.Doubt
}

// shunTime is how long a lane is left alone after it failed.
const shunTime = 3 * time.Second

func (o *outlet) shun() { o.shunned.Store(int64(time.Since(o.s.start) + shunTime)) }

func (o *outlet) fails() bool {
	until := o.shunned.Load()
	return until != 0 && time.Since(o.s.start) < time.Duration(until)
}

// Confirmed has the queue take messages that may go anywhere again.
func (o *outlet) Confirmed() { o.shunned.Store(0) }

// Late has them go elsewhere for a while.
func (o *outlet) Late() { o.shun() }

// Settled ends the doubt about a batch with the batch.
func (o *outlet) Settled() { o.doubt = redistribute.Doubt{} }

// BrokerAway moves the messages that may go to any queue to lanes that work, if there are any.
func (o *outlet) BrokerAway(b *lane.Batch, _ error) {
	o.shun()
	if _, free := rules(b); free == 0 || !o.s.otherWorks(o) {
		return
	}
	if r, err := o.s.c.routes.get(o.s.ctx, o.s.c, o.q.Topic); err == nil {
		o.move(b, redistribute.MoveFree, r)
	}
}

// QueueGone asks where the queue went that its broker does not know or lets nobody write to, or whose broker is not
// in the route any more, and does what is decided then.
func (o *outlet) QueueGone(b *lane.Batch, why error) error {
	c := o.s.c
	r, err := c.fetchRoute(o.s.ctx, o.q.Topic)
	if err != nil && !errors.Is(err, ErrTopicNotFound) {
		return nil
	}
	if r != nil && r.away(o.q.Topic) == nil {
		c.routes.put(o.q.Topic, r)
	}
	before := o.doubt
	fate, doubt := redistribute.Judge(o.sight(r, why), before, time.Now(), c.cfg.LogGone)
	o.doubt = doubt
	switch fate {
	case redistribute.Wait:
	case redistribute.Fail:
		return err
	case redistribute.Remake:
		o.remake(r, before.Denied)
	default:
		o.move(b, fate, r)
	}
	return nil
}

// sight is the queue as a route shows it, nil if no name server knows one, and as the answer of its broker does.
func (o *outlet) sight(r *route, why error) redistribute.Sight {
	s := redistribute.Sight{
		Unknown: r == nil,
		There:   r.has(o.q.Broker) || o.s.c.masters.Listed(o.q.Broker),
		Denied:  errors.Is(why, ErrTopicNotFound) && !o.s.c.isNameServer(why),
	}
	if r != nil {
		s.Shown = slices.Contains(r.writable, o.q)
		s.Others = len(r.writable) > 0 && !s.Shown
	}
	if b := (*BrokerError)(nil); errors.As(why, &b) {
		s.Fewer = b.noQueue()
	}
	return s
}

// move hands messages over to the lanes of a route; the batch keeps the others, and those that no lane takes.
func (o *outlet) move(b *lane.Batch, f redistribute.Fate, r *route) {
	outlets := o.s.outletsOf(o.q.Topic, r)
	if len(outlets) == 0 {
		return
	}
	records, free := rules(b)
	to := redistribute.Share(records, f, redistribute.Places{
		From: slices.Index(outlets, o), Instead: redistribute.Instead(o.q.Broker, o.q.ID, len(outlets)),
		Failing: failing(outlets), Turn: o.s.turn.Add(free) - free,
	})
	next := 0
	b.Take(func(member []byte, m lane.Record) bool {
		at := to[next]
		next++
		return at != redistribute.Stays && outlets[at].lane.Adopt(member, m, o.part)
	})
}

// rules is where the messages of a batch may go, and how many of them may go to any queue.
func rules(b *lane.Batch) (records []redistribute.Record, free uint64) {
	for m := range b.All() {
		if records = append(records, redistribute.Record{Bound: m.Bound, Movable: m.Movable}); !m.Bound {
			free++
		}
	}
	return records, free
}

func failing(outlets []*outlet) []bool {
	out := make([]bool, len(outlets))
	for i, o := range outlets {
		out[i] = o.fails()
	}
	return out
}

// remake makes the topic again on the queue's broker, which has denied it since a time.
func (o *outlet) remake(r *route, since time.Time) {
	c, q := o.s.c, o.q
	queues := 0
	for _, shown := range r.writable {
		if shown.Broker == q.Broker {
			queues++
		}
	}
	c.log.Info("Making a topic again that its broker does not have though the name server shows it there", "topic", q.Topic,
		"broker", q.Broker, "queues", queues, "since", since.UTC().Format(time.RFC3339))
	broker := Broker{Name: q.Broker, Addr: r.addrs[q.Broker]}
	if err := c.createTopic(o.s.ctx, broker, q.Topic, TopicSpec{Queues: queues}); err != nil {
		c.log.Info("Making a topic again failed; retrying", "topic", q.Topic, "broker", q.Broker, "err", err.Error())
	}
}

// isNameServer says whether an answer came from a name server.
func (c *Client) isNameServer(err error) bool {
	var b *BrokerError
	return errors.As(err, &b) && slices.Contains(c.cfg.NameServers, b.Addr)
}
