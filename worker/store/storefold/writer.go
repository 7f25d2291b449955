package storefold

import (
	"fmt"
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/record"
)

// Fence is what one attempt of one task announces before it starts.
type Fence struct {
	Connector string
	Task      int
	// Generation, Epoch and Attempt order the owners: by epoch, then generation, then attempt.
	Generation, Epoch, Attempt int64
}

// Writer is one attempt of one task as a writer of progress. It never changes.
type Writer struct{ fence fenceValue }

// NewWriter makes the writer of an attempt; id tells it from others of the same numbers.
func NewWriter(f Fence, id string) (*Writer, error) {
	w := &Writer{fence: fenceValue{
		V: Version, Connector: f.Connector, Task: f.Task, ID: id,
		stamp: stamp{Epoch: f.Epoch, Generation: f.Generation, Attempt: f.Attempt},
	}}
	if !w.fence.valid(anything) {
		return nil, fmt.Errorf("fencing task %d of %q: %w: a name and an epoch above 0 are required", f.Task, f.Connector, ErrInvalid)
	}
	return w, nil
}

// Announce gives the fence. Once it was read back, Check says whether the writer may begin.
func (w *Writer) Announce() replica.Record { return recordOf(&w.fence) }

// Key is the fence's.
func (w *Writer) Key() string { return w.fence.key() }

// Check says whether the writer's fence is still the newest.
func (w *Writer) Check(f *Progress) error {
	l := f.lineages[w.fence.Connector]
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

// Records gives what is still to be appended for the sequence-th write of the writer: nothing that was read back
// already. None are left once the write is the newest of its partitions; ErrFenced means that it does not count.
func (w *Writer) Records(f *Progress, changed record.Positions, sequence int64) ([]replica.Record, error) {
	if err := w.Check(f); err != nil {
		return nil, err
	}
	values := f.lineages[w.fence.Connector].values
	out := make([]replica.Record, 0, len(changed))
	for _, partition := range slices.Sorted(maps.Keys(changed)) {
		v := positionValue{
			V: Version, Connector: w.fence.Connector, Partition: text(partition), Task: w.fence.Task, stamp: w.fence.stamp,
			Sequence: sequence,
		}
		v.Position, v.Note = split(changed[partition])
		held := values[v.Partition]
		switch {
		case held == nil || held.Epoch < v.Epoch:
		case held.Epoch > v.Epoch, held.Task == v.Task && held.stamp.compare(v.stamp) > 0:
			return nil, fmt.Errorf("task %d of %q at generation %d, epoch %d: %w: partition %s has a position of generation %d, epoch %d",
				v.Task, v.Connector, v.Generation, v.Epoch, ErrFenced, v.Partition, held.Generation, held.Epoch)
		case held.writtenBy(w) && held.at() == v.at() && held.Sequence >= sequence:
			continue
		default:
			v.follow(held)
		}
		if !v.valid(anything) {
			return nil, fmt.Errorf("task %d of %q: %w: a partition's name of %d bytes", v.Task, v.Connector, ErrInvalid, len(v.Partition))
		}
		out = append(out, recordOf(&v))
	}
	return out, nil
}

// writtenBy says whether a value has the writer's task and stamp.
func (v *positionValue) writtenBy(w *Writer) bool {
	return v.Task == w.fence.Task && v.stamp == w.fence.stamp && !v.Absent
}

// follow gives a value the order behind the one that is held, whoever wrote that.
func (v *positionValue) follow(held *positionValue) {
	v.Moves = held.Moves
	switch {
	case held.Task != v.Task:
		v.Moves++
	case held.stamp == v.stamp:
		v.Sequence = max(v.Sequence, held.Sequence+1)
	}
}

// Reset sets where all partitions of a connector stand, from an epoch on.
type Reset struct{ value resetValue }

// NewReset makes a reset; id tells it from others of the same epoch.
func NewReset(connector string, to record.Positions, epoch int64, id string) (*Reset, error) {
	r := &Reset{resetValue{V: Version, Connector: connector, Epoch: epoch, Positions: []pair{}, ID: id}}
	if !r.value.valid(anything) {
		return nil, fmt.Errorf("resetting the progress of %q: %w: a name and an epoch above 0 are required", connector, ErrInvalid)
	}
	for _, partition := range slices.Sorted(maps.Keys(to)) {
		position, note := split(to[partition])
		r.value.Positions = append(r.value.Positions, pair{text(partition), position, note})
	}
	return r, nil
}

// Record gives what to append.
func (r *Reset) Record() replica.Record { return recordOf(&r.value) }

// Done says whether the reset holds, and which epoch was fenced, or reset otherwise, last.
func (r *Reset) Done(f *Progress) (done bool, begun int64) {
	v := &r.value
	l := f.lineages[v.Connector]
	if l == nil {
		return false, 0
	}
	done = l.reset != nil && l.reset.Epoch == v.Epoch && slices.Equal(l.reset.Positions, v.Positions)
	for _, f := range l.fences {
		begun = max(begun, f.Epoch)
	}
	if l.reset != nil && !done {
		begun = max(begun, l.reset.Epoch)
	}
	return done, begun
}

// FenceOf gives the key of the fence of the task that wrote a key's value last, or the key itself.
func (f *Progress) FenceOf(key string) string {
	if v, ok := f.current[key].(*positionValue); ok {
		return fenceKey(v.Connector, v.Task)
	}
	return key
}
