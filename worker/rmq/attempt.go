package rmq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/lane"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// noTopic is the topic after which a broker would model one that it does not have: there is none, so it creates
// nothing.
const noTopic = "__none__"

// outgoing is an encoded batch of n messages.
type outgoing struct {
	members []byte
	n       int
	born    int64 // ms; 0: now
	// wrote is told when the last byte had been written; nil: nobody is.
	wrote func(time.Time)
	patience
}

// send stores a batch on one queue and returns its first offset. A batch of one goes as a single message. Its patience
// says when the request is over, one way or the other.
func (c *Client) send(ctx context.Context, q Queue, purpose string, o outgoing) (first int64, err error) {
	if o.born == 0 {
		o.born = time.Now().UnixMilli()
	}
	r := request{op: "sending to " + q.Topic, purpose: purpose, timeout: c.cfg.SendTimeout}
	r.cmd = remoting.Command{Code: remoting.SendBatch, Body: o.members}
	properties, batch := "", "true"
	if o.n == 1 {
		body, wire, _, err := remoting.Member(o.members)
		if err != nil {
			return 0, err
		}
		r.cmd.Code, r.cmd.Body = remoting.SendMessageV2, body
		properties, batch = string(wire), "false"
	}
	r.cmd.Fields = append(make([]remoting.Field, 0, 17), // three more when signed
		remoting.Field{Name: "a", Value: c.cfg.ClientID},
		remoting.Field{Name: "b", Value: c.onWire(q.Topic)},
		remoting.Field{Name: "c", Value: noTopic},
		remoting.Field{Name: "d", Value: "0"},
		remoting.Field{Name: "e", Value: strconv.Itoa(q.ID)},
		remoting.Field{Name: "f", Value: "0"},
		remoting.Field{Name: "g", Value: strconv.FormatInt(o.born, 10)},
		remoting.Field{Name: "h", Value: "0"},
		remoting.Field{Name: "i", Value: properties},
		remoting.Field{Name: "j", Value: "0"},
		remoting.Field{Name: "k", Value: "false"},
		remoting.Field{Name: "l", Value: "0"},
		remoting.Field{Name: "m", Value: batch},
		remoting.Field{Name: "n", Value: q.Broker},
	)
	began, end := o.begin(ctx, c, q, &r)
	defer end()
	resp, err := c.onQueue(began, q, &r)
	if o.wrote != nil && !r.cmd.Written.IsZero() {
		o.wrote(r.cmd.Written)
	}
	if err != nil {
		return 0, o.explain(err)
	}
	if first, err = resp.Int("queueOffset"); err != nil {
		return 0, fmt.Errorf("%s: %w", r.op, err)
	}
	return first, nil
}

// lateWithin is for how long the answer to a batch is waited for in all. Brokers whose slaves do not confirm answer
// after their slaveTimeout, and after syncFlushTimeout where the disk does not: 3 s and 5 s by default.
const lateWithin = 30 * time.Second

// gateFresh is how old the gate's word may be: if it took longer, the lane was held up and asks again.
const gateFresh = 20 * time.Millisecond

// patience is how long a batch waits for its answer. A broker that is slow to answer has stored it as a rule, and
// stores it once more if it is sent again; one that hangs has not. So it waits for SendTimeout from when the gate was
// asked; and for as long again, each time that this is over, if the broker meanwhile answered another request on the
// same connection and the gate says yes at once.
//
// Invariant C2: the connection is reset at the latest SendTimeout after the gate was last asked and said yes. What is
// without a gate may be stored late and twice by its nature (logs): its connection is reset only where the broker does
// not answer on it.
type patience struct {
	gate  func(context.Context) error // nil: there is none
	asked time.Time                   // the gate, or when it began
	late  func()                      // told when the first SendTimeout is over and the wait goes on; nil: nobody is

	c      *Client
	q      Queue
	r      *request
	base   context.Context
	begun  time.Time
	cancel context.CancelFunc // of the wait that goes on
	stage  stage
	works  *atomic.Bool // the broker answered another request since the gate was asked
}

// stage is how far an attempt has got within one SendTimeout.
type stage int

const (
	unwritten stage = iota
	awaited
	looking // whether the connection works
)

// begin gives the context of the request, and its end. base ends the wait at once.
func (p *patience) begin(base context.Context, c *Client, q Queue, r *request) (context.Context, context.CancelFunc) {
	p.c, p.q, p.r, p.base, p.begun, p.works = c, q, r, base, time.Now(), new(atomic.Bool)
	if p.gate == nil {
		p.asked = p.begun
	}
	r.cmd.Longer, r.cmd.Reset, p.cancel = p.longer, p.gate != nil, func() {}
	ctx, cancel := context.WithDeadline(base, p.over())
	return ctx, func() { cancel(); p.cancel() }
}

// over is when the attempt is over unless more time is allowed.
func (p *patience) over() time.Time { return p.asked.Add(p.c.cfg.SendTimeout) }

// longer is called when the batch was written, and whenever the wait that it gave is over.
func (p *patience) longer() (context.Context, bool) {
	if p.stage == looking {
		p.r.cmd.Spared = p.works.Load()
	}
	switch {
	case p.base.Err() != nil:
		return nil, false
	case p.stage == unwritten:
		return p.wait(awaited, p.c.cfg.SendTimeout/2), true
	case p.stage == awaited && p.gate == nil:
		return p.look(p.wait(looking, p.c.cfg.SendTimeout))
	case p.stage == awaited: // so that it is over in time whatever the gate says
		return p.look(p.wait(looking, p.c.cfg.SendTimeout-gateFresh))
	}
	if !p.works.Load() || time.Since(p.begun)+p.c.cfg.SendTimeout > lateWithin || !p.allowed() {
		return nil, false
	}
	if p.late != nil {
		p.late()
	}
	p.works.Store(false)
	return p.wait(awaited, p.c.cfg.SendTimeout/2), true
}

// wait gives a context that ends some time after the gate was asked.
func (p *patience) wait(s stage, d time.Duration) (ctx context.Context) {
	p.cancel()
	p.stage = s
	ctx, p.cancel = context.WithDeadline(p.base, p.asked.Add(d))
	return ctx
}

// look has the broker asked something else on the connection, which its answer says works. It is not cut off when the
// batch is answered meanwhile: that would cost the connection.
func (p *patience) look(wait context.Context) (context.Context, bool) {
	works, q, addr, purpose := p.works, p.q, p.r.addr, p.r.purpose
	until, _ := wait.Deadline()
	return wait, p.c.background(func(ctx context.Context) {
		if p.c.masters.Addr(q.Broker) != addr {
			return // the master has moved, and the connection is gone
		}
		ctx, cancel := context.WithDeadline(ctx, until)
		defer cancel()
		_, err := p.c.call(ctx, &request{
			op: "looking whether " + q.Broker + " answers", addr: addr, purpose: purpose,
			cmd: remoting.Command{Code: remoting.MaxOffset, Fields: p.c.queueFields(q), Spared: true, Connected: true},
		})
		if err == nil || errors.As(err, new(*BrokerError)) {
			works.Store(true)
		}
	})
}

// allowed asks the gate for more time.
func (p *patience) allowed() bool {
	now := time.Now()
	if p.gate != nil {
		ctx, cancel := context.WithDeadline(p.base, p.over())
		defer cancel()
		if p.gate(ctx) != nil || time.Since(now) > gateFresh {
			return false
		}
	}
	p.asked = now
	return true
}

// explain says what became of a batch that has no good answer.
func (p *patience) explain(err error) error {
	took, though := time.Since(p.begun).Round(100*time.Millisecond), ""
	if p.works.Load() {
		though = ", though it answers other requests"
	}
	switch {
	case errors.Is(err, ErrUnconfirmed):
		return fmt.Errorf("broker %s stored it, and %s within %s: %w", p.q.Broker, unconfirmed(err), took, err)
	case !errors.Is(err, context.DeadlineExceeded):
		return err
	case p.base.Err() != nil:
		return fmt.Errorf("%s: broker %s: no answer in %s%s: %w", p.r.op, p.q.Broker, took, though, context.Cause(p.base))
	}
	return fmt.Errorf("%s: broker %s %w: no answer in %s%s", p.r.op, p.q.Broker, ErrUnreachable, took, though)
}

// unconfirmed says who has not confirmed what the broker stored.
func unconfirmed(err error) string {
	var b *BrokerError
	if errors.As(err, &b) && b.Code == remoting.FlushDiskTimeout {
		return "its disk has not confirmed it"
	}
	return "no slave has confirmed it"
}

// connection is how a lane reaches its queue.
type connection struct {
	c       *Client
	q       Queue
	purpose string
	gate    func(ctx context.Context) error
	onBatch func(records, bytes int, took time.Duration, err error)
	wrote   func(time.Time)
}

// Send asks the gate and sends the batch. Invariant C2: the attempt is over SendTimeout after the gate was last asked
// and said yes.
func (n *connection) Send(ctx context.Context, b *lane.Batch, late func()) lane.Answer {
	var asked time.Time
	for asked.IsZero() || time.Since(asked) > gateFresh {
		asked = time.Now()
		if err := n.gate(ctx); err != nil {
			return n.answer(0, fmt.Errorf("sending to %s: %w", n.q.Topic, err))
		}
	}
	members, records, born := b.Encoded()
	first, err := n.c.send(ctx, n.q, n.purpose, outgoing{
		members: members, n: records, born: born, wrote: n.wrote, patience: patience{gate: n.gate, asked: asked, late: late},
	})
	n.onBatch(records, len(members), time.Since(asked), err)
	return n.answer(first, err)
}

func (n *connection) answer(first int64, err error) lane.Answer {
	if err == nil {
		return lane.Answer{First: first}
	}
	a := lane.Answer{Err: err, Repeats: errors.Is(err, ErrUnconfirmed)}
	switch {
	case errors.Is(err, ErrTooLarge):
		a.Kind = lane.TooLarge
	case n.misplaced(err):
		a.Kind = lane.Gone
	case !IsTemporary(err):
		a.Kind = lane.Never
	}
	return a
}

// misplaced says whether the queue may be gone. A 4.9 broker answers for a queue that was taken away as it does for any
// trouble (SystemError): then the route that is looked up every now and again tells.
func (n *connection) misplaced(err error) bool {
	if errors.Is(err, ErrTopicNotFound) || errors.Is(err, errNoMaster) || errors.Is(err, errNoTopic) {
		return true
	}
	if b := (*BrokerError)(nil); errors.As(err, &b) && (b.readOnly() || b.noQueue()) {
		return true
	}
	r := n.c.routes.known(n.q.Topic)
	return IsTemporary(err) && r != nil && !slices.Contains(r.writable, n.q)
}
