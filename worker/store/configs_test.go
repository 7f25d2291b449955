package store

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/states"
)

func TestPutFollowsItsCondition(t *testing.T) {
	one, two := map[string]string{"a": "1"}, map[string]string{"a": "2"}
	created := Write{Name: "c", Config: one, RequestID: "r1"}
	cases := map[string]struct {
		before       []Write
		write        Write
		want         Connector
		wantConflict bool
		wantErr      error
	}{
		"a new connector starts at epoch and revision 1, Running": {
			write: created, want: Connector{Name: "c", Config: one, State: states.WantRunning, Epoch: 1, Revision: 1},
		},
		"a config change raises the epoch": {
			before: []Write{created}, write: Write{Name: "c", Config: two, IfRevision: 1},
			want: Connector{Name: "c", Config: two, State: states.WantRunning, Epoch: 2, Revision: 2},
		},
		"the same config again keeps the epoch": {
			before: []Write{created}, write: Write{Name: "c", Config: one, IfRevision: -1},
			want: Connector{Name: "c", Config: one, State: states.WantRunning, Epoch: 1, Revision: 2},
		},
		"a state change keeps epoch and config": {
			before: []Write{created}, write: Write{Name: "c", State: states.WantPaused, IfRevision: 1},
			want: Connector{Name: "c", Config: one, State: states.WantPaused, Epoch: 1, Revision: 2},
		},
		"a restart keeps the rest and takes the request's id": {
			before: []Write{created}, write: Write{Name: "c", IfRevision: -1, RequestID: "r2", Restart: &Restart{Task: 3}},
			want: Connector{Name: "c", Config: one, State: states.WantRunning, Epoch: 1, Revision: 2, Restarts: map[int]string{3: "r2"}},
		},
		"an older revision conflicts": {
			before: []Write{
				created,
				{Name: "c", State: states.WantPaused, IfRevision: 1},
			},
			write:        Write{Name: "c", State: states.WantRunning, IfRevision: 1},
			want:         Connector{Name: "c", Config: one, State: states.WantPaused, Epoch: 1, Revision: 2},
			wantConflict: true,
		},
		"creating what exists conflicts": {
			before: []Write{created}, write: Write{Name: "c", Config: two},
			want: Connector{Name: "c", Config: one, State: states.WantRunning, Epoch: 1, Revision: 1}, wantConflict: true,
		},
		"a revision of what is not there conflicts": {
			write: Write{Name: "c", Config: one, IfRevision: 4}, want: Connector{Name: "c"}, wantConflict: true,
		},
		"a deletion is an epoch of its own": {
			before: []Write{created}, write: Write{Name: "c", Delete: true, IfRevision: 1},
			want: Connector{Name: "c", State: states.WantRunning, Epoch: 2, Revision: 2, Deleted: true},
		},
		"a connector that is created again goes on above its deletion": {
			before: []Write{created, {Name: "c", Delete: true, IfRevision: -1}}, write: Write{Name: "c", Config: one, State: states.WantStopped},
			want: Connector{Name: "c", Config: one, State: states.WantStopped, Epoch: 3, Revision: 3},
		},
		"a request that was accepted is not carried out twice": {
			before: []Write{created, {Name: "c", State: states.WantPaused, IfRevision: 1}}, write: created,
			want: Connector{Name: "c", Config: one, State: states.WantPaused, Epoch: 1, Revision: 2},
		},
		"a deletion that was accepted is not carried out twice": {
			before: []Write{created, {Name: "c", Delete: true, IfRevision: 1, RequestID: "r2"}},
			write:  Write{Name: "c", Delete: true, IfRevision: 1, RequestID: "r2"},
			want:   Connector{Name: "c", State: states.WantRunning, Epoch: 2, Revision: 2, Deleted: true},
		},
		"pausing what is not there":      {write: Write{Name: "c", State: states.WantPaused, IfRevision: -1}, wantErr: ErrNotFound},
		"deleting what is not there":     {write: Write{Name: "c", Delete: true, IfRevision: -1}, wantErr: ErrNotFound},
		"a name is required":             {write: Write{Config: one}, wantErr: ErrInvalid},
		"an unknown state":               {write: Write{Name: "c", Config: one, State: "Sleeping"}, wantErr: ErrInvalid},
		"config that JSON would change":  {write: Write{Name: "c", Config: map[string]string{"a": "\xff"}}, wantErr: ErrInvalid},
		"a deletion that brings configs": {write: Write{Name: "c", Config: one, Delete: true}, wantErr: ErrInvalid},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := startWorker(t, newBroker(), nil)
				defer w.stop()
				for _, wr := range tc.before {
					w.put(wr)
				}
				got, err := w.Configs().Put(t.Context(), tc.write)
				if conflict := (*ConflictError)(nil); tc.wantConflict && errors.As(err, &conflict) {
					got, err = conflict.Current, nil
				} else if tc.wantConflict {
					t.Errorf("got error %v, want a conflict", err)
				}
				wantIs(t, err, tc.wantErr)
				got.UpdatedAt = time.Time{}
				wantEqual(t, got, tc.want)
				held, ok := w.Configs().Get(tc.write.Name)
				if want := tc.want.Revision > 0 && !tc.want.Deleted; ok != want {
					t.Errorf("found is %t, want %t", ok, want)
				}
				if ok {
					held.UpdatedAt = time.Time{}
					wantEqual(t, held, tc.want)
				}
				wantEqual(t, w.Configs().Epoch(tc.write.Name), tc.want.Epoch)
			})
		})
	}
}

func TestOfWritesOnOneRevisionOneWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		workers := []*worker{startWorker(t, b, nil), startWorker(t, b, notOldest), startWorker(t, b, notOldest)}
		workers[0].put(Write{Name: "c", Config: map[string]string{"n": "0"}})
		workers[0].settle()
		var group service.Group
		won := make([]int, len(workers))
		for i, w := range workers {
			group.Go(func() {
				_, err := w.Configs().Put(t.Context(), Write{Name: "c", Config: map[string]string{"n": fmt.Sprint(i + 1)}, IfRevision: 1})
				if conflict := (*ConflictError)(nil); err == nil {
					won[i] = 1
				} else if !errors.As(err, &conflict) || conflict.Current.Revision != 2 {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if won[0]+won[1]+won[2] != 1 {
			t.Errorf("winners: %v, want one", won)
		}
		elapse(time.Minute)
		b.log("config").Compact()
		late := startWorker(t, b, nil)
		for _, w := range append(workers, late) {
			wantEqual(t, w.Configs().All(), workers[0].Configs().All())
			w.stop()
		}
	})
}

func TestAnIdentityIsMadeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		workers := []*worker{startWorker(t, b, nil), startWorker(t, b, notOldest), startWorker(t, b, notOldest)}
		var group service.Group
		ids := make([]string, len(workers))
		for i, w := range workers {
			group.Go(func() {
				var err error
				if ids[i], err = w.Configs().Identity(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		elapse(time.Minute)
		b.log("config").Compact()
		for _, w := range append(workers, startWorker(t, b, nil)) {
			if id, err := w.Configs().Identity(t.Context()); err != nil || id != ids[0] || id == "" {
				t.Errorf("%q, %v; the first answers were %q", id, err, ids)
			}
			w.stop()
		}
		other := startWorker(t, newBroker(), nil)
		if id, err := other.Configs().Identity(t.Context()); err != nil || id == ids[0] {
			t.Errorf("another cluster has %q, %v", id, err)
		}
		other.stop()
	})
}

func TestAnIdentityOutlivesItsTopic(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		w := startWorker(t, newBroker(), inDir(dir))
		before, err := w.Configs().Identity(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		w.stop()
		w = startWorker(t, newBroker(), inDir(dir))
		if after, err := w.Configs().Identity(t.Context()); err != nil || after != before {
			t.Errorf("%q, %v, want %q", after, err, before)
		}
		w.stop()
	})
}

func TestWritesOnAnyRevisionAllWin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		workers := []*worker{startWorker(t, b, nil), startWorker(t, b, notOldest)}
		workers[0].put(Write{Name: "c", Config: map[string]string{"n": "0"}})
		var group service.Group
		for i := range 40 {
			group.Go(func() {
				wr := Write{Name: "c", Config: map[string]string{"n": fmt.Sprint(i % 20)}, IfRevision: -1, RequestID: fmt.Sprint("r", i%20)}
				if _, err := workers[i%2].Configs().Put(t.Context(), wr); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		workers[0].settle()
		got, _ := workers[0].Configs().Get("c")
		if got.Revision != 21 {
			t.Errorf("20 requests, each sent twice, led to revision %d, want 21", got.Revision)
		}
		for _, w := range workers {
			w.stop()
		}
	})
}

func TestAPutWhoseAnswerWasLostIsFoundAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, nil)
		defer w.stop()
		b.log("config").FailAppends(3, true)
		got := w.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		wantEqual(t, got.Revision, int64(1))
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		b.log("config").SetDown(true)
		_, err := w.Configs().Put(ctx, Write{Name: "c", State: states.WantPaused, IfRevision: 1, RequestID: "r"})
		wantIs(t, err, context.DeadlineExceeded)
		b.log("config").SetDown(false)
		got = w.put(Write{Name: "c", State: states.WantPaused, IfRevision: 1, RequestID: "r"})
		wantEqual(t, got.Revision, int64(2))
	})
}

func TestAPutThatTheTopicLosesIsWrittenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, nil)
		defer w.stop()
		w.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		log := b.log("config")
		log.SetMute(true)
		var answer Connector
		var err error
		var group service.Group
		group.Go(func() {
			answer, err = w.Configs().Put(t.Context(), Write{Name: "c", State: states.WantPaused, IfRevision: 1})
		})
		synctest.Wait()
		log.Truncate(1)
		log.SetMute(false)
		group.Wait()
		wantIs(t, err, nil)
		wantEqual(t, answer.Revision, int64(2))
		other := startWorker(t, b, nil)
		defer other.stop()
		c, _ := other.Configs().Get("c")
		wantEqual(t, c.State, states.WantPaused)
	})
}

func TestTheFirstTaskSetOfAnEpochWins(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w1, w2 := startWorker(t, b, nil), startWorker(t, b, notOldest)
		w1.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		w1.settle()
		got := make([]Connector, 2)
		var group service.Group
		for i, w := range []*worker{w1, w2} {
			group.Go(func() {
				var err error
				tasks := []map[string]string{{"by": fmt.Sprint(i)}}
				if got[i], err = w.Configs().PublishTasks(t.Context(), "c", 1, tasks); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		wantEqual(t, got[0].Tasks, got[1].Tasks)
		wantEqual(t, got[0].Revision, int64(1))
		paused := w1.put(Write{Name: "c", State: states.WantPaused, IfRevision: 1})
		wantEqual(t, paused.Tasks, got[0].Tasks)
		changed := w1.put(Write{Name: "c", Config: map[string]string{"a": "2"}, IfRevision: 2})
		if changed.Tasks != nil {
			t.Errorf("the new epoch has the tasks %v of the old one", changed.Tasks)
		}
		_, err := w1.Configs().PublishTasks(t.Context(), "c", 1, nil)
		if conflict := (*ConflictError)(nil); !errors.As(err, &conflict) || conflict.Current.Epoch != 2 {
			t.Errorf("got %v, want a conflict with epoch 2", err)
		}
		empty, err := w1.Configs().PublishTasks(t.Context(), "c", 2, nil)
		if err != nil || empty.Tasks == nil || len(empty.Tasks) != 0 {
			t.Errorf("got tasks %v and error %v, want an empty set that is published", empty.Tasks, err)
		}
		_, err = w1.Configs().PublishTasks(t.Context(), "other", 2, nil)
		wantIs(t, err, ErrNotFound)
		w1.stop()
		w2.stop()
	})
}

func TestARefusedConfigNeverCostsTheNewestItsPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, nil)
		w.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		w.put(Write{Name: "d", Config: map[string]string{"a": "1"}})
		stale := b.log("config").Entries()
		w.put(Write{Name: "c", Config: map[string]string{"a": "2"}, IfRevision: -1})
		w.put(Write{Name: "d", Delete: true, IfRevision: -1})
		if _, err := w.Configs().PublishTasks(t.Context(), "c", 2, []map[string]string{{"n": "1"}}); err != nil {
			t.Fatal(err)
		}
		for _, e := range stale {
			b.inject(t, "config", e.Key, string(e.Value))
		}
		b.inject(t, "config", "tasks/c", `{"v":1,"name":"c","epoch":1,"tasks":[],"id":"late"}`)
		elapse(10 * time.Second)
		b.log("config").Compact()
		late := startWorker(t, b, nil)
		wantEqual(t, late.Configs().All(), w.Configs().All())
		wantEqual(t, late.Configs().Epoch("d"), int64(2))
		late.stop()
		w.stop()
	})
}

func TestAConnectorWhoseConfigWasLostGoesOnAboveItsProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWorker(t, newBroker(), nil)
		defer w.stop()
		w.fence(Fence{Connector: "c", Generation: 9, Epoch: 7, Attempt: 1})
		got := w.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		wantEqual(t, got.Epoch, int64(8))
	})
}

// All hands out views that it made before; each must be the one that Get makes.
func TestAllFollowsEachChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWorker(t, newBroker(), nil)
		defer w.stop()
		publish := func(epoch int64) {
			if _, err := w.Configs().PublishTasks(t.Context(), "c", epoch, []map[string]string{{"n": "1"}}); err != nil {
				t.Fatal(err)
			}
		}
		for _, step := range []struct {
			name string
			do   func()
			want []string
		}{
			{"nothing yet", func() {}, nil},
			{"one created", func() { w.put(Write{Name: "c", Config: map[string]string{"a": "1"}}) }, []string{"c"}},
			{"another before it", func() { w.put(Write{Name: "b", Config: map[string]string{"a": "1"}}) }, []string{"b", "c"}},
			{"tasks published", func() { publish(1) }, []string{"b", "c"}},
			{"paused", func() { w.put(Write{Name: "c", State: states.WantPaused, IfRevision: -1}) }, []string{"b", "c"}},
			{"changed, its tasks gone", func() { w.put(Write{Name: "c", Config: map[string]string{"a": "2"}, IfRevision: -1}) }, []string{"b", "c"}},
			{"tasks published again", func() { publish(2) }, []string{"b", "c"}},
			{"deleted", func() { w.put(Write{Name: "c", Delete: true, IfRevision: -1}) }, []string{"b"}},
			{"created again", func() { w.put(Write{Name: "c", Config: map[string]string{"a": "3"}}) }, []string{"b", "c"}},
		} {
			step.do()
			var wanted []Connector
			for _, name := range step.want {
				c, _ := w.Configs().Get(name)
				wanted = append(wanted, c)
			}
			if diff := cmp.Diff(wanted, w.Configs().All()); diff != "" {
				t.Errorf("%s:\n%s", step.name, diff)
			}
		}
	})
}
