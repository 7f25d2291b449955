package rmq_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqsuite"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func appendAll(t *testing.T, l *rmq.Log, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := l.Append(t.Context(), rmq.Entry{Key: "k", Value: fmt.Append(nil, i)}); err != nil {
			t.Fatal(err)
		}
	}
}

func deleteTopic(t *testing.T, c *rmq.Client, b *rmqtest.Broker, name, broker string) {
	t.Helper()
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool := remoting.NewPool(b.Dial, time.Second, remoting.Credentials{})
	defer pool.Close()
	for _, m := range brokers {
		if broker == "" || m.Name == broker {
			if _, err := pool.Call(t.Context(), m.Addr, "test", &remoting.Command{
				Code: remoting.DeleteTopicBroker, Fields: []remoting.Field{{Name: "topic", Value: name}},
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// once is what is done with each record the first time that it comes.
func once(fn func(rmq.Entry)) func(rmq.Entry) error {
	next := int64(0)
	return func(e rmq.Entry) error {
		if e.Offset >= next {
			next = e.Offset + 1
			fn(e)
		}
		return nil
	}
}

func TestFollow(t *testing.T) {
	cases := map[string]struct {
		disturb func(t *testing.T, b *rmqtest.Broker, c *rmq.Client)
		want    error // nil: it goes on, and sees what is appended afterwards
	}{
		"outlives a restart of the broker": {func(t *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			b.StopMaster("broker-a")
			time.Sleep(time.Minute)
			if err := b.RestartMaster("broker-a"); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"outlives a restart of everything": {func(t *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			b.Stop()
			time.Sleep(time.Minute)
			if err := b.Restart(); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"outlives a broker that the name server drops": {func(t *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			b.DropMaster("broker-a")
			time.Sleep(2 * time.Minute)
			if err := b.RestartMaster("broker-a"); err != nil {
				t.Fatal(err)
			}
		}, nil},
		"outlives the name server": {func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			b.StopNameServer()
			time.Sleep(2 * time.Minute)
		}, nil},
		"outlives refusals": {func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			b.Intercept(func(string, *remoting.Command) rmqtest.Verdict {
				return rmqtest.Verdict{Refuse: remoting.NoPermission}
			})
			time.Sleep(time.Minute)
			b.Intercept(nil)
		}, nil},
		"outlives a busy broker": {func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			time.AfterFunc(500*time.Millisecond, func() { b.Intercept(nil) })
			b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
				if req.Code == remoting.PullMessage {
					v.Refuse = remoting.SystemBusy
				}
				return v
			})
		}, nil},
		"ends when the log lost its tail": {func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			b.Cut("log", "broker-a", 0, 4)
		}, rmq.ErrTruncated},
		"ends when the log lost its tail in a restart, though nothing follows": {func(t *testing.T, b *rmqtest.Broker, _ *rmq.Client) {
			b.StopMaster("broker-a")
			b.Cut("log", "broker-a", 0, 4)
			if err := b.RestartMaster("broker-a"); err != nil {
				t.Fatal(err)
			}
		}, rmq.ErrTruncated},
		"ends when retention overtook it": {func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
			b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
				return rmqtest.Verdict{Hang: req.Code == remoting.PullMessage}
			})
			time.Sleep(20 * time.Second) // the long poll that waits ends, and the next one hangs
			appendAll(t, c.Log(rmq.Queue{Topic: "log", Broker: "broker-a"}), 6, 20)
			b.Trim("log", "broker-a", 0, 10)
			b.Intercept(nil)
		}, rmq.ErrTruncated},
		"ends when the topic is deleted": {func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
			deleteTopic(t, c, b, "log", "")
		}, rmq.ErrTopicShape},
		"ends when the topic appears on a second broker": {func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
			brokers, err := c.Brokers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			pool := remoting.NewPool(b.Dial, time.Second, remoting.Credentials{})
			defer pool.Close()
			if _, err := pool.Call(t.Context(), brokers[1].Addr, "test", &remoting.Command{
				Code: remoting.CreateTopic, Fields: []remoting.Field{{Name: "topic", Value: "log"}, {Name: "readQueueNums", Value: "1"}},
			}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(2 * time.Minute)
		}, rmq.ErrTopicShape},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				l, _ := logOf(t, c)
				appendAll(t, l, 0, 6)
				ctx, cancel := context.WithCancel(t.Context())
				var got []string
				ended := make(chan error, 1)
				go func() {
					ended <- l.Follow(ctx, 0, 0, once(func(e rmq.Entry) { got = append(got, string(e.Value)) }))
				}()
				synctest.Wait()
				tc.disturb(t, b, c)
				if tc.want == nil {
					appendAll(t, l, 6, 9)
					time.Sleep(5 * time.Second)
					cancel()
					if err := <-ended; !errors.Is(err, context.Canceled) {
						t.Errorf("ended with %v", err)
					}
					if diff := cmp.Diff([]string{"0", "1", "2", "3", "4", "5", "6", "7", "8"}, got); diff != "" {
						t.Errorf("(-want +got):\n%s", diff)
					}
					return
				}
				if err := <-ended; !errors.Is(err, tc.want) {
					t.Errorf("ended with %v, want %v", err, tc.want)
				}
				cancel()
				if diff := cmp.Diff([]string{"0", "1", "2", "3", "4", "5"}, got); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			}, rmqtest.Masters("broker-a", "broker-b"))
		})
	}
}

// A follower that goes over what it has read must not rest at an end that has moved back: a poll that waits is held for
// 15 s.
func TestFollowNoticesALostEndAsSoonAsTheBrokerIsBack(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 6)
		ended := make(chan error, 1)
		go func() { ended <- l.Follow(t.Context(), 0, 0, func(rmq.Entry) error { return nil }) }()
		synctest.Wait()
		b.StopMaster("broker-a")
		b.Cut("log", "broker-a", 0, 4)
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := <-ended; !errors.Is(err, rmq.ErrTruncated) {
			t.Errorf("ended with %v", err)
		}
		if took := time.Since(begun); took > 3*time.Second { // the index may lag for a second
			t.Errorf("noticed after %v", took)
		}
	})
}

// Invariant C4: the broker holds a pull over the deletion of its topic, and answers once the new one has grown past it.
func TestFollowNoticesATopicThatWasRecreatedAndHasGrownPastIt(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 6)
		errOther := errors.New("another record than before")
		var got []string
		ended := make(chan error, 1)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		go func() {
			ended <- l.Follow(ctx, 0, 0, func(e rmq.Entry) error {
				if e.Offset < int64(len(got)) && got[e.Offset] != string(e.Value) {
					return errOther
				}
				got = append(got[:e.Offset], string(e.Value))
				return nil
			})
		}()
		time.Sleep(5 * time.Second)
		b.Renew("log", "broker-a")
		for i := range 10 {
			appendAll(t, l, 100+i, 101+i)
			time.Sleep(time.Second)
		}
		if err := <-ended; !errors.Is(err, errOther) {
			t.Errorf("ended with %v after %q", err, got)
		}
		if diff := cmp.Diff([]string{"0", "1", "2", "3", "4", "5"}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// Who is handed records again takes it for a reconnect, so a log that was quiet for long hands nothing on twice.
func TestFollowOfAQuietLogHandsNothingOnAgain(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 20)
		var got []int64
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		ended := make(chan error, 1)
		go func() {
			ended <- l.Follow(ctx, 0, 0, func(e rmq.Entry) error { got = append(got, e.Offset); return nil })
		}()
		var want []int64
		for i := range 25 {
			if want = append(want, int64(i)); i >= 20 {
				time.Sleep(5 * time.Second)
				appendAll(t, l, i, i+1)
			}
		}
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("handed on (-want +got):\n%s", diff)
		}
	})
}

// A broker may have a record in its index and not find it in its store. It is not to be asked without a pause.
func TestFollowDoesNotHammerABrokerThatDoesNotFindARecord(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 6)
		b.Lose("log", "broker-a", 0, 3)
		var pulls atomic.Int32
		b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
			if req.Code == remoting.PullMessage {
				v.Hang = pulls.Add(1) > 1000 // or the bubble's time would stand still
			}
			return v
		})
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := l.Follow(ctx, 2, 6, func(rmq.Entry) error { return nil }); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("ended with %v", err)
		}
		if n := pulls.Load(); n < 2 || n > 50 {
			t.Errorf("%d pulls in 10 s", n)
		}
	})
}

// A broker answers an append before its index has the record: an offset one past the end is no loss yet.
func TestFollowWaitsForTheIndex(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 6)
		time.AfterFunc(500*time.Millisecond, func() { appendAll(t, l, 6, 8) })
		stop := errors.New("enough")
		err := l.Follow(t.Context(), 7, 7, func(e rmq.Entry) error {
			if string(e.Value) != "7" {
				t.Errorf("read %s", e.Value)
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Errorf("ended with %v", err)
		}
	})
}

func TestFollowNoticesALostPoll(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		var polls atomic.Int32
		b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
			return rmqtest.Verdict{Hang: req.Code == remoting.PullMessage && polls.Add(1) == 1}
		})
		seen := make(chan time.Time, 1)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- l.Follow(ctx, 0, 0, once(func(rmq.Entry) { seen <- time.Now() }))
		}()
		synctest.Wait()
		begun := time.Now()
		appendAll(t, l, 0, 1)
		if took := (<-seen).Sub(begun); took != time.Second+20*time.Millisecond { // and not the time of the poll
			t.Errorf("seen after %s", took)
		}
		cancel()
		<-ended
	})
}

func TestRefusedBatchFailsOnlyTheMessageToBlame(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		open := make(chan struct{})
		s := c.NewSender(rmq.SenderConfig{MaxBatchBytes: 12 << 20, Gate: func(context.Context) error { <-open; return nil }})
		var order []string
		send := func(name string, size int) {
			body := make([]byte, size)
			copy(body, name)
			if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Body: body}, func(offset int64, err error) {
				order = append(order, fmt.Sprintf("%s %d %v", name, offset, errors.Is(err, rmq.ErrTooLarge)))
			}); err != nil {
				t.Fatal(err)
			}
		}
		send("held up by the gate", 100)
		synctest.Wait()
		send("a", 100)
		send("b", 5<<20)
		send("c", 2<<20)
		send("d", 100)
		close(open)
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{"held up by the gate 0 false", "a 1 false", "b 0 true", "c 2 false", "d 3 false"}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if n := len(contents(t, c, queues[0])); n != 4 {
			t.Errorf("%d messages stored", n)
		}
	})
}

func TestMessagesMoveWhenTheirQueueGoes(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		open := make(chan struct{})
		s := c.NewSender(rmq.SenderConfig{Gate: func(context.Context) error { <-open; return nil }})
		answers := map[int]error{}
		for i := range 20 {
			if err := s.Send(
				t.Context(),
				rmq.Message{Topic: "orders", Queue: queues[i%2], Body: fmt.Append(nil, i)},
				func(_ int64, err error) { answers[i] = err },
			); err != nil {
				t.Fatal(err)
			}
		}
		deleteTopic(t, c, b, "orders", "broker-a")
		close(open)
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, err := range answers {
			if err != nil {
				t.Errorf("message %d: %v", i, err)
			}
		}
		if n := len(contents(t, c, queues[1])); len(answers) != 20 || n != 20 {
			t.Errorf("%d answers, %d messages on the broker that is left", len(answers), n)
		}
		deleteTopic(t, c, b, "orders", "")
		failed := make(chan error, 1)
		if err := s.Send(t.Context(), rmq.Message{Topic: "orders", Body: []byte("x")}, func(_ int64, err error) { failed <- err }); err != nil {
			t.Fatal(err)
		}
		if err := <-failed; !errors.Is(err, rmq.ErrTopicNotFound) {
			t.Errorf("after the topic is gone: %v", err)
		}
	}, rmqtest.Masters("broker-a", "broker-b"))
}

func TestNameServersStandInForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, rmqtest.OverPipe())
		var mu sync.Mutex
		asked := map[string]int{}
		c, err := rmq.Open(rmq.Config{
			NameServers: []string{"gone:9876", "stalled:9876", b.NameServer()},
			Dial: func(ctx context.Context, network, addr string) (net.Conn, error) {
				mu.Lock()
				asked[addr]++
				mu.Unlock()
				if addr == "stalled:9876" {
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return b.Dial(ctx, network, addr)
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		begun := time.Now()
		for range 3 {
			if _, err := c.Brokers(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		wantTook(t, begun, 3*time.Second) // once; then the one that answered is asked first
		mu.Lock()
		if diff := cmp.Diff(map[string]int{"gone:9876": 1, "stalled:9876": 1, "namesrv:9876": 1}, asked); diff != "" {
			t.Errorf("dials (-want +got):\n%s", diff)
		}
		mu.Unlock()
		b.Stop()
		if _, err := c.Brokers(t.Context()); !errors.Is(err, rmq.ErrUnreachable) || !rmq.IsTemporary(err) {
			t.Errorf("none answers: %v", err)
		}
	})
}

func TestMembers(t *testing.T) {
	b := rmqtest.Start(t, rmqtest.OverPipe())
	c, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: b.Dial})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rmqsuite.RunMembers(t, c, b.Dial, remoting.Credentials{})
}

func TestOpenChecksItsConfig(t *testing.T) {
	cases := map[string]rmq.Config{
		"no name server":           {},
		"name server without port": {NameServers: []string{"10.0.0.1"}},
		"name server with scheme":  {NameServers: []string{"http://10.0.0.1:9876"}},
		"port that is none":        {NameServers: []string{"10.0.0.1:98765"}},
		"access key alone":         {NameServers: []string{"a:1"}, AccessKey: "a"},
		"secret key alone":         {NameServers: []string{"a:1"}, SecretKey: "hush"},
	}
	for name, cfg := range cases {
		t.Run(name, func(t *testing.T) {
			if _, err := rmq.Open(cfg); err == nil {
				t.Error("taken")
			}
		})
	}
}

func TestAccessIsDenied(t *testing.T) {
	cases := map[string]struct {
		config  rmq.Config
		options []rmqtest.Option
	}{
		"unsigned":                {},
		"wrong secret":            {config: rmq.Config{AccessKey: "rocketmq", SecretKey: "wrong"}},
		"unsigned, on 4.9":        {options: []rmqtest.Option{rmqtest.Line4()}},
		"wrong secret, as on 4.9": {config: rmq.Config{AccessKey: "rocketmq", SecretKey: "wrong"}, options: []rmqtest.Option{rmqtest.Line4()}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, tc.config, func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) {
				_, err := c.EnsureTopic(t.Context(), "orders", rmq.TopicSpec{Queues: 1})
				if !errors.Is(err, rmq.ErrAccessDenied) || rmq.IsTemporary(err) {
					t.Errorf("error %v", err)
				}
				if _, err := c.Members(t.Context(), "g"); !errors.Is(err, rmq.ErrAccessDenied) {
					t.Errorf("members: %v", err)
				}
			}, append(tc.options, rmqtest.WithCredentials("rocketmq", "12345678"))...)
		})
	}
}
