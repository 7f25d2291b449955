package rmq_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// faults are what may become of a request and its answer.
func faults() map[string]rmqtest.Verdict {
	return map[string]rmqtest.Verdict{
		"the broker is busy":                            {Refuse: remoting.SystemBusy},
		"the request is lost":                           {Hang: true},
		"the answer is lost":                            {Swallow: true},
		"the answer is late":                            {Delay: 100 * time.Millisecond},
		"the answer is too late":                        {Delay: time.Minute},
		"the connection is reset":                       {Reset: true},
		"the answer stops half way":                     {Half: true},
		"the connection is reset half way of an answer": {Half: true, Reset: true},
	}
}

// first has the first n requests of the codes meet the fault, and gives how many did.
func first(b *rmqtest.Broker, n int32, v rmqtest.Verdict, codes ...int) *atomic.Int32 {
	var met atomic.Int32
	b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
		for _, code := range codes {
			if req.Code == code && met.Add(1) <= n {
				return v
			}
		}
		return rmqtest.Verdict{}
	})
	return &met
}

// withoutRepeats keeps the first of each.
func withoutRepeats(all []string) (out []string) {
	seen := map[string]bool{}
	for _, s := range all {
		if !seen[s] {
			out = append(out, s)
		}
		seen[s] = true
	}
	return out
}

// What a 4.9 broker does otherwise.
func TestLine4(t *testing.T) {
	cases := map[string]struct {
		options       []rmqtest.Option
		wantCommitted bool
		wantCompact   time.Duration
	}{
		"5.3": {wantCommitted: false, wantCompact: 0},
		"4.9": {options: []rmqtest.Option{rmqtest.Line4()}, wantCommitted: true, wantCompact: 72 * time.Hour},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				makeCompacting(t, b, c, "compact", 6)
				q, err := c.EnsureLogTopic(t.Context(), "compact", rmq.LogPlace{})
				if err != nil {
					t.Fatal(err)
				}
				if offset, ok, err := c.Committed(t.Context(), "g", q); ok != tc.wantCommitted || offset != 0 || err != nil {
					t.Errorf("committed before any commit: %d, %v, %v", offset, ok, err)
				}
				b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
					if req.Code == remoting.BrokerConfig {
						v.Refuse = remoting.NoPermission // to clients without an administrator's rights
					}
					return v
				})
				if kept, err := c.Log(q).Retention(t.Context()); kept != tc.wantCompact || err != nil {
					t.Errorf("kept for %s, %v; want %s", kept, err, tc.wantCompact)
				}
				b.Intercept(nil)
				if kept, err := c.Log(topic(t, c, 1)[0]).Retention(t.Context()); kept != 6*time.Hour || err != nil {
					t.Errorf("what the broker is configured to: %s, %v", kept, err)
				}
			}, tc.options...)
		})
	}
}

func TestSenderKeepsOrderUnderFaults(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 2)
				met := first(b, 2, fault, remoting.SendBatch, remoting.SendMessageV2)
				s := c.NewSender(rmq.SenderConfig{})
				want := map[rmq.Queue][]string{}
				var mu sync.Mutex
				answers := map[string]int{}
				for i := range 200 {
					body := fmt.Sprint(i)
					want[queues[i%2]] = append(want[queues[i%2]], body)
					if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Queue: queues[i%2], Body: []byte(body)}, func(_ int64, err error) {
						mu.Lock()
						defer mu.Unlock()
						if answers[body]++; err != nil {
							t.Errorf("message %s: %v", body, err)
						}
					}); err != nil {
						t.Fatal(err)
					}
					if i%20 == 0 {
						synctest.Wait() // several batches
					}
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if n := met.Load(); n <= 2 {
					t.Errorf("%d batches: none after the faults", n)
				}
				for i := range 200 {
					if n := answers[fmt.Sprint(i)]; n != 1 {
						t.Errorf("message %d was answered %d times", i, n)
					}
				}
				for _, q := range queues {
					if diff := cmp.Diff(want[q], withoutRepeats(contents(t, c, q))); diff != "" {
						t.Errorf("%s, repeats left out (-want +got):\n%s", q, diff)
					}
				}
			})
		})
	}
}

func TestLogUnderFaults(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				l, _ := logOf(t, c)
				appendAll(t, l, 0, 3)
				first(b, 2, fault, remoting.PullMessage)
				ctx, cancel := context.WithCancel(t.Context())
				var tailed []string
				ended := make(chan error, 1)
				go func() {
					ended <- l.Follow(ctx, 0, 0, once(func(e rmq.Entry) { tailed = append(tailed, string(e.Value)) }))
				}()
				time.Sleep(2 * time.Minute)
				synctest.Wait()
				if diff := cmp.Diff([]string{"0", "1", "2"}, tailed); diff != "" {
					t.Errorf("tailed (-want +got):\n%s", diff)
				}
				first(b, 1, fault, remoting.SendMessageV2, remoting.SendBatch)
				begun := time.Now()
				_, err := l.Append(t.Context(), rmq.Entry{Value: []byte("3")})
				if late := fault.Delay > 0 && fault.Delay < time.Second; late && err != nil || !late && !rmq.IsTemporary(err) {
					t.Errorf("append: %v", err)
				}
				if took := time.Since(begun); took > 2*time.Second { // exact in the bubble: SendTimeout
					t.Errorf("append took %s", took)
				}
				appendAll(t, l, 4, 6)
				time.Sleep(2 * time.Minute)
				cancel()
				if err := <-ended; !errors.Is(err, context.Canceled) {
					t.Errorf("tail ended with %v", err)
				}
				want := []string{"0", "1", "2", "3", "4", "5"}
				if fault.Hang || fault.Refuse != 0 {
					want = []string{"0", "1", "2", "4", "5"}
				}
				if diff := cmp.Diff(want, tailed); diff != "" {
					t.Errorf("tailed (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestReaderReadsOnceUnderFaults(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				l := c.Log(queues[0])
				appendAll(t, l, 0, 100)
				first(b, 3, fault, remoting.PullMessage)
				var want []string
				for i := range 100 {
					want = append(want, fmt.Sprint(i))
				}
				if diff := cmp.Diff(want, contents(t, c, queues[0])); diff != "" {
					t.Errorf("read (-want +got):\n%s", diff)
				}
			})
		})
	}
}

func TestCommitsUnderFaults(t *testing.T) {
	for name, fault := range faults() {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				first(b, 1, fault, remoting.CommitOffset)
				begun := time.Now()
				err := c.Commit(t.Context(), "g", map[rmq.Queue]int64{queues[0]: 7})
				if late := fault.Delay > 0 && fault.Delay < time.Second; late && err != nil || !late && !rmq.IsTemporary(err) {
					t.Errorf("commit: %v", err)
				}
				if took := time.Since(begun); took > 3*time.Second { // exact in the bubble: CallTimeout
					t.Errorf("commit took %s", took)
				}
				if err := c.Commit(t.Context(), "g", map[rmq.Queue]int64{queues[0]: 8}); err != nil {
					t.Error(err)
				}
				if got, ok, err := c.Committed(t.Context(), "g", queues[0]); got != 8 || !ok || err != nil {
					t.Errorf("committed %d, %v, %v", got, ok, err)
				}
			})
		})
	}
}

// A frozen broker carries out late what it was sent: after the client has given up, and has sent it again.
func TestFrozenBrokerCarriesOutLate(t *testing.T) {
	bubble(t, rmq.Config{SendTimeout: 2 * time.Second}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		s := c.NewSender(rmq.SenderConfig{})
		send := func(body string) {
			if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Body: []byte(body)}, func(_ int64, err error) {
				if err != nil {
					t.Errorf("message %s: %v", body, err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		send("0")
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		thaw := b.Freeze("broker-a")
		send("1")
		time.Sleep(20 * time.Second)
		send("2")
		synctest.Wait()
		thaw()
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := contents(t, c, queues[0])
		if diff := cmp.Diff([]string{"0", "1", "2"}, withoutRepeats(got)); diff != "" {
			t.Errorf("repeats left out (-want +got):\n%s", diff)
		}
		if len(got) < 4 {
			t.Errorf("stored are %v: what was sent during the freeze was not carried out late", got)
		}
	})
}

func TestFrozenBrokerHoldsTheOtherUpByNothing(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		onBroker := func(topic, broker string) *rmq.Log {
			q, err := c.EnsureLogTopic(t.Context(), topic, rmq.LogPlace{Broker: broker})
			if err != nil {
				t.Fatal(err)
			}
			return c.Log(q)
		}
		frozen, other := onBroker("log-a", "broker-a"), onBroker("log-b", "broker-b")
		defer b.Freeze("broker-a")()
		begun := time.Now()
		failed := make(chan error, 1)
		go func() {
			_, err := frozen.Append(t.Context(), rmq.Entry{Value: []byte("x")})
			failed <- err
		}()
		if _, err := other.Append(t.Context(), rmq.Entry{Value: []byte("x")}); err != nil {
			t.Error(err)
		}
		wantTook(t, begun, 0)
		if err := <-failed; !errors.Is(err, rmq.ErrUnreachable) {
			t.Errorf("append to the frozen broker: %v", err)
		}
		wantTook(t, begun, 2*time.Second)
	}, rmqtest.Masters("broker-a", "broker-b"))
}
