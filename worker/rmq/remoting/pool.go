package remoting

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
)

// ErrPoolClosed means the pool was closed.
var ErrPoolClosed = errors.New("remoting pool closed")

// Dialer opens a connection.
type Dialer func(ctx context.Context, network, addr string) (net.Conn, error)

// Pool holds one connection per address and purpose, so that long polls, sends and control requests never wait for each
// other. It is safe for concurrent use.
type Pool struct {
	dial        Dialer
	dialTimeout time.Duration
	sign        Credentials
	heads       sync.Pool

	ctx    context.Context
	cancel context.CancelFunc
	group  service.Group

	mu    sync.Mutex
	slots map[slotKey]*slot
	conns int64 // made so far
}

type slotKey struct{ addr, purpose string }

// slot is a connection, or the attempt to make one.
type slot struct {
	cancel context.CancelCauseFunc // ends the attempt
	ready  chan struct{}           // closed once conn or err is set
	conn   *conn
	err    error
}

// NewPool makes an empty pool. Each dial is given up after dialTimeout.
func NewPool(dial Dialer, dialTimeout time.Duration, sign Credentials) *Pool {
	p := &Pool{dial: dial, dialTimeout: dialTimeout, sign: sign, slots: map[slotKey]*slot{}}
	p.heads.New = func() any { return new([]byte) }
	p.ctx, p.cancel = context.WithCancel(context.Background())
	return p
}

// Call sends req to addr over the connection of that purpose, and waits for the answer, whatever its code. It fails
// with the context's cause, ErrNoAnswer, ErrConnection or ErrPoolClosed. It sets req's Opaque and, when signing, its
// Fields.
func (p *Pool) Call(ctx context.Context, addr, purpose string, req *Command) (*Command, error) {
	c, err := p.conn(ctx, slotKey{addr, purpose}, !req.Connected)
	if err != nil {
		return nil, err
	}
	head := p.heads.Get().(*[]byte)
	defer p.heads.Put(head)
	var resp *Command
	resp, *head, err = c.call(ctx, req, *head)
	if err != nil && p.ctx.Err() != nil {
		return nil, ErrPoolClosed
	}
	if resp != nil {
		resp.Conn = c.number
	}
	return resp, err
}

// conn waits for the slot's connection, and dials if there is none and it may. The dial belongs to all who wait for it:
// one that stops waiting does not end it.
func (p *Pool) conn(ctx context.Context, key slotKey, dials bool) (*conn, error) {
	s, err := p.slot(key, dials)
	if err != nil {
		return nil, err
	}
	select {
	case <-s.ready:
		return s.conn, s.err
	case <-ctx.Done():
		return nil, waitError(ctx)
	}
}

func (p *Pool) slot(key slotKey, dials bool) (*slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ctx.Err() != nil {
		return nil, ErrPoolClosed
	}
	if s := p.slots[key]; s != nil && (s.conn == nil || !s.conn.closed()) {
		return s, nil
	}
	if !dials {
		return nil, fmt.Errorf("%w: it is gone", ErrConnection)
	}
	ctx, cancel := context.WithCancelCause(p.ctx)
	s := &slot{ready: make(chan struct{}), cancel: cancel}
	p.slots[key] = s
	p.group.Go(func() {
		defer cancel(nil)
		p.connect(ctx, key, s)
	})
	return s, nil
}

// connect dials and then reads until the connection ends.
func (p *Pool) connect(ctx context.Context, key slotKey, s *slot) {
	ctx, cancel := context.WithTimeout(ctx, p.dialTimeout)
	nc, err := p.dial(ctx, "tcp", key.addr)
	cancel()
	p.mu.Lock()
	switch {
	case err == nil && (p.ctx.Err() != nil || p.slots[key] != s):
		nc.Close()
		s.err = fmt.Errorf("%w: no longer wanted", ErrConnection)
	case err != nil:
		s.err = fmt.Errorf("%w: %w", ErrConnection, err)
	default:
		s.conn = newConn(nc, &p.sign)
		p.conns++
		s.conn.number = p.conns
	}
	if s.err != nil && p.slots[key] == s {
		delete(p.slots, key)
	}
	p.mu.Unlock()
	close(s.ready)
	if s.conn == nil {
		return
	}
	s.conn.read()
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slots[key] == s {
		delete(p.slots, key)
	}
}

// Drop closes all connections of a purpose.
func (p *Pool) Drop(purpose string) {
	p.drop(func(k slotKey) bool { return k.purpose == purpose }, fmt.Errorf("%w: closed by its user", ErrConnection))
}

// DropAddr closes all connections to an address, and gives up those that are being made: what is pending fails at once
// with why, which is an ErrConnection.
func (p *Pool) DropAddr(addr, why string) {
	p.drop(func(k slotKey) bool { return k.addr == addr }, fmt.Errorf("%w: %s", ErrConnection, why))
}

func (p *Pool) drop(which func(slotKey) bool, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, s := range p.slots {
		if !which(key) {
			continue
		}
		delete(p.slots, key)
		s.cancel(why)
		if s.conn != nil {
			s.conn.fail(why)
		}
	}
}

// Close fails what is pending at once and waits for the pool's goroutines.
func (p *Pool) Close() {
	p.mu.Lock()
	p.cancel()
	p.mu.Unlock()
	p.drop(func(slotKey) bool { return true }, ErrPoolClosed)
	p.group.Wait()
}
