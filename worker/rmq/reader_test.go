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
	const read = 400
	cases := map[string]struct {
		cut, trim int // while the broker is away
		more      int // before the reader is back, or slowly, while it compares
		slowly    bool
		wantFrom  [2]int64
	}{
		"nothing was lost":                          {cut: read, more: 2},
		"its end was lost":                          {cut: 397, more: 1, wantFrom: [2]int64{397 - 70, 397}},
		"its offsets were given out again":          {cut: 397, more: 3, wantFrom: [2]int64{397 - 70, 397}},
		"its offsets were given out again and more": {cut: 397, more: 10, wantFrom: [2]int64{397 - 70, 397}},
		"it grows while the reader compares":        {cut: 390, more: 30, slowly: true, wantFrom: [2]int64{390 - 84, 390}},
		"much was lost":                             {cut: 300, more: 140, wantFrom: [2]int64{300 - 264, 300}},
		"all of it was lost":                        {cut: 0, more: read + 10, wantFrom: [2]int64{0, 0}},
		"retention took what could be compared":     {cut: read, trim: read, more: 2},
		"its end was lost, and retention was by":    {cut: 380, trim: 380, more: 30, wantFrom: [2]int64{380, 380}},
	}
	for name, tc := range cases {
		for _, anew := range []bool{false, true} {
			t.Run(name+map[bool]string{true: ", and the reader is a new one"}[anew], func(t *testing.T) {
				bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
					h := rewound{c: c}
					var l *rmq.Log
					l, h.q = logOf(t, c)
					h.open(0)
					for i := range 10 {
						appendAll(t, l, read/10*i, read/10*(i+1))
						h.poll(t, read/10*(i+1)-1)
					}
					b.StopMaster("broker-a")
					time.Sleep(time.Second)
					b.Cut("log", "broker-a", 0, int64(tc.cut))
					b.Trim("log", "broker-a", 0, int64(tc.trim))
					if anew {
						h.r.Close()
					}
					if err := b.RestartMaster("broker-a"); err != nil {
						t.Fatal(err)
					}
					_, _, err := l.Bounds(t.Context()) // may meet the connection that the stop ended
					for ; rmq.IsTemporary(err); _, _, err = l.Bounds(t.Context()) {
						time.Sleep(time.Millisecond)
					}
					if anew && tc.slowly {
						h.open(read)
					}
					for i := range tc.more {
						appendAll(t, l, 1000+i, 1001+i)
						if tc.slowly {
							time.Sleep(200 * time.Millisecond)
						}
					}
					if anew && !tc.slowly {
						h.open(read)
					}
					got := h.poll(t, 1000+tc.more-1)
					from, gaps := tc.cut, h.seen()
					if lost := tc.cut < read; lost != (len(gaps) == 1) || len(gaps) > 1 {
						t.Fatalf("gaps %v, want from %v", gaps, tc.wantFrom)
					}
					if len(gaps) == 1 {
						if to := gaps[0][1]; gaps[0][0] != read || to < tc.wantFrom[0] || to > tc.wantFrom[1] {
							t.Errorf("gap %v, want from %d to one of %v", gaps[0], read, tc.wantFrom)
						}
						from = int(gaps[0][1])
					}
					want := append(numbered(from, tc.cut), numbered(1000, 1000+tc.more)...)
					if diff := cmp.Diff(want, got); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

// rewound is a reader's user, who keeps the trail for the next reader.
type rewound struct {
	c     *rmq.Client
	q     rmq.Queue
	r     *rmq.Reader
	trail rmq.Trail
	mu    sync.Mutex
	gaps  [][2]int64
}

func (h *rewound) open(offset int64) {
	h.r = h.c.NewReader(rmq.ReaderConfig{Group: "g", Trail: func(rmq.Queue) rmq.Trail { return h.trail },
		OnGap: func(_ rmq.Queue, from, to int64) {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.gaps = append(h.gaps, [2]int64{from, to})
		}})
	h.r.Assign(map[rmq.Queue]int64{h.q: offset})
}

// poll reads up to a record of that body, for a few minutes at most.
func (h *rewound) poll(t *testing.T, last int) (got []string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	for ctx.Err() == nil && (len(got) == 0 || got[len(got)-1] != strconv.Itoa(last)) {
		records, err := h.r.Poll(ctx, 100)
		if err != nil && !errors.Is(err, rmq.ErrTopicNotFound) {
			t.Fatal(err)
		}
		for i := range records {
			got = append(got, string(records[i].Body))
			h.trail = h.trail.Add(records[i].Mark())
		}
	}
	return got
}

func (h *rewound) seen() [][2]int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.gaps
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
		trail = trail.Add(rmq.Mark{Offset: i, StoredAt: i})
	}
	if len(trail) > 20 || trail[len(trail)-1].Offset != n-1 {
		t.Errorf("%d marks: %v", len(trail), trail)
	}
	for back := int64(64); back < n/4; back *= 2 {
		if !slices.ContainsFunc(trail, func(m rmq.Mark) bool { return m.Offset > n-2*back-64 && m.Offset <= n-back }) {
			t.Errorf("no mark is between %d and %d records back: %v", back, 2*back+64, trail)
		}
	}
	if got := trail.Add(rmq.Mark{Offset: 7}); got[len(got)-1].Offset != 7 || len(got.Before(7)) != len(got)-1 {
		t.Errorf("marks of what was lost stay: %v", got)
	}
}
