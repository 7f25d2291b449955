package rmq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// pullRecords is how many records a reader asks for; brokers give fewer by their own limits (32 unless configured).
const pullRecords = 512

// doubtful is how much time between two answers is enough for a topic to be deleted, created again and filled: a pull
// was held, or there was no room for one.
const doubtful = 20 * time.Millisecond

// endAge is how old the known end of a queue may be, for the lag, while there is no room to pull.
const endAge = 2 * time.Second

// fetch pulls one queue ahead.
type fetch struct {
	r      *Reader
	q      Queue
	ctx    context.Context
	cancel context.CancelFunc
	wake   chan struct{}

	// Only run's goroutine uses these.
	next   int64     // offset to pull
	down   string    // the failure that was logged last
	looked time.Time // when the end was last seen
	trail  Trail     // of what was pulled
	conn   int64     // the connection on which the queue was found to be as the trail says, or none
	doubt  bool      // the queue may be another one since
	told   time.Time // when the last pull was answered

	// Guarded by r.mu.
	chunks   []chunk
	position int64 // after what Poll returned
	end      int64 // of the queue; -1: unknown
	paused   bool
	gone     bool
	err      error // for Poll
}

// chunk is what is left of one answer.
type chunk struct {
	messages []Received
	bytes    int
}

// held is how many records are ready. r.mu is held.
func (f *fetch) held() (n int) {
	for _, c := range f.chunks {
		n += len(c.messages)
	}
	return n
}

// take appends ready records up to max in all. r.mu is held.
func (f *fetch) take(out []Received, limit int) []Received {
	for len(f.chunks) > 0 && len(out) < limit {
		c := &f.chunks[0]
		n := min(len(c.messages), limit-len(out))
		out = append(out, c.messages[:n]...)
		f.position = out[len(out)-1].NextOffset
		if c.messages = c.messages[n:]; len(c.messages) > 0 {
			break
		}
		f.r.buffered -= c.bytes
		f.chunks[0] = chunk{}
		f.chunks = f.chunks[1:]
	}
	return out
}

// run pulls whenever there is room, until the queue is taken away.
func (f *fetch) run() {
	var wait backoff.Doubling
	for f.ctx.Err() == nil {
		step := f.step
		if !f.room() {
			if f.rest() {
				continue
			}
			step = f.lookAtEnd
		}
		err := step()
		switch {
		case f.ctx.Err() != nil:
			return
		case err == nil:
			wait.Reset()
			f.recovered()
			continue
		}
		f.struggling(err)
		if service.Sleep(f.ctx, wait.Next(20*time.Millisecond, time.Second)) != nil {
			return
		}
	}
}

func (f *fetch) room() bool {
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	return len(f.chunks) < f.r.cfg.PullsAhead && f.r.buffered < f.r.cfg.MaxBufferedBytes
}

// rest waits for room. It says false when it is time to look at the queue's end instead.
func (f *fetch) rest() bool {
	t := time.NewTimer(max(0, endAge-time.Since(f.looked)))
	defer t.Stop()
	select {
	case <-f.wake:
		return true
	case <-f.ctx.Done():
		return true
	case <-t.C:
		return false
	}
}

func (f *fetch) lookAtEnd() error {
	_, end, err := f.r.c.offsets(f.ctx, f.q, f.r.purpose)
	if err == nil {
		f.sawEnd(end)
	}
	return err
}

func (f *fetch) step() error {
	if f.next < 0 {
		low, _, err := f.r.c.offsets(f.ctx, f.q, f.r.purpose)
		if err != nil {
			return err
		}
		f.jump(low)
	}
	p, err := f.pull()
	if err != nil {
		return err
	}
	if f.suspects(p) {
		at := f.next
		if err := f.retrace(false); err != nil || f.next != at || f.conn != p.conn {
			return err
		}
	}
	f.conn, f.doubt = p.conn, f.doubt && p.code != remoting.Success
	if p.code == remoting.Success {
		f.keep(p)
		return nil
	}
	if p.code == remoting.PullNotFound && p.max >= f.next {
		f.sawEnd(p.max)
		return nil
	}
	return f.moved()
}

// pull asks for what is at next.
func (f *fetch) pull() (pulled, error) {
	p, err := f.r.c.pull(f.ctx, pullRequest{
		queue: f.q, group: f.r.group, offset: f.next, max: pullRecords, hold: true, purpose: f.r.purpose,
	})
	f.doubt = f.doubt || err != nil || time.Since(f.told) >= doubtful
	f.told = time.Now()
	return p, err
}

// suspects reports whether the queue may be another one than was read: its broker may have lost what was read, and
// given its offsets out again, or its topic was deleted and created again.
func (f *fetch) suspects(p pulled) bool {
	return len(f.trail) > 0 && (p.conn != f.conn || f.doubt && p.code == remoting.Success)
}

// moved finds out why the broker does not have the offset. Invariant P4: what was lost is counted and logged.
func (f *fetch) moved() error {
	err := f.r.c.holds(f.ctx, f.q, f.next, f.r.purpose)
	if err == nil {
		return errNothing
	}
	if !errors.Is(err, ErrTruncated) {
		return err
	}
	low, high, err := f.r.c.offsets(f.ctx, f.q, f.r.purpose)
	if err != nil {
		return err
	}
	if f.next > high {
		return f.retrace(true)
	}
	f.r.c.log.Info("Going on after a gap: the broker no longer has the records", "topic", f.q.Topic, "queue", f.q.String(),
		"wanted", f.next, "first", low)
	f.r.cfg.OnGap(f.q, f.next, low)
	f.jump(low)
	return nil
}

// retrace compares the queue with what was read of it, the newest first. If that is there, reading goes on, unless the
// queue is known to have lost its end; else it goes back to behind the newest mark that is.
//
// Invariant P4: what the queue got in place of what it lost is not skipped.
func (f *fetch) retrace(lost bool) error {
	to, conn := int64(none), f.conn
	for i := len(f.trail) - 1; i >= 0 && to == none; i-- {
		p, found, err := f.compare(f.trail[i])
		if err != nil {
			return err // the whole of it is done again
		}
		conn = p.conn
		switch {
		case found == another:
			lost = true
		case !lost: // it is there, or retention took what could be compared
			f.conn = conn
			return nil
		case found == same:
			to = f.trail[i].Offset + 1
		default:
			to = p.min
		}
	}
	if to == none {
		low, _, err := f.r.c.offsets(f.ctx, f.q, f.r.purpose)
		if err != nil {
			return err
		}
		to = low
	}
	f.r.c.log.Error(
		errTailLost,
		"Going back: the broker lost the end of the queue",
		"topic",
		f.q.Topic,
		"queue",
		f.q.String(),
		"wanted",
		f.next,
		"from",
		to,
	)
	f.r.cfg.OnGap(f.q, f.next, to)
	f.trail, f.conn = f.trail.Before(to), conn
	f.jump(to)
	return nil
}

// errTailLost means that records which the broker had confirmed are gone; those that had been read were delivered.
var errTailLost = errors.New("broker lost records that it had confirmed")

// finding is what lies where a mark was.
type finding int

const (
	same finding = iota
	another
	expired
)

// compare looks at what lies where a mark was.
func (f *fetch) compare(m Mark) (pulled, finding, error) {
	p, err := f.r.c.pull(f.ctx, pullRequest{queue: f.q, group: f.r.group, offset: m.Offset, max: 1, purpose: f.r.purpose})
	switch {
	case err != nil:
		return p, another, err
	case m.Offset < p.min:
		return p, expired, nil
	case p.code == remoting.Success && len(p.messages) > 0:
		if first := p.messages[0]; first.Offset != m.Offset || first.StoredAt.UnixMilli() != m.StoredAt {
			return p, another, nil
		}
		return p, same, nil
	}
	err = f.r.c.holds(f.ctx, f.q, m.Offset+1, f.r.purpose)
	if errors.Is(err, ErrTruncated) {
		return p, another, nil
	}
	if err == nil {
		err = errNothing
	}
	return p, another, err
}

// jump goes on at another offset.
func (f *fetch) jump(to int64) {
	f.next = to
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if len(f.chunks) == 0 {
		f.position = to
	}
}

// keep hands what was pulled to Poll.
func (f *fetch) keep(p pulled) {
	messages := p.messages
	for len(messages) > 0 && messages[0].Offset < f.next {
		messages = messages[1:]
	}
	f.next, f.looked = max(f.next, p.next), time.Now()
	if len(messages) > 0 {
		last := &messages[len(messages)-1]
		f.next = max(f.next, last.NextOffset)
		f.trail = f.trail.Add(last.Mark())
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	if f.gone {
		return
	}
	f.end, f.err = max(p.max, f.next), nil
	if len(messages) > 0 {
		f.chunks = append(f.chunks, chunk{messages, p.bytes})
		f.r.buffered += p.bytes
		service.Signal(f.r.ready)
	}
}

func (f *fetch) sawEnd(end int64) {
	f.looked = time.Now()
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.end, f.err = end, nil
}

// trouble is what is logged once: the text of a failed connection has another port of ours each time.
func trouble(err error) string {
	if errors.Is(err, ErrUnreachable) {
		return ErrUnreachable.Error()
	}
	return err.Error()
}

// struggling logs a failure once, and shows it to Poll if waiting will not cure it.
func (f *fetch) struggling(err error) {
	if kind := trouble(err); kind != f.down {
		f.down = kind
		f.r.c.log.Info("Retrying to read queue", "topic", f.q.Topic, "queue", f.q.String(), "offset", f.next, "err", err.Error())
	}
	if IsTemporary(err) || errors.Is(err, errNothing) {
		return
	}
	f.r.mu.Lock()
	defer f.r.mu.Unlock()
	f.err = fmt.Errorf("reading ahead: %w", err)
	service.Signal(f.r.ready)
}

func (f *fetch) recovered() {
	if f.down != "" {
		f.down = ""
		f.r.c.log.Info("Reading queue again", "topic", f.q.Topic, "queue", f.q.String(), "offset", f.next)
	}
}
