package store

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// Progress holds how far each partition of each connector has come: source positions in one, sink offsets in another.
// It is safe for concurrent use.
type Progress struct {
	table    *keyedlog.Table
	fold     *storefold.Progress
	isOldest func() bool
	writers  sync.Map // fence key → *Writer: the newest of this process
}

// Fence is what one attempt of one task announces before it starts.
type Fence = storefold.Fence

// Writer writes the progress of one attempt of one task.
type Writer struct {
	*storefold.Writer
	progress *Progress
	name     string // of the task, for errors
	sequence atomic.Int64
}

// Fence appends the fence and reads up to it: after that no older owner's write counts any more, and Read gives where
// this one goes on. ErrFenced means that an equal or newer fence is there: release the task and claim it again, as
// after any other error.
func (p *Progress) Fence(ctx context.Context, f Fence) (*Writer, error) {
	pure, err := storefold.NewWriter(f, newID())
	if err != nil {
		return nil, err
	}
	w := &Writer{Writer: pure, progress: p, name: fmt.Sprintf("task %d of %q", f.Task, f.Connector)}
	if err := p.table.Append(ctx, w.Announce()); err != nil {
		return nil, fmt.Errorf("fencing %s: %w", w.name, err)
	}
	p.table.View(func() { err = w.Check(p.fold) })
	if err != nil {
		return nil, err
	}
	p.writers.Store(w.Key(), w)
	return w, nil
}

// Write stores positions and returns when they were read back and are the newest of their partitions: one record a
// partition, all with one sequence. ErrFenced means that they do not count, and nor will any later ones. After
// other errors they may be stored all the same; writing them again is harmless. Calls of one Writer must not overlap.
func (w *Writer) Write(ctx context.Context, changed record.Positions) error {
	sequence := w.sequence.Add(1)
	for {
		var records []keyedlog.Record
		var err error
		w.progress.table.View(func() { records, err = w.Records(w.progress.fold, changed, sequence) })
		if err != nil || len(records) == 0 {
			return err
		}
		if err := w.progress.table.Append(ctx, records...); err != nil {
			return fmt.Errorf("writing progress of %s: %w", w.name, err)
		}
	}
}

// Close ends the writer's duty to publish again what a refused record hides. Call it when the attempt has ended.
func (w *Writer) Close() { w.progress.writers.CompareAndDelete(w.Key(), w) }

// Read gives the newest accepted position of every partition of a connector; empty if there is none.
func (p *Progress) Read(connector string) record.Positions {
	var out record.Positions
	p.table.View(func() { out = p.fold.Read(connector) })
	return out
}

// Newest gives the highest generation known for a task, 0 if none: a claim must go above it.
func (p *Progress) Newest(connector string, task int) int64 {
	var out int64
	p.table.View(func() { out = p.fold.Newest(connector, task) })
	return out
}

// Watch tells of changes.
func (p *Progress) Watch() (changed <-chan struct{}, stop func()) { return p.table.Watch() }

// Reset sets where all partitions of a connector stand, from the named epoch on; those not in to start again. The epoch
// must be above every epoch that has run: ErrFenced otherwise. Repeating it with the same values is harmless.
func (p *Progress) Reset(ctx context.Context, connector string, to record.Positions, epoch int64) error {
	v, err := storefold.NewReset(connector, to, epoch, newID())
	if err != nil {
		return err
	}
	done, begun := p.reset(v)
	if done {
		return nil
	}
	if begun < epoch {
		if err := p.table.Append(ctx, v.Record()); err != nil {
			return fmt.Errorf("resetting the progress of %q: %w", connector, err)
		}
		// A task that has begun meanwhile may have read what was there before.
		if done, begun = p.reset(v); done && begun < epoch {
			return nil
		}
	}
	return fmt.Errorf("resetting the progress of %q at epoch %d: %w: epoch %d has begun or was reset; stop the connector and "+
		"reset it at a newer epoch", connector, epoch, ErrFenced, max(begun, epoch))
}

// reset says whether the reset holds, and which epoch was fenced, or reset otherwise, last.
func (p *Progress) reset(v *storefold.Reset) (done bool, begun int64) {
	p.table.View(func() { done, begun = v.Done(p.fold) })
	return done, begun
}

// owns says that this worker publishes a key's value again: the task's writer is here, or the worker is the oldest.
func (p *Progress) owns(key string) bool {
	if _, ok := p.writers.Load(p.fold.FenceOf(key)); ok {
		return true
	}
	return p.isOldest()
}
