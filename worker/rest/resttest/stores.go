// Package resttest has what tests of the REST API work with in the place of stores, a cluster and connector classes.
package resttest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Notifier is the Watch half of the fakes.
type Notifier struct {
	mu  sync.Mutex
	all []chan struct{}
}

// Watch tells of each Notify.
func (n *Notifier) Watch() (<-chan struct{}, func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan struct{}, 1)
	n.all = append(n.all, ch)
	return ch, func() {}
}

// Notify tells all who watch.
func (n *Notifier) Notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ch := range n.all {
		select {
		case ch <- struct{}{}:
		default:
		}
	}
}

// Configs is a config store without a log. Its fields are set while nobody uses it.
type Configs struct {
	Notifier
	mu       sync.Mutex
	revision int64
	requests map[string]bool
	// Held has the connectors by name, deleted ones included.
	Held map[string]store.Connector
	// Err is what Put fails with; Unsynced what Sync fails with.
	Err, Unsynced error
	// Unread makes of what is held what is stored: this worker has not read it yet.
	Unread func()
	// Race is what somebody else does right before each Put.
	Race func(*store.Connector)
	// Puts and Syncs count the calls.
	Puts, Syncs int
}

// NewConfigs makes a store that holds nothing. The first write has revision 11.
func NewConfigs() *Configs {
	return &Configs{Held: map[string]store.Connector{}, requests: map[string]bool{}, revision: 10}
}

// Get gives a connector, or false if there is none or it is deleted.
func (f *Configs) Get(name string) (store.Connector, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.Held[name]
	return c, ok && !c.Deleted
}

// All gives the connectors that are not deleted, sorted by name.
func (f *Configs) All() []store.Connector {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []store.Connector
	for _, name := range slices.Sorted(maps.Keys(f.Held)) {
		if !f.Held[name].Deleted {
			out = append(out, f.Held[name])
		}
	}
	return out
}

// Epoch gives the connector's epoch.
func (f *Configs) Epoch(name string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Held[name].Epoch
}

// Sync reads what is unread.
func (f *Configs) Sync(context.Context) error {
	f.mu.Lock()
	f.Syncs++
	unread, err := f.Unread, f.Unsynced
	if err == nil {
		f.Unread = nil
	}
	f.mu.Unlock()
	if err == nil && unread != nil {
		unread()
	}
	return err
}

// Put carries out the write as the store would.
func (f *Configs) Put(_ context.Context, w store.Write) (store.Connector, error) {
	defer f.Notify()
	f.mu.Lock()
	defer f.mu.Unlock()
	f.Puts++
	if f.Err != nil {
		return store.Connector{}, f.Err
	}
	c := f.Held[w.Name]
	if f.Race != nil {
		f.Race(&c)
		f.Held[w.Name] = c
	}
	exists := c.Name != "" && !c.Deleted
	switch {
	case f.requests[w.RequestID]:
		return c, nil
	case w.IfRevision == 0 && exists, w.IfRevision > 0 && (!exists || c.Revision != w.IfRevision):
		return store.Connector{}, &store.ConflictError{Current: c}
	case !exists && w.Config == nil:
		return store.Connector{}, fmt.Errorf("writing: %w", store.ErrNotFound)
	}
	f.requests[w.RequestID] = true
	f.revision++
	c = written(c, exists, w, f.revision)
	f.Held[w.Name] = c
	return c, nil
}

// written is the connector after the write, which gives it the revision.
func written(c store.Connector, exists bool, w store.Write, revision int64) store.Connector {
	if w.Config != nil && !maps.Equal(w.Config, c.Config) || w.Delete {
		c.Config, c.Epoch = w.Config, revision
	}
	if w.State != "" {
		c.State = w.State
	} else if !exists {
		c.State = states.WantRunning
	}
	if w.Restart != nil {
		c.Restarts = map[int]string{w.Restart.Task: w.Restart.ID}
	}
	c.Name, c.Revision, c.Deleted = w.Name, revision, w.Delete
	return c
}

// Set stores the connector as it is.
func (f *Configs) Set(c store.Connector) {
	f.mu.Lock()
	f.Held[c.Name] = c
	f.mu.Unlock()
	f.Notify()
}

// Statuses is a status store without a log.
type Statuses struct {
	Notifier
	mu   sync.Mutex
	held map[cluster.Unit]store.Status
}

// Get gives the unit's status.
func (f *Statuses) Get(name string, task int) (store.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st, ok := f.held[cluster.Unit{Connector: name, Task: task}]
	return st, ok
}

// Set stores the status.
func (f *Statuses) Set(st store.Status) {
	f.mu.Lock()
	if f.held == nil {
		f.held = map[cluster.Unit]store.Status{}
	}
	f.held[cluster.Unit{Connector: st.Connector, Task: st.Task}] = st
	f.mu.Unlock()
	f.Notify()
}

// Members is a cluster that only the test changes.
type Members struct {
	Notifier
	mu   sync.Mutex
	view cluster.View
}

// Change changes the view.
func (f *Members) Change(change func(*cluster.View)) {
	f.mu.Lock()
	change(&f.view)
	f.mu.Unlock()
	f.Notify()
}

// View gives the view that was set last.
func (f *Members) View() cluster.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view
}

// Progress is a store of positions without a log.
type Progress struct {
	mu sync.Mutex
	// Held has the positions by connector; Forgotten says at which epoch each was reset, as name@epoch.
	Held      map[string]record.Positions
	Forgotten []string
	// Err is what Reset fails with.
	Err error
}

// NewProgress makes a store that holds nothing.
func NewProgress() *Progress { return &Progress{Held: map[string]record.Positions{}} }

// Read gives a copy of the connector's positions.
func (f *Progress) Read(name string) record.Positions {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.Held[name].Clone()
}

// Reset forgets the connector's positions.
func (f *Progress) Reset(_ context.Context, name string, _ record.Positions, epoch int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.Err != nil {
		return f.Err
	}
	delete(f.Held, name)
	f.Forgotten = append(f.Forgotten, fmt.Sprintf("%s@%d", name, epoch))
	return nil
}
