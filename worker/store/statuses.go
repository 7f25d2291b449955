package store

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
)

// Status is what an owner last said of a connector or a task.
type Status struct {
	Connector string
	Task      int    // -1: the connector itself
	State     string // Running, Paused, Stopped, Failed, Unassigned, Restarting
	Worker    string
	// Generation, Epoch and Attempt are the owner's: what an older one says is ignored.
	Generation, Epoch, Attempt int64
	Error                      string // "" if there is none; holds no secret values
	Restarts                   int
	NextRestart, At            time.Time // zero: none
}

// statusValue is a stored Status.
type statusValue struct {
	V         int    `json:"v"`
	Connector string `json:"connector"`
	Task      int    `json:"task"`
	State     string `json:"state"`
	Worker    string `json:"worker"`
	stamp
	Sequence    int64     `json:"sequence"`
	Error       string    `json:"error,omitempty"`
	Restarts    int       `json:"restarts,omitempty"`
	NextRestart time.Time `json:"nextRestart,omitzero"`
	At          time.Time `json:"at,omitzero"`
}

func (v *statusValue) key() string { return statusKey(v.Connector, v.Task) }

func (v *statusValue) valid() bool { return v.Connector != "" && v.State != "" && v.Sequence > 0 }

// compare is a total order: equal are only equal values.
func (v *statusValue) compare(o *statusValue) int {
	return cmp.Or(v.stamp.compare(o.stamp), cmp.Compare(v.Sequence, o.Sequence), bytes.Compare(encode(v), encode(o)))
}

func (v *statusValue) status() Status {
	return Status{
		Connector: v.Connector, Task: v.Task, State: v.State, Worker: v.Worker, Generation: v.Generation, Epoch: v.Epoch,
		Attempt: v.Attempt, Error: v.Error, Restarts: v.Restarts, NextRestart: v.NextRestart, At: v.At,
	}
}

// statusFold keeps the highest value of each key: a lattice, so the order of the records does not matter at all.
type statusFold struct {
	values map[string]*statusValue         // by key
	of     map[string]map[int]*statusValue // by connector and task
}

func newStatusFold() *statusFold {
	return &statusFold{values: map[string]*statusValue{}, of: map[string]map[int]*statusValue{}}
}

// Apply folds one record.
func (f *statusFold) Apply(key string, data []byte) (keyedlog.Verdict, error) {
	if kindOf(key) != kindStatus {
		return keyedlog.Foreign, errKey
	}
	v, verdict, err := decode[*statusValue](key, data)
	if err != nil {
		return verdict, err
	}
	if held := f.values[key]; held != nil {
		switch c := v.compare(held); {
		case c == 0:
			return keyedlog.Same, nil
		case c < 0:
			return keyedlog.Refused, nil
		}
	}
	f.values[key] = v
	if f.of[v.Connector] == nil {
		f.of[v.Connector] = map[int]*statusValue{}
	}
	f.of[v.Connector][v.Task] = v
	return keyedlog.Accepted, nil
}

// Current gives the value to publish again.
func (f *statusFold) Current(key string) ([]byte, bool) {
	v := f.values[key]
	if v == nil {
		return nil, false
	}
	return encode(v), true
}

// Keys gives every key with a value.
func (f *statusFold) Keys() []string { return slices.Collect(maps.Keys(f.values)) }

func (f *statusFold) epoch(connector string) int64 {
	var out int64
	for _, v := range f.of[connector] {
		out = max(out, v.Epoch)
	}
	return out
}

// Statuses holds what the owners say of connectors and tasks. It is safe for concurrent use.
type Statuses struct {
	table *keyedlog.Table
	fold  *statusFold
	// life gives the epoch in which the connector's present life began; false if there is no such connector.
	life func(connector string) (born int64, ok bool)
}

// Put stores statuses of different units and returns when they were read back. ErrFenced means that a newer epoch, generation or attempt has
// spoken of one of them; the others are stored all the same. After other errors any of them may be stored.
func (s *Statuses) Put(ctx context.Context, statuses ...Status) error {
	values := make([]*statusValue, 0, len(statuses))
	for _, st := range statuses {
		v := newStatusValue(st)
		if !v.valid() {
			return fmt.Errorf("storing a status of %q: %w: a name and a state are required", st.Connector, ErrInvalid)
		}
		values = append(values, v)
	}
	var fenced []*statusValue
	var records []keyedlog.Record
	s.table.View(func() {
		for _, v := range values {
			if !s.fold.follow(v) {
				fenced = append(fenced, v)
			} else {
				records = append(records, keyedlog.Record{Key: v.key(), Value: encode(v)})
			}
		}
	})
	if len(records) > 0 {
		if err := s.table.Append(ctx, records...); err != nil {
			return fmt.Errorf("storing %d statuses: %w", len(records), err)
		}
	}
	s.table.View(func() {
		for _, v := range values {
			if held := s.fold.values[v.key()]; held != nil && v.stamp.compare(held.stamp) < 0 {
				fenced = append(fenced, v)
			}
		}
	})
	if len(fenced) > 0 {
		return fmt.Errorf("storing a status of task %d of %q: %w", fenced[0].Task, fenced[0].Connector, ErrFenced)
	}
	return nil
}

func newStatusValue(st Status) *statusValue {
	return &statusValue{
		V: version, Connector: strings.ToValidUTF8(st.Connector, "\uFFFD"), Task: st.Task, State: st.State, Worker: st.Worker,
		stamp: stamp{Epoch: st.Epoch, Generation: st.Generation, Attempt: st.Attempt}, Sequence: 1,
		Error: strings.ToValidUTF8(st.Error, "\uFFFD"), Restarts: st.Restarts,
		NextRestart: st.NextRestart.UTC().Truncate(time.Millisecond), At: st.At.UTC().Truncate(time.Millisecond),
	}
}

// follow puts v behind the value that is held, unless that one is a newer owner's.
func (f *statusFold) follow(v *statusValue) bool {
	held := f.values[v.key()]
	if held == nil {
		return true
	}
	c := v.stamp.compare(held.stamp)
	if c == 0 {
		v.Sequence = held.Sequence + 1
	}
	return c >= 0
}

// Get gives the status of a connector (-1) or a task.
func (s *Statuses) Get(connector string, task int) (out Status, ok bool) {
	born, exists := s.life(connector)
	if !exists {
		return Status{}, false
	}
	s.table.View(func() {
		if v := s.fold.of[connector][task]; v != nil && v.Epoch >= born {
			out, ok = v.status(), true
		}
	})
	return out, ok
}

// All gives what is known of a connector and its tasks, by task. It leaves out what was said in an earlier life of a
// connector that was deleted and created again, and keeps tasks that an older epoch had.
func (s *Statuses) All(connector string) []Status {
	born, ok := s.life(connector)
	if !ok {
		return nil
	}
	var out []Status
	s.table.View(func() {
		for _, v := range s.fold.of[connector] {
			if v.Epoch >= born {
				out = append(out, v.status())
			}
		}
	})
	slices.SortFunc(out, func(a, b Status) int { return cmp.Compare(a.Task, b.Task) })
	return out
}

// Watch tells of changes.
func (s *Statuses) Watch() (changed <-chan struct{}, stop func()) { return s.table.Watch() }
