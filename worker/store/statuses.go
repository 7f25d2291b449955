package store

import (
	"context"
	"fmt"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/store/fold"
)

// Status is what an owner last said of a connector or a task.
type Status = fold.Status

// Statuses holds what the owners say of connectors and tasks. It is safe for concurrent use.
type Statuses struct {
	table *keyedlog.Table
	fold  *fold.Statuses
	// life gives the epoch in which the connector's present life began; false if there is no such connector.
	life func(connector string) (born int64, ok bool)
}

// Put stores a status and returns when it was read back. ErrFenced means that a newer epoch, generation or attempt has
// spoken.
func (s *Statuses) Put(ctx context.Context, st Status) error {
	var record keyedlog.Record
	var err error
	s.table.View(func() { record, err = s.fold.Put(st) })
	if err != nil {
		return err
	}
	if err := s.table.Append(ctx, record); err != nil {
		return fmt.Errorf("storing a status of %q: %w", st.Connector, err)
	}
	s.table.View(func() { err = s.fold.Check(record.Key, st) })
	return err
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
