package fold

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Snapshots gathers the snapshots of a stretch of the log, whose entries are added in offset order. The zero value is
// ready.
type Snapshots struct {
	entries  []rmq.Entry // the newest, without gaps
	bytes    int         // of the entries' values
	complete []complete  // oldest first
	partial  []*assembly // in the order in which they began
}

// complete is a snapshot of which all parts are there; at is the offset of the part that made it so. It is kept as it
// was written: unpacked it is many times as large.
type complete struct {
	asOf, at int64
	form     string
	packed   []byte
}

// assembly is a snapshot of which parts are missing.
type assembly struct {
	sum   string
	parts map[int][]byte
	bytes int
}

const (
	// keptEntries bounds how far before its record a snapshot may be as of.
	keptEntries   = 1 << 15
	keptSnapshots = 8
	// keptPartial bounds the snapshots of which parts are missing: their writers died.
	keptPartial = 64
	// keptBytes bounds each: the entries, the complete snapshots and those in part. Somebody may write what is large, or
	// never ends.
	keptBytes = 32 << 20
)

// Newest returns the fold of the newest snapshot that somebody wrote on, for a worker to go on from; nil without one.
//
// Invariant C4: a worker that has not noticed yet that the log lost its tail may still write a snapshot of what was
// lost. It cannot write on what follows it, for it reads nothing more before it has noticed.
func (s *Snapshots) Newest(worker string) *Fold {
	for _, c := range slices.Backward(s.complete) {
		if f := c.restore(); f != nil && s.confirmed(f, c.at, worker) {
			return c.restore()
		}
	}
	return nil
}

// Unconfirmed returns the fold of the newest snapshot, whether anybody wrote on or not.
func (s *Snapshots) Unconfirmed() *Fold {
	if len(s.complete) == 0 {
		return nil
	}
	return s.complete[len(s.complete)-1].restore()
}

// restore returns the fold of a snapshot, nil if it is damaged.
func (c complete) restore() *Fold {
	image, ok := unpack(c.packed, c.form)
	if !ok {
		return nil
	}
	f, err := Restore(image)
	if err != nil {
		return nil
	}
	return f
}

// confirmed folds on, and reports whether a member that had read the snapshot's record as well came to the same log,
// and more of those who wrote since made the same of it than something else: its writer's fold may have been wrong.
// What the worker itself wrote before says nothing of that.
func (s *Snapshots) confirmed(f *Fold, at int64, worker string) bool {
	var votes Votes
	votes.Note(f)
	written := false
	for _, e := range s.entries {
		if e.Offset <= f.offset {
			continue
		}
		out, err := f.Step(e)
		if err != nil {
			return false
		}
		votes.Note(f)
		votes.Hear(f, out)
		written = written || out.Reason == Accepted && out.Record.AsOf >= at
	}
	agree, disagree := votes.Count(f, worker, 1)
	return written && (disagree == 0 || disagree < agree)
}

// Add takes the next entry. What is no part of a snapshot, or does not fit together, is passed over.
func (s *Snapshots) Add(e rmq.Entry) {
	s.keep(e)
	if e.Key != string(Snapshot) {
		return
	}
	r, err := Decode(e)
	if err != nil || r.Kind != Snapshot || s.knows(r.AsOf) {
		return
	}
	packed, ok := s.assemble(r.Part)
	if !ok {
		return
	}
	c := complete{asOf: r.AsOf, at: e.Offset, form: r.Part.Form, packed: packed}
	f := c.restore()
	if f == nil || f.offset != r.AsOf || f.offset >= e.Offset || r.Log != f.Log() {
		return
	}
	s.complete = append(s.complete, c)
	size := 0
	for _, c := range s.complete {
		size += len(c.packed)
	}
	for len(s.complete) > 1 && (len(s.complete) > keptSnapshots || size > keptBytes) {
		size -= len(s.complete[0].packed)
		s.complete = slices.Delete(s.complete, 0, 1)
	}
}

// keep forgets the oldest entries once twice as many, or twice as many bytes, as are kept have gathered.
func (s *Snapshots) keep(e rmq.Entry) {
	s.entries, s.bytes = append(s.entries, e), s.bytes+len(e.Value)
	if len(s.entries) <= 2*keptEntries && s.bytes <= 2*keptBytes {
		return
	}
	n := 0
	for n < len(s.entries)-1 && (len(s.entries)-n > keptEntries || s.bytes > keptBytes) {
		s.bytes -= len(s.entries[n].Value)
		n++
	}
	s.entries = append([]rmq.Entry(nil), s.entries[n:]...)
}

// knows reports whether a snapshot as of no earlier is there.
func (s *Snapshots) knows(asOf int64) bool {
	return slices.ContainsFunc(s.complete, func(c complete) bool { return c.asOf >= asOf })
}

// assemble adds a part and returns all of them together once they are there.
func (s *Snapshots) assemble(p *Part) ([]byte, bool) {
	a := s.assembly(p.Sum)
	a.bytes += len(p.Data) - len(a.parts[p.Index])
	a.parts[p.Index] = p.Data
	if len(a.parts) != p.Total {
		return nil, false
	}
	s.partial = slices.DeleteFunc(s.partial, func(other *assembly) bool { return other == a })
	var data []byte
	for i := range p.Total {
		data = append(data, a.parts[i]...)
	}
	sum := sha256.Sum256(data)
	return data, hex.EncodeToString(sum[:]) == p.Sum
}

// assembly is that of a sum. The oldest ones make room: those whose writers live are done soon.
func (s *Snapshots) assembly(sum string) *assembly {
	size := 0
	for _, a := range s.partial {
		size += a.bytes
	}
	for len(s.partial) > 0 && size > keptBytes {
		size -= s.partial[0].bytes
		s.partial = slices.Delete(s.partial, 0, 1)
	}
	for _, a := range s.partial {
		if a.sum == sum {
			return a
		}
	}
	if len(s.partial) >= keptPartial {
		s.partial = slices.Delete(s.partial, 0, 1)
	}
	a := &assembly{sum: sum, parts: map[int][]byte{}}
	s.partial = append(s.partial, a)
	return a
}
