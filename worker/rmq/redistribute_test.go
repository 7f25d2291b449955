package rmq_test

import (
	"fmt"
	"math/rand/v2"
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

// Movable messages of one queue go to one other, batch after batch, in the order in which they were sent.
func TestMovableMessagesKeepTheirOrder(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 4)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{MaxBatchRecords: 3}), movable: true}
		var bodies []string
		for i := range 60 {
			if i == 10 {
				s.flush()
				b.DropMaster("broker-a")
			}
			bodies = append(bodies, fmt.Sprint(i))
			s.send(queues[0], bodies[i])
		}
		s.flush()
		targets, err := c.Targets(t.Context(), "orders")
		if err != nil {
			t.Fatal(err)
		}
		instead := targets.Instead(queues[0])
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Route(t.Context(), "orders"); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(bodies[:10], contents(t, c, queues[0])); diff != "" {
			t.Errorf("on the broker that was away (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(bodies[10:], withoutRepeats(contents(t, c, instead))); diff != "" {
			t.Errorf("on %s, which takes its place (-want +got):\n%s", instead, diff)
		}
	}, rmqtest.Masters("broker-a", "broker-b"))
}

// Two lanes that fail by turns hand over to each other, and neither waits for the other: each message is answered once.
func TestLanesHandOverToEachOther(t *testing.T) {
	for seed := range uint64(5) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				var mu sync.Mutex
				rng := rand.New(rand.NewPCG(seed, 1))
				refused := 0
				b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
					mu.Lock()
					defer mu.Unlock()
					if isSend(req) && rng.IntN(2) == 0 {
						refused++
						v.Refuse = remoting.SystemBusy
					}
					return v
				})
				s := c.NewSender(rmq.SenderConfig{MaxBatchRecords: 5})
				answers := map[string]int{}
				for i := range 300 {
					body := fmt.Sprint(i)
					m := rmq.Message{Topic: "orders", Body: []byte(body)}
					if i%3 == 0 {
						m.Queue = queues[i%2]
					}
					patiently(t, s, m, func(_ int64, err error) {
						mu.Lock()
						defer mu.Unlock()
						if answers[body]++; err != nil {
							t.Errorf("message %s: %v", body, err)
						}
					})
					if i%40 == 0 {
						synctest.Wait()
						time.Sleep(time.Second)
					}
				}
				if err := s.Flush(t.Context()); err != nil {
					t.Fatal(err)
				}
				b.Intercept(nil)
				var bound [2][]string
				stored := map[string]int{}
				for i, q := range queues {
					for _, body := range contents(t, c, q) {
						stored[body]++
						var n int
						if _, err := fmt.Sscan(body, &n); err != nil {
							t.Fatal(err)
						}
						if n%3 == 0 {
							bound[i] = append(bound[i], body)
						}
					}
				}
				var want [2][]string
				for i := range 300 {
					if body := fmt.Sprint(i); answers[body] != 1 || stored[body] != 1 {
						t.Errorf("message %d was answered %d times, and stored %d times", i, answers[body], stored[body])
					}
					if i%3 == 0 {
						want[i%2] = append(want[i%2], fmt.Sprint(i))
					}
				}
				if diff := cmp.Diff(want, bound); diff != "" || refused == 0 {
					t.Errorf("%d batches were refused; bound to the queues (-want +got):\n%s", refused, diff)
				}
			}, rmqtest.Masters("broker-a", "broker-b"))
		})
	}
}

// free sends messages that may go to any queue.
func (s *sending) free(n int) {
	s.t.Helper()
	for range n {
		s.send(rmq.Queue{}, "free")
	}
}

// Messages that may go anywhere keep away from a queue that failed, or whose answer is late, until it stores a batch.
func TestWhichQueuesTakeWhatMayGoAnywhere(t *testing.T) {
	cases := map[string]struct {
		verdict rmqtest.Verdict // of the first batch
		after   time.Duration
		want    int // of ten messages, on the queue
	}{
		"it failed":                            {rmqtest.Verdict{Refuse: remoting.SystemBusy}, 0, 0},
		"it failed, and took the batch then":   {rmqtest.Verdict{Refuse: remoting.SystemBusy}, time.Second, 5},
		"its answer is late":                   {rmqtest.Verdict{Delay: 5 * time.Second}, 2500 * time.Millisecond, 0},
		"its answer was late, and came by now": {rmqtest.Verdict{Delay: 4 * time.Second}, 4500 * time.Millisecond, 5},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				queues := topic(t, c, 1)
				first(b, 1, tc.verdict, remoting.SendMessageV2)
				s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
				s.send(queues[0], "bound")
				synctest.Wait()
				time.Sleep(tc.after)
				synctest.Wait()
				s.free(10)
				s.flush()
				if n := len(contents(t, c, queues[0])) - 1; n != tc.want {
					t.Errorf("%d of 10 messages are on the queue, want %d", n, tc.want)
				}
			}, rmqtest.Masters("broker-a", "broker-b"))
		})
	}
}

// Where no queue works messages wait: they do not go round.
func TestWhatNoQueueTakesWaits(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		topic(t, c, 1)
		tries := first(b, 100, rmqtest.Verdict{Refuse: remoting.SystemBusy}, remoting.SendMessageV2)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
		s.free(1)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if n := tries.Load(); n > 12 { // one by the first lane, and then after 5, 10, 20 … ms
			t.Errorf("it was tried %d times within two seconds", n)
		}
		b.Intercept(nil)
		s.flush()
	}, rmqtest.Masters("broker-a", "broker-b"))
}

// For how long a broker denies a topic is counted for each batch.
func TestADenialThatWasOverCountsNotForTheNextBatch(t *testing.T) {
	bubble(t, rmq.Config{LogGone: 5 * time.Second}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
		var made atomic.Int32
		for range 3 {
			begun := time.Now()
			b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
				if req.Code == remoting.CreateTopic {
					made.Add(1)
				}
				if isSend(req) && time.Since(begun) < 4*time.Second {
					v.Refuse = remoting.TopicNotExist
				}
				return v
			})
			s.send(queues[0], "denied")
			s.flush()
		}
		if n := made.Load(); n != 0 {
			t.Errorf("the topic was made %d times, though it was denied for 4 s at most", n)
		}
	})
}

// A name server forgets the topics of a broker that restarts: what is bound to a queue waits, though nothing else is
// known of it.
func TestATopicThatOnlyANameServerDeniesIsWaitedFor(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		b.DropMaster("broker-a")
		other, _ := clientOf(t, b) // it has never looked the topic up
		s := &sending{t: t, s: other.NewSender(rmq.SenderConfig{})}
		s.send(queues[0], "waits")
		time.Sleep(10 * time.Second)
		if n := s.stored.Load(); n != 0 {
			t.Errorf("%d messages were answered while the broker is away", n)
		}
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		s.flush()
		if diff := cmp.Diff([]string{"waits"}, contents(t, other, queues[0])); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// A broker may answer for a queue that was taken away as it does for any trouble: the route tells, and after a minute
// it counts.
func TestMessagesMoveWhenOnlyTheRouteTellsThatTheirQueueIsGone(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 4)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
		b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
			if req.Code == remoting.SendMessageV2 && req.Field("e") == "3" {
				v.Refuse = remoting.SystemError
			}
			return v
		})
		ask(t, b, c, &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
			{Name: "topic", Value: "orders"}, {Name: "readQueueNums", Value: "2"}}})
		s.send(queues[3], "waits for the route")
		time.Sleep(rmq.GivenUpAfter)
		if n := s.stored.Load(); n != 0 {
			t.Errorf("%d messages were answered before the queue was gone for a minute", n)
		}
		s.flush()
		if diff := cmp.Diff([]string{"waits for the route"}, contents(t, c, queues[1])); diff != "" {
			t.Errorf("on the queue that takes its place (-want +got):\n%s", diff)
		}
	})
}
