package member

import (
	"testing"
	"time"
)

func TestLease(t *testing.T) {
	sent := Time{Boot: 100 * time.Second, Wall: 5000 * time.Second}
	after := func(boot, wall time.Duration) Time { return Time{Boot: sent.Boot + boot, Wall: sent.Wall + wall} }
	cases := map[string]struct {
		lease Lease
		at    []Time
		want  time.Duration
	}{
		"no lease":                   {Lease{}, []Time{after(0, 0)}, 0},
		"nine tenths of the session": {newLease(sent, 5*time.Second), []Time{after(0, 0)}, 4500 * time.Millisecond},
		"it runs from the first send": {
			newLease(sent, 5*time.Second),
			[]Time{after(4*time.Second, 4*time.Second)},
			500 * time.Millisecond,
		},
		"it ends": {
			newLease(sent, 5*time.Second),
			[]Time{after(4500*time.Millisecond, 4500*time.Millisecond)},
			0,
		},
		"a second's parting is believed": {
			newLease(sent, 5*time.Second),
			[]Time{after(time.Second, 2*time.Second)},
			3500 * time.Millisecond,
		},
		"the wall clock was set":                    {newLease(sent, 5*time.Second), []Time{after(time.Second, 2001*time.Millisecond)}, 0},
		"the wall clock was set back":               {newLease(sent, 5*time.Second), []Time{after(2*time.Second, 900*time.Millisecond)}, 0},
		"the host slept and the boot clock with it": {newLease(sent, 5*time.Second), []Time{after(time.Second, time.Hour)}, 0},
		"clocks that parted stay parted": {
			newLease(sent, 5*time.Second),
			[]Time{after(time.Second, time.Hour), after(time.Second, time.Second)},
			0,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got time.Duration
			for _, at := range tc.at {
				got = tc.lease.Left(at)
			}
			if got != tc.want {
				t.Errorf("left %v, want %v", got, tc.want)
			}
		})
	}
}

func TestExpiry(t *testing.T) {
	const ms = time.Millisecond
	type step struct {
		at    time.Duration
		heard bool // a heartbeat of the member is read; else an own record comes back
	}
	cases := map[string]struct {
		steps []step
		want  time.Duration
	}{
		"time passes with own records":                   {[]step{{0, true}, {0, false}, {500 * ms, false}, {1000 * ms, false}}, 1000 * ms},
		"time without an own record does not count":      {[]step{{0, false}, {0, true}, {900 * ms, true}}, 0},
		"one record counts for one and a half intervals": {[]step{{0, true}, {0, false}, {time.Hour, false}}, 750 * ms},
		"an outage counts once": {
			[]step{{0, true}, {0, false}, {time.Hour, false}, {time.Hour + 100*ms, false}},
			850 * ms,
		},
		"a heartbeat starts again": {
			[]step{{0, true}, {0, false}, {500 * ms, false}, {600 * ms, true}, {1000 * ms, false}},
			400 * ms,
		},
		"nothing counts from before the heartbeat was read": {[]step{{0, false}, {400 * ms, true}, {500 * ms, false}}, 100 * ms},
		"the first own record counts for nothing":           {[]step{{0, true}, {time.Hour, false}}, 0},
		"a clock that went back counts for nothing":         {[]step{{1000 * ms, true}, {1000 * ms, false}, {500 * ms, false}}, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			e := NewExpiry(500 * ms)
			for _, s := range tc.steps {
				if s.heard {
					e.Heard(7, s.at)
				} else {
					e.Own(s.at)
				}
			}
			if got := e.Silent(7); got != tc.want {
				t.Errorf("silent for %v, want %v", got, tc.want)
			}
		})
	}
}
