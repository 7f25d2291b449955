package fold

// Votes is what the members' newest heartbeats say of one fold: whether their writers made the same of the log. The
// zero value is ready, and has heard nobody.
type Votes struct {
	digests map[int64]string // the fold's, by offset
	against map[int64]int    // by session: how many of its newest heartbeats in a row had another digest
}

// keptDigests is for how many offsets the digests are kept: what a heartbeat may be late.
const keptDigests = 8192

// Dissent is a heartbeat whose writer made something else of the log up to Offset.
type Dissent struct {
	Session, Offset int64
	Worker          string
	Theirs, Mine    string // digests
}

// Note remembers the fold's digest as it is now.
func (v *Votes) Note(f *Fold) {
	if v.digests == nil {
		v.digests, v.against = map[int64]string{}, map[int64]int{}
	}
	v.digests[f.offset] = f.digest
	delete(v.digests, f.offset-keptDigests)
}

// Forget forgets the votes: who wrote them may have agreed or not with somebody who is not there any more.
func (v *Votes) Forget() { clear(v.against) }

// Hear takes what an entry did that was folded and noted. It returns true for the heartbeat of a live member that folds
// by the same rules and had another digest at an offset that is remembered.
func (v *Votes) Hear(f *Fold, out Outcome) (Dissent, bool) {
	r := out.Record
	if out.Reason != Accepted || r.Kind != Heartbeat {
		return Dissent{}, false
	}
	s, live := f.sessions[r.Session]
	mine, known := v.digests[r.AsOf]
	switch {
	case !live || !known || s.Terms.Fold != Version:
		return Dissent{}, false
	case mine == r.Digest:
		v.against[s.ID] = 0
		return Dissent{}, false
	}
	v.against[s.ID]++
	return Dissent{Session: s.ID, Offset: r.AsOf, Worker: s.Worker, Theirs: r.Digest, Mine: mine}, true
}

// Count returns how many live members agree with the fold, and how many contradicted it in at least so many of their
// newest heartbeats in a row. A worker's own do not count, and those that were not heard are neither.
func (v *Votes) Count(f *Fold, worker string, inRow int) (agree, disagree int) {
	for session, times := range v.against {
		switch s, live := f.sessions[session]; {
		case !live:
			delete(v.against, session)
		case s.Worker == worker:
		case times == 0:
			agree++
		case times >= inRow:
			disagree++
		}
	}
	return agree, disagree
}
