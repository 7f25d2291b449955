// Package port serves one address of a worker: within limits, with TLS if it has any, until a context ends.
package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 5 * time.Second // of a TLS handshake, too
	idleTimeout       = 10 * time.Second
	shutdownTimeout   = 5 * time.Second
	// tellEvery is how often the log tells of connections that failed: anybody can have it told.
	tellEvery = 30 * time.Second
)

// Metrics count what happens on all ports of a server, by the name of the port.
type Metrics struct {
	limits     *limit.Metrics
	handshakes *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	return &Metrics{
		limits: limit.NewMetrics(reg),
		handshakes: promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_rest_handshakes_failed_total",
			Help: "Connections to a port with TLS that were closed before they were secured: callers that speak plain HTTP, do not " +
				"trust the certificate, or show none that is trusted.",
		}, []string{"port"}),
	}
}

// Port is one address. All fields are set before Listen, and not changed.
type Port struct {
	// Name is its label in metrics; Address is host:port, the host empty for all addresses.
	Name, Address string
	Limits        limit.Limits
	Handler       http.Handler
	// TLS is for connections; nil: they are plain.
	TLS *tls.Config
	Log logr.Logger

	listener   *limit.Listener
	handshakes prometheus.Counter
}

// Listen takes the address.
func (p *Port) Listen(ctx context.Context, m *Metrics) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", p.Address)
	if err != nil {
		return err
	}
	p.listener = limit.Listen(l, p.Name, p.Limits, m.limits)
	p.handshakes = m.handshakes.WithLabelValues(p.Name)
	return nil
}

// Addr is the address that was taken.
func (p *Port) Addr() net.Addr { return p.listener.Addr() }

// Close gives the address back; Serve does it, too.
func (p *Port) Close() error { return p.listener.Close() }

// Serve answers until ctx ends, and ends what is being answered then.
func (p *Port) Serve(ctx context.Context) error {
	var plain http.Protocols
	plain.SetHTTP1(true)
	srv := &http.Server{
		Handler:           p.Handler,
		MaxHeaderBytes:    maxHeaderBytes,
		ReadHeaderTimeout: readHeaderTimeout,
		IdleTimeout:       idleTimeout,
		ConnState:         p.listener.State,
		Protocols:         &plain,
		ErrorLog:          log.New(&failures{log: p.Log, handshakes: p.handshakes, told: service.Seldom{Every: tellEvery}}, "", 0),
		// Watch streams end when their contexts do: Shutdown waits for them.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var group service.Group
	defer group.Wait()
	ended, end := context.WithCancel(ctx)
	defer end()
	group.Go(func() {
		<-ended.Done()
		stop, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			_ = srv.Close()
		}
	})
	var listener net.Listener = p.listener
	if p.TLS != nil {
		listener = tls.NewListener(listener, p.TLS)
	}
	if err := srv.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving %s: %w", p.Name, err)
	}
	return nil
}

// failures is what http.Server has to tell of connections: counted if it is a handshake's, and seldom told.
type failures struct {
	log        logr.Logger
	handshakes prometheus.Counter
	told       service.Seldom
}

// Write takes one line, which names the caller's address and the cause.
func (f *failures) Write(line []byte) (int, error) {
	text := strings.TrimSpace(string(line))
	if strings.HasPrefix(text, "http: TLS handshake error") {
		f.handshakes.Inc()
	}
	if held, ok := f.told.Pass(time.Now()); ok {
		f.log.Info("Losing a connection", "cause", text, "untold", held)
	}
	return len(line), nil
}
