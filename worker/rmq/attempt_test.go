package rmq_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
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

func isSend(req *remoting.Command) bool {
	return req.Code == remoting.SendBatch || req.Code == remoting.SendMessageV2
}

// attempts notes how long each attempt of a sender took, and how it ended.
type attempts struct {
	mu   sync.Mutex
	took []time.Duration
	errs []error
}

func (a *attempts) onBatch(_, _ int, took time.Duration, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.took, a.errs = append(a.took, took), append(a.errs, err)
}

func (a *attempts) count() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.took)
}

func send(t *testing.T, s *rmq.Sender, bodies ...string) {
	t.Helper()
	for _, body := range bodies {
		if err := s.Send(
			t.Context(),
			rmq.Message{Topic: "orders", Queue: rmq.Queue{Topic: "orders", Broker: "broker-a"}, Body: []byte(body)},
			func(_ int64, err error) {
				if err != nil {
					t.Errorf("message %s: %v", body, err)
				}
			},
		); err != nil {
			t.Fatal(err)
		}
	}
}

// shutBetween is a gate that is shut for a while. It tells of each time that it was asked and said yes.
func shutBetween(from, to time.Time, yes func(asked time.Time)) func(ctx context.Context) error {
	return func(ctx context.Context) error {
		asked := time.Now()
		if !asked.Before(from) && asked.Before(to) {
			select {
			case <-time.After(to.Sub(asked)):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		yes(asked)
		return nil
	}
}

// A broker that is late has stored the batch, and would store it once more.
func TestABatchWaitsForALateAnswer(t *testing.T) {
	cases := map[string]struct {
		verdict  rmqtest.Verdict // of three sends
		others   rmqtest.Verdict // of all other requests meanwhile
		shut     time.Duration   // when the gate shuts, for a minute
		wantTook []time.Duration
		stored   int
	}{
		"the broker answers others": {
			verdict: rmqtest.Verdict{Delay: 5 * time.Second}, wantTook: []time.Duration{5 * time.Second}, stored: 1,
		},
		"it never answers, and answers others": {
			verdict:  rmqtest.Verdict{Swallow: true},
			wantTook: []time.Duration{29700 * time.Millisecond, 29700 * time.Millisecond, 29700 * time.Millisecond, 0}, stored: 4,
		},
		"it stores and answers nothing": {
			verdict: rmqtest.Verdict{Swallow: true}, others: rmqtest.Verdict{Swallow: true},
			wantTook: []time.Duration{1980 * time.Millisecond, 1980 * time.Millisecond, 1980 * time.Millisecond, 0}, stored: 4,
		},
		"it does nothing at all": {
			verdict: rmqtest.Verdict{Hang: true}, others: rmqtest.Verdict{Hang: true},
			wantTook: []time.Duration{1980 * time.Millisecond, 1980 * time.Millisecond, 1980 * time.Millisecond, 0}, stored: 1,
		},
		"it is slow with all": {
			verdict: rmqtest.Verdict{Delay: 5 * time.Second}, others: rmqtest.Verdict{Delay: 900 * time.Millisecond},
			wantTook: []time.Duration{5 * time.Second}, stored: 1,
		},
		"the gate shuts meanwhile": {
			verdict: rmqtest.Verdict{Delay: 5 * time.Second}, shut: 3 * time.Second,
			wantTook: []time.Duration{3980 * time.Millisecond, 5 * time.Second}, stored: 2,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{SendTimeout: 2 * time.Second}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				seen := &attempts{}
				b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
					switch {
					case seen.count() >= 3:
						return rmqtest.Verdict{}
					case isSend(req):
						return tc.verdict
					}
					return tc.others
				})
				cfg := rmq.SenderConfig{OnBatch: seen.onBatch}
				if tc.shut > 0 {
					from := time.Now().Add(tc.shut)
					cfg.Gate = shutBetween(from, from.Add(time.Minute), func(time.Time) {})
				}
				s := c.NewSender(cfg)
				send(t, s, "x")
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(tc.wantTook, seen.took); diff != "" {
					t.Errorf("attempts took (-want +got):\n%s", diff)
				}
				for _, err := range seen.errs {
					if err != nil && !errors.Is(err, rmq.ErrUnreachable) {
						t.Errorf("attempt failed with %v", err)
					}
				}
				b.Intercept(nil)
				if got := contents(t, c, queues[0]); len(got) != tc.stored {
					t.Errorf("stored %d times, want %d", len(got), tc.stored)
				}
			})
		})
	}
}

// Invariant C2: whatever the gate says and the broker does, no attempt lasts longer than SendTimeout after the gate was
// last asked and said yes.
func TestNoAttemptOutlastsItsGate(t *testing.T) {
	const sendTimeout = 2 * time.Second
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, rmq.Config{SendTimeout: sendTimeout}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				topic(t, c, 1)
				rng := rand.New(rand.NewPCG(seed, 9))
				from := time.Now().Add(time.Duration(rng.IntN(20_000)) * time.Millisecond)
				to := from.Add(time.Duration(rng.IntN(10_000)) * time.Millisecond)
				sendDelay := time.Duration(rng.IntN(12_000)) * time.Millisecond
				otherDelay := time.Duration(rng.IntN(2500)) * time.Millisecond
				b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
					if isSend(req) {
						return rmqtest.Verdict{Delay: sendDelay}
					}
					return rmqtest.Verdict{Delay: otherDelay}
				})
				var mu sync.Mutex
				var yes time.Time
				ended := 0
				s := c.NewSender(rmq.SenderConfig{
					Gate: shutBetween(from, to, func(asked time.Time) {
						mu.Lock()
						defer mu.Unlock()
						yes = asked
					}),
					OnBatch: func(_, _ int, _ time.Duration, err error) {
						mu.Lock()
						defer mu.Unlock()
						ended++
						if late := time.Since(yes); late > sendTimeout {
							t.Errorf("an attempt ended %s after the gate was asked: %v", late, err)
						}
					},
				})
				send(t, s, "x")
				time.Sleep(30 * time.Second)
				b.Intercept(nil)
				if err := s.Flush(t.Context()); err != nil || ended == 0 {
					t.Errorf("%d attempts, %v", ended, err)
				}
			})
		})
	}
}

// Each try is stored: they must not be many. What they say is what happened.
func TestABatchThatIsStoredAndNotConfirmedIsSentAgainSlowly(t *testing.T) {
	for _, code := range []int{remoting.FlushDiskTimeout, remoting.SlaveNotAvailable, remoting.FlushSlaveTimeout} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
					if isSend(req) {
						v.Answer, v.Delay = code, 3*time.Second
					}
					return v
				})
				seen := &attempts{}
				s := c.NewSender(rmq.SenderConfig{OnBatch: seen.onBatch})
				send(t, s, "x")
				time.Sleep(time.Minute)
				synctest.Wait()
				if n := len(contents(t, c, queues[0])); n != 7 { // at 0, 4, 9, 16, 27, 40 and 53 s
					t.Errorf("stored %d times within a minute, want 7", n)
				}
				for _, err := range seen.errs {
					if !errors.Is(err, rmq.ErrUnconfirmed) || !rmq.IsTemporary(err) || !strings.Contains(err.Error(), "broker broker-a stored it") {
						t.Errorf("attempt failed with %v", err)
					}
				}
				b.Intercept(nil)
				if err := s.Flush(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// What is late is in the log, and the next append finds its connection as it was.
func TestALogWaitsForALateAnswer(t *testing.T) {
	cases := map[string]struct {
		within    time.Duration // the caller's own patience; 0: none
		others    rmqtest.Verdict
		wantErr   error
		wantTook  time.Duration
		wantDials int // besides those for control
	}{
		"the broker answers others":                    {0, rmqtest.Verdict{}, nil, 5 * time.Second, 1},
		"the broker answers others, the caller leaves": {2 * time.Second, rmqtest.Verdict{}, context.DeadlineExceeded, 2 * time.Second, 1},
		"the broker answers nothing":                   {0, rmqtest.Verdict{Hang: true}, rmq.ErrUnreachable, 2 * time.Second, 2},
		"the broker answers nothing, the caller leaves": {
			1999 * time.Millisecond,
			rmqtest.Verdict{Hang: true},
			context.DeadlineExceeded,
			1999 * time.Millisecond,
			2,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var dials atomic.Int32
			synctest.Test(t, func(t *testing.T) {
				b := rmqtest.Start(t, rmqtest.OverPipe())
				c, err := rmq.Open(
					rmq.Config{NameServers: []string{b.NameServer()}, Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
						if addr != b.NameServer() {
							dials.Add(1)
						}
						return b.Dial(ctx, network, addr)
					}},
				)
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				l, _ := logOf(t, c)
				dials.Store(0)
				b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
					if isSend(req) {
						return rmqtest.Verdict{Delay: 5 * time.Second}
					}
					return tc.others
				})
				ctx := t.Context()
				if tc.within > 0 {
					limited, cancel := context.WithTimeout(ctx, tc.within)
					defer cancel()
					ctx = limited
				}
				begun := time.Now()
				_, err = l.Append(ctx, rmq.Entry{Value: []byte("x")})
				if !errors.Is(err, tc.wantErr) {
					t.Errorf("error %v, want %v", err, tc.wantErr)
				}
				wantTook(t, begun, tc.wantTook)
				b.Intercept(nil)
				if _, err := l.Append(t.Context(), rmq.Entry{Value: []byte("y")}); err != nil {
					t.Error(err)
				}
				if n := int(dials.Load()); n != tc.wantDials {
					t.Errorf("%d connections, want %d", n, tc.wantDials)
				}
			})
		})
	}
}
