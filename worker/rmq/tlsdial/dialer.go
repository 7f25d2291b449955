package tlsdial

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Dialer opens connections with TLS. It reads its files for each: renewed ones count from the next connection on. It is
// safe for concurrent use.
type Dialer struct {
	files Files
	dial  remoting.Dialer

	mu   sync.Mutex
	good *tls.Config // of the files when they last were of use
}

// New reads the files; a bad one is an error that names its key and path. Connections are opened by dial.
func New(files Files, dial remoting.Dialer) (*Dialer, error) {
	cfg, err := files.load(time.Now())
	if err != nil {
		return nil, err
	}
	return &Dialer{files: files, dial: dial, good: cfg}, nil
}

// Dial opens a connection and returns once its handshake is over. While the files are of no use, those of before are
// used.
func (d *Dialer) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	cfg, stale := d.config()
	if cfg.ServerName == "" {
		host, _, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, fmt.Errorf("dialling %s: %w", addr, err)
		}
		cfg.ServerName = host
	}
	raw, err := d.dial(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: tls.Client(raw, cfg), raw: raw, why: explainer{files: d.files, name: cfg.ServerName, stale: stale}}
	if err := c.HandshakeContext(ctx); err != nil {
		raw.Close()
		return nil, c.why.handshake(err)
	}
	return c, nil
}

// config is for one connection; stale is why it is not of the files as they are.
func (d *Dialer) config() (cfg *tls.Config, stale error) {
	fresh, err := d.files.load(time.Now())
	d.mu.Lock()
	defer d.mu.Unlock()
	if err == nil {
		d.good = fresh
	}
	return d.good.Clone(), err
}

// Stale says why the files are of no use now, nil if they are: a certificate may have expired that the connections
// which are there were made with.
func (d *Dialer) Stale() error {
	_, stale := d.config()
	return stale
}

// conn is a TLS connection that is reset when it is closed, as a plain one is: the notice that TLS ends with could wait
// behind a full buffer, and what is in that buffer would still arrive. Invariant C2: nothing is delivered after its
// lease.
type conn struct {
	*tls.Conn
	raw  net.Conn
	why  explainer
	read bool // something was read; for the one that reads
}

// Close resets the connection at once.
func (c *conn) Close() error { return c.raw.Close() }

// Read tells what the server may have against the client if it ends the connection before it says anything: with TLS
// 1.3 it looks at the client's certificate only after the handshake.
func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	if n > 0 {
		c.read = true
	}
	if err != nil && !c.read {
		err = c.why.first(err)
	}
	return n, err
}
