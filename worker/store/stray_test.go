package store_test

import (
	"slices"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// Two clusters' topics, and somebody copies records from one's into the other's: a tool that copies all topics, a
// connector of another runtime. The connectors of one are none of the other's.
func TestConfigsThatWereCopiedFromAnotherTopicDoNotCount(t *testing.T) {
	cases := map[string]struct {
		copied func([]rmq.Property) []rmq.Property
		counts bool
	}{
		"as they are": {copied: func(p []rmq.Property) []rmq.Property { return p }},
		"by a connector": {copied: func(p []rmq.Property) []rmq.Property {
			return append(withoutMark(p), rmq.Property{Name: "connect-path", Value: "x"})
		}},
		"one of an older worker": {copied: withoutMark, counts: true},
		"into the topic they are of": {copied: func(p []rmq.Property) []rmq.Property {
			return append(withoutMark(p), rmq.Property{Name: "connect-log", Value: "config"})
		}, counts: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			broker := rmqtest.Start(t, rmqtest.OverPipe())
			stores := onBroker(t, broker, "one")
			if _, err := stores.Configs().Put(t.Context(), store.Write{Name: "ours", Config: map[string]string{"k": "v"}}); err != nil {
				t.Fatal(err)
			}
			client, err := rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}, Dial: broker.Dial})
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			copyInto(t, client, theirs(t, client), tc.copied)
			if err := stores.Configs().Sync(t.Context()); err != nil {
				t.Fatal(err)
			}
			for worker, s := range map[string]*store.Stores{"who was there": stores, "a newcomer": onBroker(t, broker, "two")} {
				if _, ok := s.Configs().Get("theirs"); ok != tc.counts {
					t.Errorf("%s has the copied connector: %t, want %t", worker, ok, tc.counts)
				}
				if _, ok := s.Configs().Get("ours"); !ok {
					t.Errorf("%s has lost its own connector", worker)
				}
			}
		})
	}
}

// theirs is the log of another cluster, with a connector in it.
func theirs(t *testing.T, client *rmq.Client) rmq.Queue {
	t.Helper()
	q, err := client.EnsureLogTopic(t.Context(), "their-config", rmq.LogPlace{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := storefold.NewConfigs().Put(store.Write{Name: "theirs", Config: map[string]string{"k": "v"}, RequestID: "r"}, 0, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Log(q).Append(t.Context(), rmq.Entry{Key: r.Key, Value: r.Value}); err != nil {
		t.Fatal(err)
	}
	return q
}

func withoutMark(p []rmq.Property) []rmq.Property {
	return slices.DeleteFunc(p, func(p rmq.Property) bool { return p.Name == "connect-log" })
}

// copyInto copies what is in a queue into the config topic.
func copyInto(t *testing.T, client *rmq.Client, from rmq.Queue, copied func([]rmq.Property) []rmq.Property) {
	t.Helper()
	reader := client.NewReader(rmq.ReaderConfig{})
	defer reader.Close()
	reader.Assign(map[rmq.Queue]int64{from: 0})
	var found []rmq.Received
	for len(found) == 0 {
		var err error
		if found, err = reader.Poll(t.Context(), 10); err != nil {
			t.Fatal(err)
		}
	}
	sender := client.NewSender(rmq.SenderConfig{})
	defer sender.Close()
	for _, m := range found {
		done := make(chan error, 1)
		err := sender.Send(t.Context(), rmq.Message{Topic: "config", Queue: rmq.Queue{Topic: "config", Broker: from.Broker}, Body: m.Body,
			Properties: copied(m.Properties)}, func(_ int64, err error) { done <- err })
		if err == nil {
			err = <-done
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
