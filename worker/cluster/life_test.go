package cluster

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

func entryOf(t *testing.T, offset int64, r fold.Record) rmq.Entry {
	t.Helper()
	e, err := r.Entry()
	if err != nil {
		t.Fatal(err)
	}
	e.Offset = offset
	return e
}

func TestAncientsAreSessionsWhoseJoinHasAgedOut(t *testing.T) {
	terms := fold.Terms{Fold: fold.Version, TimeoutMS: 7000, IntervalMS: 500}
	beat := func(session int64) fold.Record {
		return fold.Record{Kind: fold.Heartbeat, Session: session, Sequence: 9, Terms: &terms}
	}
	cases := map[string]struct {
		entries []rmq.Entry
		want    ancients
	}{
		"an empty log":               {nil, ancients{newest: -1}},
		"a member that joined since": {[]rmq.Entry{entryOf(t, 101, beat(100))}, ancients{newest: -1}},
		"a member that joined before": {
			[]rmq.Entry{entryOf(t, 101, beat(7)), entryOf(t, 102, beat(7)), entryOf(t, 103, beat(101))},
			ancients{102, 7 * time.Second},
		},
		"one that only gives back":     {[]rmq.Entry{entryOf(t, 101, fold.Record{Kind: fold.Leave, Session: 7, Sequence: 9})}, ancients{101, 0}},
		"what is no record of the log": {[]rmq.Entry{{Offset: 101, Key: "heartbeat", Value: []byte("{")}}, ancients{newest: -1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ancients{newest: -1}
			for _, e := range tc.entries {
				got.add(e, 100)
			}
			if got != tc.want {
				t.Errorf("got %+v, want %+v", got, tc.want)
			}
		})
	}
}

func TestSilenceIsOverAfterTheLongestSession(t *testing.T) {
	s := silence{patience: 5 * time.Second}
	steps := []struct {
		at   time.Duration
		a    ancients
		want bool
	}{
		{1 * time.Second, ancients{100, 0}, false},
		{5 * time.Second, ancients{101, 8 * time.Second}, false}, // somebody wrote
		{12 * time.Second, ancients{101, 8 * time.Second}, false},
		{14 * time.Second, ancients{101, 8 * time.Second}, true},
		{15 * time.Second, ancients{newest: -1}, true},
	}
	for _, step := range steps {
		if got := s.over(step.at, step.a); got != step.want {
			t.Errorf("at %s with %+v: got %t", step.at, step.a, got)
		}
	}
}

// unreadable is a way to the log on which its bounds can be made to stay unknown.
type unreadable struct {
	Log
	on atomic.Bool
}

func (u *unreadable) Bounds(ctx context.Context) (int64, int64, error) {
	if u.on.Load() {
		return 0, 0, rmq.ErrUnreachable
	}
	return u.Log.Bounds(ctx)
}

// Invariant C2: nobody enforces leases while the log is read again, so what ran has ended before.
func TestDeliveriesEndBeforeTheLogIsReadAnew(t *testing.T) {
	cases := map[string]func(*memoryLog){
		"the log ends before what was read":        func(l *memoryLog) { l.truncate() },
		"the log holds another record at its end":  func(l *memoryLog) { l.setDown(true); l.replaceLast(); l.setDown(false) },
		"the log has a gap behind what was read":   func(l *memoryLog) { l.skip(3) },
		"the log was restored and has grown since": func(l *memoryLog) { l.setDown(true); l.replaceLast(); l.skip(0); l.setDown(false) },
	}
	for name, disturb := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLog()
				way := &unreadable{Log: l}
				a := startWorker(t, way, "a", "")
				gate := a.Gate(a.claim(task0, 1))
				time.Sleep(10 * time.Second)
				delivery, cancel := gate.Context(t.Context())
				defer cancel()
				until := gate.Until()
				way.on.Store(true)
				disturb(l)
				synctest.Wait()
				if err := context.Cause(delivery); !errors.Is(err, ErrNotOwner) {
					t.Errorf("the delivery ends with %v, want %v", err, ErrNotOwner)
				}
				if err := gate.Wait(t.Context(), 0); !errors.Is(err, ErrNotOwner) {
					t.Errorf("the gate says %v, want %v", err, ErrNotOwner)
				}
				if got := gate.Until(); got != until {
					t.Errorf("the gate was open until %v, want %v", got, until)
				}
				time.Sleep(time.Minute)
				if v := a.View(); v.Joined {
					t.Errorf("joined while the log cannot be read: %+v", v)
				}
			})
		})
	}
}

func TestAWorkerThatStopsWithoutALeaseTriesToLeaveOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := startWorker(t, l, "a", "")
		l.setDown(true)
		time.Sleep(10 * time.Second)
		if _, lapsed := a.Lapsed(); !lapsed {
			t.Error("the lease runs without a log")
		}
		if got, ok := a.Trouble(); !ok || !errors.Is(got.Err, context.DeadlineExceeded) {
			t.Errorf("trouble %+v %t, want what the log answers", got, ok)
		}
		began := time.Now()
		if err := a.stopClean(); err != nil {
			t.Error(err)
		}
		if took := time.Since(began); took > lastWord {
			t.Errorf("left after %v, want %v at most", took, lastWord)
		}
	})
}

func TestTroubleOfTheLogIsOverWithIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := startWorker(t, l, "a", "")
		for range 2 {
			if got, ok := a.Trouble(); ok {
				t.Errorf("trouble %+v while all is well", got)
			}
			full := &rmq.BrokerError{Op: "sending", Addr: "10.0.0.1:10911", Broker: "broker-a", Code: 14, Remark: "disk full"}
			l.setRefuse(full)
			since := time.Now()
			time.Sleep(10 * time.Second)
			got, ok := a.Trouble()
			if !ok || !errors.Is(got.Err, full) || got.Since.Sub(since) > a.cfg.HeartbeatInterval {
				t.Errorf("trouble %+v %t, want %v since %v", got, ok, full, since)
			}
			l.setRefuse(nil)
			time.Sleep(10 * time.Second)
		}
	})
}
