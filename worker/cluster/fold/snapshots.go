package fold

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Snapshots gathers the snapshots of a stretch of the log, whose entries are added in offset order. The zero value is ready.
type Snapshots struct {
	entries  []rmq.Entry               // the newest, without gaps
	complete []complete                // oldest first
	partial  map[string]map[int][]byte // by sum and index
}

// complete is a snapshot of which all parts are there; at is the offset of the part that made it so.
type complete struct {
	asOf, at int64
	image    []byte
}

const (
	// keptEntries bounds how far before its record a snapshot may be as of.
	keptEntries   = 1 << 15
	keptSnapshots = 8
	// keptPartial bounds the snapshots of which parts are missing: their writers died.
	keptPartial = 64
)

// Newest returns the fold of the newest snapshot that somebody wrote on, for a worker to go on from; nil without one.
//
// Invariant C4: a worker that has not noticed yet that the log lost its tail may still write a snapshot of what was lost.
// It cannot write on what follows it, for it reads nothing more before it has noticed.
func (s *Snapshots) Newest(worker string) *Fold {
	for _, c := range slices.Backward(s.complete) {
		if f, err := Restore(c.image); err == nil && s.confirmed(f, c.at, worker) {
			return restored(c)
		}
	}
	return nil
}

// Unconfirmed returns the fold of the newest snapshot, whether anybody wrote on or not.
func (s *Snapshots) Unconfirmed() *Fold {
	if len(s.complete) == 0 {
		return nil
	}
	return restored(s.complete[len(s.complete)-1])
}

// restored is the fold of a snapshot that Add has found to be well.
func restored(c complete) *Fold {
	f, err := Restore(c.image)
	if err != nil {
		return nil
	}
	return f
}

// confirmed folds on, and reports whether a member that had read the snapshot's record as well came to the same log, and
// more of those who wrote since made the same of it than something else: its writer's fold may have been wrong. What the
// worker itself wrote before says nothing of that.
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
	image, ok := s.assemble(r.Part)
	if !ok {
		return
	}
	f, err := Restore(image)
	if err != nil || f.offset != r.AsOf || f.offset >= e.Offset || r.Log != f.Log() {
		return
	}
	s.complete = append(s.complete, complete{asOf: r.AsOf, at: e.Offset, image: image})
	if len(s.complete) > keptSnapshots {
		s.complete = slices.Delete(s.complete, 0, 1)
	}
}

func (s *Snapshots) keep(e rmq.Entry) {
	if len(s.entries) >= 2*keptEntries {
		s.entries = append([]rmq.Entry(nil), s.entries[keptEntries:]...)
	}
	s.entries = append(s.entries, e)
}

// knows reports whether a snapshot as of no earlier is there.
func (s *Snapshots) knows(asOf int64) bool {
	return slices.ContainsFunc(s.complete, func(c complete) bool { return c.asOf >= asOf })
}

// assemble adds a part and returns the image once it is whole.
func (s *Snapshots) assemble(p *Part) ([]byte, bool) {
	parts := s.partial[p.Sum]
	if parts == nil {
		if s.partial == nil || len(s.partial) >= keptPartial {
			s.partial = map[string]map[int][]byte{}
		}
		parts = map[int][]byte{}
		s.partial[p.Sum] = parts
	}
	parts[p.Index] = p.Data
	if len(parts) != p.Total {
		return nil, false
	}
	delete(s.partial, p.Sum)
	var data []byte
	for i := range p.Total {
		data = append(data, parts[i]...)
	}
	if sum := sha256.Sum256(data); hex.EncodeToString(sum[:]) != p.Sum {
		return nil, false
	}
	return unpack(data, p.Form)
}
