package storefold

import (
	"maps"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
)

// maxRequests is how many accepted request ids a value remembers.
const maxRequests = 32

// request is a write that was accepted: a retry finds its id.
type request struct {
	ID       string `json:"id"`
	Revision int64  `json:"revision"`
}

// restartValue is a restart of one task, or of allTasks.
type restartValue struct {
	ID   string `json:"id"`
	Task int    `json:"task"`
}

// allTasks is the task of a restart that means the connector and all its tasks.
const allTasks = -1

// connectorValue is a connector without its task set, under a key of its own.
type connectorValue struct {
	V       int               `json:"v"`
	Name    string            `json:"name"`
	Config  map[string]string `json:"config,omitempty"`
	State   states.Wanted     `json:"state"`
	Deleted bool              `json:"deleted,omitempty"`
	Epoch   int64             `json:"epoch"`
	// Born is the epoch in which this life of the connector began: a deleted one may be created again.
	Born int64 `json:"born"`
	// Revision is one above Replaces, the revision that the writer saw: readers accept it only if that still holds.
	Revision int64     `json:"revision"`
	Replaces int64     `json:"replaces"`
	Requests []request `json:"requests"` // newest last; the last is this write's own
	// Restart is the newest restart that was asked for in this epoch. Restarts are those before it, by task, newest ids:
	// owners that have not read them yet carry them out all the same. There are at most as many as tasks.
	Restart   *restartValue  `json:"restart,omitempty"`
	Restarts  map[int]string `json:"restarts,omitempty"`
	UpdatedAt time.Time      `json:"updatedAt"`
	// Republished marks a value that had been accepted before: only its order counts, no condition.
	Republished bool `json:"republished,omitempty"`
}

func (v *connectorValue) key() string { return connectorKey(v.Name) }

func (v *connectorValue) valid(counts func(int64) bool) bool {
	if !v.restartable() || len(v.Requests) == 0 || len(v.Requests) > maxRequests {
		return false
	}
	for _, r := range v.Requests {
		if len(r.ID) > maxText {
			return false
		}
	}
	return v.Name != "" && len(v.Name) <= maxName && v.Revision == v.Replaces+1 && counts(v.Replaces) && v.Epoch > 0 && counts(v.Epoch) &&
		v.Born > 0 && v.Born <= v.Epoch && v.State.Known()
}

func (v *connectorValue) restartable() bool {
	return len(v.Restarts) <= maxTask && (v.Restart == nil || validTask(v.Restart.Task))
}

func (v *connectorValue) id() string { return v.Requests[len(v.Requests)-1].ID }

func (v *connectorValue) knows(id string) bool {
	return slices.ContainsFunc(v.Requests, func(r request) bool { return r.ID == id })
}

// restarts gives the newest restart of each task that has one of its own, and of allTasks. It is the caller's.
func (v *connectorValue) restarts() map[int]string {
	if v.Restart == nil {
		return nil
	}
	out := map[int]string{}
	if v.Restart.Task != allTasks { // else it stands for those before it
		maps.Copy(out, v.Restarts)
	}
	out[v.Restart.Task] = v.Restart.ID
	return out
}

// ask adds a restart to those that were asked for before.
func (v *connectorValue) ask(r restartValue) {
	if r.Task == allTasks {
		v.Restarts = nil
	} else {
		v.Restarts = v.restarts()
		delete(v.Restarts, r.Task)
	}
	v.Restart = &r
}

// tasksValue is the task set of one epoch of a connector, under a key of its own: a pause does not rewrite it.
type tasksValue struct {
	V           int                 `json:"v"`
	Name        string              `json:"name"`
	Epoch       int64               `json:"epoch"`
	Tasks       []map[string]string `json:"tasks"`
	ID          string              `json:"id"`
	Republished bool                `json:"republished,omitempty"`
}

func (v *tasksValue) key() string { return tasksKey(v.Name) }

func (v *tasksValue) valid(counts func(int64) bool) bool {
	return v.Name != "" && len(v.Name) <= maxName && v.Epoch > 0 && counts(v.Epoch) && v.ID != "" && v.Tasks != nil && len(v.Tasks) <= maxTasks
}

// Configs holds the connectors, tombstones included, and their newest task sets. A connector's value follows the one
// it replaces, the first task set of an epoch wins. Of a deleted connector, and of task sets whose epoch is over, only
// the epochs are left.
//
// Invariant C3: (config, epoch) is one record, and a task set counts only for the epoch that it names.
type Configs struct {
	connectors map[string]*connectorValue // by key
	tasks      map[string]*tasksValue     // by key
	identity   *identityValue             // nil until it is made
	hidden     []string                   // keys of erased task sets, until they are asked for
	erasures   int64
}

// NewConfigs makes a fold of nothing.
func NewConfigs() *Configs {
	return &Configs{connectors: map[string]*connectorValue{}, tasks: map[string]*tasksValue{}}
}

// Apply folds one record.
func (f *Configs) Apply(e rmq.Entry) (replica.Verdict, error) {
	switch kindOf(e.Key) {
	case kindConnector:
		v, verdict, err := decode[*connectorValue](e)
		if err != nil {
			return verdict, err
		}
		return f.applyConnector(v), nil
	case kindTasks:
		v, verdict, err := decode[*tasksValue](e)
		if err != nil {
			return verdict, err
		}
		return f.applyTasks(v), nil
	case kindIdentity:
		v, verdict, err := decode[*identityValue](e)
		if err != nil {
			return verdict, err
		}
		return f.applyIdentity(v), nil
	}
	return replica.Foreign, errKey
}

// applyConnector compares and sets. A value whose base is newer than what is held follows records that compaction has
// removed: its writer had accepted them. Values that were written on two sides of a loss are ordered by epoch.
//
// Invariant C3: the epoch never goes back.
func (f *Configs) applyConnector(v *connectorValue) replica.Verdict {
	held := f.connectors[v.key()]
	switch {
	case held == nil:
	case v.Revision == held.Revision && v.id() == held.id():
		return replica.Same
	case v.Republished && (v.Epoch > held.Epoch || v.Epoch == held.Epoch && v.Revision >= held.Revision):
	case !v.Republished && v.Replaces >= held.Revision && v.Epoch >= held.Epoch:
	case v.Born > held.Born && v.Epoch > held.Epoch: // made where all that is held here was lost: revisions say nothing then
	default:
		return replica.Refused
	}
	v.Republished = false
	f.connectors[v.key()] = v
	f.follow(v, held)
	return replica.Accepted
}

// applyTasks keeps the first task set of the newest epoch. One whose epoch is over is refused, and only its epoch is
// kept, which is then published over it.
func (f *Configs) applyTasks(v *tasksValue) replica.Verdict {
	held := f.tasks[v.key()]
	switch {
	case held != nil && v.Epoch < held.Epoch:
		return replica.Refused
	case !v.erased() && f.over(v):
		f.tasks[v.key()] = v.erase()
		return replica.Refused
	case held != nil && v.Epoch == held.Epoch:
		if verdict := f.sameEpoch(v, held); verdict != replica.Accepted {
			return verdict
		}
	}
	if held != nil && !held.erased() {
		f.erasures++
	}
	v.Republished = false
	f.tasks[v.key()] = v
	return replica.Accepted
}

// sameEpoch says what a task set is beside the one that is held of its epoch.
func (f *Configs) sameEpoch(v, held *tasksValue) replica.Verdict {
	switch {
	case v.ID == held.ID:
		return replica.Same
	case v.erased() && f.current(v): // who erased it holds a config that is not here yet: what runs goes on until it is
		return replica.Refused
	case v.erased(), held.erased(), v.Republished:
		return replica.Accepted
	}
	return replica.Refused
}

// Current gives the value to publish again.
func (f *Configs) Current(key string) ([]byte, bool) {
	if v := f.connectors[key]; v != nil {
		again := *v
		again.Republished = true
		return Encode(&again), true
	}
	if v := f.tasks[key]; v != nil {
		again := *v
		again.Republished = true
		return Encode(&again), true
	}
	if key == kindIdentity && f.identity != nil {
		again := *f.identity
		again.Republished = true
		return Encode(&again), true
	}
	return nil, false
}

// Keys gives every key with a value.
func (f *Configs) Keys() []string {
	keys := slices.AppendSeq(slices.Collect(maps.Keys(f.connectors)), maps.Keys(f.tasks))
	if f.identity != nil {
		keys = append(keys, kindIdentity)
	}
	return keys
}

// View joins a connector with the task set of its epoch; the result shares nothing with the fold.
func (f *Configs) View(name string) (Connector, bool) {
	v := f.connectors[connectorKey(name)]
	if v == nil {
		return Connector{Name: name}, false
	}
	out := Connector{
		Name: v.Name, Config: maps.Clone(v.Config), State: v.State, Epoch: v.Epoch, Revision: v.Revision,
		Deleted: v.Deleted, Restarts: v.restarts(), UpdatedAt: v.UpdatedAt,
	}
	if t := f.tasks[tasksKey(name)]; t != nil && t.Epoch == v.Epoch && !t.erased() && !v.Deleted {
		out.Tasks = make([]map[string]string, len(t.Tasks))
		for i, task := range t.Tasks {
			out.Tasks[i] = maps.Clone(task)
		}
	}
	return out, true
}
