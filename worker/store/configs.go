package store

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
)

// State is what a user wants of a connector.
type State string

// The states.
const (
	Running State = "Running"
	Paused  State = "Paused"
	Stopped State = "Stopped"
)

// Restart asks for a restart within the same epoch: owners that see a new ID for a task they run stop and start it.
type Restart struct {
	ID   string // "" if there never was one
	Task int    // -1 is all of them and the connector
}

// Connector is what the cluster wants of one connector.
type Connector struct {
	Name   string
	Config map[string]string
	State  State
	// Epoch is the version of (config, task set). It rises when Config changes and with a deletion, and never goes back,
	// not even when a deleted connector is created again. Changing State keeps it.
	Epoch int64
	// Revision rises with each accepted Put: it is the ETag. Publishing tasks keeps it.
	Revision int64
	// Tasks is nil until the tasks of this Epoch were published.
	Tasks     []map[string]string
	Deleted   bool
	Restart   Restart
	UpdatedAt time.Time // by the clock of the worker that wrote it
}

// Write is one change of a connector.
type Write struct {
	Name   string
	Config map[string]string // nil keeps it
	State  State             // "" keeps it; Running for a new connector
	// IfRevision is the revision that must still hold; 0: the connector must not exist (or be deleted); -1: any.
	IfRevision int64
	// RequestID names the request over its retries. "" makes one up.
	RequestID string
	Delete    bool
	Restart   *Restart // nil keeps it; ID "" takes the RequestID
}

// ConflictError says that a write's condition does not hold.
type ConflictError struct {
	// Current is what holds instead: Revision 0 or Deleted when there is no such connector.
	Current Connector
}

// Error names the connector and its revision.
func (e *ConflictError) Error() string {
	if e.Current.Revision == 0 || e.Current.Deleted {
		return fmt.Sprintf("connector %q does not exist", e.Current.Name)
	}
	return fmt.Sprintf("connector %q is at revision %d, epoch %d: read it again and repeat the change",
		e.Current.Name, e.Current.Revision, e.Current.Epoch)
}

// Configs holds what the cluster wants of each connector. It is safe for concurrent use.
type Configs struct {
	table *keyedlog.Table
	fold  *configFold
	// used gives the highest epoch that other stores know for a connector: one that lost its config topic goes on above.
	used func(name string) int64
	all  atomic.Pointer[listing]
}

// listing is what All gives at a version of the fold.
type listing struct {
	version    int64
	connectors []Connector
	made       map[string]made // by key
}

// made is a view of a connector and what it was made of. Values are replaced, never changed.
type made struct {
	value *connectorValue
	tasks *tasksValue
	view  Connector
}

// Get gives a connector, or false if there is none or it is deleted.
func (c *Configs) Get(name string) (Connector, bool) {
	var out Connector
	var ok bool
	c.table.View(func() { out, ok = c.fold.view(name) })
	return out, ok && !out.Deleted
}

// All gives the connectors sorted by name, deleted ones left out. All who ask before the next change share the result, and
// must not change it.
func (c *Configs) All() []Connector {
	var out *listing
	c.table.Snapshot(func(version, _ int64) {
		if out = c.all.Load(); out == nil || out.version != version {
			out = c.fold.list(out)
			out.version = version
			c.all.Store(out)
		}
	})
	return out.connectors
}

// list makes the listing after the one given, if any: most changes are of one connector.
func (f *configFold) list(before *listing) *listing {
	if before == nil {
		before = &listing{}
	}
	out := &listing{made: make(map[string]made, len(f.connectors))}
	for key, v := range f.connectors {
		if v.Deleted {
			continue
		}
		m := made{value: v, tasks: f.tasks[tasksKey(v.Name)]}
		if old := before.made[key]; old.value == m.value && old.tasks == m.tasks {
			m = old
		} else {
			m.view, _ = f.view(v.Name)
		}
		out.made[key] = m
		out.connectors = append(out.connectors, m.view)
	}
	slices.SortFunc(out.connectors, func(a, b Connector) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// Epoch gives the connector's epoch, that of its deletion included; 0 if it never was.
func (c *Configs) Epoch(name string) int64 {
	var out Connector
	c.table.View(func() { out, _ = c.fold.view(name) })
	return out.Epoch
}

// Watch tells of changes.
func (c *Configs) Watch() (changed <-chan struct{}, stop func()) { return c.table.Watch() }

// life gives the epochs between which what is said of a connector belongs to its present life.
func (c *Configs) life(name string) (born int64, ok bool) {
	c.table.View(func() {
		if v := c.fold.connectors[connectorKey(name)]; v != nil && !v.Deleted {
			born, ok = v.Born, true
		}
	})
	return born, ok
}

// Put writes and answers after its own record came back: with the connector as it then is, with *ConflictError if the
// condition does not hold, with ErrNotFound if there is nothing to change, with ErrInvalid. A request that was accepted
// before is not carried out twice: it answers with the connector as it is now. After other errors the write may
// have been accepted all the same; repeat it with the same RequestID.
func (c *Configs) Put(ctx context.Context, w Write) (Connector, error) {
	if err := w.validate(); err != nil {
		return Connector{}, fmt.Errorf("writing connector %q: %w", w.Name, err)
	}
	if w.RequestID == "" {
		w.RequestID = newID()
	}
	floor := c.used(w.Name)
	for {
		var next *connectorValue
		var answer Connector
		var err error
		c.table.View(func() { next, answer, err = c.fold.next(w, floor) })
		if next == nil || err != nil {
			return answer, err
		}
		next.UpdatedAt = time.Now().UTC().Truncate(time.Millisecond)
		if err := c.table.Append(ctx, keyedlog.Record{Key: next.key(), Value: encode(next)}); err != nil {
			return Connector{}, fmt.Errorf("writing connector %q: %w", w.Name, err)
		}
	}
}

func (w Write) validate() error {
	switch {
	case w.Name == "" || !utf8.ValidString(w.Name):
		return fmt.Errorf("%w: the name must be UTF-8 text that is not empty", ErrInvalid)
	case !utf8.ValidString(w.RequestID):
		return fmt.Errorf("%w: the request id must be UTF-8 text", ErrInvalid)
	case !validMap(w.Config):
		return fmt.Errorf("%w: config keys and values must be UTF-8 text", ErrInvalid)
	case w.State != "" && !knownState(w.State):
		return fmt.Errorf("%w: state %q is none of Running, Paused, Stopped", ErrInvalid, w.State)
	case w.Delete && (w.Config != nil || w.Restart != nil):
		return fmt.Errorf("%w: a deletion has no config and no restart", ErrInvalid)
	}
	return nil
}

// next gives the value to write for w on top of what is held, or nil and the answer: the request was accepted before.
func (f *configFold) next(w Write, floor int64) (*connectorValue, Connector, error) {
	current, _ := f.view(w.Name)
	held := f.connectors[connectorKey(w.Name)]
	if held != nil && held.knows(w.RequestID) {
		return nil, current, nil
	}
	exists := held != nil && !held.Deleted
	switch {
	case w.IfRevision == 0 && exists, w.IfRevision > 0 && (!exists || held.Revision != w.IfRevision):
		return nil, Connector{}, &ConflictError{Current: current}
	case !exists && (w.Delete || w.Config == nil):
		return nil, Connector{}, fmt.Errorf("writing connector %q: %w", w.Name, ErrNotFound)
	}
	next := &connectorValue{V: version, Name: w.Name, Config: w.Config, State: w.State}
	if held != nil {
		next.Replaces, next.Epoch, next.Requests = held.Revision, held.Epoch, held.Requests
	}
	if exists {
		next.keep(held)
	}
	if next.State == "" {
		next.State = Running
	}
	if w.Restart != nil {
		next.Restart = &restartValue{ID: cmp.Or(w.Restart.ID, w.RequestID), Task: w.Restart.Task}
	}
	next.raise(held, exists, w.Delete, floor)
	next.Requests = append(slices.Clone(next.Requests), request{ID: w.RequestID, Revision: next.Revision})
	next.Requests = next.Requests[max(0, len(next.Requests)-maxRequests):]
	return next, Connector{}, nil
}

// keep takes over what a write leaves as it is.
func (v *connectorValue) keep(held *connectorValue) {
	v.Born, v.Restart = held.Born, held.Restart
	if v.Config == nil {
		v.Config = held.Config
	}
	v.State = cmp.Or(v.State, held.State)
}

// raise sets the revision, and a new epoch where the tasks of the old one must not go on.
func (v *connectorValue) raise(held *connectorValue, exists, deleting bool, floor int64) {
	v.Revision = v.Replaces + 1
	switch {
	case deleting:
		v.Deleted, v.Config, v.Restart = true, nil, nil
	case exists && maps.Equal(v.Config, held.Config):
		return
	}
	v.Epoch = max(v.Epoch, floor) + 1
	if !exists {
		v.Born = v.Epoch
	}
}

// PublishTasks gives an epoch of a connector its task set. The first in log order wins, and the result has what won;
// *ConflictError when the connector is not (any more) at that epoch, ErrNotFound when it is gone.
func (c *Configs) PublishTasks(ctx context.Context, name string, epoch int64, tasks []map[string]string) (Connector, error) {
	value := tasksValue{V: version, Name: name, Epoch: epoch, Tasks: tasks, ID: newID()}
	if tasks == nil {
		value.Tasks = []map[string]string{}
	}
	for i, task := range tasks {
		if !validMap(task) {
			return Connector{}, fmt.Errorf("publishing tasks of %q: %w: task %d holds text that is not UTF-8", name, ErrInvalid, i)
		}
	}
	for {
		current, ok := c.Get(name)
		switch {
		case !ok:
			return Connector{}, fmt.Errorf("publishing tasks of %q: %w", name, ErrNotFound)
		case current.Epoch != epoch:
			return Connector{}, &ConflictError{Current: current}
		case current.Tasks != nil:
			return current, nil
		}
		err := c.table.Append(ctx, keyedlog.Record{Key: value.key(), Value: encode(&value)})
		if err != nil && !errors.Is(err, keyedlog.ErrLogLost) {
			return Connector{}, fmt.Errorf("publishing tasks of %q: %w", name, err)
		}
	}
}
