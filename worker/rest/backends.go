// Package rest serves a worker's HTTP interfaces: the resource API under /api/v1 (types in restapi), the routes of the
// older runtimes, probes and metrics. Any worker answers for the whole cluster, because every worker holds the
// replicated stores.
package rest

import (
	"context"
	"fmt"
	"net/http"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Configs is what the server needs of the config store.
type Configs interface {
	Get(name string) (store.Connector, bool)
	All() []store.Connector
	Epoch(name string) int64
	// Sync returns when the others show all that was stored at the call, by other workers too.
	Sync(ctx context.Context) error
	Put(ctx context.Context, w store.Write) (store.Connector, error)
	Watch() (changed <-chan struct{}, stop func())
}

// Progress is what the server needs of the stores of positions and offsets.
type Progress interface {
	Read(connector string) record.Positions
	Reset(ctx context.Context, connector string, to record.Positions, epoch int64) error
}

// Statuses is what the server needs of the status store.
type Statuses interface {
	Get(connector string, task int) (store.Status, bool)
	Watch() (changed <-chan struct{}, stop func())
}

// Members is what the server needs of the cluster.
type Members interface {
	View() cluster.View
	Watch() (changed <-chan struct{}, stop func())
}

// Catalog finds connector classes.
type Catalog interface {
	Find(class string) (connector.Connector, error)
	List() []connector.Spec
}

// Secrets resolves references of configs. *secret.Resolver is one.
type Secrets interface {
	Resolve(cfg map[string]string) (secret.Resolved, error)
}

// LocalTask is a task that this worker has.
type LocalTask struct {
	Connector string
	Task      int
	State     states.Observed
	// Stopping says that it is being handed over or stopped.
	Stopping bool
}

// Backends are the parts of the worker that the server speaks for. All but CheckSettings, Secrets, Stored, Disputed,
// Warnings, Local and Reload are required.
type Backends struct {
	Configs            Configs
	Positions, Offsets Progress
	Statuses           Statuses
	Members            Members
	Catalog            Catalog
	// CheckSettings reports what is wrong with the settings that any connector may have and that the worker obeys; each
	// error begins with the setting's name. nil: they are not checked.
	CheckSettings func(spec connector.Spec, cfg map[string]string) error
	// Secrets reads what a config refers to, for the class to check it; nil: references are checked for their form alone.
	Secrets Secrets
	// Ready returns nil once the worker has joined and its stores are read to the end; before and after that, why it is
	// not ready. Until then only probes and metrics are answered.
	Ready func() error
	// Leased returns nil while what this worker knows of the cluster is up to date; else why not. Routes answer with what
	// was known last; the readiness probe fails, and watch streams end, so that their callers go to a worker that knows more.
	Leased func() error
	// Stored returns nil while the stores take records, or have failed to for a short time only; else which do not and why:
	// the readiness probe fails. nil: nothing is known of it.
	Stored func() error
	// Disputed returns nil while this worker and most others make the same of the cluster log, or most others do without it;
	// else nobody can tell who is wrong: the readiness probe fails. nil: nothing is known of it.
	Disputed func() error
	// Warnings says what is wrong with the internal topics though the worker can work with them; nil: nothing.
	Warnings func() []string
	// Local lists what runs on this worker; nil: nothing.
	Local func() []LocalTask
	// Reload reads the plugin folders again; nil: this worker has built-in connectors only, and says so.
	Reload func(ctx context.Context) error
}

// newest returns the connector as this worker holds it if the request then leads to a write: that finds out what others
// have changed. An answer without a write is made of all that was stored when the request came.
func (s *Server) newest(r *http.Request, name string, writes func(store.Connector) bool) (store.Connector, bool, error) {
	if c, ok := s.backends.Configs.Get(name); ok && writes(c) {
		return c, true, nil
	}
	if err := s.sync(r); err != nil {
		return store.Connector{}, false, err
	}
	c, ok := s.backends.Configs.Get(name)
	return c, ok, nil
}

// sync waits until this worker holds all connectors as they are stored now.
func (s *Server) sync(r *http.Request) error {
	r, cancel := within(r)
	defer cancel()
	if err := s.backends.Configs.Sync(r.Context()); err != nil {
		return fmt.Errorf("reading what is stored: %w", err)
	}
	return nil
}

// within bounds all that the request waits for by writeTimeout.
func within(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), writeTimeout)
	return r.WithContext(ctx), cancel
}

func (b Backends) stored() error {
	if b.Stored == nil {
		return nil
	}
	return b.Stored()
}

func (b Backends) disputed() error {
	if b.Disputed == nil {
		return nil
	}
	return b.Disputed()
}

func (b Backends) warnings() []string {
	if b.Warnings == nil {
		return nil
	}
	return b.Warnings()
}
