package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/certificate"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rest/port"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
)

// What one server takes on, and for how long.
const (
	readTimeout   = 20 * time.Second
	answerTimeout = writeTimeout + 10*time.Second
)

// Config says how the server answers.
type Config struct {
	// ClusterID and WorkerID are shown.
	ClusterID, WorkerID string
	// Listen is host:port. The host may be empty: then all addresses are listened on, and without a token only callers on
	// this machine are let in.
	Listen string
	// Names are the host names by which callers may call this worker, besides addresses and loopback names.
	Names []string
	// Probes is host:port of a listener of their own for probes and metrics; empty: they are answered on Listen.
	Probes string
	// Connections bounds those to Listen, Streams the watch streams on them.
	Connections, Streams limit.Limits
	// TLS is what connections to Listen speak; without files they are plain. Those to Probes always are.
	TLS certificate.Files
	// TokenFile holds the bearer token that callers must send; empty: none is asked for.
	TokenFile string
	// ReferencesOnly refuses secrets in the clear in connectors' configs.
	ReferencesOnly bool
	// CompatRoutes serves the older runtimes' routes; Compat is config.CompatOld or config.CompatNew.
	CompatRoutes bool
	Compat       string
	Log          logr.Logger
	Registerer   prometheus.Registerer
	Gatherer     prometheus.Gatherer
}

// Server is a worker's HTTP server.
type Server struct {
	cfg      Config
	backends Backends
	guard    access.Guard
	secured  *certificate.Source // nil: connections are plain
	refusals service.Seldom
	hub      *hub
	metrics  *metrics
	watching limit.Streams
	api      *port.Port
	probes   *port.Port // nil: api answers them
	specs    sync.Map   // class → connector.Spec, which is constant: every refresh asks for that of each connector
}

type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	streams  prometheus.Gauge
	refused  *prometheus.CounterVec
	tooMany  *prometheus.CounterVec
	expiry   prometheus.Gauge
	ports    *port.Metrics
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_rest_requests_total", Help: "Requests answered, by route and status code.",
		}, []string{"route", "code"}),
		took: f.NewHistogramVec(prometheus.HistogramOpts{
			Name: "connect_worker_rest_request_duration_seconds", Help: "How long requests took, by route; watch streams are left out.",
			Buckets: []float64{.001, .005, .025, .1, .5, 1, 5, 15},
		}, []string{"route"}),
		streams: f.NewGauge(prometheus.GaugeOpts{Name: "connect_worker_rest_watch_streams", Help: "Watch streams that are open."}),
		refused: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_rest_refused_total", Help: "Requests answered with 401 or 403, by reason: token_missing, token_wrong, token_file, certificate, remote, host, origin.",
		}, []string{"reason"}),
		tooMany: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_rest_watch_streams_refused_total", Help: "Watch streams refused with 429, by the limit that was reached: of one address, or of all.",
		}, []string{"limit"}),
		expiry: f.NewGauge(prometheus.GaugeOpts{
			Name: "connect_worker_rest_certificate_expiry_timestamp_seconds", Help: "When the certificate of the REST API ends, in seconds since 1970; 0 without one.",
		}),
		ports: port.NewMetrics(reg),
	}
}

// New makes the server and reads its token file and its certificate. It does not listen yet.
func New(cfg Config, b Backends) (*Server, error) {
	token, err := access.ReadToken(cfg.TokenFile, time.Now())
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("reading the address to listen on: %w", err)
	}
	secured, err := certificate.Open(cfg.TLS)
	if err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, backends: b, secured: secured, metrics: newMetrics(cfg.Registerer), refusals: service.Seldom{Every: refusalInterval},
		guard: access.Guard{Token: token, Open: host != "", Names: cfg.Names}, watching: limit.Streams{Limits: cfg.Streams},
	}
	s.hub = newHub(s)
	s.build()
	return s, nil
}

// Handler returns what the server answers on its API's port. Watch streams move only while its Service runs.
func (s *Server) Handler() http.Handler { return s.api.Handler }

// Service listens from Start on and answers while it runs.
func (s *Server) Service() service.Service {
	return service.Service{Name: "rest", Start: s.listen, Run: s.serve}
}

func (s *Server) listen(ctx context.Context) error {
	s.announce()
	if err := s.api.Listen(ctx, s.metrics.ports); err != nil {
		return listening("httpPort", err)
	}
	if s.probes == nil {
		return nil
	}
	if err := s.probes.Listen(ctx, s.metrics.ports); err != nil {
		return errors.Join(listening("probePort", err), s.api.Close())
	}
	return nil
}

// listening says what most likely keeps a worker from its port.
func listening(key string, err error) error {
	if errors.Is(err, syscall.EADDRNOTAVAIL) {
		return fmt.Errorf("listening on %s: %w: httpHost must be an address of this machine, or 0.0.0.0 for all", key, err)
	}
	return fmt.Errorf("listening on %s: %w; is another worker running on this port?", key, err)
}

func (s *Server) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var group service.Group
	defer group.Wait()
	defer cancel()
	group.Go(func() { s.hub.run(ctx) })
	if s.guard.Token != nil {
		group.Go(func() { s.watchToken(ctx.Done()) })
	}
	if s.secured != nil {
		group.Go(func() { s.watchCertificate(ctx.Done()) })
	}
	if s.probes == nil {
		return s.api.Serve(ctx)
	}
	var probing error
	probed := make(chan struct{})
	group.Go(func() {
		defer close(probed)
		defer cancel()
		probing = s.probes.Serve(ctx)
	})
	err := s.api.Serve(ctx)
	cancel()
	<-probed
	return errors.Join(err, probing)
}

// build puts the routes behind what holds for all: limits, the token, request ids, panics, metrics.
func (s *Server) build() {
	mux := http.NewServeMux()
	s.api = &port.Port{Name: "api", Address: s.cfg.Listen, Limits: s.cfg.Connections, Handler: s.around(mux), Log: s.cfg.Log}
	if s.secured != nil {
		s.api.TLS = s.secured.Config()
	}
	probes, elsewhere := mux, ""
	if s.cfg.Probes != "" {
		probes, elsewhere = http.NewServeMux(), "; probes and metrics are on probePort"
		s.probes = &port.Port{Name: "probes", Address: s.cfg.Probes, Limits: probeConnections, Handler: s.around(bodiless(probes)), Log: s.cfg.Log}
	}
	probes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	probes.HandleFunc("GET /readyz", s.readyz)
	probes.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))

	api := http.NewServeMux()
	s.routes(func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		method, path, _ := strings.Cut(pattern, " ")
		api.Handle(method+" "+restapi.Prefix+path, s.route(restapi.Prefix+path, func(w http.ResponseWriter, r *http.Request) {
			err := typed(r)
			if err == nil {
				err = h(w, r)
			}
			if err != nil {
				s.fail(w, r, err)
			}
		}))
	})
	mux.Handle(restapi.Prefix+"/", s.guarded(s.strict(api), s.fail))
	if s.cfg.CompatRoutes {
		mux.Handle("/", s.guarded(s.compat(), s.failOld))
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			text(w, http.StatusNotFound, "Not found: this worker serves "+restapi.Prefix+" only (compatRoutes=false)"+elsewhere)
		})
	}
}

// around bounds every request in size and time, and turns panics into answers.
func (s *Server) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		now := time.Now()
		_ = control.SetReadDeadline(now.Add(readTimeout))
		_ = control.SetWriteDeadline(now.Add(answerTimeout))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		r = withRequestID(r)
		err := service.Guard(func() error { next.ServeHTTP(w, r); return nil })
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// bodiless takes no time for bodies: nothing on the port of the probes has any.
func bodiless(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now())
		}
		next.ServeHTTP(w, r)
	})
}

// route holds for one route: not before the worker is ready, and counted.
func (s *Server) route(path string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		rec := &recorder{ResponseWriter: w, code: http.StatusOK}
		if err := s.backends.Ready(); err != nil {
			s.fail(rec, r, problem(http.StatusServiceUnavailable, restapi.ProblemNotReady, "Not ready", "the worker is not ready: %s", err))
		} else {
			next(rec, r)
		}
		s.metrics.requests.WithLabelValues(path, fmt.Sprint(rec.code)).Inc()
		if !rec.stream {
			s.metrics.took.WithLabelValues(path).Observe(time.Since(start).Seconds())
		}
	})
}

// strict answers what no route matches with a problem: 404, or 405 with the methods that there are.
func (s *Server) strict(mux *http.ServeMux) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, pattern := mux.Handler(r); pattern != "" {
			mux.ServeHTTP(w, r)
			return
		}
		probe := &bare{header: w.Header()}
		mux.ServeHTTP(probe, r)
		switch probe.code {
		case http.StatusMethodNotAllowed:
			s.fail(w, r, problem(probe.code, "about:blank", "Method not allowed", "%s can be asked with %s", r.URL.Path, w.Header().Get("Allow")))
		default:
			s.fail(w, r, problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found", "there is no %s", r.URL.Path))
		}
	})
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.notReady(); err != nil {
		text(w, http.StatusServiceUnavailable, "not ready: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	lines := []string{"ok"}
	for _, warning := range slices.Concat(s.backends.warnings(), s.certificateWarnings()) {
		lines = append(lines, "warning: "+strings.ReplaceAll(warning, "\n", "; "))
	}
	text(w, http.StatusOK, strings.Join(lines, "\n"))
}

// probeConnections bounds the connections of probes and metrics: a few callers, each with a few.
var probeConnections = limit.Limits{All: 128, PerAddress: 16}

func text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(line + "\n"))
}

// newEnvelope reports whether getClusterInfo answers the newer runtime's envelope.
func (s *Server) newEnvelope() bool { return s.cfg.Compat == config.CompatNew }

type requestIDKey struct{}

// withRequestID gives the request the id that its caller chose, or a new one.
func withRequestID(r *http.Request) *http.Request {
	id := r.Header.Get(restapi.IdempotencyHeader)
	if id == "" || len(id) > 128 {
		var b [12]byte
		_, _ = rand.Read(b[:])
		id = hex.EncodeToString(b[:])
	}
	return r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id))
}

func requestID(r *http.Request) string {
	id, _ := r.Context().Value(requestIDKey{}).(string)
	return id
}

// recorder remembers the status code of an answer, and whether it is a stream.
type recorder struct {
	http.ResponseWriter
	code   int
	stream bool
}

// WriteHeader remembers the code.
func (r *recorder) WriteHeader(code int) {
	r.code = code
	r.ResponseWriter.WriteHeader(code)
}

// Unwrap lets http.ResponseController find the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

// bare keeps the headers of an answer and drops its body.
type bare struct {
	header http.Header
	code   int
}

// Header returns the headers that are kept.
func (b *bare) Header() http.Header { return b.header }

// Write drops the body.
func (b *bare) Write(p []byte) (int, error) { return len(p), nil }

// WriteHeader remembers the code.
func (b *bare) WriteHeader(code int) { b.code = code }
