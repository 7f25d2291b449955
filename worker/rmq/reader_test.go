package rmq_test

import (
	"errors"
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
