package member

import "time"

// Time is one reading of two clocks of this host: Boot goes on while the host sleeps and is never set, Wall is since
// 1970.
type Time struct{ Boot, Wall time.Duration }

// maxParting is how far the two clocks may part before neither is believed.
const maxParting = time.Second

// Lease is the time that the newest accepted heartbeat bought. The zero value is no lease.
type Lease struct {
	sent    Time
	timeout time.Duration
	broken  bool
}

// newLease is the lease bought by a heartbeat that was first sent at sent.
func newLease(sent Time, timeout time.Duration) Lease { return Lease{sent: sent, timeout: timeout} }

// Until is the end of the lease on the boot clock: nine tenths of a session after the heartbeat was first sent, while
// whoever expires the session waits a whole one after having read it.
//
// Invariant C2: no unit changes hands by expiry before its owner's lease is over.
func (l *Lease) Until() time.Duration { return l.sent.Boot + l.timeout/10*9 }

// Deadline is when others may begin to take over. What still runs then is an overrun.
func (l *Lease) Deadline() time.Duration { return l.sent.Boot + l.timeout }

// Sent is when the heartbeat that bought the lease was first sent; false without a lease.
func (l *Lease) Sent() (Time, bool) { return l.sent, l.timeout > 0 }

// Left is how much of the lease is left, 0 when it is over. Once the clocks have parted it stays over: only a newer
// heartbeat makes another lease.
func (l *Lease) Left(now Time) time.Duration {
	if l.timeout == 0 || l.broken {
		return 0
	}
	if parting := (now.Wall - l.sent.Wall) - (now.Boot - l.sent.Boot); parting > maxParting || parting < -maxParting {
		l.broken = true
		return 0
	}
	return max(0, l.Until()-now.Boot)
}

// Expiry adds up how long each member has been silent. It takes time only between records of its own that came back
// from the log, and a bounded piece each time, so that neither an outage of the log nor a pause of this process counts.
type Expiry struct {
	// piece is the most that one returned record adds.
	piece   time.Duration
	own     time.Duration // when the newest own record came back
	heard   bool          // own is set
	members map[int64]silence
}

type silence struct{ since, total time.Duration }

// NewExpiry returns the accounting of a worker that sends a record every interval.
func NewExpiry(interval time.Duration) *Expiry {
	return &Expiry{piece: interval + interval/2, members: map[int64]silence{}}
}

// Heard notes that a member's newest heartbeat was read at now.
func (e *Expiry) Heard(session int64, now time.Duration) { e.members[session] = silence{since: now} }

// Gone forgets a session.
func (e *Expiry) Gone(session int64) { delete(e.members, session) }

// Own notes that a record of its own came back at now, and returns how much time that counted for.
func (e *Expiry) Own(now time.Duration) time.Duration {
	if !e.heard {
		e.own, e.heard = now, true
		return 0
	}
	for id, s := range e.members {
		s.total += clamp(now-max(e.own, s.since), e.piece)
		e.members[id] = s
	}
	counted := clamp(now-e.own, e.piece)
	e.own = max(e.own, now)
	return counted
}

// Silent is how long the member has been silent by this accounting.
func (e *Expiry) Silent(session int64) time.Duration { return e.members[session].total }

func clamp(d, most time.Duration) time.Duration { return min(max(d, 0), most) }
