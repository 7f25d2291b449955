package flow

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestCheckerCountsWhatWentWrong(t *testing.T) {
	plan := Plan{Records: 60, Size: 32, Keys: 3, Seed: 7, Begin: time.UnixMilli(1_795_000_000_000)}
	cases := map[string]struct {
		change func([]*kgo.Record) []*kgo.Record
		want   Result
	}{
		"all there": {
			change: func(in []*kgo.Record) []*kgo.Record { return in },
			want:   Result{Read: 60, Distinct: 60},
		},
		"one lost and one repeated": {
			change: func(in []*kgo.Record) []*kgo.Record { return append(in[1:], in[5]) },
			want:   Result{Read: 60, Distinct: 59, Missing: 1, Duplicates: 1},
		},
		"one byte changed": {
			change: func(in []*kgo.Record) []*kgo.Record { in[8].Value[3] ^= 1; return in },
			want:   Result{Read: 60, Distinct: 59, Missing: 1, Corrupt: 1},
		},
		"a null header that became empty": {
			change: func(in []*kgo.Record) []*kgo.Record { in[7].Headers[2].Value = []byte{}; return in },
			want:   Result{Read: 60, Distinct: 59, Missing: 1, Corrupt: 1},
		},
		"two of one key swapped": {
			change: func(in []*kgo.Record) []*kgo.Record { in[1], in[4] = in[4], in[1]; return in },
			want:   Result{Read: 60, Distinct: 60, OutOfOrder: 1},
		},
		"a record of somebody else": {
			change: func(in []*kgo.Record) []*kgo.Record { return append(in, &kgo.Record{Value: []byte("x")}) },
			want:   Result{Read: 61, Distinct: 60, Foreign: 1},
		},
		"the sink's own header is no change": {
			change: func(in []*kgo.Record) []*kgo.Record {
				in[0].Headers = append(in[0].Headers, kgo.RecordHeader{Key: PathHeader, Value: []byte("c")})
				return in
			},
			want: Result{Read: 60, Distinct: 60},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			records := make([]*kgo.Record, plan.Records)
			for i := range records {
				records[i] = plan.Record("t", i)
			}
			c := NewChecker(plan)
			for _, r := range tc.change(records) {
				c.See(r)
			}
			if d := cmp.Diff(tc.want, c.Result()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPrefixEndsAtTheFirstRecordMissing(t *testing.T) {
	plan := Plan{Records: 5, Size: 8, Keys: 2, Seed: 1, Begin: time.UnixMilli(1_795_000_000_000)}
	c := NewChecker(plan)
	for _, step := range []struct{ id, want int }{{1, 0}, {0, 2}, {4, 2}, {2, 3}, {2, 3}, {3, 5}} {
		c.See(plan.Record("t", step.id))
		if got := c.Prefix(); got != step.want {
			t.Errorf("after record %d the prefix is %d, want %d", step.id, got, step.want)
		}
	}
}

func TestProducedRecordsPassTheCheck(t *testing.T) {
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(4, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	plan := Plan{Records: 500, Size: 64, Keys: 10, Seed: 1, Begin: time.Now()}
	if err := Produce(ctx, kafka.ListenAddrs()[0], "out", plan, func(int) {}); err != nil {
		t.Fatal(err)
	}
	got, err := Check(ctx, kafka.ListenAddrs()[0], "out", plan, 20*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	if want := (Result{Read: 500, Distinct: 500}); got != want || !got.Intact() {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestForgivenRecordsArePassedOver(t *testing.T) {
	plan := Plan{Records: 6, Size: 32, Keys: 3, Seed: 7, Begin: time.UnixMilli(1_795_000_000_000)}
	c := NewChecker(plan)
	for _, id := range []int{0, 1, 3, 5} {
		c.See(plan.Record("t", id))
	}
	if c.Prefix() != 2 || c.Unseen(0, 6) != 2 {
		t.Errorf("prefix %d, %d unseen", c.Prefix(), c.Unseen(0, 6))
	}
	c.Forgive(1, 4)
	if got := c.Result(); c.Prefix() != 4 || c.Unseen(0, 6) != 1 || got.Lost != 1 || got.Missing != 2 {
		t.Errorf("forgiven: prefix %d, %d unseen, %+v", c.Prefix(), c.Unseen(0, 6), got)
	}
	c.See(plan.Record("t", 2)) // it was only late
	if got := c.Result(); got.Lost != 0 || got.Distinct != 5 || got.OutOfOrder != 0 || got.Late != 1 {
		t.Errorf("late: %+v", got)
	}
}

func TestOrderOfPartitionsIsCheckedWhereThePlanHasThem(t *testing.T) {
	order := []int{0, 4, 2, 1, 5, 3, 4} // 2 comes after 4 of its partition, 3 after 5; 4 is repeated
	cases := map[string]struct{ partitions, want int }{
		"the plan has none":       {partitions: 0, want: 0},
		"even and odd ones":       {partitions: 2, want: 2},
		"all are of one":          {partitions: 1, want: 3},
		"each has one of its own": {partitions: 12, want: 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			plan := Plan{Records: 6, Size: 8, Keys: 12, Seed: 7, Begin: time.UnixMilli(1_795_000_000_000), Partitions: tc.partitions}
			c := NewChecker(plan)
			for _, id := range order {
				c.See(plan.Record("t", id))
			}
			if got := c.Result(); got.Overtaken != tc.want || got.OutOfOrder != 0 || got.Intact() != (tc.want == 0) {
				t.Errorf("got %+v, want %d overtaken", got, tc.want)
			}
		})
	}
}

// Records that a broker may have lost after it confirmed them are late, not out of order, and only those.
func TestForgivenRecordsMayComeLate(t *testing.T) {
	plan := Plan{Records: 8, Size: 8, Keys: 1, Seed: 7, Begin: time.UnixMilli(1_795_000_000_000), Partitions: 1}
	c := NewChecker(plan)
	for _, id := range []int{0, 4, 2, 3, 6, 5, 1} {
		c.See(plan.Record("t", id))
	}
	if got := c.Result(); got.Overtaken != 4 || got.Late != 0 {
		t.Errorf("before: %+v", got)
	}
	c.Forgive(2, 5)
	if got := c.Result(); got.Overtaken != 2 || got.Late != 2 {
		t.Errorf("after: %+v", got)
	}
}
