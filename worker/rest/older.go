package rest

import (
	"context"
	"slices"

	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/resource"
	"github.com/rocketmq-connect/operator/worker/store"
)

// older is the resource side as the older runtimes' routes see it.
type older struct {
	Configs
	connectors *resource.Connectors
	checker    *check.Checker
	backends   Backends
}

var _ compat.Resources = (*older)(nil)

// Workers are the ids of the cluster's workers, sorted.
func (o *older) Workers() []string {
	ids := []string{}
	for _, m := range o.backends.Members.View().Members {
		ids = append(ids, m.Worker)
	}
	slices.Sort(ids)
	return ids
}

// Policy says what may be shown of a connector's config.
func (o *older) Policy(cfg map[string]string) redact.Policy { return o.checker.Classes.Policy(cfg) }

// Local lists the tasks that this worker has.
func (o *older) Local() []compat.LocalTask {
	if o.backends.Local == nil {
		return nil
	}
	return o.backends.Local()
}

// Sync waits until this worker holds all connectors as they are stored now.
func (o *older) Sync(ctx context.Context) error { return o.connectors.Sync(ctx) }

// Check checks a config before it is stored.
func (o *older) Check(name string, cfg map[string]string) ([]string, error) {
	return o.checker.Config(name, cfg)
}

// Kept says why after must not keep the values of the kept settings of before.
func (o *older) Kept(before, after map[string]string, kept []string) error {
	return o.checker.Kept(before, after, kept)
}

// Store carries out a change.
func (o *older) Store(ctx context.Context, w store.Write) error {
	_, err := o.connectors.Write(ctx, w)
	return err
}

// Remove deletes a connector and forgets its positions.
func (o *older) Remove(ctx context.Context, name, requestID string) error {
	return o.connectors.Remove(ctx, name, false, resource.Request{ID: requestID, Revision: resource.AnyRevision})
}

// Reload reads the plugin folders again, if this worker has any.
func (o *older) Reload(ctx context.Context) (bool, error) {
	if o.backends.Reload == nil {
		return false, nil
	}
	return true, o.backends.Reload(ctx)
}
