package cluster_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/service"
)

const logTopic = "connector-cluster-topic"

// wireWorker runs a cluster's service over the remoting protocol until the test ends.
func wireWorker(t *testing.T, b *rmqtest.Broker, id string) *cluster.Cluster {
	t.Helper()
	client, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: b.Dial, ClientID: id})
	if err != nil {
		t.Fatal(err)
	}
	base := time.Now()
	cfg := cluster.Config{WorkerID: id, Clock: func() (time.Duration, time.Duration) { return time.Since(base), time.Since(base) }}
	c, err := cluster.New(cfg, func(ctx context.Context) (cluster.Log, error) {
		q, err := client.EnsureLogTopic(ctx, logTopic, rmq.LogPlace{})
		if err != nil {
			return nil, err
		}
		return client.Log(q), nil
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	stopping := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), 15*time.Second)
	}
	go func() { done <- service.Run(ctx, stopping, c.Service()) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("worker %s: %v", id, err)
		}
		if err := client.Close(); err != nil {
			t.Errorf("closing the client of %s: %v", id, err)
		}
	})
	return c
}

func eventually(t *testing.T, c *cluster.Cluster, what string, ok func(cluster.View) bool) {
	t.Helper()
	for start := time.Now(); !ok(c.View()); {
		if time.Since(start) > time.Minute {
			t.Fatalf("not within a minute: %s; view %+v", what, c.View())
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func joinedBy(n int) func(cluster.View) bool {
	return func(v cluster.View) bool { return v.Joined && len(v.Members) == n }
}

func TestHandOverOverTheWire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, rmqtest.OverPipe())
		one, two := wireWorker(t, b, "one"), wireWorker(t, b, "two")
		eventually(t, one, "both have joined", joinedBy(2))
		eventually(t, two, "both have joined", joinedBy(2))
		unit := cluster.Unit{Connector: "orders", Task: 0}
		first, err := one.Claim(t.Context(), []cluster.ClaimRequest{{Unit: unit, Epoch: 1}})
		if err != nil || len(first) != 1 {
			t.Fatalf("claim: %v, %v", first, err)
		}
		if err := one.Gate(first[0]).Wait(t.Context(), 2*time.Second); err != nil {
			t.Fatal(err)
		}
		if err := one.Release(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		second, err := two.Claim(t.Context(), []cluster.ClaimRequest{{Unit: unit, Epoch: 1}})
		if err != nil || len(second) != 1 || second[0].Generation <= first[0].Generation {
			t.Fatalf("claim after %v: %v, %v", first, second, err)
		}
		b.Trim(logTopic, "broker-a", 0, 1) // what a retention does, if only to one entry
		three := wireWorker(t, b, "three")
		eventually(
			t,
			three,
			"the third has joined and knows the owner",
			func(v cluster.View) bool { return joinedBy(3)(v) && len(v.Owners) == 1 },
		)
	})
}

func TestAnswersThatAreLostRepeatNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, rmqtest.OverPipe())
		one := wireWorker(t, b, "one")
		eventually(t, one, "it has joined", joinedBy(1))
		var sends atomic.Int64
		b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
			isSend := req.Code == remoting.SendMessageV2 || req.Code == remoting.SendBatch
			return rmqtest.Verdict{Swallow: isSend && sends.Add(1)%2 == 1}
		})
		for range 10 {
			grants, err := one.Claim(t.Context(), []cluster.ClaimRequest{{Unit: cluster.Unit{Connector: "orders"}, Epoch: 1}})
			if err != nil || len(grants) != 1 {
				t.Fatalf("claim: %v, %v", grants, err)
			}
			if err := one.Release(t.Context(), grants); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			if owners := one.View().Owners; len(owners) != 0 {
				t.Fatalf("owned after the release: %v", owners)
			}
		}
		if sends.Load() < 20 {
			t.Fatalf("only %d sends were seen", sends.Load())
		}
		b.Intercept(nil)
	})
}

// A master that waits for a slave in vain has stored the record: it can be read, and leases go on by what was read
// back.
func TestAClusterGoesOnWhoseSlaveIsGone(t *testing.T) {
	for name, late := range map[string]time.Duration{"answers at once": 0, "answers within " +
		"sendTimeout": time.Second, "answers later": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := rmqtest.Start(t, rmqtest.OverPipe())
				one, two := wireWorker(t, b, "one"), wireWorker(t, b, "two")
				eventually(t, two, "both have joined", joinedBy(2))
				eventually(t, one, "both have joined", joinedBy(2))
				b.Intercept(func(_ string, req *remoting.Command) (v rmqtest.Verdict) {
					if req.Code == remoting.SendMessageV2 || req.Code == remoting.SendBatch {
						v.Answer, v.Delay = remoting.FlushSlaveTimeout, late
					}
					return v
				})
				var grants []cluster.Grant
				for i := range 60 {
					time.Sleep(time.Second)
					for _, c := range []*cluster.Cluster{one, two} {
						if since, lapsed := c.Lapsed(); lapsed {
							t.Fatalf("after %d s the lease is over, since %s", i, since)
						}
					}
					if i == 30 {
						var err error
						if grants, err = one.Claim(
							t.Context(),
							[]cluster.ClaimRequest{{Unit: cluster.Unit{Connector: "orders"}, Epoch: 1}},
						); err != nil ||
							len(grants) != 1 {
							t.Fatalf("claim: %v, %v", grants, err)
						}
					}
				}
				if err := one.Release(t.Context(), grants); err != nil {
					t.Error(err)
				}
				if n := len(one.View().Members); n != 2 {
					t.Errorf("%d members, want 2", n)
				}
			}) // and both leave in time
		})
	}
}

func TestLogThatLostItsTailShutsGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, rmqtest.OverPipe())
		one := wireWorker(t, b, "one")
		eventually(t, one, "it has joined", joinedBy(1))
		grants, err := one.Claim(t.Context(), []cluster.ClaimRequest{{Unit: cluster.Unit{Connector: "orders"}, Epoch: 1}})
		if err != nil || len(grants) != 1 {
			t.Fatalf("claim: %v, %v", grants, err)
		}
		time.Sleep(10 * time.Second)
		b.Cut(logTopic, "broker-a", 0, 2)
		eventually(t, one, "the grant is gone", func(v cluster.View) bool {
			return errors.Is(one.Gate(grants[0]).Wait(canceled(), 0), cluster.ErrNotOwner)
		})
		eventually(t, one, "it has rejoined", func(v cluster.View) bool { return v.Joined && len(v.Owners) == 0 })
	})
}

// The end of the log tells nothing here: it has grown past what was read when the worker sees it again.
func TestLogThatWasCutAndHasGrownPastTheReaderShutsGates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, rmqtest.OverPipe())
		one := wireWorker(t, b, "one")
		eventually(t, one, "it has joined", joinedBy(1))
		grants, err := one.Claim(t.Context(), []cluster.ClaimRequest{{Unit: cluster.Unit{Connector: "orders"}, Epoch: 1}})
		if err != nil || len(grants) != 1 {
			t.Fatalf("claim: %v, %v", grants, err)
		}
		time.Sleep(10 * time.Second)
		b.StopMaster("broker-a")
		b.Cut(logTopic, "broker-a", 0, 2)
		b.Intercept(func(_ string, req *remoting.Command) rmqtest.Verdict {
			return rmqtest.Verdict{Swallow: req.Code == remoting.PullMessage}
		})
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		before := one.View().Offset
		grow(t, b, int(before)+50)
		b.Intercept(nil)
		b.StopMaster("broker-a")
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		eventually(t, one, "the grant is gone", func(v cluster.View) bool {
			return errors.Is(one.Gate(grants[0]).Wait(canceled(), 0), cluster.ErrNotOwner)
		})
		eventually(t, one, "it has rejoined", func(v cluster.View) bool { return v.Joined && len(v.Owners) == 0 && v.Self > before })
	})
}

// grow appends foreign records to the log.
func grow(t *testing.T, b *rmqtest.Broker, n int) {
	t.Helper()
	client, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: b.Dial, ClientID: "stranger"})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	log := client.Log(rmq.Queue{Topic: logTopic, Broker: "broker-a"})
	for range n {
		if _, err := log.Append(t.Context(), rmq.Entry{Value: []byte("{}")}); err != nil {
			t.Fatal(err)
		}
	}
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestStartWaitsForTheNameServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, rmqtest.OverPipe())
		b.Stop()
		one := wireWorker(t, b, "one")
		time.Sleep(time.Minute)
		if one.View().Joined {
			t.Fatal("joined without a name server")
		}
		if err := b.Restart(); err != nil {
			t.Fatal(err)
		}
		eventually(t, one, "it has joined", joinedBy(1))
	})
}
