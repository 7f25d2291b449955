package member

import (
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Append is one batch to append. Its result is handed back by Appended under its ID.
type Append struct {
	ID      int64
	Entries []rmq.Entry
}

// flight is the append whose result is not known yet. There is one at a time, so records keep their order.
type flight struct {
	id    int64
	sent  time.Duration
	first int64 // sequences [first, last] are in it
	last  int64
	part  bool
}

// Ready returns what is to be appended now, if anything is and nothing is under way.
func (m *Machine) Ready(now Time) (Append, bool, error) {
	if m.inflight != nil || m.phase == stopped || m.shut || now.Boot < m.hold {
		return Append{}, false, nil
	}
	m.overtake()
	fl := &flight{id: m.flights + 1, sent: now.Boot, first: m.sequence + 1}
	records, err := m.due(now, fl)
	if err != nil || len(records) == 0 {
		return Append{}, false, err
	}
	out := Append{ID: fl.id}
	for _, r := range records {
		e, err := r.Entry()
		if err != nil {
			return Append{}, false, err
		}
		out.Entries = append(out.Entries, e)
	}
	m.flights, fl.last, m.inflight = fl.id, m.sequence, fl
	return out, true, nil
}

// Due is when Ready has something to send at the latest; false while only the result of an append can change that.
func (m *Machine) Due() (time.Duration, bool) {
	return max(m.nextBeat, m.hold), m.inflight == nil && m.phase != stopped && !m.shut
}

// Appended takes the result of an append. An error may mean that it was stored all the same, or will be later: what
// matters is what comes back from the log.
func (m *Machine) Appended(now Time, id int64, err error) {
	fl := m.inflight
	if fl == nil || fl.id != id {
		return
	}
	m.inflight = nil
	if err == nil {
		return
	}
	m.hold = max(now.Boot, fl.sent+m.cfg.Terms.Interval())
	m.ownership.unsent(fl.first, fl.last)
	if fl.part {
		m.snapshot = snapshots{}
	}
}

func (m *Machine) due(now Time, fl *flight) ([]fold.Record, error) {
	beat := now.Boot >= m.nextBeat
	if m.phase == joining {
		if !beat {
			return nil, nil
		}
		m.nextBeat = now.Boot + m.cfg.Terms.Interval()
		// Invariant C2: what ran under the session before may run until its lease is over; a join could free its units. Nor
		// does who may not start anything yet take units from others who run them.
		if allowed := max(m.joinFrom, m.calm.until); now.Boot < allowed {
			m.nextBeat = min(m.nextBeat, allowed)
			return nil, nil
		}
		return append(m.expired(), m.join()), nil
	}
	var records []fold.Record
	if beat {
		m.nextBeat = now.Boot + m.cfg.Terms.Interval()
		r, terms := m.record(fold.Heartbeat), m.cfg.Terms
		terms.Resting = m.calming(now) || !m.mayClaim()
		r.Terms, r.Digest = &terms, m.fold.Digest()
		m.sentBeat(r.Sequence, now)
		records = append(append(records, r), m.expired()...)
		if err := m.snapshot.take(now.Boot, m.fold, m.isOldest()); err != nil {
			return nil, err
		}
	}
	if part, ok := m.snapshot.next(); ok {
		r := m.record(fold.Snapshot)
		r.AsOf, r.Log, r.Digest, r.Part = m.snapshot.asOf, m.snapshot.log, m.snapshot.digest, &part
		records, fl.part = append(records, r), true
	}
	return append(records, m.ownership.due(m.returned, m.mayClaim(), m.record)...), nil
}

// overtake goes on above a sequence that somebody else wrote for this session: below it nothing would be accepted any
// more.
func (m *Machine) overtake() {
	if s, ok := m.fold.Session(m.session); ok && m.phase == joined {
		m.sequence = max(m.sequence, s.Sequence)
	}
}

// record starts a record of this session.
func (m *Machine) record(kind fold.Kind) fold.Record {
	m.sequence++
	return fold.Record{Kind: kind, Session: m.session, Sequence: m.sequence, AsOf: m.fold.Offset(), Log: m.fold.Log()}
}

func (m *Machine) join() fold.Record {
	proof := m.cfg.Proof
	if proof != nil {
		attempt := *proof
		attempt.Attempt = m.attempt
		proof = &attempt
	}
	return fold.Record{Kind: fold.Join, AsOf: m.fold.Offset(), Log: m.fold.Log(), Terms: &m.cfg.Terms, Join: &fold.Joining{
		Worker:      m.cfg.Worker,
		Incarnation: m.incarnation(),
		Address:     m.cfg.Address,
		Version:     m.cfg.Version,
		Cluster:     m.cfg.Cluster,
		Stores:      m.cfg.Stores,
		Proof:       proof,
	}}
}

// keptBeats is of how many heartbeats under way the time is kept; an older one that is stored after all buys nothing.
const keptBeats = 64

func (m *Machine) sentBeat(sequence int64, now Time) {
	m.beats[sequence] = now
	for len(m.beats) > keptBeats {
		oldest := sequence
		for s := range m.beats {
			oldest = min(oldest, s)
		}
		delete(m.beats, oldest)
	}
}

// maxRank bounds for how many intervals a younger member holds its expire back.
const maxRank = 8

// patience calls fn with the other members and for how much longer each may be silent before this one expires it: its
// session timeout, which the oldest of the others waits for, the next ones an interval longer each.
func (m *Machine) patience(fn func(s fold.Session, left time.Duration)) {
	var rank time.Duration
	sessions := m.fold.Sessions()
	for _, s := range sessions {
		if s.ID == m.session {
			break
		}
		if m.expiry.Silent(s.ID) < s.Terms.Timeout() && rank < maxRank {
			rank++
		}
	}
	for _, s := range sessions {
		if s.ID != m.session {
			fn(s, s.Terms.Timeout()+rank*m.cfg.Terms.Interval()-m.expiry.Silent(s.ID))
		}
	}
}

// expired returns an expire for each member with which patience is at its end.
func (m *Machine) expired() []fold.Record {
	var out []fold.Record
	m.patience(func(s fold.Session, left time.Duration) {
		if left <= 0 {
			out = append(out, fold.Record{Kind: fold.Expire, AsOf: m.fold.Offset(), Log: m.fold.Log(),
				Expire: &fold.Expiry{Session: s.ID, Heartbeat: s.Heartbeat}})
		}
	})
	return out
}

// hurry sends the next heartbeat sooner if patience with a member ends before it is due: only what comes back counts as
// time, and an expire goes with a heartbeat, so each could wait for most of an interval while nobody runs the member's
// tasks.
func (m *Machine) hurry(now Time) {
	least := m.cfg.Terms.Interval() / 5
	m.patience(func(_ fold.Session, left time.Duration) {
		m.nextBeat = min(m.nextBeat, now.Boot+max(left, least))
	})
}

func (m *Machine) isOldest() bool {
	oldest, ok := m.fold.Oldest()
	return ok && m.phase == joined && oldest.ID == m.session
}

// Shut ends every permission for good; the session is left in the log, and no heartbeat is sent for it.
func (m *Machine) Shut() { m.lease, m.shut = Lease{}, true }

// Leave shuts everything for good and returns the entry that ends the session; false if there is none.
func (m *Machine) Leave() (rmq.Entry, bool, error) {
	live := m.phase == joined
	m.overtake()
	m.phase = stopped
	m.lease = Lease{}
	if !live {
		return rmq.Entry{}, false, nil
	}
	e, err := m.record(fold.Leave).Entry()
	if err != nil {
		return rmq.Entry{}, false, fmt.Errorf("leaving the cluster: %w", err)
	}
	return e, true, nil
}

const (
	// snapshotEvery and snapshotRecords say when the oldest member writes a snapshot: whichever comes first. Where nothing
	// but heartbeats came since the last one, which a newcomer folds at no cost, quietSnapshot takes the place of
	// snapshotEvery.
	snapshotEvery   = 5 * time.Second
	quietSnapshot   = 15 * time.Second
	snapshotRecords = 2000
)

// snapshots is the snapshot that is being written, and when the last one was.
type snapshots struct {
	taken    bool
	at       time.Duration
	asOf     int64
	revision int64
	log      string
	digest   string
	parts    []fold.Part
}

// take starts a snapshot if one is due.
func (s *snapshots) take(now time.Duration, f *fold.Fold, oldest bool) error {
	if !oldest || len(s.parts) > 0 || s.recent(now, f) {
		return nil
	}
	image, err := f.Image()
	if err != nil {
		return err
	}
	parts, err := fold.Split(image)
	if err != nil {
		return err
	}
	*s = snapshots{taken: true, at: now, asOf: f.Offset(), revision: f.Revision(), log: f.Log(), digest: f.Digest(), parts: parts}
	return nil
}

// recent reports whether the last snapshot still serves a newcomer.
func (s *snapshots) recent(now time.Duration, f *fold.Fold) bool {
	every := snapshotEvery
	if s.revision == f.Revision() {
		every = quietSnapshot
	}
	return s.taken && now-s.at < every && f.Offset()-s.asOf < snapshotRecords
}

// next takes the next part off.
func (s *snapshots) next() (fold.Part, bool) {
	if len(s.parts) == 0 {
		return fold.Part{}, false
	}
	p := s.parts[0]
	s.parts = s.parts[1:]
	return p, true
}
