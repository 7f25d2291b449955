package rmq

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/service"
)

// suspend is how long a broker holds a pull that finds nothing new.
const suspend = 15 * time.Second

// holdCheck is how often a broker looks for pulls whose time is over, so how late the answer may be. Giving up sooner
// would reset a healthy connection, and with it every other poll on it.
const holdCheck = 5 * time.Second

// logGroup reads logs: brokers have this group from the start, so nothing needs to be created.
const logGroup = "TOOLS_CONSUMER"

// indexLag is how long after its answer a stored record may be missing from the queue's index: until then an offset
// past the end is no proof of a loss.
const indexLag = time.Second

// Bits of a pull's sysFlag.
const (
	pullSuspend      = 2
	pullSubscription = 4
)

// pullRequest asks for up to max messages from offset on. With hold, the broker waits for new ones.
type pullRequest struct {
	queue   Queue
	group   string // as on the wire
	offset  int64
	max     int
	hold    bool
	purpose string
}

// pulled is an answer: code is Success, PullNotFound, PullRetryAtOnce or PullOffsetMoved.
type pulled struct {
	code           int
	next, min, max int64
	messages       []Received
	bytes          int
	conn           int64 // the connection that it came on
}

func (c *Client) pull(ctx context.Context, p pullRequest) (pulled, error) {
	flags, held, timeout := pullSubscription, "0", c.cfg.CallTimeout
	if p.hold {
		flags, held, timeout = pullSubscription|pullSuspend, strconv.FormatInt(suspend.Milliseconds(), 10), suspend+holdCheck+2*c.cfg.CallTimeout
	}
	r := request{
		op: "pulling", purpose: p.purpose, timeout: timeout,
		accept: []int{remoting.PullNotFound, remoting.PullRetryAtOnce, remoting.PullOffsetMoved},
		cmd: remoting.Command{Code: remoting.PullMessage, Fields: c.queueFields(p.queue,
			remoting.Field{Name: "consumerGroup", Value: p.group},
			remoting.Field{Name: "queueOffset", Value: strconv.FormatInt(p.offset, 10)},
			remoting.Field{Name: "maxMsgNums", Value: strconv.Itoa(p.max)},
			remoting.Field{Name: "sysFlag", Value: strconv.Itoa(flags)},
			remoting.Field{Name: "commitOffset", Value: "0"},
			remoting.Field{Name: "suspendTimeoutMillis", Value: held},
			remoting.Field{Name: "subscription", Value: "*"},
			remoting.Field{Name: "subVersion", Value: "0"},
			remoting.Field{Name: "expressionType", Value: "TAG"})},
	}
	resp, err := c.onQueue(ctx, p.queue, &r)
	if err != nil {
		return pulled{}, fmt.Errorf("reading %s: %w", p.queue, err)
	}
	out, err := decodePull(p.queue, resp)
	if err != nil {
		return pulled{}, fmt.Errorf("reading %s at %d: %w", p.queue, p.offset, err)
	}
	return out, nil
}

func decodePull(q Queue, resp *remoting.Command) (out pulled, err error) {
	out.code, out.bytes, out.conn = resp.Code, len(resp.Body), resp.Conn
	for _, f := range [...]struct {
		name string
		to   *int64
	}{{"nextBeginOffset", &out.next}, {"minOffset", &out.min}, {"maxOffset", &out.max}} {
		if *f.to, err = resp.Int(f.name); err != nil {
			return out, err
		}
	}
	if resp.Code != remoting.Success {
		return out, nil
	}
	var whole bool
	if out.messages, whole, err = decodeMessages(q, resp.Body); err == nil && !whole {
		out.next = out.messages[len(out.messages)-1].NextOffset
	}
	return out, err
}

// smallestStored is less than any stored message takes; it bounds the guess of how many there are.
const smallestStored = 91

// decodeMessages decodes a pull's body up to a message that cannot be decoded; that fails once it is the first. Bodies
// point into what was pulled, and all properties share one slab.
func decodeMessages(q Queue, stored []byte) (out []Received, whole bool, err error) {
	first, _, err := remoting.NextMessage(stored)
	if err != nil {
		return nil, false, err
	}
	size := max(smallestStored, len(first.Body)+len(first.Properties)+smallestStored)
	guess := len(stored)/size + 1
	out = make([]Received, 0, guess)
	slab := make([]Property, 0, guess*remoting.CountProperties(first.Properties))
	for len(stored) > 0 {
		m, rest, err := remoting.NextMessage(stored)
		if err != nil {
			return out, false, nil
		}
		stored = rest
		body, damage := m.Plain()
		if damage != nil {
			body = m.Body
		}
		if need := remoting.CountProperties(m.Properties); cap(slab)-len(slab) < need {
			slab = make([]Property, 0, max(need, cap(slab)))
		}
		from := len(slab)
		slab = appendProperties(slab, m.Properties)
		out = append(out, Received{
			Queue: q, Offset: m.Offset, NextOffset: m.Offset + 1, Body: body, Err: damage,
			Properties: slab[from:len(slab):len(slab)],
			BornAt:     time.UnixMilli(m.Born), StoredAt: time.UnixMilli(m.Stored),
		})
	}
	return out, true, nil
}

// intact ends an answer before a message whose body cannot be read; that fails once it is the first. A log without one
// of its records is another log.
func intact(p pulled, err error) (pulled, error) {
	for i := range p.messages {
		m := &p.messages[i]
		if m.Err == nil {
			continue
		}
		if i == 0 {
			return pulled{}, fmt.Errorf("reading %s: %w", m.Queue, m.Err)
		}
		p.messages, p.next = p.messages[:i], m.Offset
		break
	}
	return p, err
}

// appendProperties parses properties in wire form; what has no name is left out.
func appendProperties(dst []Property, wire []byte) []Property {
	text := string(wire)
	for len(text) > 0 {
		end := len(text)
		next := end
		if i := strings.IndexByte(text, remoting.PropertyEnd); i >= 0 {
			end, next = i, i+1
		}
		if i := strings.IndexByte(text[:end], remoting.NameEnd); i > 0 {
			dst = append(dst, Property{Name: text[:i], Value: text[i+1 : end]})
		}
		text = text[next:]
	}
	return dst
}

// pullsAhead is how many pulls of one Read are under way: brokers give few records at once (32 by default), so what a
// read takes is the way there and back.
const pullsAhead = 8

// ahead is a Read's pulls: those at the places where it will most likely go on are under way before it gets there.
type ahead struct {
	pull  func(ctx context.Context, offset int64) (pulled, error)
	end   int64
	step  int64 // how far the last pull that gave something reached; 0 before
	group service.Group
	// flights are under way, at rising offsets.
	flights []flight
}

type flight struct {
	offset int64
	answer chan answer
}

type answer struct {
	pulled
	err error
}

// next gives what the broker has at an offset, which never goes back. A pull that was under way may have begun before
// it.
func (a *ahead) next(ctx context.Context, offset int64) (pulled, error) {
	if len(a.flights) == 0 || a.flights[0].offset > offset {
		p, err := a.pull(ctx, offset)
		a.learn(offset, p)
		a.launch(ctx, offset)
		return p, err
	}
	f := a.flights[0]
	a.flights = a.flights[1:]
	a.launch(ctx, f.offset)
	got := <-f.answer
	a.learn(f.offset, got.pulled)
	return got.pulled, got.err
}

func (a *ahead) learn(offset int64, p pulled) {
	if n := len(p.messages); n > 0 {
		a.step = p.messages[n-1].NextOffset - offset
	}
}

// launch keeps as many pulls under way behind an offset as there may be.
func (a *ahead) launch(ctx context.Context, offset int64) {
	if n := len(a.flights); n > 0 {
		offset = a.flights[n-1].offset
	}
	for offset += a.step; a.step > 0 && len(a.flights) < pullsAhead && offset < a.end; offset += a.step {
		f := flight{offset: offset, answer: make(chan answer, 1)}
		a.flights = append(a.flights, f)
		a.group.Go(func() {
			p, err := a.pull(ctx, f.offset)
			f.answer <- answer{p, err}
		})
	}
}

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
