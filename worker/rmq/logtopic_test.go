package rmq_test

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// makeCompacting makes a topic on each master as an earlier version did.
func makeCompacting(t *testing.T, b *rmqtest.Broker, c *rmq.Client, topic string, perm int) {
	t.Helper()
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, broker := range brokers {
		if err := rmqtest.CreateCompacting(t.Context(), b.Dial, broker.Addr, topic, perm); err != nil {
			t.Fatal(err)
		}
	}
}

func wipe(t *testing.T, b *rmqtest.Broker, master string) {
	t.Helper()
	if err := b.Wipe(master); err != nil {
		t.Fatal(err)
	}
}

func tend(t *testing.T, c *rmq.Client, topics ...string) rmq.LogTopics {
	t.Helper()
	found, err := c.TendLogTopics(t.Context(), topics...)
	if err != nil {
		t.Errorf("looking after %q: %v", topics, err)
	}
	return found
}

func TestCompactingTopicsAreFound(t *testing.T) {
	cases := map[string]struct {
		make    func(t *testing.T, b *rmqtest.Broker, c *rmq.Client)
		options []rmqtest.Option
		want    []string
	}{
		"a topic that this version made": {
			make: func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) { markedLog(t, c, "") },
		},
		"a topic that an earlier version made": {
			make: func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) { makeCompacting(t, b, c, "log", 6) },
			want: []string{"log"},
		},
		"a marker that an earlier version made": {
			make: func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				b.DropMaster("broker-a")
				makeCompacting(t, b, c, "log", 0)
				if err := b.RestartMaster("broker-a"); err != nil {
					t.Fatal(err)
				}
				markedLog(t, c, "broker-a")
			},
			options: []rmqtest.Option{rmqtest.Masters("broker-a", "broker-b")},
			want:    []string{"log"},
		},
		"brokers before 5.0 know none": {
			make:    func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) { makeCompacting(t, b, c, "log", 6) },
			options: []rmqtest.Option{rmqtest.Line4()},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				tc.make(t, b, c)
				found := tend(t, c, "log", "nothing")
				if diff := cmp.Diff(rmq.LogTopics{Brokers: map[string]string{"log": "broker-a"}, Compacting: tc.want}, found); diff != "" {
					t.Errorf("found (-want +got):\n%s", diff)
				}
			}, tc.options...)
		})
	}
}

// The name server shows topics that their broker has lost for as long as the broker is there.
func TestALogThatItsBrokerDeniesIsMadeThereAgain(t *testing.T) {
	for name, options := range map[string][]rmqtest.Option{"5.3": nil, "4.9": {rmqtest.Line4()}} {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{LogGone: 10 * time.Second}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				q := markedLog(t, c, "")
				if _, err := c.Log(q).Append(t.Context(), rmq.Entry{Key: "k", Value: []byte("x")}); err != nil {
					t.Fatal(err)
				}
				b.Forget("log", "broker-a")
				began := time.Now()
				for time.Since(began) < 10*time.Second {
					_, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{})
					if err == nil {
						t.Fatalf("made again after %s", time.Since(began))
					}
					for _, want := range []string{"broker-a", "broker-a:10911", "topic log", began.UTC().Format(time.RFC3339)} {
						if !strings.Contains(err.Error(), want) {
							t.Errorf("%v, want it to tell %q", err, want)
						}
					}
					if told := c.DeniedLogTopics(); len(told) != 1 || !strings.HasPrefix(err.Error(), told[0]) {
						t.Errorf("told is %q, want the beginning of %q", told, err)
					}
					wantPerms(t, b, absent, 0)
					time.Sleep(time.Second)
				}
				if again := markedLog(t, c, ""); again != q {
					t.Errorf("it lies at %v, want %v", again, q)
				}
				if told := c.DeniedLogTopics(); len(told) > 0 {
					t.Errorf("told is %q once it is there", told)
				}
				wantPerms(t, b, 6, 0)
				if _, end, err := c.Log(q).Bounds(t.Context()); err != nil || end != 0 {
					t.Errorf("it ends at %d, %v; want it empty", end, err)
				}
			}, append(options, rmqtest.Masters("broker-a", "broker-b"))...)
		})
	}
}

// A broker that gave way to one with the topic, and does so again much later, has not denied it all the while.
func TestADenialThatWasOverCountsNotForTheNext(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		markedLog(t, c, "")
		b.Forget("log", "broker-a")
		if _, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{}); !errors.Is(err, rmq.ErrTopicNotFound) {
			t.Fatalf("denied: %v", err)
		}
		time.Sleep(time.Hour)
		if _, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{}); !errors.Is(err, rmq.ErrTopicNotFound) {
			t.Errorf("denied an hour later: %v", err)
		}
	})
}

func TestALogIsMadeBesideAnother(t *testing.T) {
	cases := map[string]struct {
		place   rmq.LogPlace
		prepare func(t *testing.T, b *rmqtest.Broker, c *rmq.Client)
		want    string // the broker
		wantErr error
	}{
		"on the other's broker": {place: rmq.LogPlace{Beside: "cluster"}, want: "broker-b"},
		"unless told otherwise": {place: rmq.LogPlace{Beside: "cluster", Broker: "broker-a"}, want: "broker-a"},
		"unless it is somewhere": {
			place:   rmq.LogPlace{Beside: "cluster"},
			prepare: func(t *testing.T, _ *rmqtest.Broker, c *rmq.Client) { markedLog(t, c, "broker-a") }, want: "broker-a",
		},
		"when its broker has lost it": {
			place: rmq.LogPlace{Beside: "cluster"},
			prepare: func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				markedLog(t, c, "broker-a")
				deleteTopic(t, c, b, "log", "broker-a")
			}, want: "broker-b",
		},
		"not while the other is away": {
			place:   rmq.LogPlace{Beside: "cluster"},
			prepare: func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client) { b.DropMaster("broker-b") }, wantErr: rmq.ErrTopicAway,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
				if _, err := c.EnsureLogTopic(t.Context(), "cluster", rmq.LogPlace{Broker: "broker-b"}); err != nil {
					t.Fatal(err)
				}
				if tc.prepare != nil {
					tc.prepare(t, b, c)
				}
				q, err := c.EnsureLogTopic(t.Context(), "log", tc.place)
				if q.Broker != tc.want || !errors.Is(err, tc.wantErr) {
					t.Errorf("it lies at %v, %v; want broker %q, %v", q, err, tc.want, tc.wantErr)
				}
			})
		})
	}
}

// Invariant C1: the log's broker is away, and one that was recreated has no marker of it.
func TestNoSecondLogIsMadeOnAMasterWithoutAMarker(t *testing.T) {
	cases := map[string]func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) *rmq.Client{
		"by a client that has used it": func(_ *testing.T, _ *rmqtest.Broker, c *rmq.Client) *rmq.Client { return c },
		"by one that was told where it was": func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) *rmq.Client {
			return another(t, b, c.LogBrokers())
		},
		"by one that knows nothing, once another looked after it": func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) *rmq.Client {
			tend(t, c, "log")
			return another(t, b, nil)
		},
	}
	for name, clientOf := range cases {
		t.Run(name, func(t *testing.T) {
			twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
				made := markedLog(t, c, "")
				wipe(t, b, "broker-b")
				b.DropMaster("broker-a")
				c = clientOf(t, b, c)
				if q, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{}); !errors.Is(err, rmq.ErrTopicAway) {
					t.Errorf("made at %v, %v; want %v", q, err, rmq.ErrTopicAway)
				}
				if perm, ok := b.Perm("log", "broker-b"); ok && perm != 0 {
					t.Errorf("permission %d on broker-b, want at most a marker", perm)
				}
				if err := b.RestartMaster("broker-a"); err != nil {
					t.Fatal(err)
				}
				if found := markedLog(t, c, ""); found != made {
					t.Errorf("found %v, made was %v", found, made)
				}
				wantPerms(t, b, 6, 0)
			})
		})
	}
}

func TestMarkersThatAreMissingAreMadeByWhoLooksAfterTheLog(t *testing.T) {
	twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, told *atomic.Int32) {
		markedLog(t, c, "")
		wipe(t, b, "broker-b")
		wantPerms(t, b, 6, absent)
		b.Intercept(func(master string, req *remoting.Command) (v rmqtest.Verdict) {
			if master == "broker-b" && req.Code == remoting.CreateTopic {
				v.Refuse = remoting.SystemError
			}
			return v
		})
		for range 3 {
			tend(t, c, "log")
		}
		if n := told.Load(); n != 1 {
			t.Errorf("that the broker takes no marker was told %d times, want once", n)
		}
		wantPerms(t, b, 6, absent)
		b.Intercept(nil)
		tend(t, c, "log")
		wantPerms(t, b, 6, 0)
	})
}

// What is nowhere is left to those who use it: they know where it belongs.
func TestLookingAfterTopicsMakesNoLog(t *testing.T) {
	twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
		tend(t, c, "log")
		wantPerms(t, b, absent, absent)
		markedLog(t, c, "")
		deleteTopic(t, c, b, "log", "broker-a")
		deleteTopic(t, c, b, "log", "broker-b")
		tend(t, c, "log")
		wantPerms(t, b, absent, absent)
	})
}

// A log that moved is reopened by its readers, and not taken for one of the wrong shape.
func TestALogThatMovedIsToldFromOneOfTheWrongShape(t *testing.T) {
	twoMasters(t, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ *atomic.Int32) {
		l := c.Log(markedLog(t, c, ""))
		b.DropMaster("broker-a")
		markedLog(t, c, "broker-b")
		_, appendErr := l.Append(t.Context(), rmq.Entry{Key: "k", Value: []byte("x")})
		followErr := l.Follow(t.Context(), 0, 0, func(rmq.Entry) error { return nil })
		for what, err := range map[string]error{"append": appendErr, "follow": followErr} {
			if !errors.Is(err, rmq.ErrTopicMoved) || !errors.Is(err, rmq.ErrTopicNotFound) || errors.Is(err, rmq.ErrTopicShape) {
				t.Errorf("%s: %v, want %v", what, err, rmq.ErrTopicMoved)
			}
		}
	})
}

// A broker whose permission an administrator takes away for a while is waited for.
func TestALogOnABrokerThatIsReadOnlyIsWaitedFor(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		ask(t, b, c, &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
			{Name: "topic", Value: "log"}, {Name: "readQueueNums", Value: "1"}, {Name: "perm", Value: "4"}}})
		_, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{})
		if !errors.Is(err, rmq.ErrUnreachable) || errors.Is(err, rmq.ErrTopicShape) || !strings.Contains(err.Error(), "lets nobody write") {
			t.Errorf("ensuring it: %v", err)
		}
		if _, err := l.Append(t.Context(), rmq.Entry{Value: []byte("x")}); !errors.Is(err, rmq.ErrUnreachable) {
			t.Errorf("appending to it: %v", err)
		}
		ask(t, b, c, &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
			{Name: "topic", Value: "log"}, {Name: "readQueueNums", Value: "1"}, {Name: "perm", Value: "6"}}})
		if _, err := l.Append(t.Context(), rmq.Entry{Value: []byte("x")}); err != nil {
			t.Errorf("appending to it at once after it may be written again: %v", err)
		}
		if _, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{}); err != nil {
			t.Error(err)
		}
	})
}
