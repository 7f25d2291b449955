package schedule

import (
	"context"
	"errors"
	"fmt"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// Wire makes the Deps of a real worker.
func Wire(c *cluster.Cluster, stores *store.Stores, runner *task.Runner, catalog Catalog, secrets Secrets) Deps {
	return Deps{
		Cluster:   c,
		Gate:      func(g cluster.Grant) task.Gate { return c.Gate(g) },
		Configs:   stores.Configs(),
		Positions: progress{stores.Positions()},
		Offsets:   progress{stores.Offsets()},
		Statuses:  stores.Statuses(),
		Runner:    runner,
		Catalog:   catalog,
		Secrets:   secrets,
	}
}

// progress fits a *store.Progress to what tasks need.
type progress struct{ *store.Progress }

func (p progress) Fence(ctx context.Context, f store.Fence) (task.Writer, func(), error) {
	w, err := p.Progress.Fence(ctx, f)
	if err != nil {
		return nil, nil, err
	}
	return writer{w}, w.Close, nil
}

// writer tells a task that was fenced off that it is lost.
type writer struct{ *store.Writer }

func (w writer) Write(ctx context.Context, changed record.Positions) error {
	err := w.Writer.Write(ctx, changed)
	if errors.Is(err, store.ErrFenced) {
		return fmt.Errorf("%w: %w", task.ErrLost, err)
	}
	return err
}
