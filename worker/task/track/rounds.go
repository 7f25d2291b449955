package track

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/record"
)

// namedRounds is how many partitions a warning names.
const namedRounds = 3

// Rounds decides which records go on and which go round: those that would come back to a topic in which they have been.
// It counts both, for a partition with nothing but rounds is worth a word. The zero value is ready.
type Rounds struct {
	tallies map[record.SourcePartition]*tally
	all     int
	// The last answer: most records of a partition have the same path.
	path, there record.Path
	to          record.Place
	goes, asked bool
	// The partition that was counted last, and its tally.
	from   record.SourcePartition
	newest *tally
}

type tally struct{ rounds, others int }

// Goes decides on one record that was found with a path. The zero Place takes everything, and counts nothing.
func (r *Rounds) Goes(p record.SourcePartition, path record.Path, to record.Place) (there record.Path, goes bool) {
	if to == "" {
		return path, true
	}
	if !r.asked || r.path != path || r.to != to {
		r.there, r.goes = path.To(to)
		r.path, r.to, r.asked = path, to, true
	}
	t := r.of(p)
	if r.goes {
		t.others++
		return r.there, true
	}
	t.rounds++
	r.all++
	return "", false
}

// of is the tally of a partition. Most records come from the same one as those before them.
func (r *Rounds) of(p record.SourcePartition) *tally {
	if r.newest != nil && r.from == p {
		return r.newest
	}
	t := r.tallies[p]
	if t == nil {
		if r.tallies == nil {
			r.tallies = map[record.SourcePartition]*tally{}
		}
		t = &tally{}
		r.tallies[p] = t
	}
	r.from, r.newest = p, t
	return t
}

// All is how many records went round.
func (r *Rounds) All() int { return r.all }

// Warning names the partitions that gave nothing but rounds; empty if there is none.
func (r *Rounds) Warning() string {
	var names []string
	for _, p := range slices.Sorted(maps.Keys(r.tallies)) {
		if t := r.tallies[p]; t.others == 0 && t.rounds > 0 {
			names = append(names, string(p))
		}
	}
	if len(names) == 0 {
		return ""
	}
	more := ""
	if n := len(names) - namedRounds; n > 0 {
		names, more = names[:namedRounds], fmt.Sprintf(" and %d others", n)
	}
	return fmt.Sprintf(
		"all records of %s%s were left out: they would come back to a topic in which they have been",
		strings.Join(names, ", "),
		more,
	)
}
