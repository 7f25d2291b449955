package feed

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

const (
	firstRetry = 100 * time.Millisecond
	maxRetry   = 5 * time.Second
	// grace is how long a stream may be away before its cluster counts as unreachable: a worker that is replaced in a
	// rolling update takes its stream with it.
	grace = 10 * time.Second
)

// stream follows the report of one cluster.
type stream struct {
	key     types.NamespacedName
	target  Target
	workers Workers
	log     logr.Logger
	notify  func(types.NamespacedName, change)

	mu         sync.Mutex
	cancel     context.CancelFunc
	session    int
	connected  bool
	awaySince  time.Time
	problem    string
	connectors map[string]*restapi.ConnectorStatus
	view       *restapi.Cluster
	// next gathers a whole state until the stream says that it is complete; nil otherwise.
	next     map[string]*restapi.ConnectorStatus
	nextView *restapi.Cluster
}

func newStream(key types.NamespacedName, to Target, w Workers, log logr.Logger, notify func(types.NamespacedName, change)) *stream {
	return &stream{
		key: key, target: to, workers: w, log: log, notify: notify,
		awaySince: time.Now(), problem: "the workers have not reported yet",
		connectors: map[string]*restapi.ConnectorStatus{},
	}
}

// inherit takes over what another stream to the same workers said, as if this one had said it and were away since now.
func (s *stream) inherit(from *stream) {
	from.mu.Lock()
	defer from.mu.Unlock()
	s.session, s.connectors, s.view, s.problem = from.session, maps.Clone(from.connectors), from.view, from.problem
	if !from.connected {
		s.awaySince = from.awaySince
	}
}

func (s *stream) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
}

// run watches until ctx ends, from the beginning each time: another worker answers after a break, and revisions belong
// to one worker.
func (s *stream) run(ctx context.Context) {
	var retries backoff.Doubling
	for {
		before := s.sessions()
		err := s.workers.Watch(ctx, 0, s.apply)
		if ctx.Err() != nil {
			return
		}
		if s.sessions() > before {
			retries.Reset()
		}
		s.lost(err)
		retry := retries.Next(firstRetry, maxRetry)
		if service.Sleep(ctx, retry/2+rand.N(retry)) != nil {
			return
		}
	}
}

func (s *stream) sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.session
}

// apply takes one event; it is called from one goroutine at a time.
func (s *stream) apply(ev restapi.WatchEvent) error {
	if c := s.fold(ev); len(c.names) > 0 || c.all || c.cluster {
		s.notify(s.key, c)
	}
	return nil
}

// fold returns whose report has changed.
func (s *stream) fold(ev restapi.WatchEvent) change {
	s.mu.Lock()
	defer s.mu.Unlock()
	var c change
	into := s.connectors
	if s.next != nil {
		into = s.next
	}
	switch ev.Type {
	case restapi.EventSnapshot:
		s.next, s.nextView = map[string]*restapi.ConnectorStatus{}, nil
	case restapi.EventConnector:
		if ev.Connector == nil {
			return c
		}
		into[ev.Connector.Name] = ev.Connector
		c.names = []string{ev.Connector.Name}
	case restapi.EventDeleted:
		delete(into, ev.Name)
		c.names = []string{ev.Name}
	case restapi.EventCluster:
		if s.next != nil {
			s.nextView = ev.Cluster
		} else {
			s.view = ev.Cluster
		}
		c.cluster = true
	case restapi.EventSynced:
		s.synced()
		return change{all: true}
	}
	if s.next != nil { // not the truth yet
		return change{}
	}
	return c
}

// synced needs s.mu.
func (s *stream) synced() {
	if s.next != nil {
		s.connectors, s.view = s.next, s.nextView
		s.next, s.nextView = nil, nil
	}
	s.session++
	s.connected, s.problem = true, ""
}

// lost keeps what the stream said for the time of grace, and then has everybody look at its absence.
func (s *stream) lost(err error) {
	s.mu.Lock()
	now := time.Now()
	if s.connected {
		s.connected, s.awaySince = false, now
	}
	s.next, s.nextView = nil, nil
	s.problem = fmt.Sprintf("the workers at %s do not answer: %s", s.target.Address, Cause(err))
	over := now.Sub(s.awaySince) >= grace || s.session == 0
	s.mu.Unlock()
	s.log.V(1).Info("Watching the workers again", "cause", fmt.Sprint(err))
	if over {
		s.notify(s.key, change{all: true})
	}
}

// Cause says in a few words why a call failed: always the same for the same cause, so without ports of our own.
func Cause(err error) string {
	var problem *restapi.Problem
	var op *net.OpError
	var dns *net.DNSError
	var invalid x509.CertificateInvalidError
	var untrusted *tls.CertificateVerificationError
	switch {
	case errors.As(err, &problem) && problem.Status == http.StatusUnauthorized:
		return "they do not accept the operator's token: restart the workers if its Secret was changed"
	case errors.As(err, &problem):
		return problem.Error()
	case errors.Is(err, http.ErrSchemeMismatch):
		return "they speak plain HTTP where TLS is asked for: give them the worker image of the operator's version, or set " +
			"spec.api.tls.enabled to false"
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired: // the text has the time
		return "their certificate has ended, or does not hold yet"
	case errors.As(err, &untrusted):
		return "their certificate is not trusted: " + untrusted.Err.Error()
	case errors.As(err, &dns):
		return "looking up " + dns.Name + ": " + dns.Err
	case errors.As(err, &op):
		return op.Op + ": " + op.Err.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	}
	return fmt.Sprint(err)
}

// reachable needs s.mu.
func (s *stream) reachable() bool {
	return s.session > 0 && (s.connected || time.Since(s.awaySince) < grace)
}

func (s *stream) connector(name string) ConnectorView {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ConnectorView{
		Workers: s.workers, Reachable: s.reachable(), Problem: s.problem, Session: s.session, Status: s.connectors[name],
	}
}

func (s *stream) cluster() ClusterView {
	s.mu.Lock()
	defer s.mu.Unlock()
	v := ClusterView{Reachable: s.reachable(), Problem: s.problem, Cluster: s.view}
	v.Connectors = slices.Grow(v.Connectors, len(s.connectors))
	for _, c := range s.connectors {
		v.Connectors = append(v.Connectors, *c)
	}
	return v
}
