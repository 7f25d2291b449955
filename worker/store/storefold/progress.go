package storefold

import (
	"cmp"
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// stamp orders the owners of one task: what the older one writes is ignored once the newer one's fence was read.
type stamp struct {
	Epoch      int64 `json:"epoch"`
	Generation int64 `json:"generation"`
	Attempt    int64 `json:"attempt"`
}

func (s stamp) valid(counts func(int64) bool) bool {
	return s.Epoch >= 0 && counts(s.Epoch) && counts(s.Generation) && counts(s.Attempt)
}

func (s stamp) compare(o stamp) int {
	return cmp.Or(cmp.Compare(s.Epoch, o.Epoch), cmp.Compare(s.Generation, o.Generation), cmp.Compare(s.Attempt, o.Attempt))
}

// fenceValue announces an owner of a task.
type fenceValue struct {
	V         int    `json:"v"`
	Connector string `json:"connector"`
	Task      int    `json:"task"`
	stamp
	// ID tells two fences of the same stamp apart: the first wins.
	ID          string `json:"id"`
	Republished bool   `json:"republished,omitempty"`
}

func (v *fenceValue) key() string { return fenceKey(v.Connector, v.Task) }

func (v *fenceValue) valid(counts func(int64) bool) bool {
	return v.Connector != "" && len(v.Connector) <= maxName && v.ID != "" && v.Epoch > 0 && v.stamp.valid(counts) && validTask(v.Task)
}

// positionValue is the progress of one partition.
type positionValue struct {
	V         int    `json:"v"`
	Connector string `json:"connector"`
	Partition text   `json:"partition"`
	Position  text   `json:"position"`
	// Note belongs to Position. A worker of an older version leaves it out of what it publishes again.
	Note text `json:"note,omitempty"`
	Task int  `json:"task"`
	stamp
	// Moves counts how often the partition went to another task within its epoch: it orders writes of different tasks,
	// whose generations say nothing about each other.
	Moves    int64 `json:"moves,omitempty"`
	Sequence int64 `json:"sequence"`
	// Since is the epoch in which Position was really written, where lift has raised the order above it; else 0.
	Since       int64 `json:"since,omitempty"`
	Absent      bool  `json:"absent,omitempty"` // there is no position: only the order counts
	Republished bool  `json:"republished,omitempty"`
}

func (v *positionValue) key() string { return positionKey(v.Connector, string(v.Partition)) }

func (v *positionValue) valid(counts func(int64) bool) bool {
	return v.Connector != "" && len(v.Connector) <= maxName && len(v.Partition) <= maxText && v.Epoch > 0 && v.stamp.valid(counts) &&
		validTask(v.Task) && counts(v.Moves) && counts(v.Sequence) && counts(v.Since)
}

func (v *positionValue) compare(o *positionValue) int {
	return cmp.Or(cmp.Compare(v.Epoch, o.Epoch), cmp.Compare(v.Moves, o.Moves), v.stamp.compare(o.stamp),
		cmp.Compare(v.Sequence, o.Sequence))
}

// at is the position with its note.
func (v *positionValue) at() record.Position {
	return record.Position(v.Position).Noted(string(v.Note))
}

// split takes a position and its note apart, as they are stored.
func split(p record.Position) (position, note text) {
	bare, rest := p.Split()
	return text(bare), text(rest)
}

// same reports whether nothing but a note that got lost tells two values of the same order apart. One that lift made
// may have the position of the record that another reader took, and another task or epoch.
func (v *positionValue) same(o *positionValue) bool {
	return v.Position == o.Position && v.Absent == o.Absent && v.Task == o.Task && v.Since == o.Since
}

type pair struct {
	Partition text `json:"partition"`
	Position  text `json:"position"`
	Note      text `json:"note,omitempty"`
}

// resetValue replaces all progress of older epochs by what the user named. One record, so it is all or nothing.
type resetValue struct {
	V           int    `json:"v"`
	Connector   string `json:"connector"`
	Epoch       int64  `json:"epoch"`
	Positions   []pair `json:"positions"` // sorted by partition
	ID          string `json:"id"`
	Republished bool   `json:"republished,omitempty"`
}

func (v *resetValue) key() string { return resetKey(v.Connector) }

func (v *resetValue) valid(counts func(int64) bool) bool {
	return v.Connector != "" && len(v.Connector) <= maxName && v.Epoch > 0 && counts(v.Epoch) && v.ID != ""
}

// lineage is the progress of one connector.
type lineage struct {
	reset  *resetValue
	fences map[int]*fenceValue
	values map[text]*positionValue
	// floor is the highest epoch that was fenced or reset: nothing of an older one may be written any more.
	//
	// Invariant C3: a fence of an epoch means that no task of an older one is owned.
	floor int64
}

// Progress holds positions or offsets. Fences and resets form lattices, and so do the values of partitions between
// two fences: the highest wins, so replays, duplicates and reorderings change nothing.
type Progress struct {
	lineages map[string]*lineage
	// current finds a key's value for re-publication.
	current map[string]value
}

// NewProgress makes a fold of nothing.
func NewProgress() *Progress {
	return &Progress{lineages: map[string]*lineage{}, current: map[string]value{}}
}

func (f *Progress) of(connector string) *lineage {
	l := f.lineages[connector]
	if l == nil {
		l = &lineage{fences: map[int]*fenceValue{}, values: map[text]*positionValue{}}
		f.lineages[connector] = l
	}
	return l
}

// Apply folds one record.
func (f *Progress) Apply(e rmq.Entry) (replica.Verdict, error) {
	switch kindOf(e.Key) {
	case kindFence:
		v, verdict, err := decode[*fenceValue](e)
		if err != nil {
			return verdict, err
		}
		return f.applyFence(v), nil
	case kindPosition:
		v, verdict, err := decode[*positionValue](e)
		if err != nil {
			return verdict, err
		}
		return f.applyPosition(v), nil
	case kindReset:
		v, verdict, err := decode[*resetValue](e)
		if err != nil {
			return verdict, err
		}
		return f.applyReset(v), nil
	}
	return replica.Foreign, errKey
}

// applyFence keeps the highest fence of each task. One of an epoch that is over is kept too: whoever appended it sees
// the floor, and order alone makes every reader agree.
func (f *Progress) applyFence(v *fenceValue) replica.Verdict {
	l := f.of(v.Connector)
	if held := l.fences[v.Task]; held != nil {
		c := v.stamp.compare(held.stamp)
		if c == 0 && v.ID == held.ID {
			return replica.Same
		}
		if c < 0 || c == 0 && !v.Republished {
			return replica.Refused
		}
	}
	v.Republished = false
	l.fences[v.Task] = v
	l.floor = max(l.floor, v.Epoch)
	f.current[v.key()] = v
	return replica.Accepted
}

// applyReset keeps the reset of the highest epoch.
func (f *Progress) applyReset(v *resetValue) replica.Verdict {
	l := f.of(v.Connector)
	if l.reset != nil {
		if v.Epoch == l.reset.Epoch && v.ID == l.reset.ID {
			return replica.Same
		}
		if v.Epoch < l.reset.Epoch || v.Epoch == l.reset.Epoch && !v.Republished {
			return replica.Refused
		}
	}
	v.Republished = false
	l.reset = v
	l.floor = max(l.floor, v.Epoch)
	f.current[v.key()] = v
	for partition, held := range l.values {
		if held.Epoch < v.Epoch {
			delete(l.values, partition)
			delete(f.current, held.key())
		} else if kept := held.under(v); kept != held {
			f.hold(l, kept)
		}
	}
	return replica.Accepted
}

// applyPosition ignores what an owner wrote who was fenced off. What is published again was accepted when it was new:
// the fences say nothing about it.
//
// Invariant P3: a write of an older generation, epoch or attempt than the newest fence is ignored by every reader.
func (f *Progress) applyPosition(v *positionValue) replica.Verdict {
	l := f.of(v.Connector)
	if l.reset != nil && v.Epoch < l.reset.Epoch {
		return replica.Refused
	}
	if fence := l.fences[v.Task]; !v.Republished && (v.Epoch < l.floor || fence != nil && v.stamp.compare(fence.stamp) < 0) {
		f.lift(l, v)
		return replica.Refused
	}
	v = v.under(l.reset)
	if held := l.values[v.Partition]; held != nil {
		c := v.compare(held)
		if c == 0 && v.same(held) {
			if held.Note == "" && v.Note != "" {
				f.hold(l, v) // an older worker published it again, without the note
			}
			return replica.Same
		}
		if c < 0 || c == 0 && !v.Republished {
			return replica.Refused
		}
	}
	f.hold(l, v)
	return replica.Accepted
}

// under is what a reset leaves of a value of its epoch or a later one: only the order, if the position is older.
func (v *positionValue) under(reset *resetValue) *positionValue {
	if reset == nil || v.Since == 0 || v.Since >= reset.Epoch {
		return v
	}
	out := *v
	out.Position, out.Note, out.Absent, out.Since = "", "", true, 0
	return &out
}

// lift gives the newest value (or the absence of one) the order of a fenced-off record that is above it. Compaction may
// move the fence behind that record, and then a new reader takes it: the value that is published again must win there.
func (f *Progress) lift(l *lineage, refused *positionValue) {
	held := l.values[refused.Partition]
	if held != nil && refused.compare(held) <= 0 {
		return
	}
	lifted := *refused
	lifted.Position, lifted.Note, lifted.Absent, lifted.Since = "", "", true, 0
	if held != nil && !held.Absent {
		lifted.Position, lifted.Note, lifted.Absent, lifted.Task = held.Position, held.Note, false, held.Task
		lifted.Since = cmp.Or(held.Since, held.Epoch)
	}
	f.hold(l, &lifted)
}

func (f *Progress) hold(l *lineage, v *positionValue) {
	v.Republished = false
	l.values[v.Partition] = v
	f.current[v.key()] = v
}

// Current gives the value to publish again.
func (f *Progress) Current(key string) ([]byte, bool) {
	switch v := f.current[key].(type) {
	case *fenceValue:
		again := *v
		again.Republished = true
		return Encode(&again), true
	case *positionValue:
		again := *v
		again.Republished = true
		return Encode(&again), true
	case *resetValue:
		again := *v
		again.Republished = true
		return Encode(&again), true
	}
	return nil, false
}

// Keys gives every key with a value.
func (f *Progress) Keys() []string { return slices.Collect(maps.Keys(f.current)) }

// Read gives where each partition stands: what the tasks wrote, over what the user set.
func (f *Progress) Read(connector string) record.Positions {
	out := record.Positions{}
	l := f.lineages[connector]
	if l == nil {
		return out
	}
	if l.reset != nil {
		for _, p := range l.reset.Positions {
			out[record.SourcePartition(p.Partition)] = record.Position(p.Position).Noted(string(p.Note))
		}
	}
	for partition, v := range l.values {
		if v.Absent {
			continue
		}
		out[record.SourcePartition(partition)] = v.at()
	}
	return out
}

// Newest gives the highest generation that any fence or value of a task has.
func (f *Progress) Newest(connector string, task int) int64 {
	var out int64
	l := f.lineages[connector]
	if l == nil {
		return 0
	}
	if fence := l.fences[task]; fence != nil {
		out = fence.Generation
	}
	for _, v := range l.values {
		if v.Task == task && !v.Absent {
			out = max(out, v.Generation)
		}
	}
	return out
}

// Epoch gives the highest epoch that any record of a connector has.
func (f *Progress) Epoch(connector string) int64 {
	l := f.lineages[connector]
	if l == nil {
		return 0
	}
	out := l.floor
	for _, v := range l.values {
		out = max(out, v.Epoch)
	}
	return out
}
