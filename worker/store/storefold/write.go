package storefold

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/states"
)

var (
	// ErrFenced means that an equal or newer owner, attempt or epoch has written: the caller must stop what it does.
	ErrFenced = errors.New("fenced by a newer owner")
	// ErrNotFound means that a write which needs an existing connector met none.
	ErrNotFound = errors.New("connector not found")
	// ErrInvalid means that what was to be stored can never be stored; the wrapping error says why.
	ErrInvalid = errors.New("invalid value")
	// ErrConfigLost means that a connector is known at a newer epoch than its config is: the topic lost the newest config.
	ErrConfigLost = errors.New("newest config was lost: write it again")
)

// Restart asks for a restart within the same epoch: owners that see a new ID for a task they run stop and start it.
type Restart struct {
	ID   string
	Task int // -1 is all of them and the connector
}

// Connector is what the cluster wants of one connector.
type Connector struct {
	Name   string
	Config map[string]string
	State  states.Wanted
	// Epoch is the version of (config, task set). It rises when Config changes and with a deletion, and never goes back,
	// not even when a deleted connector is created again. Changing State keeps it.
	Epoch int64
	// Revision rises with each accepted Put: it is the ETag. Publishing tasks keeps it.
	Revision int64
	// Tasks is nil until the tasks of this Epoch were published. It is what each has besides Config, see TaskConfig.
	Tasks   []map[string]string
	Deleted bool
	// Restarts has the id of the newest restart by task, -1 for all of them and the connector. A new epoch has none: it
	// starts everything again.
	Restarts  map[int]string
	UpdatedAt time.Time // by the clock of the worker that wrote it
}

// TaskConfig gives the whole config of a task: its own settings over the connector's. It is the caller's.
func (c Connector) TaskConfig(task int) map[string]string {
	out := make(map[string]string, len(c.Config))
	maps.Copy(out, c.Config)
	if task < len(c.Tasks) {
		maps.Copy(out, c.Tasks[task])
	}
	return out
}

// RestartOf gives the id of the newest restart of a task, or of the connector itself (-1); "" if there was none. A
// task's own is always newer than that of all.
func (c Connector) RestartOf(task int) string {
	if id, ok := c.Restarts[task]; ok {
		return id
	}
	return c.Restarts[allTasks]
}

// Write is one change of a connector.
type Write struct {
	Name   string
	Config map[string]string // nil keeps it
	State  states.Wanted     // "" keeps it; WantRunning for a new connector
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

// Validate says what can never be stored.
func (w Write) Validate() error {
	switch {
	case w.Name == "" || !utf8.ValidString(w.Name):
		return fmt.Errorf("%w: the name must be UTF-8 text that is not empty", ErrInvalid)
	case !utf8.ValidString(w.RequestID):
		return fmt.Errorf("%w: the request id must be UTF-8 text", ErrInvalid)
	case !validMap(w.Config):
		return fmt.Errorf("%w: config keys and values must be UTF-8 text", ErrInvalid)
	case w.State != "" && !w.State.Known():
		return fmt.Errorf("%w: state %q is none of Running, Paused, Stopped", ErrInvalid, w.State)
	case w.Delete && (w.Config != nil || w.Restart != nil):
		return fmt.Errorf("%w: a deletion has no config and no restart", ErrInvalid)
	}
	return nil
}

// Put gives the record to append for w on top of what is held; nil and the answer when the request was accepted before.
// A connector that other stores know goes on above floor, the highest epoch in them.
func (f *Configs) Put(w Write, floor int64, now time.Time) (*replica.Record, Connector, error) {
	next, answer, err := f.next(w, floor)
	if next == nil || err != nil {
		return nil, answer, err
	}
	next.UpdatedAt = now.UTC().Truncate(time.Millisecond)
	r := recordOf(next)
	return &r, Connector{}, nil
}

// Publish gives the record that gives an epoch of a connector its task set; nil and the connector when it has one.
func (f *Configs) Publish(name string, epoch int64, tasks []map[string]string, id string) (*replica.Record, Connector, error) {
	for i, task := range tasks {
		if !validMap(task) {
			return nil, Connector{}, fmt.Errorf("publishing tasks of %q: %w: task %d holds text that is not UTF-8", name, ErrInvalid, i)
		}
	}
	current, ok := f.View(name)
	switch {
	case !ok || current.Deleted:
		return nil, Connector{}, fmt.Errorf("publishing tasks of %q: %w", name, ErrNotFound)
	case current.Epoch != epoch:
		return nil, Connector{}, &ConflictError{Current: current}
	case current.Tasks != nil:
		return nil, current, nil
	}
	if newer := f.tasksEpoch(name); newer > epoch {
		return nil, Connector{}, fmt.Errorf("publishing tasks of %q at epoch %d: %w: there are tasks of epoch %d", name, epoch,
			ErrConfigLost, newer)
	}
	value := tasksValue{V: Version, Name: name, Epoch: epoch, Tasks: besides(current.Config, tasks), ID: id}
	if n := bytesOf(value.Tasks); n > maxTaskSet {
		return nil, Connector{}, fmt.Errorf(
			"publishing tasks of %q: %w: what its %d tasks have besides the connector's settings takes %d bytes, and %d are allowed: "+
				"set fewer tasks, or shorter lists",
			name,
			ErrInvalid,
			len(tasks),
			n,
			maxTaskSet,
		)
	}
	r := recordOf(&value)
	return &r, Connector{}, nil
}

// maxTaskSet bounds a published task set, in bytes: it is one record, and all workers hold it.
const maxTaskSet = 1 << 20

// besides gives what tasks have besides the connector's settings: mostly the same for all of them, and that not for
// each again.
func besides(cfg map[string]string, tasks []map[string]string) []map[string]string {
	out := make([]map[string]string, len(tasks))
	for i, task := range tasks {
		out[i] = map[string]string{}
		for k, v := range task {
			if held, ok := cfg[k]; !ok || held != v {
				out[i][k] = v
			}
		}
	}
	return out
}

// bytesOf is about what JSON makes of the task set.
func bytesOf(tasks []map[string]string) (n int) {
	for _, task := range tasks {
		n += len("{},")
		for k, v := range task {
			n += len(k) + len(v) + len(`"":"",`)
		}
	}
	return n
}

// Born gives the epoch in which the connector's present life began; false if there is no such connector.
func (f *Configs) Born(name string) (int64, bool) {
	if v := f.connectors[connectorKey(name)]; v != nil && !v.Deleted {
		return v.Born, true
	}
	return 0, false
}

// answers is nil if the value may be what w asked for, whose request it knows. Of requests but the newest nobody can
// tell.
func (v *connectorValue) answers(w Write) error {
	asked := w.Delete == v.Deleted && (w.Config == nil || maps.Equal(w.Config, v.Config)) && (w.State == "" || w.State == v.State) &&
		(w.Restart == nil || v.Restart != nil && v.Restart.Task == w.Restart.Task)
	if v.id() != w.RequestID || asked {
		return nil
	}
	return fmt.Errorf("writing connector %q: %w: the request id %q was used for another write of it: give each write one of its own",
		w.Name, ErrInvalid, w.RequestID)
}

// next gives the value to write for w on top of what is held, or nil and the answer: the request was accepted before.
func (f *Configs) next(w Write, floor int64) (*connectorValue, Connector, error) {
	current, _ := f.View(w.Name)
	held := f.connectors[connectorKey(w.Name)]
	if held != nil && held.knows(w.RequestID) {
		return nil, current, held.answers(w)
	}
	exists := held != nil && !held.Deleted
	switch {
	case w.IfRevision == 0 && exists, w.IfRevision > 0 && (!exists || held.Revision != w.IfRevision):
		return nil, Connector{}, &ConflictError{Current: current}
	case !exists && (w.Delete || w.Config == nil):
		return nil, Connector{}, fmt.Errorf("writing connector %q: %w", w.Name, ErrNotFound)
	}
	next := &connectorValue{V: Version, Name: w.Name, Config: w.Config, State: w.State}
	if held != nil {
		next.Replaces, next.Epoch, next.Requests = held.Revision, held.Epoch, held.Requests
	}
	if exists {
		next.keep(held)
	}
	if next.State == "" {
		next.State = states.WantRunning
	}
	if w.Restart != nil {
		next.ask(restartValue{ID: cmp.Or(w.Restart.ID, w.RequestID), Task: w.Restart.Task})
	}
	next.raise(held, exists, w.Delete, max(floor, f.tasksEpoch(w.Name)))
	next.Requests = append(slices.Clone(next.Requests), request{ID: w.RequestID, Revision: next.Revision})
	next.Requests = next.Requests[max(0, len(next.Requests)-maxRequests):]
	return next, Connector{}, nil
}

// tasksEpoch gives the epoch of a connector's newest task set, 0 if it has none.
func (f *Configs) tasksEpoch(name string) int64 {
	if tasks := f.tasks[tasksKey(name)]; tasks != nil {
		return tasks.Epoch
	}
	return 0
}

// keep takes over what a write leaves as it is.
func (v *connectorValue) keep(held *connectorValue) {
	v.Born, v.Restart, v.Restarts = held.Born, held.Restart, held.Restarts
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
		v.Deleted, v.Config = true, nil
	case exists && maps.Equal(v.Config, held.Config) && floor <= held.Epoch:
		return // above the floor, too, or no task of it could be claimed or published
	}
	v.Epoch, v.Restart, v.Restarts = max(v.Epoch, floor)+1, nil, nil // which starts everything again
	if !exists {
		v.Born = v.Epoch
	}
}
