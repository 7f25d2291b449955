package rest

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/seldom"
	"github.com/rocketmq-connect/operator/worker/service"
)

// What one server takes on, and for how long.
const (
	maxConnections    = 512
	maxHeaderBytes    = 64 << 10
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 20 * time.Second
	answerTimeout     = writeTimeout + 10*time.Second
	// idleTimeout is short, for idle connections count: probes must not wait behind them.
	idleTimeout     = 10 * time.Second
	shutdownTimeout = 5 * time.Second
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
	// TokenFile holds the bearer token that callers must send; empty: none is asked for.
	TokenFile string
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
	refusals seldom.Gate
	hub      *hub
	metrics  *metrics
	handler  http.Handler
	listener net.Listener
	specs    sync.Map // class → connector.Spec, which is constant: every refresh asks for that of each connector
}

type metrics struct {
	requests *prometheus.CounterVec
	took     *prometheus.HistogramVec
	streams  prometheus.Gauge
	refused  *prometheus.CounterVec
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
			Name: "connect_worker_rest_refused_total", Help: "Requests answered with 401 or 403, by reason: token_missing, token_wrong, token_file, remote, host, origin.",
		}, []string{"reason"}),
	}
}

// New makes the server and reads its token file. It does not listen yet.
func New(cfg Config, b Backends) (*Server, error) {
	token, err := access.ReadToken(cfg.TokenFile, time.Now())
	if err != nil {
		return nil, err
	}
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("reading the address to listen on: %w", err)
	}
	s := &Server{
		cfg: cfg, backends: b, metrics: newMetrics(cfg.Registerer), refusals: seldom.Gate{Every: refusalInterval},
		guard: access.Guard{Token: token, Open: host != "", Names: cfg.Names},
	}
	s.hub = newHub(s)
	s.handler = s.build()
	return s, nil
}

// Handler returns everything that the server answers. Watch streams move only while its Service runs.
func (s *Server) Handler() http.Handler { return s.handler }

// Addr returns the address that the server listens on; nil before its Service has started.
func (s *Server) Addr() net.Addr {
	if s.listener == nil {
		return nil
	}
	return s.listener.Addr()
}

// Service listens from Start on and answers while it runs.
func (s *Server) Service() service.Service {
	return service.Service{Name: "rest", Start: s.listen, Run: s.serve}
}

func (s *Server) listen(ctx context.Context) error {
	s.announce()
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.cfg.Listen)
	if err != nil {
		return fmt.Errorf("listening on httpPort: %w; is another worker running on this port?", err)
	}
	s.listener = l
	return nil
}

func (s *Server) serve(ctx context.Context) error {
	srv := &http.Server{
		Handler: s.handler, MaxHeaderBytes: maxHeaderBytes, ReadHeaderTimeout: readHeaderTimeout, IdleTimeout: idleTimeout,
		// Watch streams end when their contexts do: Shutdown waits for them.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	var group service.Group
	defer group.Wait()
	group.Go(func() { s.hub.run(ctx) })
	if s.guard.Token != nil {
		group.Go(func() { s.watchToken(ctx.Done()) })
	}
	group.Go(func() {
		<-ctx.Done()
		stop, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
		defer cancel()
		if srv.Shutdown(stop) != nil {
			_ = srv.Close()
		}
	})
	if err := srv.Serve(netutil.LimitListener(s.listener, maxConnections)); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving REST: %w", err)
	}
	return nil
}

// build puts the routes behind what holds for all: limits, the token, request ids, panics, metrics.
func (s *Server) build() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { text(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.readyz)
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))

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
			text(w, http.StatusNotFound, "Not found: this worker serves "+restapi.Prefix+" only (compatRoutes=false)")
		})
	}
	return s.around(mux)
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
	for _, warning := range s.backends.warnings() {
		lines = append(lines, "warning: "+warning)
	}
	text(w, http.StatusOK, strings.Join(lines, "\n"))
}

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
