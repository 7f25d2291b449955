package kafka

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/record"
)

// denied has the broker answer for a topic with an error, until the returned function is called.
func (f *fake) denied(topic string, refusal *kerr.Error) func() {
	over := make(chan struct{})
	f.ControlKey(int16(kmsg.Metadata), func(in kmsg.Request) (kmsg.Response, error, bool) {
		select {
		case <-over:
			return nil, nil, false
		default:
		}
		f.KeepControl()
		req := in.(*kmsg.MetadataRequest)
		asked := slices.ContainsFunc(req.Topics, func(t kmsg.MetadataRequestTopic) bool { return t.Topic != nil && *t.Topic == topic })
		if !asked {
			return nil, nil, false
		}
		resp := req.ResponseKind().(*kmsg.MetadataResponse)
		f.describe(req, resp, topic, refusal)
		return resp, nil, true
	})
	return func() { close(over) }
}

func (f *fake) describe(req *kmsg.MetadataRequest, resp *kmsg.MetadataResponse, refused string, refusal *kerr.Error) {
	broker := kmsg.NewMetadataResponseBroker()
	host, port, _ := strings.Cut(f.addr, ":")
	broker.Host = host
	_, _ = fmt.Sscan(port, &broker.Port)
	resp.Brokers = append(resp.Brokers, broker)
	for _, asked := range req.Topics {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic = asked.Topic
		switch info := f.TopicInfo(*asked.Topic); {
		case *asked.Topic == refused:
			topic.ErrorCode = refusal.Code
		case info == nil:
			topic.ErrorCode = kerr.UnknownTopicOrPartition.Code
		default:
			topic.TopicID = info.TopicID
			for _, p := range f.PartitionInfos(*asked.Topic) {
				partition := kmsg.NewMetadataResponseTopicPartition()
				partition.Partition, partition.Leader, partition.Replicas, partition.ISR = p.Partition, broker.NodeID, []int32{
					broker.NodeID,
				}, []int32{
					broker.NodeID,
				}
				topic.Partitions = append(topic.Partitions, partition)
			}
		}
		resp.Topics = append(resp.Topics, topic)
	}
}

// pollShortly polls though nothing may come. What comes is left out.
func pollShortly(ctx context.Context, s *Source) error {
	short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
	defer cancel()
	_, err := s.Poll(short)
	s.Progressed()
	return err
}

// wantWarning polls until the warning has all parts, or is empty if there are none.
func wantWarning(t *testing.T, w *connectortest.Worker, s *Source, parts ...string) {
	t.Helper()
	done := func() bool {
		text := w.Warning()
		return (text == "") == (len(parts) == 0) && !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
	}
	for ctx := limited(t); !done(); {
		if err := pollShortly(ctx, s); err != nil || ctx.Err() != nil {
			t.Fatalf("%v, %v; the warning is %q, want %q", err, ctx.Err(), w.Warning(), parts)
		}
	}
}

func TestSourceGoesOnWithoutATopic(t *testing.T) {
	const others = "the other topics are read on"
	cases := map[string]struct {
		topic   string
		absent  func(*fake) (comes func() error)
		warning []string
	}{
		"that does not exist": {
			absent: func(f *fake) func() error {
				if err := f.DeleteTopic("b"); err != nil {
					return func() error { return err }
				}
				return func() error { return f.CreateTopic("b", 1, nil) }
			},
			warning: []string{`topic "b" does not exist in Kafka`, keyTopics, others},
		},
		"that the user may not read": {
			absent: func(f *fake) func() error {
				over := f.denied("b", kerr.TopicAuthorizationFailed)
				return func() error { over(); return nil }
			},
			warning: []string{`topic "b" cannot be read`, "grant", others},
		},
		"that has no leader": {
			absent: func(f *fake) func() error {
				over := f.denied("b", kerr.LeaderNotAvailable)
				return func() error { over(); return nil }
			},
			warning: []string{"looking up topic b", "no leader", others},
		},
		"whose name is not allowed": {
			absent: func(f *fake) func() error {
				over := f.denied("b", kerr.InvalidTopicException)
				return func() error { over(); return nil }
			},
			warning: []string{`topic "b" cannot exist in Kafka`, keyTopics, others},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a", "b"))
			comes := tc.absent(f)
			w := connectortest.NewWorker(nil)
			s := openSource(t, f.sourceConfig("a,b"), w.Env(0, 1), nil)
			wantWarning(t, w, s, tc.warning...)
			f.produceValues(t, "a", 0, "a 0")
			if diff := cmp.Diff([]string{"a 0"}, values(poll(t, s, 1))); diff != "" {
				t.Fatalf("without b (-want +got):\n%s", diff)
			}
			if err := comes(); err != nil {
				t.Fatal(err)
			}
			wantWarning(t, w, s)
			f.client.PurgeTopicsFromProducing("b")
			f.produceValues(t, "b", 0, "b 0")
			if diff := cmp.Diff([]string{"b 0"}, values(poll(t, s, 1))); diff != "" {
				t.Errorf("once b is there (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSourceGoesOnWhenOneOfItsTopicsIsDeleted(t *testing.T) {
	for name, rests := range map[string]bool{"while it reads": false, "while it rests": true} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a", "b"))
			w := connectortest.NewWorker(nil)
			s := openSource(t, f.sourceConfig("a,b"), w.Env(0, 1), nil)
			f.produceValues(t, "b", 0, numbered("old", 3)...)
			if !rests {
				poll(t, s, 3)
			}
			if err := f.DeleteTopic("b"); err != nil {
				t.Fatal(err)
			}
			wantWarning(t, w, s, `topic "b" does not exist`)
			f.produceValues(t, "a", 0, "a 0")
			if diff := cmp.Diff([]string{"a 0"}, values(poll(t, s, 1))); diff != "" {
				t.Fatalf("without b (-want +got):\n%s", diff)
			}
			if err := f.CreateTopic("b", 1, nil); err != nil {
				t.Fatal(err)
			}
			f.client.PurgeTopicsFromProducing("b")
			f.produceValues(t, "b", 0, numbered("new", 5)...)
			if diff := cmp.Diff(numbered("new", 5), values(poll(t, s, 5))); diff != "" {
				t.Errorf("once b is there again (-want +got):\n%s", diff)
			}
			wantWarning(t, w, s)
		})
	}
}

func TestSourceGoesOnWithoutATopicWhoseRecordsAreDenied(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	denied := f.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: "b", Err: kerr.TopicAuthorizationFailed, Count: -1})
	w := connectortest.NewWorker(nil)
	s := openSource(t, f.sourceConfig("a,b"), w.Env(0, 1), nil)
	f.produceValues(t, "b", 0, "b 0")
	f.produceValues(t, "a", 0, "a 0")
	if diff := cmp.Diff([]string{"a 0"}, values(poll(t, s, 1))); diff != "" {
		t.Errorf("without b (-want +got):\n%s", diff)
	}
	wantWarning(t, w, s, `topic "b" cannot be read`, "lacks the rights")
	denied.Remove()
	if diff := cmp.Diff([]string{"b 0"}, values(poll(t, s, 1))); diff != "" {
		t.Errorf("once b may be read (-want +got):\n%s", diff)
	}
	wantWarning(t, w, s)
}

func TestATopicThatWasAbsentBeginsAtItsFirstRecord(t *testing.T) {
	for name, restarted := range map[string]bool{"when it comes while the connector runs": false, "when it comes while it does not": true} {
		t.Run(name, func(t *testing.T) {
			f := newFake(t, kfake.SeedTopics(1, "a"))
			cfg, stored := f.sourceConfig("a,b", keyReset, string(resume.Latest)), record.Positions{}
			w := connectortest.NewWorker(nil)
			s := openSource(t, cfg, w.Env(0, 1), nil)
			maps.Copy(stored, told(t, s))
			if restarted {
				if err := s.Close(limited(t)); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.CreateTopic("b", 1, nil); err != nil {
				t.Fatal(err)
			}
			f.produceValues(t, "b", 0, "b 0", "b 1")
			if restarted {
				s = openSource(t, cfg, w.Env(0, 1), stored)
			}
			if diff := cmp.Diff([]string{"b 0", "b 1"}, values(poll(t, s, 2))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestSourceWithoutAnyTopicFails(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	s := openSource(t, f.sourceConfig("a,b"), connectortest.NewWorker(nil).Env(0, 1), nil)
	for _, topic := range []string{"a", "b"} {
		if err := f.DeleteTopic(topic); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for ctx := limited(t); err == nil && ctx.Err() == nil; {
		_, err = s.Poll(ctx)
	}
	for _, part := range []string{`topic "a" does not exist`, `topic "b" does not exist`} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("no %q in: %v", part, err)
		}
	}
}

func TestSourceGoesOnWithoutATopicThatRocketMQDoesNotAllow(t *testing.T) {
	f := newFake(t, kfake.SeedTopics(1, "a", "b"))
	w := connectortest.NewWorker(nil)
	env := w.Env(0, 1)
	ensure := env.EnsureTopic
	env.EnsureTopic = func(ctx context.Context, topic string, queues int) error {
		if topic == "b" {
			return fmt.Errorf("too long: %w", connector.ErrTopicName)
		}
		return ensure(ctx, topic, queues)
	}
	s := openSource(t, f.sourceConfig("a,b"), env, nil)
	f.produceValues(t, "a", 0, "a 0")
	if diff := cmp.Diff([]string{"a 0"}, values(poll(t, s, 1))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if text := w.Warning(); !strings.Contains(text, "making the RocketMQ topic for Kafka topic b: too long") {
		t.Errorf("warning %q", text)
	}
}
