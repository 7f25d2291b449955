// Package member is one worker's part in the cluster as a machine: entries of the log, results of appends and time go
// in, appends and permissions come out. It has no goroutine, no clock and no IO, so what is simulated is what runs.
package member

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Config is what does not change in the life of a process.
type Config struct {
	// Cluster is the id of the cluster: workers of another one on the same log are refused.
	Cluster string
	// Stores names the topics of the stores: workers with others on the same log are refused. Empty compares nothing.
	Stores                   string
	Worker, Address, Version string
	// Incarnation is random and unique to the process.
	Incarnation string
	// Proof is nil when the store directory proves nothing.
	Proof *fold.Proof
	Terms fold.Terms
}

var (
	// ErrDigest means most other workers made something else of the log than this one.
	ErrDigest = errors.New("most workers made something else of the cluster log than this one")
	// ErrDuplicate means another live worker has the same id.
	ErrDuplicate = errors.New("another live worker has the same id")
	// ErrOtherCluster means workers of another cluster use the log.
	ErrOtherCluster = errors.New("cluster log is used by another cluster")
	// ErrSuperseded means another process holds this worker's store directory.
	ErrSuperseded = errors.New("another process took over the store directory")
	// ErrOtherLog means what this worker read is not what the log holds.
	ErrOtherLog = errors.New("cluster log is not the one that was read")
	// ErrSessionLost means the session ended before the log answered.
	ErrSessionLost = errors.New("session in the cluster was lost")
)

type phase int

const (
	joining phase = iota
	joined
	stopped
)

// Machine is made by New. It is not safe for use by several goroutines. One value holds a membership, as etcd's raft is
// one: each step reads and writes most of it, and in parts the order of Step would be a contract between them.
type Machine struct {
	cfg     Config
	fold    *fold.Fold
	expiry  *Expiry
	silent  []int64 // the others that have missed a heartbeat, by number; nil without any
	phase   phase
	attempt int64
	shut    bool
	resumed bool // the log was reached again at least once
	proved  bool // the log held what the fold begins with

	session  int64
	sequence int64          // of the newest record that was made
	returned int64          // the highest sequence of an own record that was read back
	beats    map[int64]Time // when each heartbeat that has not come back was first sent, by sequence
	lease    Lease
	joinFrom time.Duration // no join before: what ran under an older session may still run
	lost     time.Duration // the end of the lease of the newest session that was lost

	nextBeat time.Duration
	hold     time.Duration // nothing is sent before, after an append failed
	inflight *flight
	flights  int64

	blocker int64         // the session that holds this worker's id
	waited  time.Duration // counted since this worker's join was first refused for it

	agreement agreement
	ownership ownership
	snapshot  snapshots
	calm      calm
}

// New returns a machine that has folded nothing; Restart makes it usable.
func New(cfg Config) *Machine {
	return &Machine{cfg: cfg, fold: fold.New(), ownership: newOwnership()}
}

// Restart goes on from another fold: at the start of the process, and when the log no longer continues the old one. A
// session that was held is given up, and no new one is asked for while its lease runs.
func (m *Machine) Restart(now Time, f *fold.Fold) {
	m.lose(now)
	m.fold, m.agreement.votes, m.proved = f, fold.Votes{}, false
	m.agreement.votes.Note(f)
	m.expiry, m.silent = NewExpiry(m.cfg.Terms.Interval()), nil
	m.blocker, m.waited = noSession, 0
	for _, s := range f.Sessions() {
		m.expiry.Heard(s.ID, now.Boot)
	}
}

// GiveUp ends the session, if there is one, before it is known what the log holds now: Restart goes on once that was
// read. Until then the fold is what was known last.
func (m *Machine) GiveUp(now Time) { m.lose(now) }

const noSession = -1

// lose gives the session up: nothing of it runs on, and the next join is another incarnation's.
func (m *Machine) lose(now Time) {
	if m.phase == joined {
		m.attempt++
		m.phase = joining
		m.joinFrom = m.lease.Until()
		m.lost = m.lease.Until()
	}
	m.lease = Lease{}
	m.session, m.sequence, m.returned = noSession, 0, 0
	m.beats = map[int64]Time{}
	m.ownership.lose()
	m.snapshot = snapshots{}
	m.nextBeat = now.Boot
}

// Fold is the state so far, to be read only.
func (m *Machine) Fold() *fold.Fold { return m.fold }

// Session is this worker's live session; false while it has none.
func (m *Machine) Session() (int64, bool) { return m.session, m.phase == joined }

// Lease is the lease as it is.
func (m *Machine) Lease() Lease { return m.lease }

func (m *Machine) incarnation() string {
	return m.cfg.Incarnation + "-" + strconv.FormatInt(m.attempt, 10)
}

// Step takes the next entry of the log. An error ends this worker's part: fold.ErrGap, ErrOtherLog and,
// as Rereads says, ErrDigest are cured by GiveUp and Restart, the others (ErrDuplicate, ErrOtherCluster, ErrSuperseded)
// by a person.
func (m *Machine) Step(now Time, e rmq.Entry) (fold.Outcome, error) {
	// With nothing read, a reconnect shows nothing again: it may have been just now.
	if m.resumed && m.fold.Offset() < 0 {
		m.Resumed(now)
	}
	out, err := m.fold.Step(e)
	if err != nil {
		return out, err
	}
	if out.Reason == fold.Repeated {
		return out, m.again(now, e)
	}
	m.proved = true
	m.agreement.votes.Note(m.fold)
	counted := m.account(now, out)
	if out.Record == nil {
		return out, nil
	}
	if out.Reason == fold.OtherLog && m.phase == joined && out.Record.Session == m.session && hasSequence(out.Record.Kind) {
		return out, fmt.Errorf("%w: a record of this session, as of %d, is void at %d", ErrOtherLog, out.Record.AsOf, e.Offset)
	}
	if err := errors.Join(m.agree(out), m.alien(out)); err != nil {
		return out, err
	}
	if m.phase == joined && out.Record.Session == m.session && hasSequence(out.Record.Kind) {
		m.own(now, out)
	}
	m.calmed(now, out)
	if err := m.followEvents(now, out); err != nil {
		return out, err
	}
	m.ownership.prune(m.owns)
	return out, m.wait(out, counted)
}

// again takes an entry once more. The last one comes once after a restart, which proves that the fold is of this log;
// the last few come after each reconnect.
//
// Invariant C4: nothing is folded after a reconnect before the log has proved that it holds what was folded.
func (m *Machine) again(now Time, e rmq.Entry) error {
	held, known := m.fold.Holds(e)
	last := e.Offset == m.fold.Offset()
	if !held && (known || last) {
		return fmt.Errorf("%w: another record is at %d", ErrOtherLog, e.Offset)
	}
	if !last {
		return nil
	}
	if m.proved {
		m.Resumed(now)
	}
	m.proved = true
	return nil
}

// Prove expects the last entry once more, because the log is read from there on again and not because it was lost sight
// of.
func (m *Machine) Prove() { m.proved = false }

func hasSequence(k fold.Kind) bool { return k != fold.Join && k != fold.Expire }

// account feeds the expiry accounting and returns the time that this entry counted for.
func (m *Machine) account(now Time, out fold.Outcome) time.Duration {
	r := out.Record
	if r == nil {
		return 0
	}
	var counted time.Duration
	own := m.isOwn(r)
	if own {
		counted = m.expiry.Own(now.Boot)
	}
	if out.Reason == fold.Accepted && r.Kind == fold.Heartbeat {
		m.expiry.Heard(r.Session, now.Boot)
	}
	for _, ev := range out.Events {
		switch ev.Kind {
		case fold.Joined:
			m.expiry.Heard(ev.Session, now.Boot)
		case fold.Left, fold.Expired, fold.Superseded:
			m.expiry.Gone(ev.Session)
		}
	}
	if own || slices.Contains(m.silent, r.Session) {
		m.listen()
	}
	if own && m.phase == joined {
		m.hurry(now)
	}
	return counted
}

// listen notes who has missed a heartbeat: most of them go on, but those that are gone are handed nothing that way.
func (m *Machine) listen() {
	var silent []int64
	for _, s := range m.fold.Sessions() {
		if s.ID != m.session && m.expiry.Silent(s.ID) > s.Terms.Interval()*3/2 {
			silent = append(silent, s.ID)
		}
	}
	m.silent = silent
}

// Silent are the other members that have missed a heartbeat, by number; nil without any. It must not be modified.
func (m *Machine) Silent() []int64 { return m.silent }

func (m *Machine) isOwn(r *fold.Record) bool {
	if r.Kind == fold.Join {
		return r.Join.Incarnation == m.incarnation()
	}
	return m.phase == joined && hasSequence(r.Kind) && r.Session == m.session
}

// alien refuses a log on which a worker of another cluster is alive that was there first: two clusters would run each
// other's connectors. A session whose process is dead does no harm, and says nothing.
func (m *Machine) alien(out fold.Outcome) error {
	r := out.Record
	if out.Reason != fold.Accepted || r.Kind != fold.Heartbeat {
		return nil
	}
	s, live := m.fold.Session(r.Session)
	if !live || m.phase == joined && m.session < s.ID {
		return nil
	}
	if s.Cluster == m.cfg.Cluster && s.Stores != m.cfg.Stores && s.Stores != "" && m.cfg.Stores != "" {
		return fmt.Errorf(
			"%w: worker %s at %s (session %d) has its stores in the topics %s, this one in %s; give all workers of a cluster the same "+
				"five internal topics",
			ErrOtherCluster,
			s.Worker,
			s.Address,
			s.ID,
			s.Stores,
			m.cfg.Stores,
		)
	}
	if s.Cluster == m.cfg.Cluster {
		return nil
	}
	return fmt.Errorf("%w: worker %s at %s (session %d) is of cluster %q, this one of %q; give each cluster internal topics of its own, "+
		"or all workers one connectClusterId", ErrOtherCluster, s.Worker, s.Address, s.ID, s.Cluster, m.cfg.Cluster)
}

// own follows a record of this worker's session that came back.
func (m *Machine) own(now Time, out fold.Outcome) {
	r := out.Record
	m.returned = max(m.returned, r.Sequence)
	if out.Reason != fold.Accepted {
		if now.Boot >= m.hold { // what is refused is sent again at once, else, for as long as somebody else writes in this session
			m.hold = now.Boot + m.cfg.Terms.Interval()/5
		}
		return
	}
	switch r.Kind {
	case fold.Heartbeat:
		if sent, ok := m.beats[r.Sequence]; ok {
			m.calm.lapsed = m.calm.lapsed || m.calming(now) && m.lease.Left(now) == 0
			m.lease = newLease(sent, r.Terms.Timeout())
		}
		for seq := range m.beats {
			if seq <= r.Sequence {
				delete(m.beats, seq)
			}
		}
	case fold.Claim:
		m.ownership.claimed(r.Claim.Request, out.Events)
	}
}

func (m *Machine) followEvents(now Time, out fold.Outcome) error {
	for _, ev := range out.Events {
		switch {
		case ev.Kind == fold.Joined && m.phase == joining && out.Record.Join.Incarnation == m.incarnation():
			m.phase, m.session, m.nextBeat = joined, ev.Session, now.Boot
			m.blocker, m.waited = noSession, 0
			m.agreement.votes.Forget()
		case m.phase != joined || ev.Session != m.session:
		case ev.Kind == fold.Superseded:
			m.lose(now)
			return fmt.Errorf("%w: worker %s at %s ended session %d of this process at %s; "+
				"give each worker a storePathRootDir of its own", ErrSuperseded, m.cfg.Worker, out.Record.Join.Address, ev.Session, m.cfg.Address)
		case ev.Kind == fold.Expired || ev.Kind == fold.Left:
			m.lose(now)
		}
	}
	return nil
}

// wait watches, while another session has this worker's id, whether that one goes on for a session after this one's
// start.
func (m *Machine) wait(out fold.Outcome, counted time.Duration) error {
	if m.phase != joining {
		return nil
	}
	older, ok := m.fold.Live(m.cfg.Worker)
	if !ok {
		m.blocker, m.waited = noSession, 0
		return nil
	}
	r := out.Record
	switch {
	case older.ID != m.blocker:
		if r.Kind == fold.Join && r.Join.Incarnation == m.incarnation() {
			m.blocker, m.waited = older.ID, 0
		}
	case m.isOwn(r):
		m.waited += counted
	case r.Kind == fold.Heartbeat && r.Session == older.ID && out.Reason == fold.Accepted && m.waited > older.Terms.Timeout():
		return fmt.Errorf("%w: worker id %s is used by a worker at %s (session %d) that is alive, and by this one at %s; "+
			"give each worker a workerId of its own", ErrDuplicate, m.cfg.Worker, older.Address, older.ID, m.cfg.Address)
	}
	return nil
}
