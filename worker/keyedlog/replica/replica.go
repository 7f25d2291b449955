// Package replica is one reader's copy of an ordered topic that holds the latest value of each key: records and time go
// in, values to publish again come out. It has no goroutine, no clock and no IO, so what is simulated is what runs.
package replica

import (
	"errors"
	"hash/fnv"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Record is one key with its whole value: compaction keeps only the last record of a key.
type Record struct {
	Key   string
	Value []byte
}

// Verdict is what a Fold makes of a record.
type Verdict int

const (
	// Foreign means that the record is none of the fold's, or is of a version that it does not know. It is left alone.
	Foreign Verdict = iota
	// Accepted means that the record is now the newest value of its key.
	Accepted
	// Same means that the record repeats the newest value.
	Same
	// Refused means that the record is older than the newest value, or does not meet its condition.
	Refused
	// Malformed means that the record has a key of the fold's but no readable value.
	Malformed
)

// Fold is what "latest" means: no clock, no IO, no goroutine, no panic whatever it is given.
type Fold interface {
	// Apply folds one record. The error says why a record is Malformed, or what is Foreign about it.
	Apply(e rmq.Entry) (Verdict, error)
	// Current gives the value to re-publish for a key, such that every fold that read less accepts it and every fold that
	// holds the newest value finds it the Same; false if the key has none.
	Current(key string) ([]byte, bool)
	// Keys gives all keys that have a value.
	Keys() []string
}

// Hider is a Fold in which a record of one key may change the value of another, which the log then shows as it was.
type Hider interface {
	// Hidden gives the keys whose values were changed so since the last call.
	Hidden() []string
}

// Options makes a Replica; all are required.
type Options struct {
	Fold Fold
	// Owns says whether this worker is the first to re-publish the newest value of a key; the others follow after a while.
	Owns func(key string) bool
	// Settle is how long a hidden value waits for its owner's next regular write before it is re-published.
	Settle time.Duration
	// Random gives numbers in [0, 1) that spread the followers.
	Random func() float64
}

// Replica is made by New. It is not safe for use by several goroutines.
type Replica struct {
	opts    Options
	next    int64 // everything below was folded
	reach   int64 // how far a log that lost records had reached; 0 once they are back
	version int64 // rises with each accepted record
	shadows map[string]*shadow
	places  map[string]place
	recent  []read // what was read last, in order: all that a rmq.Log hands on again, and more
}

// read is one record as it was read.
type read struct {
	offset int64
	sum    uint64
}

// New makes a Replica that has read nothing.
func New(opts Options) *Replica {
	return &Replica{opts: opts, shadows: map[string]*shadow{}, places: map[string]place{}}
}

// Next is the offset up to which the log was folded.
func (r *Replica) Next() int64 { return r.next }

// From is where to read on from: at the record that was read last, which proves that the log goes on where it was read
// to, or at Next where that record is not to be found.
func (r *Replica) From() int64 {
	if n := len(r.recent); n > 0 && r.recent[n-1].offset == r.next-1 {
		return r.next - 1
	}
	return r.next
}

// Reach is Next, or beyond the log's end while values that it lost are still to be published again.
func (r *Replica) Reach() int64 { return max(r.next, r.reach) }

// Version rises with each change of the fold.
func (r *Replica) Version() int64 { return r.version }

// Holds reports whether a record that comes once more, after a reconnect, is the one that was read at its offset.
//
// Invariant C4: a log that lost records and gave their offsets out again is noticed.
func (r *Replica) Holds(e rmq.Entry) bool {
	for _, seen := range r.recent {
		if seen.offset == e.Offset {
			return seen.sum == sum(e)
		}
	}
	return true // it is older than what is known
}

func sum(e rmq.Entry) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(e.Key))
	_, _ = h.Write([]byte{0})
	_, _ = h.Write(e.Value)
	return h.Sum64()
}

// errStray is no fault of the topic's: whoever copies records into it should be found.
var errStray = errors.New("record was written for another topic, or carried here by a connector")

// Apply folds one record. Whatever is in the topic, the records behind it count.
func (r *Replica) Apply(now time.Time, e rmq.Entry) (Verdict, error) {
	var verdict Verdict
	var why error
	if e.Stray {
		verdict, why = Foreign, errStray
		r.shade(now, e.Key)
	} else {
		verdict, why = r.opts.Fold.Apply(e)
	}
	switch verdict {
	case Accepted:
		r.found(e)
		r.version++
	case Same:
		r.found(e)
	case Refused, Malformed:
		r.shade(now, e.Key)
	case Foreign:
	}
	r.shadeHidden(now)
	if len(r.shadows) == 0 {
		r.reach = 0
	}
	r.next = e.Offset + 1
	if len(r.recent) == 2*rmq.GoneOver {
		r.recent = append(r.recent[:0], r.recent[rmq.GoneOver:]...)
	}
	r.recent = append(r.recent, read{e.Offset, sum(e)})
	return verdict, why
}

// Advance goes on from another offset: there is nothing to read before it.
func (r *Replica) Advance(next int64) { r.next = next }

// Recovered notes values that were put into the fold and that the log has lost, and how far it once reached.
func (r *Replica) Recovered(now time.Time, keys []string, reach int64) {
	r.shadeHidden(now)
	if len(keys) == 0 {
		return
	}
	for _, key := range keys {
		r.shade(now, key)
	}
	r.reach = max(r.reach, reach)
	r.version++
}

// Relocate finds the place to go on from when the log, which now holds [first, end), does not hold the one asked for:
// behind what has aged out, or, when the log ends before what was already read, where Lost says.
func (r *Replica) Relocate(now time.Time, first, end int64) (lost bool) {
	if r.next <= end {
		if first >= r.next {
			r.next, r.recent = first, nil
		}
		return false
	}
	r.Lost(now, first)
	return true
}

// Lost goes on from the log's start, and has everything published again that does not come back.
//
// Invariant C4: a topic that lost records gets back what the workers hold.
func (r *Replica) Lost(now time.Time, first int64) {
	for _, key := range slices.Sorted(slices.Values(r.opts.Fold.Keys())) {
		r.shade(now, key)
	}
	r.reach = max(r.reach, r.next)
	r.next, r.recent = first, nil
}
