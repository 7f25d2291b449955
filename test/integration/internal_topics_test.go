//go:build integration

package integration

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// brokerAdmin does to the one broker what an administrator does.
type brokerAdmin struct {
	t    *testing.T
	pool *remoting.Pool
	addr string
}

func newBrokerAdmin(t *testing.T, client *rmq.Client) *brokerAdmin {
	t.Helper()
	brokers, err := client.Brokers(t.Context())
	if err != nil || len(brokers) != 1 {
		t.Fatalf("brokers %v, %v; want one", brokers, err)
	}
	a := &brokerAdmin{t: t, addr: brokers[0].Addr, pool: remoting.NewPool((&net.Dialer{}).DialContext, 5*time.Second, remoting.Credentials{})}
	t.Cleanup(a.pool.Close)
	return a
}

func (a *brokerAdmin) call(addr string, code int, topic string) {
	a.t.Helper()
	resp, err := a.pool.Call(
		a.t.Context(),
		addr,
		"test",
		&remoting.Command{Code: code, Fields: []remoting.Field{{Name: "topic", Value: topic}}},
	)
	if err != nil || resp.Code != remoting.Success {
		a.t.Fatalf("request %d about topic %s to %s: %v, %v", code, topic, addr, resp, err)
	}
}

// forget deletes a topic on the broker alone, which is what a failover may come to; delete does it everywhere.
func (a *brokerAdmin) forget(topic string) { a.call(a.addr, remoting.DeleteTopicBroker, topic) }

func (a *brokerAdmin) delete(topic string) {
	a.forget(topic)
	for _, addr := range nameServers() {
		a.call(addr, remoting.DeleteTopicNamesrv, topic)
	}
}

// The internal topics are lost or replaced one after the other while records flow. Workers recreate each and publish
// again what they hold: nothing is lost, and a worker that knows nothing but the topics finds all of it.
func TestInternalTopicsThatGoAreRecreated(t *testing.T) {
	cases := map[string]struct {
		earlier bool // the stores' topics compact, as an earlier version made them
		goes    func(a *brokerAdmin, topic string)
		topics  func(internal []string) []string
	}{
		"compaction topics are deleted": {
			earlier: true, goes: (*brokerAdmin).delete, topics: func(internal []string) []string { return internal[1:] },
		},
		"the broker loses them, and the name server shows them": {
			goes: (*brokerAdmin).forget, topics: func(internal []string) []string { return internal },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t)
			l, back := newLake(t, "topics-"+c.id), newLake(t, "topics-"+c.id+"-back")
			a, internal := newBrokerAdmin(t, l.rocket), process.InternalTopics(c.id)
			if tc.earlier {
				for _, topic := range internal[1:] {
					if err := rmqtest.CreateCompacting(t.Context(), (&net.Dialer{}).DialContext, a.addr, topic, 6); err != nil {
						t.Fatal(err)
					}
				}
			}
			port1, port2 := freePort(t), freePort(t)
			w1, w2 := start(t, port1, c.conf("W1", port1, t.TempDir(), "")), start(t, port2, c.conf("W2", port2, t.TempDir(), ""))
			w1.answers("/getClusterInfo", `["W1","W2"]`)
			w1.curl(
				`/connectors/create/in?config={"tasks.num":"2","kafka.topics":"`+l.topic+`","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
				"success",
			)
			plan := flow.Plan{Records: 10_000, Size: 256, Keys: 100, Seed: 7, Begin: time.Now(), Rate: 500}
			produced := make(chan error, 1)
			go func() { produced <- flow.Produce(t.Context(), kafkaBootstrap(), l.topic, plan, func(int) {}) }()
			rocket := flow.RocketMQEnds(l.rocket, l.topic)
			eventually(t, func(ctx context.Context) error { n, err := rocket(ctx); return errors.Join(err, atLeast(n, 1)) })
			w1.curl(
				`/connectors/create/`+
					`out?config={"topicNames":"`+l.topic+`","tasks.num":"2","topic.rename.format":"${topic}-back",`+
					`"kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
				"success",
			)
			runs(t, map[string]int{"in": 2, "out": 2}, w1, w2)

			configs, err := keysOf(t.Context(), l.rocket, internal[1])
			if err != nil || len(configs) < 2 {
				t.Fatalf("configs %v, %v", configs, err)
			}
			for _, topic := range tc.topics(internal) {
				tc.goes(a, topic)
				gone := time.Now()
				eventually(t, func(ctx context.Context) error {
					_, err := l.rocket.Log(rmq.Queue{Topic: topic, Broker: "broker-a"}).Retention(ctx) // asks the broker itself
					return err
				})
				t.Logf("%s was there again after %s", topic, time.Since(gone).Round(10*time.Millisecond))
				w1.ready()
				w2.ready()
			}
			found, err := l.rocket.TendLogTopics(t.Context(), internal...)
			if err != nil || len(found.Brokers) != len(internal) || len(found.Compacting) > 0 {
				t.Errorf("the topics are %+v, %v; want five, none of them compacting", found, err)
			}
			if err := <-produced; err != nil {
				t.Fatal(err)
			}
			kafka := flow.KafkaEnds(back.kafka, back.topic)
			eventually(t, func(ctx context.Context) error {
				n, err := kafka(ctx)
				return errors.Join(err, atLeast(n, int64(plan.Records)))
			})
			// Whoever has a connector publishes its config again, once it has noticed; if not, another one does after a while.
			eventually(t, func(ctx context.Context) error {
				now, err := keysOf(ctx, l.rocket, internal[1])
				for key := range configs {
					if !now[key] {
						err = errors.Join(err, fmt.Errorf("%s has no %s yet", internal[1], key))
					}
				}
				return err
			})
			w1.stop()
			w2.stop()
			ends := func() (r, k int64) {
				r, err1 := rocket(t.Context())
				k, err2 := kafka(t.Context())
				if err := errors.Join(err1, err2); err != nil {
					t.Fatal(err)
				}
				return r, k
			}
			inRocket, inKafka := ends()
			port3 := freePort(t)
			w3 := start(t, port3, c.conf("W3", port3, t.TempDir(), "")) // it knows nothing but what the topics hold
			runs(t, map[string]int{"in": 2, "out": 2}, w3)
			l.marks()
			eventually(t, func(ctx context.Context) error {
				n, err := kafka(ctx)
				return errors.Join(err, atLeast(n, inKafka+partitions))
			})
			if r, k := ends(); r != inRocket+partitions || k != inKafka+partitions {
				t.Errorf("%d and %d records more than before: the new worker did not go on where the others were", r-inRocket, k-inKafka)
			}
			result, err := flow.Check(t.Context(), kafkaBootstrap(), back.topic, plan, 5*time.Second)
			t.Logf("came back: %s", result)
			if err != nil || result.Missing+result.Corrupt+result.OutOfOrder > 0 {
				t.Errorf("came back: %s, %v", result, err)
			}
		})
	}
}

// keysOf is what a log has values of.
func keysOf(ctx context.Context, client *rmq.Client, topic string) (map[string]bool, error) {
	keys := map[string]bool{}
	_, err := client.Log(rmq.Queue{Topic: topic, Broker: "broker-a"}).Read(ctx, 0, func(e rmq.Entry) error {
		keys[e.Key] = true
		return nil
	})
	return keys, err
}

func atLeast(n, want int64) error {
	if n < want {
		return fmt.Errorf("%d records, want %d", n, want)
	}
	return nil
}

// Whoever deletes a cluster's topics and its workers' folders begins again: nothing of the earlier life counts, also
// where the broker keeps what compaction topics held.
func TestAClusterThatWasCleanedUpBeginsAnew(t *testing.T) {
	for name, earlier := range map[string]bool{"topics of this version": false, "compaction topics": true} {
		t.Run(name, func(t *testing.T) {
			c := newTestCluster(t)
			l := newLake(t, "anew-"+c.id)
			a, internal := newBrokerAdmin(t, l.rocket), process.InternalTopics(c.id)
			if earlier {
				for _, topic := range internal[1:] {
					if err := rmqtest.CreateCompacting(t.Context(), (&net.Dialer{}).DialContext, a.addr, topic, 6); err != nil {
						t.Fatal(err)
					}
				}
			}
			plan := flow.Plan{Records: 2000, Size: 100, Keys: 10, Seed: 7, Begin: time.Now()}
			if err := flow.Produce(t.Context(), kafkaBootstrap(), l.topic, plan, func(int) {}); err != nil {
				t.Fatal(err)
			}
			rocket := flow.RocketMQEnds(l.rocket, l.topic)
			for life := int64(1); life <= 2; life++ {
				port := freePort(t)
				w := start(t, port, c.conf("W1", port, t.TempDir(), ""))
				w.ready()
				w.curl(
					`/connectors/create/in?config={"tasks.num":"2","kafka.topics":"`+l.topic+`","kafka.bootstrap.server":"`+kafkaBootstrap()+`"}`,
					"success",
				)
				runs(t, map[string]int{"in": 2}, w)
				eventually(t, func(ctx context.Context) error {
					n, err := rocket(ctx)
					return errors.Join(err, atLeast(n, life*int64(plan.Records)))
				})
				eventually(t, func(ctx context.Context) error { // of the connector and of both tasks
					text, err := w.Get(ctx, "/api/v1/connectors/in/status")
					if n := strings.Count(text, `"state":"Running"`); err == nil && n != 3 {
						err = fmt.Errorf("the status is %s", text)
					}
					return err
				})
				w.stop()
				for _, topic := range internal {
					a.delete(topic)
				}
			}
		})
	}
}
