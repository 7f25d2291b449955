// Package proxy stands between a client and its servers, and breaks the network between them on request.
package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// Mode is what happens to bytes on a link.
type Mode struct {
	// HoldUp keeps what the client sends, HoldDown what the servers send, until the mode changes: a network that drops
	// packets, whose senders go on trying.
	HoldUp, HoldDown bool
	// Refuse resets what is connected, and whoever connects.
	Refuse bool
	// Delay is how much longer each piece is on its way; pieces overtake nobody, and do not wait for each other.
	Delay time.Duration
}

// Link is the network of one client: all its ways share one mode.
type Link struct {
	mu      sync.Mutex
	mode    Mode
	changed chan struct{}
	conns   map[net.Conn]struct{}
	ways    []net.Listener
	closed  bool
	group   sync.WaitGroup
}

// NewLink makes a link that lets everything pass.
func NewLink() *Link {
	return &Link{changed: make(chan struct{}), conns: map[net.Conn]struct{}{}}
}

// Set changes the mode, for connections that are open, too.
func (l *Link) Set(m Mode) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.mode = m
	close(l.changed)
	l.changed = make(chan struct{})
	if m.Refuse {
		for c := range l.conns {
			reset(c)
		}
	}
}

// Open adds a way from a port of this machine (0: any free one) to a server. What the server sends is rewritten with
// it.
func (l *Link) Open(ctx context.Context, port int, server string, r Rewrite) (string, error) {
	ln, err := (&net.ListenConfig{}).Listen(ctx, "tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		return "", fmt.Errorf("opening a proxy to %s: %w", server, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ways = append(l.ways, ln)
	l.group.Go(func() { l.accept(ln, server, r) })
	return ln.Addr().String(), nil
}

// Close ends all ways and connections.
func (l *Link) Close() {
	l.Set(Mode{Refuse: true})
	l.mu.Lock()
	l.closed = true
	for _, ln := range l.ways {
		_ = ln.Close()
	}
	for c := range l.conns {
		reset(c)
	}
	l.mu.Unlock()
	l.group.Wait()
}

func (l *Link) accept(ln net.Listener, server string, r Rewrite) {
	for {
		c, err := ln.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // out of descriptors: the next one may do
		}
		l.group.Go(func() { l.serve(c, server, r) })
	}
}

// serve carries one connection. While the mode holds, the client's connection is open, but nobody answers.
func (l *Link) serve(client net.Conn, server string, r Rewrite) {
	if !l.add(client) {
		return
	}
	defer l.remove(client)
	if !l.pass(client, func(m Mode) bool { return m.HoldUp || m.HoldDown }) {
		return
	}
	back, err := (&net.Dialer{Timeout: 5 * time.Second}).Dial("tcp", server)
	if err != nil {
		return
	}
	if !l.add(back) {
		return
	}
	defer l.remove(back)
	var both sync.WaitGroup
	both.Go(func() {
		defer reset(back)
		l.pump(client, back, Rewrite{}, func(m Mode) bool { return m.HoldUp })
	})
	both.Go(func() {
		defer reset(client)
		l.pump(back, client, r, func(m Mode) bool { return m.HoldDown })
	})
	both.Wait()
}

// piece is bytes that are on their way.
type piece struct {
	b   []byte
	due time.Time
}

// underway is how many pieces one way of a connection holds.
const underway = 256

// pump copies until an end is closed.
func (l *Link) pump(from, to net.Conn, r Rewrite, held func(Mode) bool) {
	pieces, done := make(chan piece, underway), make(chan struct{})
	defer close(done)
	l.group.Go(func() {
		defer close(pieces)
		for next := r.reader(from); ; {
			b, err := next()
			if len(b) > 0 {
				select {
				case pieces <- piece{b, time.Now().Add(l.delay())}:
				case <-done:
					return
				}
			}
			if err != nil {
				return
			}
		}
	})
	for p := range pieces {
		timer := time.NewTimer(time.Until(p.due))
		<-timer.C
		if !l.pass(to, held) {
			return
		}
		if _, err := to.Write(p.b); err != nil {
			return
		}
	}
}

func (l *Link) delay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mode.Delay
}

// pass waits until the mode lets bytes pass; false when the connection was reset meanwhile.
func (l *Link) pass(c net.Conn, held func(Mode) bool) bool {
	for {
		l.mu.Lock()
		m, changed := l.mode, l.changed
		_, open := l.conns[c]
		l.mu.Unlock()
		if !open || m.Refuse {
			return false
		}
		if !held(m) {
			return true
		}
		<-changed
	}
}

func (l *Link) add(c net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed || l.mode.Refuse {
		reset(c)
		return false
	}
	l.conns[c] = struct{}{}
	return true
}

func (l *Link) remove(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, c)
	reset(c)
}

// reset closes so that the other end sees an error, not an end.
func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.SetLinger(0)
	}
	_ = c.Close()
}
