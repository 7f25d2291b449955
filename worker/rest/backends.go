// Package rest serves a worker's HTTP interfaces: the resource API under /api/v1 (types in restapi), the routes of the
// older runtimes, probes and metrics. Any worker answers for the whole cluster, because every worker holds the
// replicated stores.
package rest

import (
	"context"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/resource"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Configs is what the server needs of the config store.
type Configs interface {
	resource.Configs
	All() []store.Connector
	Watch() (changed <-chan struct{}, stop func())
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
	check.Catalog
	List() []connector.Spec
}

// Backends are the parts of the worker that the server speaks for. All but CheckSettings, Secrets, Stored, Disputed,
// Warnings, Local and Reload are required.
type Backends struct {
	Configs            Configs
	Positions, Offsets resource.Progress
	Statuses           Statuses
	Members            Members
	Catalog            Catalog
	// CheckSettings reports what is wrong with the settings that any connector may have and that the worker obeys; each
	// error begins with the setting's name. nil: they are not checked.
	CheckSettings func(spec connector.Spec, cfg map[string]string) error
	// Secrets reads what a config refers to, for the class to check it; nil: references are checked for their form alone.
	Secrets check.Secrets
	// Ready returns nil once the worker has joined and its stores are read to the end; before and after that, why it is
	// not ready. Until then only probes and metrics are answered.
	Ready func() error
	// Leased returns nil while what this worker knows of the cluster is up to date; else why not. Routes answer with what
	// was known last; the readiness probe fails, and watch streams end, so that their callers go to a worker that knows
	// more.
	Leased func() error
	// Stored returns nil while the stores take records, or have failed to for a short time only; else which do not and
	// why: the readiness probe fails. nil: nothing is known of it.
	Stored func() error
	// Disputed returns nil while this worker and most others make the same of the cluster log, or most others do without
	// it; else nobody can tell who is wrong: the readiness probe fails. nil: nothing is known of it.
	Disputed func() error
	// Warnings says what is wrong with the internal topics though the worker can work with them; nil: nothing.
	Warnings func() []string
	// Local lists what runs on this worker; nil: nothing.
	Local func() []compat.LocalTask
	// Reload reads the plugin folders again; nil: this worker has built-in connectors only, and says so.
	Reload func(ctx context.Context) error
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
