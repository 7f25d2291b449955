package schedule

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// after lets d pass in the bubble, and all that becomes of it.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

func leaveAll(t *testing.T, members ...*member) {
	t.Helper()
	for _, m := range members {
		if err := m.leave(); err != nil {
			t.Errorf("%s: %v", m.name, err)
		}
	}
}

func wantRunning(t *testing.T, w *world, units ...string) {
	t.Helper()
	want := map[string]int{}
	for _, u := range units {
		want[u] = 1
	}
	if diff := cmp.Diff(want, w.runs()); diff != "" {
		t.Errorf("running units (-want +got):\n%s", diff)
	}
}

func TestConnectorIsDividedAndRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1, w2 := w.join("w1"), w.join("w2")
		w.put("c", states.WantRunning, 3)
		after(time.Second)
		wantRunning(t, w, "c-0", "c-1", "c-2")
		for i, worker := range []string{"w2", "w1", "w2"} { // Averagely: c, c-0, c-1, c-2 are dealt to w1, w2
			if got, want := w.status("c", i), "Running on "+worker+": "; got != want {
				t.Errorf("status of task %d: %q, want %q", i, got, want)
			}
		}
		if got := w.status("c", -1); got != "Running on w1: " {
			t.Errorf("status of the connector: %q", got)
		}
		leaveAll(t, w1, w2)
		wantRunning(t, w)
	})
}

func TestHandOverIsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 3)
		w.drains[unit(0)] = 20 * time.Second // a slow one must hold up no other
		after(time.Second)
		w.took()
		w2 := w.join("w2")
		after(time.Second)
		want := []string{"w1 stops c-2", "w1 releases c-2", "w2 starts c-2"}
		if diff := cmp.Diff(want, w.took()); diff != "" {
			t.Errorf("the quick one (-want +got):\n%s", diff)
		}
		after(30 * time.Second)
		want = []string{"w1 stops c-0", "w1 releases c-0", "w2 starts c-0"}
		if diff := cmp.Diff(want, w.took()); diff != "" {
			t.Errorf("the slow one (-want +got):\n%s", diff)
		}
		leaveAll(t, w2, w1)
	})
}

func TestExpiredWorkerStopsAtOnceAndOthersTakeOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1, w2 := w.join("w1"), w.join("w2")
		w.put("c", states.WantRunning, 4)
		after(time.Second)
		w.drains = map[Unit]time.Duration{unit(0): time.Hour, unit(2): time.Hour}
		// The order of the world is stricter than the lease: w2's tasks end before the log frees them.
		w2.stop()
		<-w2.ended
		w2.sched.endBase()
		w2.sched.units.Wait()
		w2.expire()
		after(time.Second)
		wantRunning(t, w, "c-0", "c-1", "c-2", "c-3")
		for i := range 4 {
			if got := w.status("c", i); got != "Running on w1: " {
				t.Errorf("status of task %d: %q", i, got)
			}
		}
		w.drains = map[Unit]time.Duration{}
		leaveAll(t, w1)
	})
}

func TestLostSessionKillsWithoutDraining(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 2)
		after(time.Second)
		w.drains = map[Unit]time.Duration{unit(0): time.Hour, unit(1): time.Hour}
		w1.expire()
		after(100 * time.Millisecond)
		wantRunning(t, w)
		leaveAll(t, w1)
	})
}

func TestPauseStopResumeDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 2)
		after(time.Second)
		w.put("c", states.WantPaused, 2)
		after(time.Second)
		wantRunning(t, w)
		if got := w.status("c", 0); got != "Paused on w1: " || len(w.owners) != 3 {
			t.Errorf("paused: status %q, %d units owned", got, len(w.owners))
		}
		w.put("c", states.WantRunning, 2)
		after(time.Second)
		wantRunning(t, w, "c-0", "c-1")
		w.put("c", states.WantStopped, 2)
		after(time.Second)
		wantRunning(t, w)
		if got := w.status("c", 0); got != "Stopped on w1: " || len(w.owners) != 1 {
			t.Errorf("stopped: status %q, %d units owned", got, len(w.owners))
		}
		w.put("c", states.WantRunning, 2)
		after(time.Second)
		wantRunning(t, w, "c-0", "c-1")
		w.change(func() { delete(w.configs, "c") })
		after(time.Second)
		wantRunning(t, w)
		if len(w.owners) != 0 || len(w1.sched.Running()) != 0 {
			t.Errorf("deleted: still owned %v, held %v", w.owners, w1.sched.Running())
		}
		leaveAll(t, w1)
	})
}

func TestDeletedConnectorIsForgottenOnceItHasDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 2)
		w.put("other", states.WantRunning, 1)
		after(time.Second)
		w.drains[unit(0)] = 15 * time.Second
		w.change(func() { delete(w.configs, "c") })
		after(12 * time.Second)
		if got := w.forgot(); len(got) > 0 {
			t.Errorf("%v is forgotten while it drains", got)
		}
		after(5 * time.Second)
		if diff := cmp.Diff([]string{"c"}, w.forgot()); diff != "" {
			t.Errorf("forgotten (-want +got):\n%s", diff)
		}
		leaveAll(t, w1)
	})
}

func TestTasksStartHoweverShortOrLongTheSession(t *testing.T) {
	for _, timeout := range []time.Duration{time.Second, 1500 * time.Millisecond, 5 * time.Second, 10 * time.Minute} {
		t.Run(timeout.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.timeout = timeout
				w1 := w.join("w1")
				w.put("c", states.WantRunning, 1)
				after(time.Second)
				wantRunning(t, w, "c-0")
				leaveAll(t, w1)
			})
		})
	}
}

// Offsets of a cluster log that was recreated begin at 0, while statuses of high generations are stored. Nothing else
// is of units that were never run: a connector's own, and tasks that were claimed while they were paused.
func TestStatusesAreShownAfterTheClusterLogWasRecreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for i := allocate.ConnectorTask; i < 2; i++ {
			w.statuses[unit(i)] = store.Status{
				Connector:  "c",
				Task:       i,
				State:      states.Running,
				Worker:     "w0",
				Epoch:      1,
				Generation: 500_000,
				Attempt:    3,
			}
		}
		w1 := w.join("w1")
		for _, state := range []states.Wanted{states.WantPaused, states.WantRunning} {
			w.put("c", state, 2)
			after(time.Second)
			for i := allocate.ConnectorTask; i < 2; i++ {
				if got, want := w.status("c", i), string(state)+" on w1: "; got != want {
					t.Errorf("%s: status of %s: %q, want %q", state, unit(i), got, want)
				}
				w.mu.Lock()
				if shown, owned := w.statuses[unit(i)].Generation, w.owners[unit(i)].Generation; shown != owned {
					t.Errorf("%s: status of %s is of generation %d, which is owned at %d", state, unit(i), shown, owned)
				}
				w.mu.Unlock()
			}
		}
		leaveAll(t, w1)
	})
}

func TestEpochsNeverOverlap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1, w2 := w.join("w1"), w.join("w2")
		w.put("c", states.WantRunning, 3)
		after(time.Second)
		w.drains[unit(2)] = 5 * time.Second
		w.took()
		w.put("c", states.WantRunning, 2)
		after(10 * time.Second)
		wantRunning(t, w, "c-0", "c-1")
		trace := w.took()
		lastOld := slices.IndexFunc(trace, func(s string) bool { return strings.HasSuffix(s, "releases c-2") })
		firstNew := slices.IndexFunc(trace, func(s string) bool { return strings.Contains(s, "starts") })
		if lastOld < 0 || firstNew < lastOld {
			t.Errorf("a task of the new epoch started before the last of the old one was released: %q", trace)
		}
		leaveAll(t, w1, w2)
	})
}

func TestTaskThatWaitsForItsSystemIsShownFailed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.script = func(a task.Attempt) error {
			a.Waiting(errors.New("login with hunter2 is not connected"))
			time.Sleep(10 * time.Second)
			return nil
		}
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 1)
		after(5 * time.Second)
		if got := w.status("c", 0); got != "Failed on w1: login with ******** is not connected" {
			t.Errorf("while it waits: status %q", got)
		}
		w.mu.Lock()
		if w.statuses[unit(0)].NextRestart.IsZero() {
			t.Error("while it waits: nothing says that it is retried")
		}
		w.mu.Unlock()
		after(10 * time.Second)
		if got := w.status("c", 0); got != "Running on w1: " {
			t.Errorf("afterwards: status %q", got)
		}
		w.mu.Lock()
		if st := w.statuses[unit(0)]; st.Restarts != 0 {
			t.Errorf("restarts %d", st.Restarts)
		}
		w.mu.Unlock()
		leaveAll(t, w1)
	})
}

func TestFailuresBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		began, starts := time.Now(), []time.Duration{}
		healthy := false
		w.script = func(task.Attempt) error {
			starts = append(starts, time.Since(began).Round(time.Second))
			if healthy {
				return nil
			}
			return errors.New("login with hunter2 refused")
		}
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 1)
		after(2 * time.Minute)
		want := []time.Duration{0, 1, 3, 7, 15, 31, 63}
		for i := range want {
			want[i] *= time.Second
		}
		if diff := cmp.Diff(want, starts); diff != "" {
			t.Errorf("starts (-want +got):\n%s", diff)
		}
		if got := w.status("c", 0); got != "Failed on w1: login with ******** refused" {
			t.Errorf("status %q", got)
		}
		if st := w.statuses[unit(0)]; st.Restarts != 7 || !st.NextRestart.After(time.Now()) {
			t.Errorf("restarts %d, next %v", st.Restarts, st.NextRestart)
		}
		healthy = true
		w.change(func() {
			c := w.configs["c"]
			c.Restarts = map[int]string{0: "r1"}
			w.configs["c"] = c
		})
		after(time.Second)
		wantRunning(t, w, "c-0")
		if got := w.status("c", 0); got != "Running on w1: " {
			t.Errorf("status after the restart that was asked for: %q", got)
		}
		leaveAll(t, w1)
	})
}

func TestRestartOfARunningTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 2)
		after(time.Second)
		w.took()
		w.change(func() {
			c := w.configs["c"]
			c.Restarts = map[int]string{1: "r1"}
			w.configs["c"] = c
		})
		after(time.Second)
		if diff := cmp.Diff([]string{"w1 stops c-1", "w1 starts c-1"}, w.took()); diff != "" {
			t.Errorf("trace (-want +got):\n%s", diff)
		}
		leaveAll(t, w1)
	})
}

// The requests are stored before the owner looks: each task takes its own.
func TestRestartsInQuickSuccession(t *testing.T) {
	cases := map[string]struct {
		restarts map[int]string
		want     []string
	}{
		"of some tasks": {map[int]string{0: "r0", 2: "r2"}, []string{"w1 starts c-0", "w1 starts c-2", "w1 stops c-0", "w1 stops c-2"}},
		"of all, then of one": {
			map[int]string{-1: "all", 1: "r1"},
			[]string{"w1 starts c-0", "w1 starts c-1", "w1 starts c-2", "w1 stops c-0", "w1 stops c-1", "w1 stops c-2"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w1 := w.join("w1")
				w.put("c", states.WantRunning, 3)
				after(time.Second)
				w.took()
				w.change(func() {
					c := w.configs["c"]
					c.Restarts = tc.restarts
					w.configs["c"] = c
				})
				after(10 * time.Second)
				if diff := cmp.Diff(tc.want, slices.Sorted(slices.Values(w.took()))); diff != "" {
					t.Errorf("trace, sorted (-want +got):\n%s", diff)
				}
				leaveAll(t, w1)
			})
		})
	}
}

func TestOutcomes(t *testing.T) {
	cases := map[string]struct {
		err        error
		wantStatus string
		wantStarts int // in ten seconds
		wantGrants bool
	}{
		"a lost task is claimed again": {
			err:        fmt.Errorf("%w: fenced", task.ErrLost),
			wantStatus: "Running on w1: ",
			wantStarts: 2,
			wantGrants: true,
		},
		"a lease that ended is no failure":          {err: task.ErrLeaseOver, wantStatus: "Running on w1: ", wantStarts: 2},
		"a source that ends is stopped":             {err: connector.ErrEndOfSource, wantStatus: "Stopped on w1: ", wantStarts: 1},
		"a lost connection is shown until it works": {err: connector.ErrNotConnected, wantStatus: "Running on w1: ", wantStarts: 2},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				starts := 0
				generations := map[int64]bool{}
				w.script = func(a task.Attempt) error {
					generations[a.ID.Generation] = true
					if starts++; starts == 1 {
						return tc.err
					}
					return nil
				}
				w1 := w.join("w1")
				w.put("c", states.WantRunning, 1)
				after(10 * time.Second)
				if got := w.status("c", 0); got != tc.wantStatus || starts != tc.wantStarts {
					t.Errorf("status %q after %d starts, want %q after %d", got, starts, tc.wantStatus, tc.wantStarts)
				}
				if got := len(generations) > 1; got != tc.wantGrants {
					t.Errorf("generations %v, want several: %v", generations, tc.wantGrants)
				}
				leaveAll(t, w1)
			})
		})
	}
}

func TestUnclaimedUnitsAreAdopted(t *testing.T) {
	for name, first := range map[string]bool{"in place of the log's first session": true, "in place of a later one": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				silent := func() { // a live member that never claims anything
					w.change(func() { w.members = append(w.members, cluster.Member{Session: w.offset, Worker: "w2", Eligible: true}) })
				}
				if first {
					silent()
				}
				w1 := w.join("w1")
				if !first {
					silent()
				}
				w.put("c", states.WantRunning, 3)
				after(5 * time.Second)
				wantRunning(t, w, "c-1")
				after(10 * time.Second)
				wantRunning(t, w, "c-0", "c-1", "c-2")
				after(time.Minute)
				wantRunning(t, w, "c-0", "c-1", "c-2")
				leaveAll(t, w1)
			})
		})
	}
}

func TestUnknownClassIsShown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1 := w.join("w1")
		w.change(func() {
			w.configs["c"] = store.Connector{Name: "c", State: states.WantRunning, Epoch: 1, Config: map[string]string{"connector.class": "Nope"}}
		})
		after(3 * time.Second)
		if got := w.status("c", -1); got != `Failed on w1: class "Nope" is not known` {
			t.Errorf("status %q", got)
		}
		leaveAll(t, w1)
	})
}

func TestAPanicNamesTheClassAndWhatItWasAt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.script = func(a task.Attempt) error {
			if a.ID.Connector == "task" {
				panic("boom")
			}
			return nil
		}
		w.configure("validate", 1, "panics", "in Validate")
		w.configure("tasks", 1, "panics", "in Tasks")
		w.configure("task", 1)
		w.configure("other", 1)
		w1 := w.join("w1")
		after(5 * time.Second)
		for u, want := range map[Unit]string{
			{Connector: "validate", Task: -1}: "Failed on w1: class Fake: checking the config: panic: boom",
			{Connector: "tasks", Task: -1}:    "Failed on w1: class Fake: dividing the connector into tasks: panic: boom",
			{Connector: "task", Task: 0}:      "Failed on w1: class Fake: panic: boom",
		} {
			if got := w.status(u.Connector, u.Task); got != want {
				t.Errorf("status of %s: %q, want %q", u, got, want)
			}
		}
		wantRunning(t, w, "other-0")
		leaveAll(t, w1)
	})
}

func TestStopEndsWhatDoesNotDrain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w1 := w.join("w1")
		w.put("c", states.WantRunning, 2)
		w.drains[unit(1)] = time.Hour
		after(time.Second)
		began := time.Now()
		leaveAll(t, w1)
		if took := time.Since(began); took < 30*time.Second || took > 40*time.Second {
			t.Errorf("stopped after %v, want the drain time-out of 30s", took)
		}
		wantRunning(t, w)
		if len(w.owners) != 0 {
			t.Errorf("still owned: %v", w.owners)
		}
	})
}

// Nothing runs once the lease is over, so nothing is drained, and what cannot be stored or released is not waited for.
func TestStopWithoutALeaseEndsAtOnce(t *testing.T) {
	cases := map[string]struct{ before, after time.Duration }{ // when the log goes away, seen from the stop
		"the lease is over already":       {before: time.Second},
		"the lease ends during the drain": {after: time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w1 := w.join("w1")
				w1.sched.cfg.DrainTimeout = time.Hour
				w.put("c", states.WantRunning, 3)
				w.drains[unit(1)] = time.Hour
				after(time.Second)
				gone := time.AfterFunc(tc.after, func() { w.change(func() { w.away = true }) })
				defer gone.Stop()
				after(tc.before)
				ctx, cancel := context.WithTimeout(t.Context(), tc.after+2*time.Second)
				defer cancel()
				w1.stop()
				<-w1.ended
				if err := w1.sched.Service().Stop(ctx); err != nil {
					t.Error(err)
				}
				if err := ctx.Err(); err != nil {
					t.Errorf("stopping ends with its context: %v", err)
				}
				wantRunning(t, w)
				w1.expire()
			})
		})
	}
}
