// Package feed holds what the workers of each ConnectCluster report: one watch stream a cluster, from any of its
// workers, for all of its Connectors.
package feed

import (
	"context"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Workers is what the controllers call of a cluster's REST API; *restclient.Client is one.
type Workers interface {
	Put(ctx context.Context, c restapi.Connector, ifMatch int64) (restapi.Connector, error)
	SetState(ctx context.Context, name, state string) (restapi.Connector, error)
	Delete(ctx context.Context, name string) error
	Watch(ctx context.Context, from int64, fn func(restapi.WatchEvent) error) error
}

// Target is where the workers of a cluster are reached.
type Target struct {
	// Address is the base URL of their REST API, Token its token.
	Address, Token string
	// Authorities are those of their certificates, in PEM, where the URL is https; no others are trusted.
	Authorities string
	// Pod is host:port of the one that is called instead of any; empty: none is.
	Pod string
}

// gather is how long changes of a cluster's counts are gathered before its reconciler is called.
const gather = time.Second

// Hub runs the streams. Make one with New and add it to the manager.
type Hub struct {
	dial func(Target) Workers
	log  logr.Logger

	mu         sync.Mutex
	ctx        context.Context // nil until Start
	stopped    bool            // no stream may be launched any more
	group      service.Group
	streams    map[types.NamespacedName]*stream
	connectors queue
	clusters   queue
	list       List
}

type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]

// List returns the names of the Connector objects of a cluster.
type List func(ctx context.Context, cluster types.NamespacedName) ([]string, error)

// New makes a Hub that calls workers by what dial returns.
func New(dial func(Target) Workers, log logr.Logger) *Hub {
	return &Hub{dial: dial, log: log, streams: map[types.NamespacedName]*stream{}}
}

// Start runs the streams until ctx ends.
func (h *Hub) Start(ctx context.Context) error {
	h.mu.Lock()
	h.ctx = ctx
	for _, s := range h.streams {
		h.launch(s)
	}
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()   // an Ensure that runs now launches its stream before the wait, a later one sees that ctx has ended
	h.mu.Unlock() //nolint:staticcheck // the lock is only waited for
	h.group.Wait()
	return nil
}

// Ensure makes a stream to the cluster's workers unless there is one to that target already.
func (h *Hub) Ensure(cluster types.NamespacedName, to Target) {
	h.mu.Lock()
	defer h.mu.Unlock()
	before := h.streams[cluster]
	if before != nil {
		if before.target == to {
			return
		}
		before.stop()
	}
	s := newStream(cluster, to, h.dial(to), h.log.WithValues("ConnectCluster", cluster.String()), h.notify)
	if before != nil && before.target.Token == to.Token { // the same workers by another way
		s.inherit(before)
	}
	h.streams[cluster] = s
	h.launch(s)
}

// Drop ends the cluster's stream and forgets what it said.
func (h *Hub) Drop(cluster types.NamespacedName) {
	h.mu.Lock()
	s := h.streams[cluster]
	delete(h.streams, cluster)
	h.mu.Unlock()
	if s != nil {
		s.stop()
		h.notify(cluster, change{all: true})
	}
}

// launch needs h.mu.
func (h *Hub) launch(s *stream) {
	if h.ctx == nil || h.stopped {
		return
	}
	ctx, cancel := context.WithCancel(h.ctx)
	s.mu.Lock()
	s.cancel = cancel
	s.mu.Unlock()
	h.group.Go(func() {
		defer cancel()
		s.run(ctx)
	})
}

// ConnectorView is what is known of one connector.
type ConnectorView struct {
	// Workers calls the workers; nil if the cluster has no stream.
	Workers Workers
	// Reachable is false before the stream has brought the whole state, and when it has been away for a while; Problem
	// says why.
	Reachable bool
	Problem   string
	// Session counts the streams that brought the whole state; it changes when another worker may be speaking.
	Session int
	// Status is the newest report, nil if the workers do not know the connector. It must not be modified.
	Status *restapi.ConnectorStatus
}

// Connector returns what is known of a connector.
func (h *Hub) Connector(cluster types.NamespacedName, name string) ConnectorView {
	s := h.stream(cluster)
	if s == nil {
		return ConnectorView{Problem: "ConnectCluster " + cluster.Name + " has no ready worker"}
	}
	return s.connector(name)
}

// ClusterView is what is known of a cluster.
type ClusterView struct {
	Reachable bool
	Problem   string
	// Cluster is the newest report, nil without one. It must not be modified.
	Cluster *restapi.Cluster
	// Connectors are in no order.
	Connectors []restapi.ConnectorStatus
}

// Cluster returns what is known of a cluster.
func (h *Hub) Cluster(cluster types.NamespacedName) ClusterView {
	s := h.stream(cluster)
	if s == nil {
		return ClusterView{Problem: "no worker is ready"}
	}
	return s.cluster()
}

func (h *Hub) stream(cluster types.NamespacedName) *stream {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.streams[cluster]
}

// Connectors is the source of reconcile requests for connectors whose report has changed; list finds those that have no
// report yet.
func (h *Hub) Connectors(list List) source.Source {
	return source.Func(func(_ context.Context, q queue) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.connectors, h.list = q, list
		return nil
	})
}

// Clusters is the source of reconcile requests for clusters whose report has changed.
func (h *Hub) Clusters() source.Source {
	return source.Func(func(_ context.Context, q queue) error {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.clusters = q
		return nil
	})
}

// change is whose report has changed.
type change struct {
	names []string
	// all means every connector of the cluster, those without a report included.
	all bool
	// cluster means the cluster itself; every change of a connector is one of its counts.
	cluster bool
}

// notify asks for reconciles. A queue holds each request once.
func (h *Hub) notify(cluster types.NamespacedName, c change) {
	h.mu.Lock()
	ctx, connectors, clusters, list := h.ctx, h.connectors, h.clusters, h.list
	h.mu.Unlock()
	if connectors != nil {
		names := c.names
		if c.all && ctx != nil {
			listed, err := list(ctx, cluster)
			if err != nil && ctx.Err() == nil {
				h.log.Error(err, "Listing the connectors of a cluster", "ConnectCluster", cluster.String())
			}
			names = append(names, listed...)
		}
		for _, name := range names {
			connectors.Add(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: cluster.Namespace, Name: name}})
		}
	}
	if clusters != nil {
		clusters.AddAfter(reconcile.Request{NamespacedName: cluster}, gather)
	}
}
