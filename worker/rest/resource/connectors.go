// Package resource carries out what the REST API's routes are asked to change: it decides on what is stored, has the config
// checked, and stores. It knows no HTTP but for the problems that it answers with.
package resource

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// AnyRevision is store.Write.IfRevision for whatever is stored.
const AnyRevision int64 = -1

// maxFills is how often masked secrets are filled in again because somebody else has changed the connector meanwhile.
const maxFills = 5

// Configs is what changes need of the config store.
type Configs interface {
	Get(name string) (store.Connector, bool)
	Epoch(name string) int64
	// Sync returns when the others show all that was stored at the call, by other workers too.
	Sync(ctx context.Context) error
	Put(ctx context.Context, w store.Write) (store.Connector, error)
}

// Progress is what changes need of the stores of positions and offsets.
type Progress interface {
	Read(connector string) record.Positions
	Reset(ctx context.Context, connector string, to record.Positions, epoch int64) error
}

// Connectors changes connectors. All fields are required. It is safe for concurrent use, and bounds no time itself.
type Connectors struct {
	Configs            Configs
	Positions, Offsets Progress
	Checker            *check.Checker
	Log                logr.Logger
}

// Request is what all changes have.
type Request struct {
	// ID names the request over its retries.
	ID string
	// Revision is what the change replaces, as store.Write.IfRevision has it; Stated says that the caller gave it.
	Revision int64
	Stated   bool
}

// held is a connector as this worker has read it.
type held struct {
	store.Connector
	exists bool
	// newest says that it is made of all that was stored when the request came.
	newest bool
}

// Sync waits until this worker holds all connectors as they are stored now.
func (c *Connectors) Sync(ctx context.Context) error {
	if err := c.Configs.Sync(ctx); err != nil {
		return fmt.Errorf("reading what is stored: %w", err)
	}
	return nil
}

// Write stores a change that does not depend on what is stored, and answers as store.Configs.Put does.
func (c *Connectors) Write(ctx context.Context, w store.Write) (store.Connector, error) {
	return c.change(ctx, w.Name, 1, func(held) (*store.Write, error) { return &w, nil })
}

// change stores what decide makes of the connector, and answers with it as it then is; nil of decide: nothing is to be written, because
// of an error, or since it is so already.
//
// Here alone a change is begun again. What this worker holds may be old, which a write finds out: what leads to none, or to one that
// is refused, is decided once more on all that is stored. A write that somebody else's came before is made again as often as attempts
// says. (The store makes the record of a write again that the log did not take, as long as the write's condition holds.)
func (c *Connectors) change(ctx context.Context, name string, attempts int, decide func(held) (*store.Write, error)) (store.Connector, error) {
	now, lost := c.held(name, false), 0
	for {
		write, err := decide(now)
		if write != nil {
			var stored store.Connector
			if stored, err = c.Configs.Put(ctx, *write); err == nil {
				c.Log.Info("Storing a connector", "connector", stored.Name, "epoch", stored.Epoch, "revision", stored.Revision,
					"state", string(stored.State), "deleted", stored.Deleted, "requestID", write.RequestID)
				return stored, nil
			}
			lost++
		}
		switch {
		case write != nil && !overtaken(err), write == nil && invalid(err):
			return store.Connector{}, err
		case !now.newest:
			if err := c.Sync(ctx); err != nil {
				return store.Connector{}, err
			}
		case write == nil:
			return now.Connector, err
		case lost >= attempts:
			return store.Connector{}, err
		}
		now = c.held(name, true)
	}
}

func (c *Connectors) held(name string, newest bool) held {
	found, exists := c.Configs.Get(name)
	return held{Connector: found, exists: exists, newest: newest}
}

// overtaken reports whether what is stored is not what the write was made for.
func overtaken(err error) bool {
	conflict := (*store.ConflictError)(nil)
	return errors.As(err, &conflict) || errors.Is(err, store.ErrNotFound)
}

// invalid reports whether the config was refused, which it is whatever is stored.
func invalid(err error) bool {
	p := (*restapi.Problem)(nil)
	return errors.As(err, &p) && p.Status == http.StatusUnprocessableEntity
}
