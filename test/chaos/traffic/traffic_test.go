package traffic

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/test/flow"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// made is a flow of which some records were sent, and some came out.
func made(sent int, out ...int) *Flow {
	plan := flow.Plan{Records: 100, Size: 8, Keys: 5, Seed: 3, Begin: time.UnixMilli(1_795_000_000_000), Partitions: 2}
	f := &Flow{way: Way{Topic: "t"}, plan: plan, checker: flow.NewChecker(plan)}
	f.sent.Store(int64(sent))
	f.see(out...)
	return f
}

func (f *Flow) see(ids ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, id := range ids {
		f.checker.See(f.plan.Record("t", id))
	}
}

func TestOnlyWhatAFaultExposedMayBeMissing(t *testing.T) {
	cases := map[string]struct {
		before, during, after []int // what comes out before the fault, while it lasts, and later
		wantErr               error
		wantLost              int
	}{
		"nothing is lost":                      {before: []int{0, 1}, during: []int{2, 3}, after: []int{4, 5}},
		"what was sent meanwhile is lost":      {before: []int{0, 1}, after: []int{4, 5}, wantLost: 2},
		"what had not come out before is lost": {before: []int{0}, during: []int{2, 3}, after: []int{4, 5}, wantLost: 1},
		"what was sent later is lost":          {before: []int{0, 1}, during: []int{2, 3}, after: []int{5}, wantErr: errMissing},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f, whole := made(2, tc.before...), made(1, 0)
				flows := Flows{f, whole}
				exposed := flows.Expose()
				f.sent.Store(3)
				exposed.End()
				f.sent.Store(4) // it lasted longer than thought
				if got, want := exposed.End(), 4-len(tc.before); got != want {
					t.Errorf("%d records were exposed, want %d", got, want)
				}
				f.see(tc.during...)
				f.sent.Store(6)
				f.see(tc.after...)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				if err := flows.Drained(ctx); !errors.Is(err, tc.wantErr) {
					t.Errorf("got %v, want %v", err, tc.wantErr)
				}
				if got := flows.Mark().Sum().Lost; got != tc.wantLost {
					t.Errorf("%d are lost, want %d", got, tc.wantLost)
				}
			})
		})
	}
}

func TestTwoExposuresOfOneRoundAreJoined(t *testing.T) {
	f := made(4, 0, 1)
	flows := Flows{f}
	first := flows.Expose()
	first.End()
	f.see(2)
	f.sent.Store(9)
	flows.Expose().End()
	if want := (window{2, 9}); f.losable != want {
		t.Errorf("got %v, want %v", f.losable, want)
	}
}

func TestTalliesAddUp(t *testing.T) {
	a := Tally{Name: "a", Sent: 4, Peak: 9, Missing: 1, Result: flow.Result{Distinct: 3, Duplicates: 2, Lost: 1, OutOfOrder: 1, Overtaken: 5}}
	b := Tally{Name: "b", Sent: 5, Peak: 7, Missing: 2, Result: flow.Result{Distinct: 4, Corrupt: 1, Foreign: 2, OutOfOrder: 3}}
	want := Tally{Sent: 9, Peak: 9, Missing: 3,
		Result: flow.Result{Distinct: 7, Duplicates: 2, Lost: 1, Corrupt: 1, Foreign: 2, OutOfOrder: 4, Overtaken: 5}}
	if got := (Tallies{a, b}).Sum(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}
