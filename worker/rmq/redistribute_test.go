package rmq_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
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
