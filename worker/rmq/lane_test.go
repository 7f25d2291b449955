package rmq_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// sending counts what was stored of what it sends.
type sending struct {
	t      *testing.T
	s      *rmq.Sender
	stored atomic.Int32
	// movable is what the messages are.
	movable bool
}

// send fails the test when the sender takes no message for a minute.
func (s *sending) send(queue rmq.Queue, bodies ...string) {
	s.t.Helper()
	for _, body := range bodies {
		patiently(s.t, s.s, rmq.Message{Topic: "orders", Queue: queue, Movable: s.movable, Body: []byte(body)}, func(_ int64, err error) {
			if err != nil {
				s.t.Errorf("message %.20s: %v", body, err)
			}
			s.stored.Add(1)
		})
	}
}

// flush fails the test when it takes more than a few minutes.
func (s *sending) flush() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	if err := s.s.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// The name server goes on showing the queues of a broker of which only a slave is left.
func TestABrokerWithoutMasterHoldsUpOnlyWhatIsBoundToIt(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{MaxBufferedBytes: 64 << 10})}
		b.LeaveSlave("broker-a")
		s.send(queues[0], "first")
		time.Sleep(10 * time.Second)
		wantStalled(t, s.s, queues[0], queues[:1]...)
		for range 200 {
			s.send(rmq.Queue{}, strings.Repeat("x", 1000)) // more than may wait
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if n := s.stored.Load(); n != 200 {
			t.Errorf("%d messages stored while the master is away, want the 200 that may go anywhere", n)
		}
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		s.send(queues[0], "second")
		s.flush()
		if diff := cmp.Diff([]string{"first", "second"}, contents(t, c, queues[0])); diff != "" {
			t.Errorf("bound to the queue (-want +got):\n%s", diff)
		}
		if n := len(contents(t, c, queues[1])); n != 200 {
			t.Errorf("%d messages on the other broker, want 200", n)
		}
		wantStalled(t, s.s, queues[0])
	}, rmqtest.Masters("broker-a", "broker-b"))
}

// wantStalled checks which queues take nothing, and that one of them says so.
func wantStalled(t *testing.T, s *rmq.Sender, refused rmq.Queue, want ...rmq.Queue) {
	t.Helper()
	var got []rmq.Queue
	stalled, _ := s.Stalled()
	for _, st := range stalled {
		if got = append(got, st.Queue); !errors.Is(st.Err, rmq.ErrUnreachable) {
			t.Errorf("%s stalls by %v", st.Queue, st.Err)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("stalled (-want +got):\n%s", diff)
	}
	if len(want) == 0 {
		return
	}
	err := s.Send(
		t.Context(),
		rmq.Message{Topic: refused.Topic, Queue: refused, Body: []byte("x")},
		func(int64, error) { t.Error("a message that was refused was answered") },
	)
	if !errors.Is(err, rmq.ErrStalled) {
		t.Errorf("sending to a queue that takes nothing: %v", err)
	}
}

// A broker that is away and one that hangs take no more room than there is once: what goes to others goes on.
func TestWhatWaitsForABrokerHoldsUpNoOther(t *testing.T) {
	cases := map[string]struct {
		stop, start func(t *testing.T, b *rmqtest.Broker)
	}{
		"its broker is killed": {
			func(_ *testing.T, b *rmqtest.Broker) { b.StopMaster("broker-a") },
			func(t *testing.T, b *rmqtest.Broker) {
				if err := b.RestartMaster("broker-a"); err != nil {
					t.Error(err)
				}
			}},
		"its broker hangs": {
			func(_ *testing.T, b *rmqtest.Broker) {
				b.Intercept(func(master string, _ *remoting.Command) rmqtest.Verdict {
					return rmqtest.Verdict{Hang: master == "broker-a"}
				})
			},
			func(_ *testing.T, b *rmqtest.Broker) { b.Intercept(nil) }},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{MaxBufferedBytes: 32 << 10})}
				s.send(queues[0], "0")
				s.flush()
				tc.stop(t, b)
				sent := 1
				for ; sent < 1000; sent++ { // until it takes no more
					body := fmt.Sprint(sent)
					err := s.s.Send(
						t.Context(),
						rmq.Message{Topic: "orders", Queue: queues[0], Body: append(make([]byte, 1000), body...)},
						func(_ int64, err error) {
							if err != nil {
								t.Errorf("message %s: %v", body, err)
							}
							s.stored.Add(1)
						},
					)
					if errors.Is(err, rmq.ErrStalled) {
						break
					}
					if err != nil {
						t.Fatal(err)
					}
				}
				if sent > 40 {
					t.Errorf("%d messages of 1,000 bytes wait in a room of 32 KiB", sent)
				}
				for i := range 300 {
					s.send(queues[1], fmt.Sprint(i, strings.Repeat("y", 1000)))
				}
				if n := len(contents(t, c, queues[1])); n < 250 {
					t.Errorf("%d of 300 messages are on the broker that is there", n)
				}
				if stalled, _ := s.s.Stalled(); len(stalled) != 1 || stalled[0].Queue != queues[0] {
					t.Errorf("stalled: %v", stalled)
				}
				tc.start(t, b)
				s.send(queues[0], "last")
				s.flush()
				if got := withoutRepeats(contents(t, c, queues[0])); len(got) != sent+1 || got[len(got)-1] != "last" {
					t.Errorf("%d different messages on the broker that came back, want %d in their order", len(got), sent+1)
				}
			}, rmqtest.Masters("broker-a", "broker-b"))
		})
	}
}

// Bound messages outlast that the name server forgets their broker, movable ones leave it.
func TestABrokerThatIsNotShown(t *testing.T) {
	cases := map[string]struct {
		movable bool
		want    []string // on the queue of the broker that was away
	}{
		"bound messages wait":   {false, []string{"before", "while it is away"}},
		"movable messages move": {true, []string{"before"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{}), movable: tc.movable}
				s.send(queues[0], "before")
				s.flush()
				b.DropMaster("broker-a")
				s.send(queues[0], "while it is away")
				time.Sleep(10 * time.Second)
				if moved := s.stored.Load() == 2; moved != tc.movable {
					t.Errorf("stored elsewhere: %t, want %t", moved, tc.movable)
				}
				if err := b.RestartMaster("broker-a"); err != nil {
					t.Fatal(err)
				}
				s.flush()
				if shown, err := c.Route(t.Context(), "orders"); err != nil || len(shown) != 2 {
					t.Fatalf("the route shows %v, %v", shown, err)
				}
				if diff := cmp.Diff(tc.want, contents(t, c, queues[0])); diff != "" {
					t.Errorf("on the broker that was away (-want +got):\n%s", diff)
				}
			}, rmqtest.Masters("broker-a", "broker-b"))
		})
	}
}

// ask has a master carry out a request that no client here makes.
func ask(t *testing.T, b *rmqtest.Broker, c *rmq.Client, cmd *remoting.Command) {
	t.Helper()
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool := remoting.NewPool(b.Dial, time.Second, remoting.Credentials{})
	defer pool.Close()
	if _, err := pool.Call(t.Context(), brokers[0].Addr, "test", cmd); err != nil {
		t.Fatal(err)
	}
}

// A 4.9 broker answers with SystemError for a queue that is no more, as it does when it is in trouble.
func TestMessagesMoveWhenTheirQueueIsTakenAway(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 4)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
		s.send(queues[3], "before")
		s.flush()
		ask(t, b, c, &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
			{Name: "topic", Value: "orders"}, {Name: "readQueueNums", Value: "2"}}})
		s.send(queues[3], "0", "1", "2")
		synctest.Wait()
		s.send(queues[3], "3", "4")
		s.flush()
		if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, contents(t, c, queues[1])); diff != "" {
			t.Errorf("on the queue that takes their place (-want +got):\n%s", diff)
		}
	}, rmqtest.Line4())
}

// A replica that becomes the master may not have copied a young topic yet, while the name server shows it as before.
func TestATopicThatItsBrokerDeniesIsMadeAgain(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 4)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
		s.send(queues[3], "before")
		s.flush()
		b.Forget("orders", "broker-a")
		s.send(queues[3], "after")
		time.Sleep(4 * time.Second)
		if n := s.stored.Load(); n != 1 {
			t.Errorf("%d messages stored though the broker denies the topic, want the one from before", n)
		}
		s.flush()
		if diff := cmp.Diff([]string{"after"}, contents(t, c, queues[3])); diff != "" {
			t.Errorf("in the topic that was made again (-want +got):\n%s", diff)
		}
		if again, err := c.Route(t.Context(), "orders"); err != nil || len(again) != 4 {
			t.Errorf("it has the queues %v, %v", again, err)
		}
	})
}

// A broker that comes back with fewer queues of a topic answers that there is no such queue.
func TestMessagesMoveWhenTheirBrokerHasFewerQueues(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 4)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
		s.send(queues[3], "before")
		s.flush()
		var fewer atomic.Bool
		fewer.Store(true)
		b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
			if fewer.Load() && req.Code == remoting.SendMessageV2 && req.Field("e") == "3" {
				v.Refuse, v.Remark = remoting.InvalidParameter, "request queueId[3] is illegal, TopicConfig [...] Producer: 10.0.0.1"
			}
			return v
		})
		s.send(queues[3], "waits for the route")
		time.Sleep(3 * time.Second)
		if n := s.stored.Load(); n != 1 {
			t.Errorf("%d messages were answered while the route shows the queue, want the one from before", n)
		}
		ask(t, b, c, &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
			{Name: "topic", Value: "orders"}, {Name: "readQueueNums", Value: "2"}}})
		s.flush()
		if diff := cmp.Diff([]string{"waits for the route"}, contents(t, c, queues[1])); diff != "" {
			t.Errorf("on the queue that takes its place (-want +got):\n%s", diff)
		}
	})
}
