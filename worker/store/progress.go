package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/record"
)

// Progress holds how far each partition of each connector has come: source positions in one, sink offsets in another. It
// is safe for concurrent use.
type Progress struct {
	table    *keyedlog.Table
	fold     *progressFold
	isOldest func() bool
	writers  sync.Map // fence key → *Writer: the newest of this process
}

// Fence is what one attempt of one task announces before it starts.
type Fence struct {
	Connector string
	Task      int
	// Generation, Epoch and Attempt order the owners: by epoch, then generation, then attempt.
	Generation, Epoch, Attempt int64
}

// Writer writes the progress of one attempt of one task.
type Writer struct {
	progress *Progress
	fence    fenceValue
	sequence atomic.Int64
}

// Fence appends the fence and reads up to it: after that no older owner's write counts any more, and Read gives where
// this one goes on. ErrFenced means that an equal or newer fence is there: release the task and claim it again, as after
// any other error.
func (p *Progress) Fence(ctx context.Context, f Fence) (*Writer, error) {
	v := fenceValue{
		V: version, Connector: f.Connector, Task: f.Task, ID: newID(),
		stamp: stamp{Epoch: f.Epoch, Generation: f.Generation, Attempt: f.Attempt},
	}
	if !v.valid() {
		return nil, fmt.Errorf("fencing task %d of %q: %w: a name and an epoch above 0 are required", f.Task, f.Connector, ErrInvalid)
	}
	if err := p.table.Append(ctx, keyedlog.Record{Key: v.key(), Value: encode(&v)}); err != nil {
		return nil, fmt.Errorf("fencing task %d of %q: %w", f.Task, f.Connector, err)
	}
	w := &Writer{progress: p, fence: v}
	var err error
	p.table.View(func() { err = w.check() })
	if err != nil {
		return nil, err
	}
	p.writers.Store(v.key(), w)
	return w, nil
}

// check says whether the writer's fence is still the newest; the caller has the view.
func (w *Writer) check() error {
	l := w.progress.fold.lineages[w.fence.Connector]
	if l == nil || l.fences[w.fence.Task] == nil {
		return fmt.Errorf("task %d of %q: %w: its fence is gone", w.fence.Task, w.fence.Connector, ErrFenced)
	}
	newest := l.fences[w.fence.Task]
	if newest.ID == w.fence.ID && l.floor <= w.fence.Epoch {
		return nil
	}
	return fmt.Errorf("task %d of %q at generation %d, epoch %d, attempt %d: %w: generation %d, attempt %d is there, epoch %d",
		w.fence.Task, w.fence.Connector, w.fence.Generation, w.fence.Epoch, w.fence.Attempt, ErrFenced,
		newest.Generation, newest.Attempt, l.floor)
}

// Write stores positions and returns when they were read back and are the newest of their partitions: one record a
// partition, all with one sequence. ErrFenced means that they do not count, and nor will any later ones. After
// other errors they may be stored all the same; writing them again is harmless. Calls of one Writer must not overlap.
func (w *Writer) Write(ctx context.Context, changed record.Positions) error {
	sequence := w.sequence.Add(1)
	for {
		var records []keyedlog.Record
		var err error
		w.progress.table.View(func() {
			if err = w.check(); err == nil {
				records = w.records(changed, sequence)
			}
		})
		if err != nil || len(records) == 0 {
			return err
		}
		if err := w.progress.table.Append(ctx, records...); err != nil {
			return fmt.Errorf("writing progress of task %d of %q: %w", w.fence.Task, w.fence.Connector, err)
		}
	}
}

// records gives what is still to be written: nothing that was read back already.
func (w *Writer) records(changed record.Positions, sequence int64) []keyedlog.Record {
	values := w.progress.fold.lineages[w.fence.Connector].values // check found the lineage
	out := make([]keyedlog.Record, 0, len(changed))
	for _, partition := range slices.Sorted(maps.Keys(changed)) {
		v := positionValue{
			V: version, Connector: w.fence.Connector, Partition: text(partition), Position: text(changed[partition]),
			Task: w.fence.Task, stamp: w.fence.stamp, Sequence: sequence,
		}
		if held := values[v.Partition]; held != nil && held.Epoch == v.Epoch {
			v.Moves = held.Moves
			if held.Task != v.Task {
				v.Moves++
			}
			if v.compare(held) == 0 && v.Position == held.Position {
				continue
			}
		}
		out = append(out, keyedlog.Record{Key: v.key(), Value: encode(&v)})
	}
	return out
}

// Close ends the writer's duty to publish again what a refused record hides. Call it when the attempt has ended.
func (w *Writer) Close() { w.progress.writers.CompareAndDelete(w.fence.key(), w) }

// Read gives the newest accepted position of every partition of a connector; empty if there is none.
func (p *Progress) Read(connector string) record.Positions {
	var out record.Positions
	p.table.View(func() { out = p.fold.read(connector) })
	return out
}

// Newest gives the highest generation known for a task, 0 if none: a claim must go above it.
func (p *Progress) Newest(connector string, task int) int64 {
	var out int64
	p.table.View(func() { out = p.fold.newest(connector, task) })
	return out
}

// Watch tells of changes.
func (p *Progress) Watch() (changed <-chan struct{}, stop func()) { return p.table.Watch() }

// Reset sets where all partitions of a connector stand, from the named epoch on; those not in to start anew. The epoch
// must be above every epoch that has run: ErrFenced otherwise. Repeating it with the same values is harmless.
func (p *Progress) Reset(ctx context.Context, connector string, to record.Positions, epoch int64) error {
	v := resetValue{V: version, Connector: connector, Epoch: epoch, Positions: []pair{}, ID: newID()}
	if !v.valid() {
		return fmt.Errorf("resetting the progress of %q: %w: a name and an epoch above 0 are required", connector, ErrInvalid)
	}
	for _, partition := range slices.Sorted(maps.Keys(to)) {
		v.Positions = append(v.Positions, pair{text(partition), text(to[partition])})
	}
	done, begun := p.reset(&v)
	if done {
		return nil
	}
	if begun < epoch {
		if err := p.table.Append(ctx, keyedlog.Record{Key: v.key(), Value: encode(&v)}); err != nil {
			return fmt.Errorf("resetting the progress of %q: %w", connector, err)
		}
		// A task that has begun meanwhile may have read what was there before.
		if done, begun = p.reset(&v); done && begun < epoch {
			return nil
		}
	}
	return fmt.Errorf("resetting the progress of %q at epoch %d: %w: epoch %d has begun or was reset; stop the connector and "+
		"reset it at a newer epoch", connector, epoch, ErrFenced, max(begun, epoch))
}

// reset says whether the reset holds, and which epoch was fenced, or reset otherwise, last.
func (p *Progress) reset(v *resetValue) (done bool, begun int64) {
	p.table.View(func() {
		l := p.fold.lineages[v.Connector]
		if l == nil {
			return
		}
		done = l.reset != nil && l.reset.Epoch == v.Epoch && slices.Equal(l.reset.Positions, v.Positions)
		for _, f := range l.fences {
			begun = max(begun, f.Epoch)
		}
		if l.reset != nil && !done {
			begun = max(begun, l.reset.Epoch)
		}
	})
	return done, begun
}

// owns says that this worker publishes a key's value again: the task's writer is here, or the worker is the oldest.
func (p *Progress) owns(key string) bool {
	if v, ok := p.fold.current[key].(*positionValue); ok {
		key = fenceKey(v.Connector, v.Task)
	}
	if _, ok := p.writers.Load(key); ok {
		return true
	}
	return p.isOldest()
}
