package rmq_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// twoMasters runs test in a bubble with two masters; logs go to told.
func twoMasters(t *testing.T, test func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, told *atomic.Int32)) {
	t.Helper()
	var told atomic.Int32
	log := funcr.New(func(_, args string) {
		if strings.Contains(args, "Going on without a marker") {
			told.Add(1)
		}
	}, funcr.Options{})
	bubble(t, rmq.Config{Log: log}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) { test(t, b, c, &told) },
		rmqtest.Masters("broker-a", "broker-b"))
}

// another opens one more client, which knows where logs were.
func another(t *testing.T, b *rmqtest.Broker, logs map[string]string) *rmq.Client {
	t.Helper()
	c, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: b.Dial, LogBrokers: logs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Errorf("closing a client: %v", err)
		}
	})
	return c
}

func markedLog(t *testing.T, c *rmq.Client, broker string) rmq.Queue {
	t.Helper()
	q, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{Broker: broker})
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// absent is the permission of a topic that a master does not have.
const absent = -1

func wantPerms(t *testing.T, b *rmqtest.Broker, wantA, wantB int) {
	t.Helper()
	for master, want := range map[string]int{"broker-a": wantA, "broker-b": wantB} {
		perm, ok := b.Perm("log", master)
		if !ok {
			perm = absent
		}
		if perm != want {
			t.Errorf("the permission on %s is %d, want %d", master, perm, want)
		}
	}
}

func TestALogIsMarkedOnTheOtherMasters(t *testing.T) {
	twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, told *atomic.Int32) {
		l, q := logOf(t, c)
		wantPerms(t, b, 6, 0)
		s := c.NewSender(rmq.SenderConfig{})
		for _, queue := range []rmq.Queue{q, q, {}, {}} {
			if err := s.Send(t.Context(), rmq.Message{Topic: "log", Queue: queue, Body: []byte("x")}, func(_ int64, err error) {
				if err != nil {
					t.Error(err)
				}
			}); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if _, end, err := l.Bounds(t.Context()); err != nil || end != 4 {
			t.Errorf("the log ends at %d, %v; want all 4 messages there", end, err)
		}
		if queues, err := c.Route(t.Context(), "log"); err != nil || !cmp.Equal(queues, []rmq.Queue{q}) {
			t.Errorf("the topic's queues are %v, %v; want %v alone", queues, err, q)
		}
		if n := told.Load(); n != 0 {
			t.Errorf("trouble was told %d times", n)
		}
	})
}

// Invariant C1: a second log, made while the broker of the first is away, would be another order of events.
func TestALogWhoseBrokerIsAwayIsNotMadeAgain(t *testing.T) {
	cases := map[string]func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) *rmq.Client{
		"by a client that has used it": func(_ *testing.T, _ *rmqtest.Broker, c *rmq.Client) *rmq.Client { return c },
		"by one that starts":           func(t *testing.T, b *rmqtest.Broker, _ *rmq.Client) *rmq.Client { return another(t, b, nil) },
	}
	for name, clientOf := range cases {
		t.Run(name, func(t *testing.T) {
			twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
				made := markedLog(t, c, "")
				b.DropMaster("broker-a")
				c = clientOf(t, b, c)
				_, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{})
				if !errors.Is(err, rmq.ErrTopicAway) || !rmq.IsTemporary(err) || !strings.Contains(err.Error(), "topic log") {
					t.Errorf("as a log: %v, want a temporary error that tells that the topic's broker is away", err)
				}
				if _, err := c.EnsureTopic(t.Context(), "log", rmq.TopicSpec{Queues: 4}); !errors.Is(err, rmq.ErrTopicAway) {
					t.Errorf("as a topic: %v, want %v", err, rmq.ErrTopicAway)
				}
				wantPerms(t, b, 6, 0)
				if err := b.RestartMaster("broker-a"); err != nil {
					t.Fatal(err)
				}
				if found := markedLog(t, c, ""); found != made {
					t.Errorf("found %v, made was %v", found, made)
				}
			})
		})
	}
}

func TestALogIsRecreatedWhereItIsWanted(t *testing.T) {
	twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
		markedLog(t, c, "")
		b.DropMaster("broker-a") // for good
		c = another(t, b, nil)
		q := markedLog(t, c, "broker-b")
		if q.Broker != "broker-b" {
			t.Fatalf("it lies on %s", q.Broker)
		}
		wantPerms(t, b, 6, 6)
		l := c.Log(q)
		if offset, err := l.Append(t.Context(), rmq.Entry{Key: "k", Value: []byte("x")}); err != nil || offset != 0 {
			t.Errorf("appended at %d, %v", offset, err)
		}
		if again := markedLog(t, another(t, b, nil), ""); again != q {
			t.Errorf("another client finds %v, want %v", again, q)
		}
	})
}

// What is deleted on its broker, or gone with that broker's disk, is recreated by those who know where it was.
func TestALogThatItsBrokerHasLostIsRecreatedThere(t *testing.T) {
	twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
		made := markedLog(t, c, "")
		deleteTopic(t, c, b, "log", "broker-a")
		if _, err := another(t, b, nil).EnsureLogTopic(t.Context(), "log", rmq.LogPlace{}); !errors.Is(err, rmq.ErrTopicAway) {
			t.Errorf("for a client that knows nothing: %v, want %v", err, rmq.ErrTopicAway)
		}
		wantPerms(t, b, absent, 0)
		if again := markedLog(t, c, ""); again != made {
			t.Errorf("made at %v, was at %v", again, made)
		}
		wantPerms(t, b, 6, 0)
	})
}

func TestABrokerThatIsAddedIsMarkedByTheNextClient(t *testing.T) {
	twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
		b.DropMaster("broker-b")
		markedLog(t, c, "")
		if err := b.RestartMaster("broker-b"); err != nil {
			t.Fatal(err)
		}
		wantPerms(t, b, 6, absent)
		markedLog(t, another(t, b, nil), "")
		wantPerms(t, b, 6, 0)
	})
}

func TestAMarkerThatFailsHoldsNothingUp(t *testing.T) {
	cases := map[string]struct {
		verdict  rmqtest.Verdict
		wantB    int
		wantTold int32
	}{
		"the broker refuses it":                          {rmqtest.Verdict{Refuse: remoting.SystemError}, absent, 1},
		"the broker made it, and its answer was lost":    {rmqtest.Verdict{Reset: true}, 0, 0},
		"the broker hangs, as one does that was stopped": {rmqtest.Verdict{Hang: true}, absent, 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, told *atomic.Int32) {
				b.Intercept(func(master string, req *remoting.Command) (v rmqtest.Verdict) {
					if master == "broker-b" && req.Code == remoting.CreateTopic {
						return tc.verdict
					}
					return v
				})
				markedLog(t, c, "")
				if _, err := c.EnsureLogTopic(t.Context(), "other", rmq.LogPlace{}); err != nil {
					t.Fatal(err)
				}
				b.Intercept(nil)
				markedLog(t, c, "")
				wantPerms(t, b, 6, tc.wantB)
				if n := told.Load(); n != tc.wantTold {
					t.Errorf("trouble was told %d times, want %d", n, tc.wantTold)
				}
				markedLog(t, another(t, b, nil), "")
				wantPerms(t, b, 6, 0)
			})
		})
	}
}

func TestATopicThatCanOnlyBeWrittenToIsThere(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		masters, err := c.Brokers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		const onlyWrite = 2
		if err := rmqtest.CreateCompacting(t.Context(), b.Dial, masters[0].Addr, "orders", onlyWrite); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Route(t.Context(), "orders"); !errors.Is(err, rmq.ErrNotReadable) || !errors.Is(err, rmq.ErrTopicNotFound) {
			t.Errorf("route: %v", err)
		}
		if queues, err := c.EnsureTopic(t.Context(), "orders", rmq.TopicSpec{Queues: 4}); err != nil || len(queues) != 1 {
			t.Errorf("ensured: %v, %v", queues, err)
		}
		if perm, _ := b.Perm("orders", masters[0].Name); perm != onlyWrite {
			t.Errorf("the permission became %d", perm)
		}
	})
}
