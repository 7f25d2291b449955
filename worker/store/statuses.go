package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// Status is what an owner last said of a connector or a task.
type Status = storefold.Status

// Statuses holds what the owners say of connectors and tasks. It is safe for concurrent use.
type Statuses struct {
	table *keyedlog.Table
	fold  *storefold.Statuses
	// life gives the epoch in which the connector's present life began; false if there is no such connector.
	life func(connector string) (born int64, ok bool)
}

// Put stores statuses of different units and returns when they were read back. ErrFenced means that a newer epoch,
// generation or attempt has spoken of one of them; the others are stored all the same. After other errors any of them
// may be stored.
func (s *Statuses) Put(ctx context.Context, statuses ...Status) error {
	records := make([]keyedlog.Record, 0, len(statuses))
	stored := make([]Status, 0, len(statuses))
	var fenced, invalid error
	s.table.View(func() {
		for _, st := range statuses {
			record, err := s.fold.Put(st)
			switch {
			case errors.Is(err, ErrFenced):
				fenced = err
			case err != nil:
				invalid = err
			default:
				records, stored = append(records, record), append(stored, st)
			}
		}
	})
	if invalid != nil {
		return invalid
	}
	if len(records) == 0 {
		return fenced
	}
	if err := s.table.Append(ctx, records...); err != nil {
		return fmt.Errorf("storing %d statuses: %w", len(records), err)
	}
	s.table.View(func() {
		for i, st := range stored {
			if err := s.fold.Check(records[i].Key, st); err != nil {
				fenced = err
			}
		}
	})
	return fenced
}

// Get gives the status of a connector (-1) or a task.
func (s *Statuses) Get(connector string, task int) (st Status, ok bool) {
	born, alive := s.life(connector)
	if !alive {
		return Status{}, false
	}
	s.table.View(func() {
		st, ok = s.fold.Get(connector, task, born)
	})
	return st, ok
}

// Newest gives the generation of the status of a connector (-1) or a task, that of an earlier life included; 0 if there
// is none. A claim must go above it: what an older generation says is ignored.
func (s *Statuses) Newest(connector string, task int) int64 {
	var out int64
	s.table.View(func() { out = s.fold.Newest(connector, task) })
	return out
}

// All gives what is known of a connector and its tasks, by task. It leaves out what was said in an earlier life of a
// connector that was deleted and created again, and keeps tasks that an older epoch had.
func (s *Statuses) All(connector string) []Status {
	born, ok := s.life(connector)
	if !ok {
		return nil
	}
	var out []Status
	s.table.View(func() { out = s.fold.All(connector, born) })
	return out
}

// Watch tells of changes.
func (s *Statuses) Watch() (changed <-chan struct{}, stop func()) { return s.table.Watch() }
