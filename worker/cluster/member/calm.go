package member

import (
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
)

// calm is what a reconnect to the log's broker asks for: the log may have lost records in between that others acted on
// and that nobody can read any more. Who acted on them learns of it by its own reconnect, or when its lease ends.
type calm struct {
	until time.Duration      // a session after the reconnect
	fresh map[Grant]struct{} // granted since: others may still run them on lost records
	// lapsed is set when the lease ended on the way: lost records may have ended the session, and given its units away.
	lapsed bool
	mark   int64          // the first sequence that was made after the reconnect
	echo   int64          // the offset at which a record made since came back; noSession before
	seen   map[int64]bool // the sessions that wrote on what is after echo
}

// Resumed notes that the log was reached again over another connection and still holds what was read of it.
//
// Invariant C2: after a reconnect nothing newly claimed starts for one session, for what was lost may have been granted
// to somebody who has not noticed yet. Leases that run all the while are unharmed: nobody can have been given their
// units.
func (m *Machine) Resumed(now Time) {
	m.resumed = true
	session := m.cfg.Terms.Timeout()
	for _, s := range m.fold.Sessions() {
		session = max(session, s.Terms.Timeout())
	}
	fresh := m.calm.fresh
	if !m.calming(now) || fresh == nil {
		fresh = map[Grant]struct{}{}
	}
	m.calm = calm{
		until: now.Boot + session, fresh: fresh, lapsed: m.calm.lapsed || m.lease.Left(now) == 0, mark: m.sequence + 1,
		echo: noSession, seen: map[int64]bool{},
	}
}

func (m *Machine) calming(now Time) bool { return now.Boot < m.calm.until }

// mayStart reports whether deliveries under an ownership may start by what is known of lost records.
func (m *Machine) mayStart(now Time, g Grant) bool {
	if !m.calming(now) {
		return true
	}
	_, fresh := m.calm.fresh[g]
	return !fresh && !m.calm.lapsed
}

// calmed follows an accepted record while the log may have lost others.
func (m *Machine) calmed(now Time, out fold.Outcome) {
	if !m.calming(now) {
		m.calm = calm{}
		return
	}
	for _, ev := range out.Events {
		if ev.Kind == fold.Granted && m.phase == joined && ev.Session == m.session {
			m.calm.fresh[Grant{Unit: ev.Unit, Generation: ev.Generation, Epoch: ev.Epoch}] = struct{}{}
		}
	}
	if !m.calm.lapsed || out.Reason != fold.Accepted || !hasSequence(out.Record.Kind) {
		return
	}
	c := &m.calm
	switch r := out.Record; {
	case r.Session == m.session && c.echo == noSession && r.Sequence >= c.mark:
		c.echo = out.Offset
	case c.echo != noSession && r.AsOf >= c.echo:
		c.seen[r.Session] = true
	}
	c.lapsed = !m.allSeen()
}

// allSeen reports whether each other member has written on this log since the reconnect: then none of them runs
// anything on lost records.
func (m *Machine) allSeen() bool {
	if m.calm.echo == noSession {
		return false
	}
	for _, s := range m.fold.Sessions() {
		if s.ID != m.session && !m.calm.seen[s.ID] {
			return false
		}
	}
	return true
}
