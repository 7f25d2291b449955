// Package resource carries out what the REST API's routes are asked to change: it decides on what is stored, has the
// config checked, and stores. It knows no HTTP but for the problems that it answers with.
package resource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/keep"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// AnyRevision is store.Write.IfRevision for whatever is stored.
const AnyRevision int64 = -1

// maxFills is how often masked secrets are filled in again because somebody else has changed the connector meanwhile.
const maxFills = 10

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

// Stored is a connector as it is after a change.
type Stored struct {
	store.Connector
	// Created says that there was none before.
	Created bool
	// Warnings say what of the config has no effect, or not yet.
	Warnings []string
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

// Create stores a new connector; *store.ConflictError if there is one.
func (c *Connectors) Create(ctx context.Context, in restapi.Connector, id string) (Stored, error) {
	filled := c.Checker.Fill(in, nil)
	warnings, err := c.Checker.Check(filled)
	if err != nil {
		return Stored{}, err
	}
	write := filled.Write
	write.IfRevision, write.RequestID = 0, id
	stored, err := c.Write(ctx, write)
	return Stored{Connector: stored, Created: true, Warnings: warnings}, err
}

// Replace puts the connector in the place of the stored one, if that is another; *store.ConflictError if that is not at
// the revision that the caller stated. Masked secrets are those of the revision that is replaced: an older one never
// replaces a newer one.
func (c *Connectors) Replace(ctx context.Context, in restapi.Connector, req Request) (Stored, error) {
	var out Stored
	fills := !req.Stated && keep.HasMask(in.Config)
	attempts := 1
	if fills {
		attempts = maxFills
	}
	stored, err := c.change(ctx, in.Name, req, attempts, func(now held) (*store.Write, error) {
		filled := c.Checker.Fill(in, now.Config)
		same := now.exists && unchanged(now.Connector, filled.Write)
		if !now.newest && (!now.exists || same || filled.Refused()) {
			return nil, nil
		}
		out.Created = !now.exists
		var err error
		if out.Warnings, err = c.Checker.Check(filled); err != nil {
			return nil, err
		}
		if same && (!req.Stated || req.Revision == now.Revision) {
			return nil, nil
		}
		write := filled.Write
		write.IfRevision, write.RequestID = req.Revision, req.ID
		if fills {
			write.IfRevision = now.Revision
		}
		return &write, nil
	})
	out.Connector = stored
	return out, err
}

// unchanged reports whether the write would store what is there. The way in which the class is named does not matter.
func unchanged(before store.Connector, write store.Write) bool {
	return maps.Equal(before.Config, write.Config) && (write.State == "" || write.State == before.State)
}

// SetState stores what the user wants of the connector, if that is another state.
func (c *Connectors) SetState(ctx context.Context, name string, state states.Wanted, req Request) (Stored, error) {
	stored, err := c.change(ctx, name, req, 1, func(now held) (*store.Write, error) {
		switch {
		case !now.exists:
			return nil, answer.NotFound(name)
		case now.State == state && (!req.Stated || req.Revision == now.Revision):
			return nil, nil
		}
		return &store.Write{Name: name, State: state, IfRevision: req.Revision, RequestID: req.ID}, nil
	})
	return Stored{Connector: stored}, err
}

// Restart asks the owners to stop and start a task, given by its index as text, or with "" all tasks. nil says only
// that this was stored.
func (c *Connectors) Restart(ctx context.Context, name, text, id string) error {
	task, notNumber := strconv.Atoi(cmp.Or(text, "-1"))
	_, err := c.change(ctx, name, Request{}, 1, func(now held) (*store.Write, error) {
		switch {
		case !now.exists:
			return nil, answer.NotFound(name)
		case text != "" && (notNumber != nil || task < 0 || task >= len(now.Tasks)):
			return nil, answer.Problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found",
				"connector %q has no task %q; it has %d, from 0", name, text, len(now.Tasks))
		case now.State != states.WantRunning:
			return nil, answer.Problem(http.StatusConflict, restapi.ProblemConflict, "Conflict",
				"connector %q is %s: only a Running one can be restarted", name, now.State)
		}
		return &store.Write{Name: name, IfRevision: AnyRevision, RequestID: id, Restart: &store.Restart{ID: id, Task: task}}, nil
	})
	return err
}

// Remove deletes the connector and, unless keep, forgets its positions: kept ones would make a later connector of the
// same name on another system skip records. A repeated deletion finishes one that broke off between the two steps.
func (c *Connectors) Remove(ctx context.Context, name string, keep bool, req Request) error {
	_, err := c.change(ctx, name, req, 1, func(now held) (*store.Write, error) {
		if !now.exists {
			return nil, store.ErrNotFound
		}
		return &store.Write{Name: name, Delete: true, IfRevision: req.Revision, RequestID: req.ID}, nil
	})
	existed := err == nil
	if err != nil && !errors.Is(err, store.ErrNotFound) { // else somebody else has deleted it, and may have broken off
		return err
	}
	forgotten := false
	if epoch := c.Configs.Epoch(name); epoch > 0 && !keep {
		if forgotten, err = c.forget(ctx, name, epoch); err != nil {
			return err
		}
	}
	if !existed && !forgotten {
		return answer.NotFound(name)
	}
	return nil
}

// forget resets the progress of a deleted connector at the epoch of its deletion, and says whether there was any. It
// does so where nothing is stored, too, and whatever kind the connector was: its tasks may still drain, and then store.
//
// Invariant P3: the reset fences them off.
func (c *Connectors) forget(ctx context.Context, name string, epoch int64) (bool, error) {
	found := false
	for _, p := range []Progress{c.Positions, c.Offsets} {
		found = found || len(p.Read(name)) > 0
		err := p.Reset(ctx, name, nil, epoch)
		if errors.Is(err, store.ErrFenced) {
			return found, answer.Problem(http.StatusConflict, restapi.ProblemConflict, "Conflict", "connector %q was created again "+
				"meanwhile and goes on from the positions that were stored: delete it once more if it is to begin again", name)
		}
		if err != nil {
			return found, fmt.Errorf("forgetting the positions of %s: %w", name, err)
		}
	}
	return found, nil
}

// Write stores a change that does not depend on what is stored, and answers as store.Configs.Put does.
func (c *Connectors) Write(ctx context.Context, w store.Write) (store.Connector, error) {
	return c.change(ctx, w.Name, Request{}, 1, func(held) (*store.Write, error) { return &w, nil })
}

// change stores what decide makes of the connector, and answers with it as it then is; nil of decide: nothing is to be
// written, because of an error, or since it is so already.
//
// Here alone a change is begun again. What this worker holds may be old, which a write finds out: what leads to none,
// or to one that is refused, is decided once more on all that is stored. A write that somebody else's came before is
// made again as often as attempts says, but never in the place of another revision than the caller stated. (The store
// makes the record of a write again that the log did not take, as long as the write's condition holds.)
func (c *Connectors) change(
	ctx context.Context, name string, req Request, attempts int, decide func(held) (*store.Write, error),
) (store.Connector, error) {
	now, lost := c.held(name, false), 0
	for {
		write, err := decide(now)
		if write != nil {
			var stored store.Connector
			if stored, err = c.put(ctx, write); err == nil {
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
			if fresh := c.held(name, true); write != nil && req.Stated && (!fresh.exists || fresh.Revision > req.Revision) {
				return c.put(ctx, write) // refused with what is stored now: nothing is decided for another revision than the caller's
			}
		case write == nil:
			return now.Connector, err
		case lost >= attempts:
			return store.Connector{}, err
		}
		now = c.held(name, true)
	}
}

func (c *Connectors) put(ctx context.Context, w *store.Write) (store.Connector, error) {
	stored, err := c.Configs.Put(ctx, *w)
	if err == nil {
		c.Log.Info("Storing a connector", "connector", stored.Name, "epoch", stored.Epoch, "revision", stored.Revision,
			"state", string(stored.State), "deleted", stored.Deleted, "requestID", w.RequestID)
	}
	return stored, err
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
