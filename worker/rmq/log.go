package rmq

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// readAtOnce is how many records a log asks for; brokers give fewer by their own limits.
const readAtOnce = 256

// Log is a totally ordered log: a topic of one queue on one broker, read from its master. It is safe for concurrent
// use.
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
		l.c.routes.suspect(l.q.Topic) // a permission that is given back is to be seen at the next try, not when the route is old
		return err
	}
	if r.queues[0] != l.q {
		return fmt.Errorf("%w: topic %s is now %s and was %s", ErrTopicMoved, l.q.Topic, r.queues[0], l.q)
	}
	return nil
}

// Append stores the entries as one batch, in order, within the client's SendTimeout, and returns the first one's
// offset; the others follow it without gaps. Of each, Key and Value are stored. After an error the batch may have been
// stored all the same.
func (l *Log) Append(ctx context.Context, entries ...Entry) (first int64, err error) {
	if len(entries) == 0 {
		return 0, errors.New("appending to a log: no entries")
	}
	if err := l.shape(ctx); err != nil {
		return 0, fmt.Errorf("appending to %s: %w", l.q.Topic, err)
	}
	var wire []byte
	var room [2]Property
	for i := range entries {
		properties := append(room[:0], encode.LogMark(l.q.Topic))
		if entries[i].Key != "" {
			properties = append(properties, Property{Name: encode.Keys, Value: entries[i].Key})
		}
		if wire, err = encode.Member(wire, properties, entries[i].Value, &l.c.ids); err != nil {
			return 0, fmt.Errorf("appending to %s: entry %d (key %q): %w", l.q.Topic, i, entries[i].Key, err)
		}
	}
	if first, err = l.c.send(ctx, l.q, forAppend, outgoing{members: wire, n: len(entries)}); err != nil {
		return 0, fmt.Errorf("appending to %s: %w", l.q.Topic, err)
	}
	l.c.appended(l.q, first)
	return first, nil
}

// tailLag is how long after an append of the same client a tail may take to see the record before its long poll counts
// as lost. A lease hangs on reading one's own heartbeats back: it cannot wait for a poll of 15 s to time out.
const tailLag = time.Second

// longestUnread is the longest pause before a broker that is away is asked again for a log: leases, and so all tasks,
// wait for it.
const longestUnread = 500 * time.Millisecond

// Bounds are the log's first offset and the one after its last record.
func (l *Log) Bounds(ctx context.Context) (min, max int64, err error) {
	return l.c.offsets(ctx, l.q, forAppend)
}

// holds is nil if the log holds the offset or ends there, and ErrTruncated if it does not.
func (l *Log) holds(ctx context.Context, offset int64) error {
	return l.c.holds(ctx, l.q, offset, forAppend)
}

func (c *Client) holds(ctx context.Context, q Queue, offset int64, purpose string) error {
	var wait backoff.Doubling
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
		if err := service.Sleep(ctx, wait.Next(10*time.Millisecond, 100*time.Millisecond)); err != nil {
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
	var wait backoff.Doubling
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
			wait.Reset()
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
		if err := service.Sleep(ctx, wait.Next(5*time.Millisecond, 200*time.Millisecond)); err != nil {
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
		key, _ := m.Property(encode.Keys)
		if err := fn(
			Entry{Offset: m.Offset, Key: key, Value: m.Body, StoredAt: m.StoredAt, Stray: encode.Stray(m.Properties, m.Queue.Topic)},
		); err != nil {
			return next, err
		}
		next = m.NextOffset
	}
	return min(max(next, p.next), end), nil
}

// Follow calls fn with each record from offset from on, as they come, until ctx ends, fn fails, the log turns out not
// to hold the offset (ErrTruncated), or it is no longer one queue (ErrTopicShape) on this broker (ErrTopicMoved).
// Anything else, such as a broker that restarts or moves, it outlives. After each reconnect to the broker, after each
// answer but "found" and "nothing new", and after a second or more without a record, it hands the last records on again
// as the log holds them by then, before any that follow: so fn can notice that records which it was handed have been
// lost and their offsets given out again. Several, for a record that was appended twice may by chance be at its old
// offset again, after others than before. What lies between from and known was handed to fn earlier: a log that ends
// before known does not hold it.
func (l *Log) Follow(ctx context.Context, from, known int64, fn func(Entry) error) error {
	t := &following{Log: l, next: from, fn: fn, known: known, first: from, last: none, bare: none}
	l.c.follow(l.q, &t.follower)
	defer l.c.unfollow(l.q, &t.follower)
	defer l.unread.Worked() // from here on it is for the caller to tell
	defer l.c.watched()()
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
		if err := service.Sleep(ctx, t.wait.Next(20*time.Millisecond, longestUnread)); err != nil {
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
	wait   backoff.Doubling
	down   string // the trouble that was logged last

	first int64 // the offset that it began with
	last  int64 // the offset that was handed on last, or none
	known int64 // the log reached as far as this
	conn  int64 // the connection on which the log was found to hold it, or none
	back  bool  // next is where it went back to
	bare  int64 // where a pull that did not wait found nothing, or none

	recent []handed // the last lookedOver ones
}

// handed is a record that was handed on, by its sum: a broker takes records of megabytes.
type handed struct {
	offset   int64
	storedAt time.Time
	sum      uint64
}

var sums = maphash.MakeSeed()

const (
	none = -1
	// lookedOver is how many records are compared after a pull that waited for long.
	lookedOver = 8
)

// GoneOver is how many of the records that it was handed last whoever follows a Log is handed again after a reconnect.
const GoneOver = 64

// goBack has the records that were handed on last read again.
func (t *following) goBack() {
	if t.last != none {
		t.next, t.conn, t.back, t.bare = max(t.first, t.last-GoneOver+1), none, true, none
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

// outwaited reports that a pull waited for long for what it found: the broker goes on holding it when the topic is
// recreated, and answers once the new one has grown past it. It counts only if the log still holds what was handed on
// last; that is compared here, for who is handed records again takes it for a reconnect.
func (t *following) outwaited(ctx context.Context, p pulled, since time.Time) (bool, error) {
	if len(t.recent) == 0 || t.next < t.known || p.code != remoting.Success || time.Since(since) < tailLag {
		return false, nil
	}
	now, err := intact(
		t.c.pull(ctx, pullRequest{queue: t.q, group: logGroup, offset: t.recent[0].offset, max: lookedOver, purpose: forFollow}),
	)
	if err != nil {
		return true, err
	}
	held := map[int64]*Received{}
	for i := range now.messages {
		held[now.messages[i].Offset] = &now.messages[i]
	}
	for _, h := range t.recent {
		if m := held[h.offset]; m == nil || !m.StoredAt.Equal(h.storedAt) || maphash.Bytes(sums, m.Body) != h.sum {
			t.goBack()
			return true, nil
		}
	}
	return false, nil
}

// noEnd is an end that no log reaches.
const noEnd = 1<<63 - 1

var errNothing = errors.New("the broker gave nothing though the log holds the offset")

func (t *following) step(ctx context.Context) error {
	if err := t.shape(ctx); err != nil {
		return err
	}
	begun := time.Now()
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
	if again, err := t.outwaited(ctx, p, begun); again || err != nil {
		return err
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
		for n := len(t.recent); n > 0 && t.recent[n-1].offset >= e.Offset; n-- {
			t.recent = t.recent[:n-1]
		}
		if t.recent = append(t.recent, handed{e.Offset, e.StoredAt, maphash.Bytes(sums, e.Value)}); len(t.recent) > lookedOver {
			t.recent = append(t.recent[:0], t.recent[1:]...)
		}
		t.last, t.known = max(t.last, e.Offset), max(t.known, e.Offset+1)
	}
	return err
}

// pull waits for something new, or until a check finds that it is stuck. It does not wait while it goes over what was
// handed on before: a log that has lost its end would have nothing new until somebody appends. It does where the broker
// does not find what its index says it has.
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
		t.c.log.Info("Retrying to read log", "topic", t.q.Topic, "offset", t.next, "err", err.Error())
	}
}

func (t *following) recovered() {
	t.wait.Reset()
	if t.down != "" {
		t.down = ""
		t.unread.Worked()
		t.c.log.Info("Reading log again", "topic", t.q.Topic, "offset", t.next)
	}
}
