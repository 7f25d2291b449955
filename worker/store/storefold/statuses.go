package storefold

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
)

// Status is what an owner last said of a connector or a task.
type Status struct {
	Connector string
	Task      int // -1: the connector itself
	State     states.Observed
	Worker    string
	// Generation, Epoch and Attempt are the owner's: what an older one says is ignored.
	Generation, Epoch, Attempt int64
	Error                      string // "" if there is none; holds no secret values
	Warning                    string // what users should know of a task that runs; "" if there is nothing
	Restarts                   int
	NextRestart, At            time.Time // zero: none
}

// statusValue is a stored Status.
type statusValue struct {
	V         int             `json:"v"`
	Connector string          `json:"connector"`
	Task      int             `json:"task"`
	State     states.Observed `json:"state"`
	Worker    string          `json:"worker"`
	stamp
	Sequence    int64     `json:"sequence"`
	Error       string    `json:"error,omitempty"`
	Warning     string    `json:"warning,omitempty"`
	Restarts    int       `json:"restarts,omitempty"`
	NextRestart time.Time `json:"nextRestart,omitzero"`
	At          time.Time `json:"at,omitzero"`
}

func (v *statusValue) key() string { return statusKey(v.Connector, v.Task) }

func (v *statusValue) valid(counts func(int64) bool) bool {
	return v.Connector != "" && len(v.Connector) <= maxName && v.State != "" && v.Sequence > 0 && counts(v.Sequence) &&
		v.stamp.valid(counts) &&
		validTask(v.Task)
}

// compare is a total order: equal are only equal values.
func (v *statusValue) compare(o *statusValue) int {
	return cmp.Or(v.stamp.compare(o.stamp), cmp.Compare(v.Sequence, o.Sequence), bytes.Compare(Encode(v), Encode(o)))
}

func (v *statusValue) status() Status {
	return Status{
		Connector: v.Connector, Task: v.Task, State: v.State, Worker: v.Worker, Generation: v.Generation, Epoch: v.Epoch,
		Attempt: v.Attempt, Error: v.Error, Warning: v.Warning, Restarts: v.Restarts, NextRestart: v.NextRestart, At: v.At,
	}
}

// Statuses keeps the highest value of each key: a lattice, so the order of the records does not matter at all.
type Statuses struct {
	values map[string]*statusValue         // by key
	of     map[string]map[int]*statusValue // by connector and task
}

// NewStatuses makes a fold of nothing.
func NewStatuses() *Statuses {
	return &Statuses{values: map[string]*statusValue{}, of: map[string]map[int]*statusValue{}}
}

// Apply folds one record.
func (f *Statuses) Apply(e rmq.Entry) (replica.Verdict, error) {
	if kindOf(e.Key) != kindStatus {
		return replica.Foreign, errKey
	}
	v, verdict, err := decode[*statusValue](e)
	if err != nil {
		return verdict, err
	}
	if held := f.values[e.Key]; held != nil {
		switch c := v.compare(held); {
		case c == 0:
			return replica.Same, nil
		case c < 0:
			return replica.Refused, nil
		}
	}
	f.values[e.Key] = v
	if f.of[v.Connector] == nil {
		f.of[v.Connector] = map[int]*statusValue{}
	}
	f.of[v.Connector][v.Task] = v
	return replica.Accepted, nil
}

// Current gives the value to publish again.
func (f *Statuses) Current(key string) ([]byte, bool) {
	v := f.values[key]
	if v == nil {
		return nil, false
	}
	return Encode(v), true
}

// Keys gives every key with a value.
func (f *Statuses) Keys() []string { return slices.Collect(maps.Keys(f.values)) }

// Epoch gives the highest epoch that any status of a connector has.
func (f *Statuses) Epoch(connector string) int64 {
	var out int64
	for _, v := range f.of[connector] {
		out = max(out, v.Epoch)
	}
	return out
}

// Newest gives the generation of a unit's status, 0 if there is none.
func (f *Statuses) Newest(connector string, task int) int64 {
	if v := f.of[connector][task]; v != nil {
		return v.Generation
	}
	return 0
}

// Put gives the record to append for a status. ErrFenced means that a newer epoch, generation or attempt has spoken.
func (f *Statuses) Put(st Status) (replica.Record, error) {
	v := &statusValue{
		V: Version, Connector: strings.ToValidUTF8(st.Connector, "\uFFFD"), Task: st.Task, State: st.State, Worker: st.Worker,
		stamp: st.stamp(), Sequence: 1,
		Error: strings.ToValidUTF8(st.Error, "\uFFFD"), Warning: strings.ToValidUTF8(st.Warning, "\uFFFD"), Restarts: st.Restarts,
		NextRestart: st.NextRestart.UTC().Truncate(time.Millisecond), At: st.At.UTC().Truncate(time.Millisecond),
	}
	if !v.valid(anything) {
		return replica.Record{}, fmt.Errorf("storing a status of %q: %w: a name and a state are required", st.Connector, ErrInvalid)
	}
	r := recordOf(v)
	if err := f.Check(r.Key, st); err != nil {
		return replica.Record{}, err
	}
	if held := f.values[r.Key]; held != nil && held.stamp == v.stamp {
		v.Sequence = held.Sequence + 1
		r = recordOf(v)
	}
	return r, nil
}

// Check gives ErrFenced when a newer epoch, generation or attempt than the status's has spoken under a key.
func (f *Statuses) Check(key string, st Status) error {
	if held := f.values[key]; held != nil && st.stamp().compare(held.stamp) < 0 {
		return fmt.Errorf("storing a status of task %d of %q: %w", st.Task, st.Connector, ErrFenced)
	}
	return nil
}

func (st *Status) stamp() stamp {
	return stamp{Epoch: st.Epoch, Generation: st.Generation, Attempt: st.Attempt}
}

// Get gives the status of a connector (-1) or a task, unless it is older than an epoch.
func (f *Statuses) Get(connector string, task int, since int64) (Status, bool) {
	v := f.of[connector][task]
	if v == nil || v.Epoch < since {
		return Status{}, false
	}
	return v.status(), true
}

// All gives what is known of a connector and its tasks since an epoch, by task.
func (f *Statuses) All(connector string, since int64) []Status {
	var out []Status
	for _, v := range f.of[connector] {
		if v.Epoch >= since {
			out = append(out, v.status())
		}
	}
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Task, b.Task) })
	return out
}
