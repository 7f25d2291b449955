package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// What users want of connectors, and how they say so.
type (
	// Restart asks for a restart within the same epoch.
	Restart = storefold.Restart
	// Connector is what the cluster wants of one connector.
	Connector = storefold.Connector
	// Write is one change of a connector.
	Write = storefold.Write
	// ConflictError says that a write's condition does not hold.
	ConflictError = storefold.ConflictError
)

// Configs holds what the cluster wants of each connector. It is safe for concurrent use.
type Configs struct {
	table *keyedlog.Table
	fold  *storefold.Configs
	// topics are all of the cluster's internal ones, its log's first.
	topics []string
	// used gives the highest epoch that other stores know for a connector: one that lost its config topic goes on above.
	used func(name string) int64
	all  atomic.Pointer[storefold.Listing]
}

// Get gives a connector, or false if there is none or it is deleted.
func (c *Configs) Get(name string) (Connector, bool) {
	var out Connector
	var ok bool
	c.table.View(func() { out, ok = c.fold.View(name) })
	return out, ok && !out.Deleted
}

// All gives the connectors sorted by name, deleted ones left out. All who ask before the next change share the result,
// and must not change it.
func (c *Configs) All() []Connector {
	var out *storefold.Listing
	c.table.Snapshot(func(version, _ int64) {
		if out = c.all.Load(); out == nil || out.Version != version {
			out = c.fold.List(out)
			out.Version = version
			c.all.Store(out)
		}
	})
	return out.Connectors
}

// Epoch gives the connector's epoch, that of its deletion included; 0 if it never was.
func (c *Configs) Epoch(name string) int64 {
	var out Connector
	c.table.View(func() { out, _ = c.fold.View(name) })
	return out.Epoch
}

// Sync returns when Get, All and Epoch show all that was stored at the call, by other workers too.
func (c *Configs) Sync(ctx context.Context) error {
	if err := c.table.Sync(ctx); err != nil {
		return fmt.Errorf("reading the newest connectors: %w", err)
	}
	return nil
}

// Watch tells of changes.
func (c *Configs) Watch() (changed <-chan struct{}, stop func()) { return c.table.Watch() }

// life gives the epochs between which what is said of a connector belongs to its present life.
func (c *Configs) life(name string) (born int64, ok bool) {
	c.table.View(func() { born, ok = c.fold.Born(name) })
	return born, ok
}

// Put writes and answers after its own record came back: with the connector as it then is, with *ConflictError if the
// condition does not hold, with ErrNotFound if there is nothing to change, with ErrInvalid. A request that was accepted
// before is not carried out twice: it answers with the connector as it is now. After other errors the write may
// have been accepted all the same; repeat it with the same RequestID.
//
// A record that the log did not take, since another came first, is made again while the condition holds. Nothing else
// is tried again: whether a conflict can be helped is for those to say who know what the write was made of.
func (c *Configs) Put(ctx context.Context, w Write) (Connector, error) {
	if err := w.Validate(); err != nil {
		return Connector{}, fmt.Errorf("writing connector %q: %w", w.Name, err)
	}
	if w.RequestID == "" {
		w.RequestID = newID()
	}
	for {
		floor := c.used(w.Name)
		var next *keyedlog.Record
		var answer Connector
		var err error
		c.table.View(func() { next, answer, err = c.fold.Put(w, floor, time.Now()) })
		if next == nil || err != nil {
			return answer, err
		}
		if err := c.table.Append(ctx, *next); err != nil && !errors.Is(err, keyedlog.ErrLogLost) {
			return Connector{}, fmt.Errorf("writing connector %q: %w", w.Name, err)
		}
	}
}

// Identity tells this cluster from every other one, whatever they are called. It is made once, by whoever asks first,
// and kept with the configs: where nobody has it any more, it is recreated.
func (c *Configs) Identity(ctx context.Context) (string, error) {
	id := newID()
	for {
		var known string
		var next *keyedlog.Record
		c.table.View(func() { known, next = c.fold.Identity(), c.fold.Identify(id, c.topics, time.Now()) })
		if next == nil {
			return known, nil
		}
		if err := c.table.Append(ctx, *next); err != nil && !errors.Is(err, keyedlog.ErrLogLost) {
			return "", fmt.Errorf("making the cluster's identity: %w", err)
		}
	}
}

// ErrOtherTopics means that the config topic is that of a cluster whose other internal topics are others than this
// worker's: both would run its connectors, each without knowing who owns what in the other.
var ErrOtherTopics = errors.New("the config topic belongs to a cluster with other internal topics")

// CheckTopics makes the cluster's identity if it has none, and fails with ErrOtherTopics if it was made with other
// topics.
func (c *Configs) CheckTopics(ctx context.Context) error {
	if _, err := c.Identity(ctx); err != nil {
		return err
	}
	var theirs []string
	c.table.View(func() { theirs = c.fold.Topics() })
	if theirs == nil || slices.Equal(theirs, c.topics) {
		return nil
	}
	return fmt.Errorf(
		"%w: its topics are %s, and this worker's are %s: correct their names in the configuration, or give this cluster five topics of its own",
		ErrOtherTopics,
		strings.Join(theirs, ", "),
		strings.Join(c.topics, ", "),
	)
}

// PublishTasks gives an epoch of a connector its task set. The first in log order wins, and the result has what won;
// *ConflictError when the connector is not (any more) at that epoch, ErrNotFound when it is gone.
func (c *Configs) PublishTasks(ctx context.Context, name string, epoch int64, tasks []map[string]string) (Connector, error) {
	id := newID()
	for {
		var next *keyedlog.Record
		var answer Connector
		var err error
		c.table.View(func() { next, answer, err = c.fold.Publish(name, epoch, tasks, id) })
		if next == nil || err != nil {
			return answer, err
		}
		if err := c.table.Append(ctx, *next); err != nil && !errors.Is(err, keyedlog.ErrLogLost) {
			return Connector{}, fmt.Errorf("publishing tasks of %q: %w", name, err)
		}
	}
}
