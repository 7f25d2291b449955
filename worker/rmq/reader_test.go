package rmq_test

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestReaderCountsWhatItSkips(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, q := logOf(t, c)
		appendAll(t, l, 0, 10)
		b.Trim("log", "broker-a", 0, 4)
		gaps := make(chan []int64, 10)
		r := c.NewReader(rmq.ReaderConfig{Group: "g", OnGap: func(_ rmq.Queue, from, to int64) { gaps <- []int64{from, to} }})
		r.Assign(map[rmq.Queue]int64{q: 2})
		var got []string
		for len(got) < 6 {
			records, err := r.Poll(t.Context(), 100)
			if err != nil {
				t.Fatal(err)
			}
			for _, m := range records {
				got = append(got, string(m.Body))
			}
		}
		if diff := cmp.Diff([]string{"4", "5", "6", "7", "8", "9"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]int64{2, 4}, <-gaps); diff != "" {
			t.Errorf("gap (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(map[rmq.Queue]int64{q: 0}, r.Lag()); diff != "" {
			t.Errorf("lag (-want +got):\n%s", diff)
		}
	})
}

func TestReaderHoldsNoMoreThanItMay(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, q := logOf(t, c)
		for range 100 {
			if _, err := l.Append(t.Context(), rmq.Entry{Value: make([]byte, 100<<10)}); err != nil {
				t.Fatal(err)
			}
		}
		var pulls atomic.Int32
		b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
			if req.Code == remoting.PullMessage {
				pulls.Add(1)
			}
			return v
		})
		r := c.NewReader(rmq.ReaderConfig{Group: "g", PullsAhead: 20, MaxBufferedBytes: 1 << 20})
		r.Assign(map[rmq.Queue]int64{q: 0})
		time.Sleep(time.Minute)
		if n := pulls.Load(); n != 6 { // of 200 KiB each
			t.Errorf("%d pulls ahead", n)
		}
		for n := 0; n < 100; {
			got, err := r.Poll(t.Context(), 7)
			if err != nil {
				t.Fatal(err)
			}
			n += len(got)
		}
	})
}

func TestReaderShowsWhatWaitingDoesNotCure(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, q := logOf(t, c)
		appendAll(t, l, 0, 1)
		b.Intercept(func(string, *remoting.Command) rmqtest.Verdict {
			return rmqtest.Verdict{Refuse: remoting.NoPermission}
		})
		r := c.NewReader(rmq.ReaderConfig{Group: "g"})
		r.Assign(map[rmq.Queue]int64{q: 0})
		if _, err := r.Poll(t.Context(), 1); !errors.Is(err, rmq.ErrAccessDenied) {
			t.Errorf("refused: %v", err)
		}
		b.Intercept(nil)
		for {
			got, err := r.Poll(t.Context(), 1)
			if len(got) == 1 {
				break
			}
			if !errors.Is(err, rmq.ErrAccessDenied) {
				t.Fatalf("afterwards: %v", err)
			}
		}
	})
}

func TestReaderOfAQueueThatLostItsEnd(t *testing.T) {
	type step func(t *testing.T, b *rmqtest.Broker, l *rmq.Log)
	cut := func(from int64) step {
		return func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Log) { b.Cut("log", "broker-a", 0, from) }
	}
	trim := func(below int64) step {
		return func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Log) { b.Trim("log", "broker-a", 0, below) }
	}
	add := func(from, to int) step {
		return func(t *testing.T, _ *rmqtest.Broker, l *rmq.Log) {
			_, _, err := l.Bounds(t.Context()) // may meet the connection that the stop ended
			for ; rmq.IsTemporary(err); _, _, err = l.Bounds(t.Context()) {
				time.Sleep(time.Millisecond)
			}
			appendAll(t, l, from, to)
		}
	}
	// Ten records were read, a second apart: the marks are 0, 4, 6, 8 and 9.
	cases := map[string]struct {
		down, up []step // while the broker is away, and before the reader is back
		want     []string
		wantGaps [][]int64
	}{
		"nothing was lost": {up: []step{add(10, 12)}, want: []string{"10", "11"}},
		"its end was lost": {down: []step{cut(9)}, up: []step{add(20, 21)}, want: []string{"20"}, wantGaps: [][]int64{{10, 9}}},
		"its offsets were given out again, to the last one": {down: []step{cut(9)}, up: []step{add(20, 21)},
			want: []string{"20"}, wantGaps: [][]int64{{10, 9}}},
		"and more": {down: []step{cut(9)}, up: []step{add(20, 25)}, want: numbered(20, 25), wantGaps: [][]int64{{10, 9}}},
		"what lies between two marks is read again": {down: []step{cut(6)}, up: []step{add(20, 30)},
			want: append([]string{"5"}, numbered(20, 30)...), wantGaps: [][]int64{{10, 5}}},
		"all of it was lost":                     {down: []step{cut(0)}, up: []step{add(20, 32)}, want: numbered(20, 32), wantGaps: [][]int64{{10, 0}}},
		"retention took what could be compared":  {down: []step{trim(10)}, up: []step{add(20, 22)}, want: []string{"20", "21"}},
		"its end was lost, and retention was by": {down: []step{cut(8), trim(8)}, up: []step{add(20, 25)}, want: numbered(20, 25), wantGaps: [][]int64{{10, 8}}},
	}
	for name, tc := range cases {
		for _, anew := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", and the reader is a new one"}[anew], func(t *testing.T) {
				bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
					l, q := logOf(t, c)
					var trail rmq.Trail
					var gaps [][]int64
					var mu sync.Mutex
					open := func(offset int64) *rmq.Reader {
						r := c.NewReader(rmq.ReaderConfig{Group: "g", Trail: func(rmq.Queue) rmq.Trail { return trail },
							OnGap: func(_ rmq.Queue, from, to int64) {
								mu.Lock()
								defer mu.Unlock()
								gaps = append(gaps, []int64{from, to})
							}})
						r.Assign(map[rmq.Queue]int64{q: offset})
						return r
					}
					r := open(0)
					poll := func(n int) (got []string) {
						ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
						defer cancel()
						for len(got) < n && ctx.Err() == nil {
							records, err := r.Poll(ctx, 100)
							if err != nil {
								t.Fatal(err)
							}
							for i := range records {
								got = append(got, string(records[i].Body))
								trail = trail.Add(records[i].Mark())
							}
						}
						return got
					}
					for i := range 10 {
						appendAll(t, l, i, i+1)
						poll(1)
						time.Sleep(1100 * time.Millisecond)
					}
					b.StopMaster("broker-a")
					for _, do := range tc.down {
						do(t, b, l)
					}
					if anew {
						r.Close()
					}
					if err := b.RestartMaster("broker-a"); err != nil {
						t.Fatal(err)
					}
					for _, do := range tc.up {
						do(t, b, l)
					}
					if anew {
						r = open(10)
					}
					if diff := cmp.Diff(tc.want, poll(len(tc.want))); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					mu.Lock()
					defer mu.Unlock()
					if diff := cmp.Diff(tc.wantGaps, gaps); diff != "" {
						t.Errorf("gaps (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

func numbered(from, to int) (out []string) {
	for i := from; i < to; i++ {
		out = append(out, strconv.Itoa(i))
	}
	return out
}

func TestATrailReachesFarBackWithFewMarks(t *testing.T) {
	var trail rmq.Trail
	const n = 100_000
	for i := range int64(n) {
		trail = trail.Add(rmq.Mark{Offset: i, StoredAt: i * 10})
	}
	if len(trail) > 20 || trail[len(trail)-1].Offset != n-1 {
		t.Errorf("%d marks: %v", len(trail), trail)
	}
	for back := int64(200); back < n/2; back *= 2 { // 200 records are 2 s
		if !slices.ContainsFunc(trail, func(m rmq.Mark) bool { return m.Offset > n-4*back && m.Offset <= n-back }) {
			t.Errorf("no mark is between %d and %d records old: %v", back, 4*back, trail)
		}
	}
	if got := trail.Add(rmq.Mark{Offset: 7, StoredAt: n * 20}); got[len(got)-1].Offset != 7 || len(got.Before(7)) != len(got)-1 {
		t.Errorf("marks of what was lost stay: %v", got)
	}
}
