package rest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/certificate"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rest/port"
	"github.com/rocketmq-connect/operator/worker/rest/resource"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
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

// Server is a worker's HTTP server: its ports, and what it answers on which.
type Server struct {
	cfg      Config
	backends Backends
	gate     *gate
	hub      *hub
	metrics  *metrics
	api      *port.Port
	probes   *port.Port // nil: api answers them
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
			Name: "connect_worker_rest_refused_total",
			Help: "Requests answered with 401 or 403, by reason: token_missing, token_wrong, token_file, certificate, remote, host, origin.",
		}, []string{"reason"}),
		tooMany: f.NewCounterVec(prometheus.CounterOpts{
			Name: "connect_worker_rest_watch_streams_refused_total",
			Help: "Watch streams refused with 429, by the limit that was reached: of one address, or of all.",
		}, []string{"limit"}),
		expiry: f.NewGauge(prometheus.GaugeOpts{
			Name: "connect_worker_rest_certificate_expiry_timestamp_seconds",
			Help: "When the certificate of the REST API ends, in seconds since 1970; 0 without one.",
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
	m := newMetrics(cfg.Registerer)
	s := &Server{cfg: cfg, backends: b, metrics: m, gate: &gate{
		guard: access.Guard{Token: token, Open: host != "", Names: cfg.Names}, secured: secured, refusals: service.Seldom{Every: refusalInterval},
		metrics: m, log: cfg.Log, address: cfg.Listen, clientCA: cfg.TLS.ClientCA,
	}}
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
	s.gate.announce()
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
	if s.gate.guard.Token != nil {
		group.Go(func() { s.gate.watchToken(ctx.Done()) })
	}
	if s.gate.secured != nil {
		group.Go(func() { s.gate.watchCertificate(ctx.Done()) })
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

// build makes the parts and puts the routes behind what holds for all: limits, the token, request ids, panics, metrics.
func (s *Server) build() {
	b := s.backends
	classes := check.NewClasses(b.Catalog)
	checker := &check.Checker{Classes: classes, Settings: b.CheckSettings, Secrets: b.Secrets, ReferencesOnly: s.cfg.ReferencesOnly}
	connectors := &resource.Connectors{Configs: b.Configs, Positions: b.Positions, Offsets: b.Offsets, Checker: checker, Log: s.cfg.Log}
	shown := &views{classes: classes, backends: b, clusterID: s.cfg.ClusterID, workerID: s.cfg.WorkerID}
	s.hub = newHub(shown)
	f := &front{ready: b.Ready, metrics: s.metrics, show: shown.connector, log: s.cfg.Log}
	watching := &watcher{
		hub:     s.hub,
		streams: limit.Streams{Limits: s.cfg.Streams},
		metrics: s.metrics,
		leased:  b.Leased,
		refusal: s.gate.refusal,
	}
	resources := &api{configs: b.Configs, members: b.Members, catalog: b.Catalog, checker: checker, connectors: connectors,
		views: shown, watcher: watching}

	mux := http.NewServeMux()
	s.api = &port.Port{Name: "api", Address: s.cfg.Listen, Limits: s.cfg.Connections, Handler: f.around(mux), Log: s.cfg.Log}
	if s.gate.secured != nil {
		s.api.TLS = s.gate.secured.Config()
	}
	probes, elsewhere := mux, ""
	if s.cfg.Probes != "" {
		probes, elsewhere = http.NewServeMux(), "; probes and metrics are on probePort"
		s.probes = &port.Port{
			Name:    "probes",
			Address: s.cfg.Probes,
			Limits:  probeConnections,
			Handler: f.around(bodiless(probes)),
			Log:     s.cfg.Log,
		}
	}
	probes.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer.Text(w, http.StatusOK, "ok") })
	probes.HandleFunc("GET /readyz", s.readyz)
	probes.Handle("GET /metrics", promhttp.HandlerFor(s.cfg.Gatherer, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: 10 * time.Second}))

	mux.Handle(restapi.Prefix+"/", s.gate.guarded(f.dialect(resources.routes()), f.fail))
	if s.cfg.CompatRoutes {
		old := compat.New(compat.Config{
			Resources:   &older{Configs: b.Configs, connectors: connectors, checker: checker, backends: b},
			NewEnvelope: s.cfg.Compat == config.CompatNew,
			Timeout:     writeTimeout, Route: f.route, Problem: f.failure, Refuse: s.gate.refuse, RequestID: requestID,
		})
		mux.Handle("/", s.gate.guarded(old.Handler(), old.Fail))
	} else {
		mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
			answer.Text(w, http.StatusNotFound, "Not found: this worker serves "+restapi.Prefix+" only (compatRoutes=false)"+elsewhere)
		})
	}
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if err := s.notReady(); err != nil {
		answer.Text(w, http.StatusServiceUnavailable, "not ready: "+strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	lines := []string{"ok"}
	for _, warning := range slices.Concat(s.backends.warnings(), s.gate.certificateWarnings()) {
		lines = append(lines, "warning: "+strings.ReplaceAll(warning, "\n", "; "))
	}
	answer.Text(w, http.StatusOK, strings.Join(lines, "\n"))
}

// probeConnections bounds the connections of probes and metrics: a few callers, each with a few.
var probeConnections = limit.Limits{All: 128, PerAddress: 16}

// notReady returns why the readiness probe fails.
func (s *Server) notReady() error {
	return cmp.Or(s.backends.Ready(), s.backends.Leased(), s.backends.stored(), s.backends.disputed(), s.gate.tokenErr())
}
