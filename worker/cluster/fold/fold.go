package fold

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Session is one live membership. ID is the offset of its accepted join.
type Session struct {
	ID          int64  `json:"id"`
	Worker      string `json:"worker"`
	Incarnation string `json:"incarnation"`
	Address     string `json:"address,omitempty"`
	Version     string `json:"version,omitempty"`
	Cluster     string `json:"cluster,omitempty"`
	Stores      string `json:"stores,omitempty"`
	Proof       *Proof `json:"proof,omitempty"`
	Terms       Terms  `json:"terms"`
	// Sequence is that of the newest accepted record, Heartbeat the offset of the newest heartbeat, or of the join.
	Sequence  int64 `json:"seq"`
	Heartbeat int64 `json:"heartbeat"`
}

// Owner is who owns a unit.
type Owner struct{ Session, Generation, Epoch int64 }

// mark is what is remembered of a worker id whose session ended, in milliseconds that are left. The oldest member's
// heartbeats are the clock: everybody counts the same ones (Invariant C1).
type mark struct {
	Flapping int64 `json:"flapping,omitempty"`
	Away     int64 `json:"away,omitempty"`
}

// Fold is the state after folding up to Offset. Make one with New or Restore. One value holds it all: each record is
// judged by sessions, owners and epochs together, and a snapshot is the image of all of them at one offset.
type Fold struct {
	offset   int64
	digest   string
	history  history
	sessions map[int64]Session
	owners   map[Unit]Owner
	floors   map[string]int64 // connector -> highest accepted epoch
	asked    map[string]int64 // connector -> epoch of a claim that waits for units of older ones
	tops     map[Unit]int64   // generations of free units that are above the offset at which they became free
	marks    map[string]mark  // by worker id
	// held counts the owned units of each connector. It follows from owners.
	held map[string]int
	// revision rises with what a view shows. It is no part of the state.
	revision int64
}

// New returns the fold of the empty log.
func New() *Fold {
	return &Fold{
		offset: -1, history: newHistory(), sessions: map[int64]Session{}, owners: map[Unit]Owner{}, floors: map[string]int64{},
		asked: map[string]int64{}, tops: map[Unit]int64{}, marks: map[string]mark{}, held: map[string]int{},
	}
}

// ErrGap means an entry does not follow the one that was folded last: the log lost what is between.
var ErrGap = errors.New("cluster log has a gap")

// Reason says why a record, or a unit of a claim, was refused. It is a bounded set, fit for a metric's label.
type Reason string

// The reasons.
const (
	Accepted       Reason = ""
	Malformed      Reason = "malformed"       // not JSON, or parts are missing
	Foreign        Reason = "foreign"         // another version or an unknown kind
	Repeated       Reason = "repeated"        // an offset that was folded before
	OtherLog       Reason = "other-log"       // written on entries that this log does not hold
	Stale          Reason = "stale"           // written on entries so old that nobody can tell any more
	NotLive        Reason = "not-live"        // the session has ended or never was
	OldSequence    Reason = "old-sequence"    // late or repeated append
	WorkerAlive    Reason = "worker-alive"    // a live session has the worker id
	Full           Reason = "full"            // more sessions than any cluster has
	Alive          Reason = "alive"           // expire, but a newer heartbeat is in the log
	Owned          Reason = "owned"           // claim of an owned unit
	OldEpoch       Reason = "old-epoch"       // claim below the floor
	OtherEpoch     Reason = "other-epoch"     // claim while the connector is owned at another epoch
	OtherOwnership Reason = "other-ownership" // release of what is not owned so
)

// EventKind names a change.
type EventKind string

// The kinds of events.
const (
	Joined     EventKind = "joined"
	Left       EventKind = "left"
	Expired    EventKind = "expired"
	Superseded EventKind = "superseded"
	Granted    EventKind = "granted"
	Refused    EventKind = "refused"
	Freed      EventKind = "freed"
)

// Event is one change, or one refused unit of a claim.
type Event struct {
	Kind              EventKind
	Session           int64
	Worker            string
	Unit              Unit
	Generation, Epoch int64
	Reason            Reason
}

// String is the event's line in traces; the digest covers it.
func (e Event) String() string {
	switch e.Kind {
	case Granted, Freed:
		return fmt.Sprintf("%s %s to=%d gen=%d epoch=%d", e.Kind, e.Unit, e.Session, e.Generation, e.Epoch)
	case Refused:
		return fmt.Sprintf("%s %s to=%d epoch=%d: %s", e.Kind, e.Unit, e.Session, e.Epoch, e.Reason)
	}
	return fmt.Sprintf("%s %s session=%d", e.Kind, e.Worker, e.Session)
}

// Outcome is what one entry did. Record is nil when it could not be read.
type Outcome struct {
	Offset int64
	Record *Record
	Reason Reason
	Events []Event
}

// Offset is that of the last folded entry; -1 before the first.
func (f *Fold) Offset() int64 { return f.offset }

// Revision changes whenever sessions, owners, epochs, eligibility or terms do. It compares within one Fold only.
func (f *Fold) Revision() int64 { return f.revision }

// Digest stands for the log up to Offset and what the fold made of it.
func (f *Fold) Digest() string { return f.digest }

// Log stands for the log up to Offset alone, whatever the rules made of it.
func (f *Fold) Log() string { return f.history.newest().String() }

// Holds reports whether an entry is the very one that was folded at its offset; known is false for all but the newest.
func (f *Fold) Holds(e rmq.Entry) (held, known bool) { return f.history.holds(e) }

// Step folds one entry. An entry at or below Offset changes nothing; one that leaves a gap is ErrGap.
//
// Invariant C1: the state depends on the entries in offset order and on nothing else.
func (f *Fold) Step(e rmq.Entry) (Outcome, error) {
	out := Outcome{Offset: e.Offset}
	if e.Offset <= f.offset {
		out.Reason = Repeated
		return out, nil
	}
	if f.offset >= 0 && e.Offset != f.offset+1 {
		return out, fmt.Errorf("%w: offset %d follows %d", ErrGap, e.Offset, f.offset)
	}
	r, err := Decode(e)
	switch {
	case errors.Is(err, errForeign):
		out.Reason = Foreign
	case err != nil:
		out.Reason = Malformed
	default:
		out.Record = r
		out.Reason, out.Events = f.apply(e.Offset, r)
	}
	f.revision += int64(len(out.Events))
	f.offset = e.Offset
	f.history.add(e.Offset, f.history.newest().next(e))
	f.digest = chain(f.digest, f.history.newest(), out)
	return out, nil
}

func (f *Fold) apply(offset int64, r *Record) (Reason, []Event) {
	switch r.Kind {
	case Join:
		return f.join(offset, r)
	case Expire:
		return f.expire(r)
	}
	s, ok := f.sessions[r.Session]
	if !ok {
		return NotLive, nil
	}
	if r.Sequence <= s.Sequence {
		return OldSequence, nil
	}
	if reason := f.history.judge(r); reason != Accepted {
		return reason, nil
	}
	s.Sequence = r.Sequence
	f.sessions[s.ID] = s
	switch r.Kind {
	case Heartbeat:
		f.heartbeat(offset, s, *r.Terms)
	case Leave:
		return Accepted, f.leave(s)
	case Claim:
		return Accepted, f.claim(offset, s.ID, r.Claim.Units)
	case Release:
		return f.release(s.ID, r.Release)
	case Snapshot:
		f.forgetTops()
	}
	return Accepted, nil
}

func (f *Fold) join(offset int64, r *Record) (Reason, []Event) {
	if reason := f.history.judge(r); reason != Accepted {
		return reason, nil
	}
	var events []Event
	if older, ok := f.Live(r.Join.Worker); ok {
		if older.Incarnation == r.Join.Incarnation || !r.Join.Proof.supersedes(older.Proof) {
			return WorkerAlive, nil
		}
		events = f.end(older, Superseded)
	}
	if len(f.sessions) >= maxSessions {
		return Full, nil
	}
	f.sessions[offset] = Session{
		ID: offset, Worker: r.Join.Worker, Incarnation: r.Join.Incarnation, Address: r.Join.Address,
		Version: r.Join.Version, Cluster: r.Join.Cluster, Stores: r.Join.Stores, Proof: r.Join.Proof, Terms: *r.Terms, Heartbeat: offset,
	}
	if m := f.marks[r.Join.Worker]; m.Away > 0 {
		m.Away = 0
		f.setMark(r.Join.Worker, m)
	}
	return Accepted, append(events, Event{Kind: Joined, Session: offset, Worker: r.Join.Worker})
}

func (f *Fold) heartbeat(offset int64, s Session, terms Terms) {
	if s.Terms != terms {
		f.revision++
	}
	s.Terms, s.Heartbeat = terms, offset
	f.sessions[s.ID] = s
	if oldest, _ := f.Oldest(); oldest.ID != s.ID {
		return
	}
	f.history.heartbeat(offset, terms)
	for worker, m := range f.marks {
		m.Flapping = max(0, m.Flapping-terms.IntervalMS)
		m.Away = max(0, m.Away-terms.IntervalMS)
		f.setMark(worker, m)
	}
}

// Invariant C2: a session is expired only while the heartbeat that its judge waited on is the newest in the log, so the
// judge read it, and waited, after the member had sent it.
func (f *Fold) expire(r *Record) (Reason, []Event) {
	s, ok := f.sessions[r.Expire.Session]
	if !ok {
		return NotLive, nil
	}
	if s.Heartbeat != r.Expire.Heartbeat {
		return Alive, nil
	}
	if reason := f.history.judge(r); reason != Accepted {
		return reason, nil
	}
	m := f.marks[s.Worker]
	m.Flapping = flappingSessions * s.Terms.TimeoutMS
	f.setMark(s.Worker, m)
	return Accepted, f.end(s, Expired)
}

// flappingSessions is for how many of its session timeouts an expired worker id gets nothing new.
const flappingSessions = 3

func (f *Fold) leave(s Session) []Event {
	m := f.marks[s.Worker]
	m.Away = s.Terms.RebalanceDelayMS
	f.setMark(s.Worker, m)
	return f.end(s, Left)
}

func (f *Fold) setMark(worker string, m mark) {
	if old := f.marks[worker]; (old.Flapping > 0) != (m.Flapping > 0) || (old.Away > 0) != (m.Away > 0) {
		f.revision++
	}
	if m == (mark{}) {
		delete(f.marks, worker)
		return
	}
	f.marks[worker] = m
}

// end takes a session out and frees what it owns.
func (f *Fold) end(s Session, how EventKind) []Event {
	events := []Event{{Kind: how, Session: s.ID, Worker: s.Worker}}
	delete(f.sessions, s.ID)
	var units []Unit
	for u, o := range f.owners {
		if o.Session == s.ID {
			units = append(units, u)
		}
	}
	slices.SortFunc(units, compareUnits)
	for _, u := range units {
		events = append(events, f.free(u))
	}
	return events
}

// Live returns the live session of a worker id.
func (f *Fold) Live(worker string) (Session, bool) {
	for _, s := range f.sessions {
		if s.Worker == worker {
			return s, true
		}
	}
	return Session{}, false
}

// Session returns a live session.
func (f *Fold) Session(id int64) (Session, bool) {
	s, ok := f.sessions[id]
	return s, ok
}

// Oldest returns the live session with the lowest number.
func (f *Fold) Oldest() (Session, bool) {
	found := false
	var oldest Session
	for id, s := range f.sessions {
		if !found || id < oldest.ID {
			oldest, found = s, true
		}
	}
	return oldest, found
}

// Sessions returns the live sessions by number.
func (f *Fold) Sessions() []Session {
	out := slices.AppendSeq(make([]Session, 0, len(f.sessions)), maps.Values(f.sessions))
	slices.SortFunc(out, func(a, b Session) int { return cmp.Compare(a.ID, b.ID) })
	return out
}

// Eligible reports whether a live session should be given units: its worker id was not expired within three session
// timeouts, or it owns some already (so that nothing moves twice), or every member's was.
func (f *Fold) Eligible(s Session) bool {
	if f.marks[s.Worker].Flapping == 0 {
		return true
	}
	for _, o := range f.owners {
		if o.Session == s.ID {
			return true
		}
	}
	for _, other := range f.sessions {
		if f.marks[other.Worker].Flapping == 0 {
			return false
		}
	}
	return true
}

// Away returns the worker ids, sorted, that left so recently that their units stay theirs.
func (f *Fold) Away() []string {
	var out []string
	for worker, m := range f.marks {
		if m.Away > 0 {
			out = append(out, worker)
		}
	}
	slices.Sort(out)
	return out
}
