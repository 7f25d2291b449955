package redistribute

import "hash/fnv"

// Record is where a record may go: one that is not bound to a queue goes to any, one that is bound and movable to
// another.
type Record struct{ Bound, Movable bool }

func (f Fate) moves(r Record) bool {
	switch f {
	case MoveFree:
		return !r.Bound
	case MoveMovable:
		return !r.Bound || r.Movable
	case MoveAll:
		return true
	}
	return false
}

// Places are the queues that a topic can be written to, by their index in its route.
type Places struct {
	// From is the queue that the records leave, -1 if it is not among them; Instead is the one that takes its place.
	From, Instead int
	// Failing says of each queue whether its lane failed a moment ago.
	Failing []bool
	// Turn is whose turn it was last.
	Turn uint64
}

// Stays is where a record goes that does not leave.
const Stays = -1

// Share says which record goes to which queue. Those that are bound go together, in their order; the others go in
// turn, and each takes one.
func Share(records []Record, f Fate, p Places) []int {
	to := make([]int, len(records))
	for i, r := range records {
		at := p.Instead
		if len(p.Failing) > 0 && !r.Bound {
			p.Turn++
			at = InTurn(p.Turn, len(p.Failing), func(i int) bool { return p.Failing[i] })
		}
		if to[i] = at; len(p.Failing) == 0 || !f.moves(r) || at == p.From {
			to[i] = Stays
		}
	}
	return to
}

// InTurn is the first queue of n from the one whose turn it is on that does not fail, or just that one if all do. n
// must not be 0.
func InTurn(turn uint64, n int, fails func(int) bool) int {
	for i := range uint64(n) {
		if at := int((turn + i) % uint64(n)); !fails(at) {
			return at
		}
	}
	return int(turn % uint64(n))
}

// Instead is which of n queues takes the place of one that is gone: what is sent and what waits in its lane go to the
// same. n must not be 0.
func Instead(broker string, id, n int) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(broker)) // never fails
	return int((uint64(h.Sum32()) + uint64(id)) % uint64(n))
}
