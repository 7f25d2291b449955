package kafka

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"
)

const (
	dialTimeout = 5 * time.Second
	// unacknowledged bounds how long written bytes may wait in the kernel for the broker's kernel.
	unacknowledged = 2 * time.Second
)

// connections dials for one client and can cut it off: after cut, nothing that was written but not yet taken by a
// broker is sent any more, and no new connection is made.
type connections struct {
	tls *tls.Config

	mu    sync.Mutex
	open  map[*connection]struct{}
	isCut bool
	// lease is the context of the newest put: no record is written once it is over. written is when one was last.
	lease   context.Context
	written time.Time
}

// writer is a connection as the client sees it. The client writes each request with one call.
type writer struct {
	net.Conn
	owner *connections
}

// Write writes one request; one with records only while the lease runs.
//
// Invariant C2: a process that was frozen finds the lease over by the clock before anything could end the put.
func (w writer) Write(request []byte) (int, error) {
	if !isProduce(request) {
		return w.Conn.Write(request)
	}
	if err := w.owner.leased(); err != nil {
		return 0, err
	}
	n, err := w.Conn.Write(request)
	w.owner.wrote()
	return n, err
}

// isProduce reports whether a request carries records: its length is followed by its key, which is 0 for produce.
func isProduce(request []byte) bool { return len(request) < 6 || request[4] == 0 && request[5] == 0 }

func (c *connections) put(lease context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lease = lease
}

func (c *connections) leased() error {
	c.mu.Lock()
	lease := c.lease
	c.mu.Unlock()
	if lease == nil {
		return nil
	}
	return lease.Err()
}

func (c *connections) wrote() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.written = time.Now()
}

func (c *connections) lastWrite() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

// connection is a raw connection that is known to its owner until it is closed.
type connection struct {
	net.Conn
	owner *connections
}

// Close closes the connection.
func (c *connection) Close() error {
	c.owner.mu.Lock()
	delete(c.owner.open, c)
	c.owner.mu.Unlock()
	return c.Conn.Close()
}

// Dial connects to one broker; it is the client's dialer.
func (c *connections) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: dialTimeout, Control: limitUnacknowledged}
	raw, err := dialer.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	if tcp, ok := raw.(*net.TCPConn); ok {
		// Closing resets: what the kernel has not sent yet is thrown away.
		if err := tcp.SetLinger(0); err != nil {
			return nil, closing(raw, err)
		}
	}
	conn := &connection{Conn: raw, owner: c}
	if !c.add(conn) {
		return nil, closing(raw, net.ErrClosed)
	}
	if c.tls == nil {
		return writer{conn, c}, nil
	}
	secured, err := c.secure(ctx, conn, addr)
	if err != nil {
		return nil, err
	}
	return writer{secured, c}, nil
}

func (c *connections) secure(ctx context.Context, conn *connection, addr string) (net.Conn, error) {
	cfg := c.tls.Clone()
	if host, _, err := net.SplitHostPort(addr); err == nil {
		cfg.ServerName = host
	}
	secured := tls.Client(conn, cfg)
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	if err := secured.HandshakeContext(ctx); err != nil {
		return nil, closing(conn, fmt.Errorf("securing the connection to %s: %w", addr, err))
	}
	return secured, nil
}

func closing(conn net.Conn, err error) error {
	if closeErr := conn.Close(); closeErr != nil {
		return fmt.Errorf("%w (and closing: %w)", err, closeErr)
	}
	return err
}

func (c *connections) add(conn *connection) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.isCut {
		return false
	}
	if c.open == nil {
		c.open = make(map[*connection]struct{})
	}
	c.open[conn] = struct{}{}
	return true
}

// cut resets every connection and refuses new ones, for good. It does not wait for the brokers.
func (c *connections) cut() {
	c.mu.Lock()
	open := c.open
	c.open, c.isCut = nil, true
	c.mu.Unlock()
	for conn := range open {
		_ = conn.Conn.Close() // the connection is lost either way
	}
}
