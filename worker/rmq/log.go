package rmq

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/member"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// readAtOnce is how many records a log asks for; brokers give fewer by their own limits.
const readAtOnce = 256

// Log is a totally ordered log: a topic of one queue on one broker, read from its master. It is safe for concurrent use.
type Log struct {
	c      *Client
	q      Queue
	unread Failing
}

// Log uses a queue as a log. EnsureLogTopic gives the queue.
func (c *Client) Log(q Queue) *Log { return &Log{c: c, q: q} }

// Unread says what keeps Follow from reading on, if anything does.
func (l *Log) Unread() (Trouble, bool) {
	t, _, ok := l.unread.Trouble()
	return t, ok
}

// shape verifies that the route still is this one queue.
func (l *Log) shape(ctx context.Context) error {
	r, err := l.c.routes.get(ctx, l.c, l.q.Topic)
	if err != nil {
		return err
	}
	if err := logShape(l.q.Topic, r); err != nil {
		return err
	}
	if r.queues[0] != l.q {
		return fmt.Errorf("%w: topic %s is now %s and was %s", ErrTopicMoved, l.q.Topic, r.queues[0], l.q)
	}
	return nil
}

// Append stores the entries as one batch, in order, within the client's SendTimeout, and returns the first one's offset;
// the others follow it without gaps. Their Offset and StoredAt are ignored. After an error the batch may have been
// stored all the same.
func (l *Log) Append(ctx context.Context, entries ...Entry) (first int64, err error) {
	if len(entries) == 0 {
		return 0, errors.New("appending to a log: no entries")
	}
	if err := l.shape(ctx); err != nil {
		return 0, fmt.Errorf("appending to %s: %w", l.q.Topic, err)
	}
	var wire []byte
	var keys [1]Property
	for i := range entries {
		properties := keys[:0]
		if entries[i].Key != "" {
			properties = append(properties, Property{Name: member.PropertyKeys, Value: entries[i].Key})
		}
		if wire, err = member.Append(wire, properties, entries[i].Value, &l.c.ids); err != nil {
			return 0, fmt.Errorf("appending to %s: entry %d (key %q): %w", l.q.Topic, i, entries[i].Key, err)
		}
	}
	if first, err = l.c.send(ctx, l.q, forAppend, outgoing{members: wire, n: len(entries)}); err != nil {
		return 0, fmt.Errorf("appending to %s: %w", l.q.Topic, err)
	}
	l.c.appended(l.q, first)
	return first, nil
}

// tailLag is how long after an append of the same client a tail may take to see the record before its long poll counts as
// lost. A lease hangs on reading one's own heartbeats back: it cannot wait for a poll of 15 s to time out.
const tailLag = time.Second

// longestUnread is the longest pause before a broker that is away is asked again for a log: leases, and so all tasks, wait for it.
const longestUnread = 500 * time.Millisecond

// follower is a Follow on its way, as the appends of the same client see it.
type follower struct {
	seen atomic.Int64 // where it goes on
	poll atomic.Pointer[poll]
}

// poll is a pull that waits.
type poll struct {
	begun time.Time
	stop  context.CancelCauseFunc
}

// appended has the tails of the queue checked later.
func (c *Client) appended(q Queue, offset int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f := range c.followers[q] {
		time.AfterFunc(tailLag, func() { f.check(offset) })
	}
}

// check resets the connection of a poll that should have seen the offset.
func (f *follower) check(offset int64) {
	if f.seen.Load() > offset {
		return
	}
	// A tail that is busy catching up pulls again and again.
	if p := f.poll.Load(); p != nil && time.Since(p.begun) >= tailLag {
		p.stop(context.DeadlineExceeded)
	}
}

func (c *Client) follow(q Queue, f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.followers[q] == nil {
		c.followers[q] = map[*follower]struct{}{}
	}
	c.followers[q][f] = struct{}{}
}

func (c *Client) unfollow(q Queue, f *follower) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if delete(c.followers[q], f); len(c.followers[q]) == 0 {
		delete(c.followers, q)
	}
}

// Bounds are the log's first offset and the one after its last record.
func (l *Log) Bounds(ctx context.Context) (min, max int64, err error) {
	return l.c.offsets(ctx, l.q, forAppend)
}

// holds is nil if the log holds the offset or ends there, and ErrTruncated if it does not.
func (l *Log) holds(ctx context.Context, offset int64) error {
	return l.c.holds(ctx, l.q, offset, forAppend)
}

func (c *Client) holds(ctx context.Context, q Queue, offset int64, purpose string) error {
	wait := backoff{first: 10 * time.Millisecond, last: 100 * time.Millisecond}
	for asked := time.Now(); ; {
		min, max, err := c.offsets(ctx, q, purpose)
		switch {
		case err != nil:
			return err
		case offset < min || offset > max && time.Since(asked) > indexLag:
			return fmt.Errorf("%w: %d of %s, which is from %d to %d", ErrTruncated, offset, q, min, max)
		case offset <= max:
			return nil
		}
		if err := wait.wait(ctx); err != nil {
			return err
		}
	}
}

// Read calls fn with each record from offset from to the end as it was at the call, and returns where it stopped: where
// to go on after an error, temporary ones included. fn's error is returned as it is. Compaction leaves gaps.
func (l *Log) Read(ctx context.Context, from int64, fn func(Entry) error) (next int64, err error) {
	if err := l.shape(ctx); err != nil {
		return from, fmt.Errorf("reading %s: %w", l.q.Topic, err)
	}
	if err := l.holds(ctx, from); err != nil {
		return from, fmt.Errorf("reading %s: %w", l.q.Topic, err)
	}
	_, end, err := l.Bounds(ctx)
	if err != nil {
		return from, fmt.Errorf("reading %s: %w", l.q.Topic, err)
	}
	wait := backoff{first: 5 * time.Millisecond, last: 200 * time.Millisecond}
	pulls := ahead{end: end, pull: func(ctx context.Context, offset int64) (pulled, error) {
		return intact(l.c.pull(ctx, pullRequest{queue: l.q, group: logGroup, offset: offset, max: readAtOnce, purpose: forRead}))
	}}
	pulling, cancel := context.WithCancel(ctx)
	defer pulls.group.Wait()
	defer cancel()
	for next = from; next < end; {
		p, err := pulls.next(pulling, next)
		if err != nil {
			return next, err
		}
		if p.code == remoting.Success {
			wait.reset()
			if next, err = deliver(p, next, end, fn); err != nil {
				return next, err
			}
			continue
		}
		if p.code == remoting.PullOffsetMoved {
			if err := l.holds(ctx, next); err != nil {
				return next, fmt.Errorf("reading %s: %w", l.q.Topic, err)
			}
		}
		if err := wait.wait(ctx); err != nil {
			return next, err
		}
	}
	return next, nil
}

// deliver hands on what was pulled below end and returns where to go on.
func deliver(p pulled, next, end int64, fn func(Entry) error) (int64, error) {
	for i := range p.messages {
		m := &p.messages[i]
		if m.Offset < next {
			continue
		}
		if m.Offset >= end {
			return end, nil
		}
		key, _ := m.Property(member.PropertyKeys)
		if err := fn(Entry{Offset: m.Offset, Key: key, Value: m.Body, StoredAt: m.StoredAt}); err != nil {
			return next, err
		}
		next = m.NextOffset
	}
	return min(max(next, p.next), end), nil
}

// Follow calls fn with each record from offset from on, as they come, until ctx ends, fn fails, the log turns out not to
// hold the offset (ErrTruncated), or it is no longer one queue (ErrTopicShape) on this broker (ErrTopicMoved). Anything else, such as a
// broker that restarts or moves, it outlives. After each reconnect to the broker, and after each answer but "found" and
// "nothing new", it hands the last records on again as the log holds them by then, before any that follow: so fn can notice
// that records which it was handed have been lost and their offsets given out again. Several, for a record that was appended
// twice may by chance be at its old offset again, after others than before. What lies between from and known was handed to
// fn earlier: a log that ends before known does not hold it.
func (l *Log) Follow(ctx context.Context, from, known int64, fn func(Entry) error) error {
	t := &following{Log: l, next: from, fn: fn, known: known, first: from, last: none, bare: none, wait: backoff{first: 20 * time.Millisecond, last: longestUnread}}
	l.c.follow(l.q, &t.follower)
	defer l.c.unfollow(l.q, &t.follower)
	defer l.unread.Worked() // from here on it is for the caller to tell
	for {
		t.seen.Store(t.next)
		err := t.step(ctx)
		switch {
		case t.failed != nil:
			return t.failed
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case err == nil:
			t.recovered()
			continue
		case errors.Is(err, ErrTruncated) || errors.Is(err, ErrTopicShape) || errors.Is(err, ErrTopicMoved) || errors.Is(err, ErrClosed):
			return fmt.Errorf("following %s: %w", l.q.Topic, err)
		}
		t.goBack()
		t.struggling(err)
		if err := t.wait.wait(ctx); err != nil {
			return err
		}
	}
}

// following is one Follow on its way.
type following struct {
	*Log
	follower
	next   int64
	fn     func(Entry) error
	failed error // fn's
	wait   backoff
	down   string // the trouble that was logged last

	first int64 // the offset that it began with
	last  int64 // the offset that was handed on last, or none
	known int64 // the log reached as far as this
	conn  int64 // the connection on which the log was found to hold it, or none
	back  bool  // next is where it went back to
	bare  int64 // where a pull that did not wait found nothing, or none
}

const (
	none = -1
	// goneOver is how many records are handed on again.
	goneOver = 64
)

// goBack has the records that were handed on last read again.
func (t *following) goBack() {
	if t.last != none {
		t.next, t.conn, t.back, t.bare = max(t.first, t.last-goneOver+1), none, true, none
	}
}

// elsewhere reports that an answer came on another connection than those before: it counts only if it begins with what
// was handed on before.
func (t *following) elsewhere(p pulled) bool {
	if t.last == none || p.conn == t.conn || t.back {
		t.conn, t.back = p.conn, false
		return false
	}
	t.goBack()
	return true
}

// noEnd is an end that no log reaches.
const noEnd = 1<<63 - 1

var errNothing = errors.New("the broker gave nothing though the log holds the offset")

func (t *following) step(ctx context.Context) error {
	if err := t.shape(ctx); err != nil {
		return err
	}
	p, err := t.pull(ctx)
	if errors.Is(err, ErrTopicNotFound) && errors.As(err, new(*BrokerError)) {
		return fmt.Errorf("%w: its broker no longer has it: %w", ErrTopicShape, err)
	}
	if err != nil {
		return err
	}
	if t.elsewhere(p) {
		return nil
	}
	switch p.code {
	case remoting.Success:
		t.next, t.failed = deliver(p, t.next, noEnd, t.hand)
		return nil
	case remoting.PullNotFound:
		if reach := max(t.next, t.known); p.max < reach { // the end is behind us: only records that are not in the index yet excuse it
			return t.holds(ctx, reach)
		}
		t.bare = t.next
		return nil
	}
	// A corrected offset is never followed blindly: what lies between would be lost in silence.
	if err := t.holds(ctx, t.next); err != nil {
		return err
	}
	return errNothing
}

func (t *following) hand(e Entry) error {
	err := t.fn(e)
	if err == nil {
		t.last, t.known = max(t.last, e.Offset), max(t.known, e.Offset+1)
	}
	return err
}

// pull waits for something new, or until a check finds that it is stuck. It does not wait while it goes over what was handed
// on before: a log that has lost its end would have nothing new until somebody appends. It does where the broker does not
// find what its index says it has.
func (t *following) pull(ctx context.Context) (pulled, error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	t.poll.Store(&poll{begun: time.Now(), stop: stop})
	defer t.poll.Store(nil)
	hold := (t.next >= t.known || t.next == t.bare) && t.down == "" // after trouble an answer shows that it is over
	return intact(t.c.pull(ctx, pullRequest{queue: t.q, group: logGroup, offset: t.next, max: readAtOnce, hold: hold, purpose: forFollow}))
}

func (t *following) struggling(err error) {
	t.unread.Failed(time.Now(), err)
	if kind := trouble(err); kind != t.down {
		t.down = kind
		t.c.log.Info("Trying again to read log", "topic", t.q.Topic, "offset", t.next, "err", err.Error())
	}
}

func (t *following) recovered() {
	t.wait.reset()
	if t.down != "" {
		t.down = ""
		t.unread.Worked()
		t.c.log.Info("Reading log again", "topic", t.q.Topic, "offset", t.next)
	}
}
