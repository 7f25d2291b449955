package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"

	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/record"
)

// remake deletes orders and recreates it, with so many partitions and records in each.
func (f *fake) remake(t testing.TB, partitions, records int) (want []string) {
	t.Helper()
	if err := f.DeleteTopic("orders"); err != nil {
		t.Fatal(err)
	}
	if err := f.CreateTopic("orders", int32(partitions), nil); err != nil {
		t.Fatal(err)
	}
	f.client.PurgeTopicsFromProducing("orders")
	for p := range partitions {
		values := numbered(fmt.Sprint("new ", p), records)
		f.produceValues(t, "orders", p, values...)
		want = append(want, values...)
	}
	return want
}

func numbered(prefix string, n int) (out []string) {
	for i := range n {
		out = append(out, fmt.Sprint(prefix, "/", i))
	}
	return out
}

// drive polls a source until n records came, and gathers what a worker would store.
func drive(t *testing.T, s *Source, n int, stored record.Positions) (got []string) {
	t.Helper()
	for ctx := limited(t); len(got) < n; {
		records, err := s.Poll(ctx)
		if err != nil || ctx.Err() != nil {
			t.Fatalf("%d of %d records came: %v, %v", len(got), n, err, ctx.Err())
		}
		for _, r := range records {
			got = append(got, string(r.Value))
			stored[r.Partition] = r.Position
		}
		maps.Copy(stored, s.Progressed())
	}
	return got
}

func TestSourceReadsATopicThatWasRecreatedFromItsFirstRecord(t *testing.T) {
	const before = 10
	stop := func(t *testing.T, s *Source) {
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	cases := map[string]struct {
		reset             resume.Reset
		meanwhile         func(*testing.T, *Source)
		stopped           bool
		partitions, after int
		again             int // how often it is recreated
	}{
		"while the connector was stopped":                      {meanwhile: stop, stopped: true, partitions: 2, after: 15},
		"while it was stopped, with fewer records":             {meanwhile: stop, stopped: true, partitions: 2, after: 3},
		"while it was stopped, with fewer partitions":          {meanwhile: stop, stopped: true, partitions: 1, after: 15},
		"while it was stopped, with more partitions":           {meanwhile: stop, stopped: true, partitions: 4, after: 15},
		"while it was stopped, with latest":                    {reset: resume.Latest, meanwhile: stop, stopped: true, partitions: 3, after: 15},
		"while it was idle":                                    {meanwhile: pollUntilItRests, partitions: 2, after: 15},
		"while it was idle, with fewer records and partitions": {meanwhile: pollUntilItRests, partitions: 1, after: 3},
		"while it ran":                        {meanwhile: func(*testing.T, *Source) {}, partitions: 2, after: 15},
		"while it ran, with fewer records":    {meanwhile: func(*testing.T, *Source) {}, partitions: 2, after: 3},
		"while it ran, with fewer partitions": {meanwhile: func(*testing.T, *Source) {}, partitions: 1, after: 15},
		"while it ran, with more partitions and latest": {
			reset:      resume.Latest,
			meanwhile:  func(*testing.T, *Source) {},
			partitions: 4,
			after:      15,
		},
		"twice while it ran": {meanwhile: func(*testing.T, *Source) {}, partitions: 2, after: 15, again: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(2, "orders"))
			w, stored := connectortest.NewWorker(nil), record.Positions{}
			cfg := f.sourceConfig("orders", keyReset, string(tc.reset))
			if tc.reset == "" {
				cfg = f.sourceConfig("orders")
			}
			open := func() *Source {
				s := &Source{quiet: 50 * time.Millisecond}
				if err := s.Open(limited(t), w.Env(0, 1), cfg, stored); err != nil {
					t.Fatal(err)
				}
				return s
			}
			s := open()
			defer func() { stop(t, s) }()
			maps.Copy(stored, s.Progressed())
			for p := range 2 {
				f.produceValues(t, "orders", p, numbered("old", before)...)
			}
			drive(t, s, 2*before, stored)
			tc.meanwhile(t, s)
			for round := range tc.again + 1 {
				want := f.remake(t, tc.partitions, tc.after)
				if tc.stopped {
					s = open()
				}
				got := drive(t, s, len(want), stored)
				slices.Sort(want)
				slices.Sort(got)
				if diff := cmp.Diff(want, got); diff != "" {
					t.Fatalf("round %d (-want +got):\n%s", round, diff)
				}
			}
			for p := range tc.partitions {
				if got, want := stored[resume.Partition("orders", int32(p))], f.at("orders", int64(tc.after)); got != want {
					t.Errorf("%q is stored of partition %d, want %q", got, p, want)
				}
			}
			if n := w.Skipped()[skipRemade]; n != tc.partitions*(tc.again+1) {
				t.Errorf("counted %d times", n)
			}
		})
	}
}

func TestSourceWithNoneFailsForATopicThatWasRecreated(t *testing.T) {
	for name, running := range map[string]bool{"while it ran": true, "while it was stopped": false} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "orders"))
			f.produceValues(t, "orders", 0, numbered("old", 3)...)
			cfg, stored := f.sourceConfig("orders", keyReset, string(resume.None)), record.Positions{"orders/0": "0"}
			s := openSource(t, cfg, connectortest.NewWorker(nil).Env(0, 1), stored)
			drive(t, s, 3, stored)
			f.remakeOrClose(t, s, running)
			var err error
			if !running {
				err = (&Source{}).openAndClose(limited(t), t, f, stored)
			}
			for ctx := limited(t); running && err == nil && ctx.Err() == nil; {
				_, err = s.Poll(ctx)
			}
			for _, part := range []string{"topic orders was deleted and recreated", keyReset, "reset the connector's positions"} {
				if err == nil || !strings.Contains(err.Error(), part) {
					t.Errorf("no %q in: %v", part, err)
				}
			}
		})
	}
}

func (f *fake) remakeOrClose(t *testing.T, s *Source, running bool) {
	t.Helper()
	if !running {
		if err := s.Close(context.Background()); err != nil {
			t.Fatal(err)
		}
	}
	f.remake(t, 1, 5)
}

func (s *Source) openAndClose(ctx context.Context, t *testing.T, f *fake, stored record.Positions) error {
	defer func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	return s.Open(ctx, connectortest.NewWorker(nil).Env(0, 1), f.sourceConfig("orders", keyReset, string(resume.None)), stored)
}

func TestPositionsOfAnOlderVersionGetTheTopicsID(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "orders"))
	f.produceValues(t, "orders", 0, "0", "1", "2")
	s := openSource(t, f.sourceConfig("orders"), connectortest.NewWorker(nil).Env(0, 1), record.Positions{"orders/0": "1"})
	if diff := cmp.Diff(record.Positions{"orders/0": f.at("orders", 1)}, told(t, s)); diff != "" {
		t.Errorf("to be stored at once (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"1", "2"}, values(poll(t, s, 2))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// A topic is recreated with fewer partitions and grows back while it is read: what was stored of the partition before,
// by a version that noted no ids, says nothing of the new one.
func TestSourceReadsAPartitionThatGrewBackFromItsFirstRecord(t *testing.T) {
	cases := map[string]func(f *fake) record.Positions{
		"positions of an older version": func(*fake) record.Positions { return record.Positions{"orders/0": "10", "orders/1": "10"} },
		"positions with the topic's id": func(f *fake) record.Positions {
			return record.Positions{"orders/0": f.at("orders", 10), "orders/1": f.at("orders", 10)}
		},
	}
	for name, stored := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(2, "orders"))
			for p := range 2 {
				f.produceValues(t, "orders", p, numbered("old", 10)...)
			}
			worker, from := connectortest.NewWorker(nil), stored(f)
			s := &Source{quiet: 50 * time.Millisecond}
			if err := s.Open(limited(t), worker.Env(0, 1), f.sourceConfig("orders"), from); err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close(limited(t)) }()
			maps.Copy(from, s.Progressed())
			for p := range 2 {
				f.produceValues(t, "orders", p, "x")
			}
			drive(t, s, 2, from)
			f.remake(t, 1, 5)
			drive(t, s, 5, from)
			if _, err := kadm.NewClient(f.client).CreatePartitions(limited(t), 1, "orders"); err != nil {
				t.Fatal(err)
			}
			f.client.PurgeTopicsFromProducing("orders")
			want := numbered("grown", 15)
			f.produceValues(t, "orders", 1, want...)
			if diff := cmp.Diff(want, drive(t, s, len(want), from)); diff != "" {
				t.Errorf("records (-want +got):\n%s", diff)
			}
		})
	}
}
