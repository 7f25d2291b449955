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

// bubble runs test inside a synctest bubble with an in-memory cluster and a client of it.
func bubble(t *testing.T, cfg rmq.Config, test func(t *testing.T, b *rmqtest.Broker, c *rmq.Client), opts ...rmqtest.Option) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, append(opts, rmqtest.OverPipe())...)
		cfg.NameServers, cfg.Dial = []string{b.NameServer()}, b.Dial
		c, err := rmq.Open(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := c.Close(); err != nil {
				t.Errorf("closing the client: %v", err)
			}
		})
		test(t, b, c)
	})
}

func topic(t *testing.T, c *rmq.Client, n int) []rmq.Queue {
	t.Helper()
	queues, err := c.EnsureTopic(t.Context(), "orders", rmq.TopicSpec{Queues: n})
	if err != nil {
		t.Fatal(err)
	}
	return queues
}

func logOf(t *testing.T, c *rmq.Client) (*rmq.Log, rmq.Queue) {
	t.Helper()
	q, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{})
	if err != nil {
		t.Fatal(err)
	}
	return c.Log(q), q
}

// contents reads a queue to its end, duplicates included.
func contents(t *testing.T, c *rmq.Client, q rmq.Queue) (out []string) {
	t.Helper()
	_, end, err := c.Offsets(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	r := c.NewReader(rmq.ReaderConfig{Group: "test"})
	defer r.Close()
	r.Assign(map[rmq.Queue]int64{q: 0})
	for int64(len(out)) < end {
		got, err := r.Poll(t.Context(), 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got {
			out = append(out, string(m.Body))
		}
	}
	return out
}

// patiently sends a message, again and again while its queue takes nothing.
func patiently(t *testing.T, s *rmq.Sender, m rmq.Message, done func(int64, error)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		err := s.Send(ctx, m, done)
		if err == nil {
			return
		}
		if !errors.Is(err, rmq.ErrStalled) || ctx.Err() != nil {
			t.Fatalf("sending %.20s: %v", m.Body, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func wantTook(t *testing.T, begun time.Time, want time.Duration) {
	t.Helper()
	if took := time.Since(begun); took != want { // exact: the bubble's clock moves only when all wait
		t.Errorf("took %s, want %s", took, want)
	}
}

func TestSenderTriesAgain(t *testing.T) {
	cases := map[string]struct {
		code    int
		wantErr error // nil: it is retried until it works
	}{
		"system error":                       {remoting.SystemError, nil},
		"busy":                               {remoting.SystemBusy, nil},
		"stored but not flushed":             {remoting.FlushDiskTimeout, nil},
		"stored but not on a slave":          {remoting.SlaveNotAvailable, nil},
		"stored but not flushed on a slave":  {remoting.FlushSlaveTimeout, nil},
		"not available":                      {remoting.ServiceNotAvailable, nil},
		"flow control":                       {remoting.FlowControl, nil},
		"topic not there yet":                {remoting.TopicNotExist, nil},
		"access denied":                      {remoting.NoPermission, rmq.ErrAccessDenied},
		"request that the broker knows not":  {remoting.CodeNotSupported, new(rmq.BrokerError)},
		"consumer group that does not exist": {remoting.GroupNotExist, new(rmq.BrokerError)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				topic(t, c, 1)
				var refused atomic.Int32
				b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
					if (req.Code == remoting.SendBatch || req.Code == remoting.SendMessageV2) && refused.Add(1) <= 5 {
						v.Refuse = tc.code
					}
					return v
				})
				s := c.NewSender(rmq.SenderConfig{})
				var errs []error
				for i := range 3 {
					if err := s.Send(
						t.Context(),
						rmq.Message{Topic: "orders", Body: fmt.Append(nil, i)},
						func(_ int64, err error) { errs = append(errs, err) },
					); err != nil {
						t.Fatal(err)
					}
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				for _, err := range errs {
					if tc.wantErr == nil && err != nil || tc.wantErr != nil && err == nil {
						t.Errorf("answer %v", err)
					}
					if errors.Is(tc.wantErr, rmq.ErrAccessDenied) && !errors.Is(err, rmq.ErrAccessDenied) {
						t.Errorf("answer %v", err)
					}
				}
				if n := refused.Load(); len(errs) != 3 || tc.wantErr == nil && n < 6 {
					t.Errorf("%d answers, %d attempts", len(errs), n)
				}
			})
		})
	}
}

func TestSenderOutlivesARestart(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 2)
		s := c.NewSender(rmq.SenderConfig{})
		sent := map[rmq.Queue][]string{}
		for i := range 300 {
			switch i {
			case 100:
				b.StopMaster("broker-a")
			case 200:
				time.Sleep(10 * time.Second)
				b.StopNameServer()
				if err := b.RestartMaster("broker-a"); err != nil {
					t.Fatal(err)
				}
			}
			body := fmt.Sprint(i)
			q := queues[i%2]
			sent[q] = append(sent[q], body)
			patiently(t, s, rmq.Message{Topic: "orders", Queue: q, Body: []byte(body)}, func(_ int64, err error) {
				if err != nil {
					t.Errorf("message %s: %v", body, err)
				}
			})
			if i%10 == 0 && i < 100 {
				synctest.Wait()
			}
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
		for _, q := range queues {
			got := contents(t, c, q)
			seen := map[string]bool{}
			var order []string
			for _, body := range got {
				if !seen[body] {
					order = append(order, body)
				}
				seen[body] = true
			}
			if diff := cmp.Diff(sent[q], order); diff != "" {
				t.Errorf("%s, duplicates left out (-want +got):\n%s", q, diff)
			}
		}
	})
}

func TestGateThatHeldABatchUpIsAskedAgain(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) {
		topic(t, c, 1)
		asked := 0
		s := c.NewSender(rmq.SenderConfig{Gate: func(context.Context) error {
			if asked++; asked == 1 {
				time.Sleep(time.Second) // shut for a while: what it then says may be old
			}
			return nil
		}})
		if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Body: []byte("x")}, func(int64, error) {}); err != nil {
			t.Fatal(err)
		}
		if err := s.Flush(t.Context()); err != nil || asked != 2 {
			t.Errorf("asked %d times, %v", asked, err)
		}
	})
}

func TestMessagesWithoutOrderSkipABrokerThatFails(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		b.StopMaster("broker-a")
		s := c.NewSender(rmq.SenderConfig{})
		begun := time.Now()
		answered := map[string]bool{}
		for i := range 100 {
			body := fmt.Sprint(i)
			if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Body: []byte(body)}, func(_ int64, err error) {
				answered[body] = err == nil
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > time.Second || len(answered) != 100 {
			t.Errorf("%d answers in %s", len(answered), took)
		}
		if got := contents(t, c, queues[1]); len(got) != 100 {
			t.Errorf("%d messages on the other broker", len(got))
		}
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second) // by then it is given another chance
		for range 10 {
			if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Body: []byte("x")}, func(int64, error) {}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := contents(t, c, queues[0]); len(got) != 5 {
			t.Errorf("%d messages on the broker that is back, want 5", len(got))
		}
	}, rmqtest.Masters("broker-a", "broker-b"))
}

func TestClosingFailsWhatIsPendingAtOnce(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		topic(t, c, 1)
		l, _ := logOf(t, c)
		b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
			v.Hang = req.Code != remoting.PullMessage
			return v
		})
		s := c.NewSender(rmq.SenderConfig{})
		results := make(chan error, 5)
		if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Body: []byte("x")}, func(_ int64, err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() { _, err := l.Append(t.Context(), rmq.Entry{Value: []byte("x")}); results <- err })
		wg.Go(func() { results <- l.Follow(t.Context(), 0, 0, func(rmq.Entry) error { return nil }) })
		wg.Go(func() { _, _, err := l.Bounds(t.Context()); results <- err })
		wg.Go(func() { _, err := c.NewReader(rmq.ReaderConfig{Group: "g"}).Poll(t.Context(), 1); results <- err })
		synctest.Wait()
		begun := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
		for range 5 {
			if err := <-results; !errors.Is(err, rmq.ErrClosed) {
				t.Errorf("pending call failed with %v", err)
			}
		}
		wantTook(t, begun, 0)
		if _, err := c.Route(t.Context(), "orders"); !errors.Is(err, rmq.ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
	})
}

func TestContextsEndCallsAtOnce(t *testing.T) {
	calls := map[string]func(ctx context.Context, c *rmq.Client, q rmq.Queue) error{
		"append": func(ctx context.Context, c *rmq.Client, q rmq.Queue) error {
			_, err := c.Log(q).Append(ctx, rmq.Entry{Value: []byte("x")})
			return err
		},
		"read": func(ctx context.Context, c *rmq.Client, q rmq.Queue) error {
			_, err := c.Log(q).Read(ctx, 0, func(rmq.Entry) error { return nil })
			return err
		},
		"tail": func(ctx context.Context, c *rmq.Client, q rmq.Queue) error {
			return c.Log(q).Follow(ctx, 0, 0, func(rmq.Entry) error { return nil })
		},
		"commit": func(ctx context.Context, c *rmq.Client, q rmq.Queue) error {
			return c.Commit(ctx, "g", map[rmq.Queue]int64{q: 1})
		},
		"ensure group": func(ctx context.Context, c *rmq.Client, _ rmq.Queue) error { return c.EnsureGroup(ctx, "g") },
		"ensure topic": func(ctx context.Context, c *rmq.Client, _ rmq.Queue) error {
			_, err := c.EnsureTopic(ctx, "new", rmq.TopicSpec{Queues: 1})
			return err
		},
	}
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				_, q := logOf(t, c)
				b.Intercept(func(string, *remoting.Command) rmqtest.Verdict { return rmqtest.Verdict{Hang: true} })
				ctx, cancel := context.WithCancelCause(t.Context())
				why := errors.New("drained")
				time.AfterFunc(time.Second, func() { cancel(why) })
				begun := time.Now()
				if err := call(ctx, c, q); !errors.Is(err, why) {
					t.Errorf("error %v", err)
				}
				wantTook(t, begun, time.Second)
			})
		})
	}
}
