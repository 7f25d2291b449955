package requests

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// Held are connections that stay until they are closed, by the worker or by Close.
type Held struct{ open []net.Conn }

// Close closes all.
func (h *Held) Close() {
	for _, c := range h.open {
		_ = c.Close()
	}
	h.open = nil
}

// Slow is one kind of connections that want to stay; Open opens n of them.
type Slow struct {
	Name string
	Open func(ctx context.Context, w Worker, n int) (*Held, error)
}

// SlowKinds are all.
func SlowKinds() []Slow {
	with := func(text func(Worker) string) func(context.Context, Worker, int) (*Held, error) {
		return func(ctx context.Context, w Worker, n int) (*Held, error) { return w.hold(ctx, n, text(w)) }
	}
	return []Slow{
		{"connections that send nothing", with(func(Worker) string { return "" })},
		{"headers that never end", with(func(Worker) string { return "GET / HTTP/1.1\r\nHost: localhost\r\nX-Slow: " })},
		{"bodies that never end", with(func(w Worker) string {
			return "POST " + connectors + " HTTP/1.1\r\nHost: " +
				"localhost\r\nAuthorization: Bearer " + w.Token + "\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
		})},
		{"watch streams that nobody reads", with(func(w Worker) string {
			return "GET " + restapi.Prefix + "/watch HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + w.Token + "\r\n\r\n"
		})},
	}
}

// callers is how many addresses of this machine they come from: one alone is held to what one may have.
const callers = 40

func (w Worker) hold(ctx context.Context, n int, text string) (*Held, error) {
	h := &Held{}
	var errs []error
	for i := range n {
		from := net.IPv4(127, 0, 0, byte(2+i%callers))
		d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: from}}
		c, err := d.DialContext(ctx, "tcp", w.Address)
		if err != nil {
			errs = append(errs, fmt.Errorf("opening a connection: %w", err))
			break // the kernel's queue is full: that is far enough
		}
		h.open = append(h.open, c)
		_, _ = io.WriteString(c, text) // the worker may have closed it
	}
	return h, errors.Join(errs...)
}

// Len is how many were opened.
func (h *Held) Len() int { return len(h.open) }
