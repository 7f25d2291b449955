package cluster

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

var task0 = Unit{Connector: "orders", Task: 0}

func TestWorkersFindEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := startWorker(t, l, "a", "")
		b := startWorker(t, l, "b", "")
		for _, p := range []*process{a, b} {
			p.eventually("both are members", time.Second, func(v View) bool { return len(v.Members) == 2 })
			if diff := cmp.Diff([]string{"a", "b"}, p.View().Homes); diff != "" {
				t.Errorf("homes (-want +got):\n%s", diff)
			}
		}
		if a.View().Self == b.View().Self || a.View().Members[0].Session != a.View().Self {
			t.Errorf("sessions of a %+v and b %+v", a.View(), b.View())
		}
	})
}

func TestHandOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a, b := startWorker(t, l, "a", ""), startWorker(t, l, "b", "")
		first := a.claim(task0, 1)
		if got, err := b.Claim(t.Context(), []ClaimRequest{{Unit: task0, Epoch: 1}}); err != nil || len(got) != 0 {
			t.Fatalf("claim of an owned unit: %v, %v; want nothing", got, err)
		}
		delivery, cancel := a.Gate(first).Context(t.Context())
		defer cancel()
		if err := a.Release(t.Context(), []Grant{first}); err != nil {
			t.Fatal(err)
		}
		if err := context.Cause(delivery); !errors.Is(err, ErrNotOwner) {
			t.Errorf("a delivery after the release ends with %v, want %v", err, ErrNotOwner)
		}
		if err := a.Gate(first).Wait(t.Context(), 0); !errors.Is(err, ErrNotOwner) {
			t.Errorf("the gate after the release says %v, want %v", err, ErrNotOwner)
		}
		second := b.claim(task0, 1)
		if second.Generation <= first.Generation {
			t.Errorf("generation %d follows %d", second.Generation, first.Generation)
		}
		if err := b.Gate(second).Wait(t.Context(), 2*time.Second); err != nil {
			t.Errorf("the new owner's gate: %v", err)
		}
	})
}

func TestKilledWorkerExpires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a, b := startWorker(t, l, "a", ""), startWorker(t, l, "b", "")
		a.claim(task0, 1)
		start := time.Now()
		a.kill()
		b.eventually("a is silent", 1500*time.Millisecond, func(v View) bool { return v.Members[0].Silent })
		b.eventually("the unit is free", 10*time.Second, func(v View) bool { return len(v.Owners) == 0 && len(v.Members) == 1 })
		if took := time.Since(start); took < 4*time.Second || took > 7*time.Second {
			t.Errorf("took %v, want about the session timeout", took)
		}
		if n := valueOf(t, b.metrics.expired); n != 1 {
			t.Errorf("expired sessions counted: %v", n)
		}
		startWorker(t, l, "a", "")
		b.eventually("a is back and flaps", time.Second, func(v View) bool { return len(v.Members) == 2 && !v.Members[1].Eligible })
		b.eventually("a is trusted again", 20*time.Second, func(v View) bool { return v.Members[1].Eligible })
	})
}

func TestRestartInPlaceIsProved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, dir := newLog(), t.TempDir()
		b := startWorker(t, l, "b", "")
		a := startWorker(t, l, "a", dir)
		a.claim(task0, 1)
		a.kill()
		start := time.Now()
		again := startWorker(t, l, "a", dir)
		if again.store.proof == nil {
			t.Skip("the test's directory is on a file system that proves nothing")
		}
		if took := time.Since(start); took > time.Second {
			t.Errorf("joined again after %v, want at once", took)
		}
		b.eventually("the old session is gone", time.Second, func(v View) bool { return len(v.Members) == 2 && len(v.Owners) == 0 })
		if !b.View().Members[1].Eligible {
			t.Error("a restart in place counts as flapping")
		}
	})
}

func TestCleanStopLeavesAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a, b := startWorker(t, l, "a", ""), startWorker(t, l, "b", "")
		a.claim(task0, 1)
		if err := a.stopClean(); err != nil {
			t.Fatal(err)
		}
		b.eventually("it has left", 100*time.Millisecond, func(v View) bool { return len(v.Members) == 1 && len(v.Owners) == 0 })
	})
}

func TestUnitsStayHomeForTheRebalanceDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		b := startWorker(t, l, "b", "")
		cfg := testConfig(t, "a", "")
		cfg.RebalanceDelay = 10 * time.Second
		a := launch(t, l, cfg)
		b.eventually("both are members", time.Second, func(v View) bool { return len(v.Members) == 2 })
		if err := a.stopClean(); err != nil {
			t.Fatal(err)
		}
		b.eventually("a has left", time.Second, func(v View) bool { return len(v.Members) == 1 })
		if diff := cmp.Diff([]string{"a", "b"}, b.View().Homes); diff != "" {
			t.Errorf("homes (-want +got):\n%s", diff)
		}
		b.eventually("a is given up", 12*time.Second, func(v View) bool { return len(v.Homes) == 1 })
	})
}

func TestSecondLiveWorkerWithTheSameIDExits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		first := startWorker(t, l, "a", "")
		cfg := testConfig(t, "a", "")
		cfg.Address = "elsewhere"
		second := launch(t, l, cfg)
		err := <-second.done
		second.done <- err
		if !errors.Is(err, ErrDuplicate) || !strings.Contains(err.Error(), "host-of-a") || !strings.Contains(err.Error(), "elsewhere") {
			t.Errorf("the second ends with %v", err)
		}
		if !first.View().Joined {
			t.Error("the first lost its session")
		}
	})
}

func TestSecondWorkerOnAStoreDirectoryIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, dir := newLog(), t.TempDir()
		startWorker(t, l, "a", dir)
		second := launch(t, l, testConfig(t, "b", dir))
		err := <-second.done
		second.done <- err
		if !errors.Is(err, ErrStoreInUse) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "process ") {
			t.Errorf("the second ends with %v", err)
		}
	})
}

func TestOutageShutsGatesAndExpiresNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a, b := startWorker(t, l, "a", ""), startWorker(t, l, "b", "")
		g := a.claim(task0, 1)
		time.Sleep(time.Second)
		delivery, cancel := a.Gate(g).Context(t.Context())
		l.setDown(true)
		time.Sleep(time.Minute)
		if err := context.Cause(delivery); !errors.Is(err, ErrLeaseOver) {
			t.Errorf("a delivery ends with %v, want %v", err, ErrLeaseOver)
		}
		cancel()
		if n := valueOf(t, a.metrics.overrun); n != 1 {
			t.Errorf("overruns counted: %v, want 1 for a delivery that went on for a minute", n)
		}
		opened := make(chan error, 1)
		go func() { opened <- a.Gate(g).Wait(t.Context(), 2*time.Second) }()
		synctest.Wait()
		select {
		case err := <-opened:
			t.Fatalf("the gate opened during the outage: %v", err)
		default:
		}
		l.setDown(false)
		if err := <-opened; err != nil {
			t.Errorf("the gate after the outage: %v", err)
		}
		time.Sleep(20 * time.Second)
		if len(a.View().Members) != 2 || len(b.View().Members) != 2 || valueOf(t, b.metrics.expired) != 0 {
			t.Errorf("the outage cost a session: %+v", b.View())
		}
		if n := longRenewals(t, a.metrics.renewed); n != 1 {
			t.Errorf("%d leases were renewed late, want the one of the outage", n)
		}
	})
}

// muted is a way to the log on which appends can be made to fail.
type muted struct {
	Log
	on atomic.Bool
}

func (m *muted) Append(ctx context.Context, entries ...rmq.Entry) (int64, error) {
	if m.on.Load() {
		return 0, errors.New("muted")
	}
	return m.Log.Append(ctx, entries...)
}

func TestAGateTellsUntilWhenItWasOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		way := &muted{Log: l}
		a, b := startWorker(t, way, "a", ""), startWorker(t, l, "b", "")
		g := a.claim(task0, 1)
		gate := a.Gate(g)
		delivery, cancel := gate.Context(t.Context())
		defer cancel()
		time.Sleep(10 * time.Second)
		now := a.now().Boot
		if until := gate.Until(); until < now+2*time.Second || until > now+5*time.Second {
			t.Errorf("while the worker is well, its gate is open until %v from now", until-now)
		}
		way.on.Store(true)
		b.eventually("a is expired", 10*time.Second, func(v View) bool { return len(v.Members) == 1 })
		until := gate.Until()
		if until > a.now().Boot || until < now {
			t.Errorf("after the expiry the gate was open until %v from now", until-a.now().Boot)
		}
		if err := delivery.Err(); err == nil {
			t.Error("the delivery goes on after the lease")
		}
		way.on.Store(false)
		a.eventually("a is back", time.Minute, func(v View) bool { return v.Joined && len(v.Members) == 2 })
		time.Sleep(time.Second)
		if again := gate.Until(); again > a.now().Boot-time.Second || again < until {
			t.Errorf("in the next session the old gate was open until %v, before %v", again, until)
		}
	})
}

// Nothing runs that could end the delivery: only the clock goes on, as it does for a process that was frozen.
func TestADeliveryReadsTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asleep atomic.Int64
		cfg := testConfig(t, "a", "")
		clock := cfg.Clock
		cfg.Clock = func() (time.Duration, time.Duration) {
			boot, wall := clock()
			return boot + time.Duration(asleep.Load()), wall + time.Duration(asleep.Load())
		}
		a := launch(t, newLog(), cfg)
		a.eventually("it joins", 30*time.Second, func(v View) bool { return v.Joined })
		g := a.claim(task0, 1)
		delivery, cancel := a.Gate(g).Context(t.Context())
		defer cancel()
		if err := delivery.Err(); err != nil {
			t.Fatalf("under the lease: %v", err)
		}
		asleep.Store(int64(12 * time.Second))
		child, stop := context.WithCancel(delivery)
		defer stop()
		if delivery.Err() == nil || !errors.Is(context.Cause(child), ErrLeaseOver) {
			t.Errorf("12 s later: %v, and what runs under it %v, want %v", delivery.Err(), context.Cause(child), ErrLeaseOver)
		}
	})
}

func TestClaimIsRepeatedUntilReadBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := startWorker(t, l, "a", "")
		l.setRefuse(errors.New("busy"))
		done := make(chan []Grant, 1)
		go func() {
			got, err := a.Claim(t.Context(), []ClaimRequest{{Unit: task0, Epoch: 3, Above: 700}})
			if err != nil {
				t.Error(err)
			}
			done <- got
		}()
		time.Sleep(2 * time.Second)
		l.setRefuse(nil)
		got := <-done
		if diff := cmp.Diff([]Grant{{Unit: task0, Generation: 701, Epoch: 3}}, got); diff != "" {
			t.Errorf("granted (-want +got):\n%s", diff)
		}
	})
}

func TestClaimThatWasGivenUpOwnsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := startWorker(t, l, "a", "")
		l.setDown(true)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if got, err := a.Claim(ctx, []ClaimRequest{{Unit: task0, Epoch: 1}}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("claim during an outage: %v, %v", got, err)
		}
		l.setDown(false)
		time.Sleep(5 * time.Second)
		if owners := a.View().Owners; len(owners) != 0 {
			t.Errorf("owners %v", owners)
		}
	})
}

func TestTruncatedLogIsJoinedAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := startWorker(t, l, "a", "")
		g := a.claim(task0, 1)
		time.Sleep(10 * time.Second)
		l.truncate()
		synctest.Wait()
		if err := a.Gate(g).Wait(t.Context(), 0); !errors.Is(err, ErrNotOwner) {
			t.Errorf("the gate says %v, want %v", err, ErrNotOwner)
		}
		a.eventually(
			"it has a session in the new log",
			20*time.Second,
			func(v View) bool { return v.Joined && len(v.Members) == 1 && v.Offset < 100 },
		)
		if again := a.claim(task0, 1); again.Generation < 0 {
			t.Errorf("grant %+v", again)
		}
	})
}

func TestNewcomerStartsFromASnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a := startWorker(t, l, "a", "")
		a.claim(task0, 4)
		time.Sleep(30 * time.Second)
		l.mu.Lock()
		l.entries, l.first = l.entries[40:], 40 // aged out
		l.mu.Unlock()
		b := startWorker(t, l, "b", "")
		b.eventually("it knows the owner", time.Second, func(v View) bool { return len(v.Owners) == 1 && v.Floors["orders"] == 4 })
		a.eventually("both are members", time.Second, func(v View) bool { return len(v.Members) == 2 })
		time.Sleep(10 * time.Second) // digests are compared with each heartbeat
		if !a.View().Joined || !b.View().Joined {
			t.Error("a session was lost")
		}
	})
}

func TestCallsOnAClusterThatDoesNotRun(t *testing.T) {
	c, err := New(Config{WorkerID: "a"}, func(context.Context) (Log, error) { return newLog(), nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Claim(t.Context(), []ClaimRequest{{Unit: task0}}); !errors.Is(err, ErrSessionLost) {
		t.Errorf("Claim: %v", err)
	}
	if err := c.Gate(Grant{Unit: task0}).Wait(t.Context(), 0); !errors.Is(err, ErrNotOwner) {
		t.Errorf("Gate: %v", err)
	}
	if err := c.Service().Stop(t.Context()); err != nil {
		t.Errorf("Stop: %v", err)
	}
}
