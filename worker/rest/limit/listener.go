package limit

import (
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Metrics count the connections of all listeners of a server, by the name of the listener.
type Metrics struct {
	open      *prometheus.GaugeVec
	refused   *prometheus.CounterVec
	displaced *prometheus.CounterVec
}

// NewMetrics registers them.
func NewMetrics(reg prometheus.Registerer) *Metrics {
	f := promauto.With(reg)
	return &Metrics{
		open: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "connect_worker_rest_connections", Help: "Connections that are open, by port: api or probes.",
		}, []string{"port"}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_rest_connections_refused_total",
			Help: "Connections closed as they came, by port and the limit that was reached: of one address, or of all.",
		}, []string{"limit", "port"}),
		displaced: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_rest_connections_displaced_total",
			Help: "Connections closed while no request was answered on them, to make room for another one, by port and the limit that was reached.",
		}, []string{"limit", "port"}),
	}
}

// Listener accepts connections within limits; those beyond them are closed as they come. Its State must be the
// ConnState of the http.Server that it serves.
type Listener struct {
	net.Listener
	name    string
	metrics *Metrics

	mu    sync.Mutex
	table table
}

// Listen puts limits on a listener; name is its label in metrics.
func Listen(inner net.Listener, name string, limits Limits, m *Metrics) *Listener {
	for _, reached := range []string{ByAddress, InAll} { // shown from the beginning
		m.refused.WithLabelValues(reached, name)
		m.displaced.WithLabelValues(reached, name)
	}
	return &Listener{Listener: inner, name: name, metrics: m, table: table{limits: limits, held: map[netip.Addr]map[*slot]struct{}{}}}
}

// Accept returns the next connection that may stay.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if c := l.admit(inner); c != nil {
			return c, nil
		}
	}
}

func (l *Listener) admit(inner net.Conn) net.Conn {
	l.mu.Lock()
	s, displaced, reached := l.table.admit(Caller(inner.RemoteAddr().String()))
	if s != nil {
		s.close = inner.Close
	}
	l.count()
	l.mu.Unlock()
	if s == nil {
		l.metrics.refused.WithLabelValues(reached, l.name).Inc()
		_ = inner.Close()
		return nil
	}
	if displaced != nil {
		l.metrics.displaced.WithLabelValues(reached, l.name).Inc()
		_ = displaced.close()
	}
	return &conn{Conn: inner, listener: l, slot: s}
}

// count needs l.mu.
func (l *Listener) count() { l.metrics.open.WithLabelValues(l.name).Set(float64(l.table.all)) }

// State learns from a server on which connections requests are answered. One with TLS may stand around the listener's.
func (l *Listener) State(c net.Conn, state http.ConnState) {
	if secured, ok := c.(*tls.Conn); ok {
		c = secured.NetConn()
	}
	ours, ok := c.(*conn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	switch state {
	case http.StateActive:
		ours.slot.quiet = false
	case http.StateIdle:
		l.table.silence(ours.slot)
	}
}

// conn gives its place back when it is closed.
type conn struct {
	net.Conn
	listener *Listener
	slot     *slot
}

// Close closes the connection.
func (c *conn) Close() error {
	l := c.listener
	l.mu.Lock()
	l.table.remove(c.slot)
	l.count()
	l.mu.Unlock()
	return c.Conn.Close()
}
