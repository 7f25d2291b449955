package task

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
)

func TestWhatTheWorkerObeysIsNotCalledUnknown(t *testing.T) {
	for _, key := range []string{keyTolerance, keyRetryTimeout, keyRetryDelay, keyDeadLetter, keyRename, keyFromWhere,
		keyGroup, keyOnLoss, keyOrder} {
		if !config.Reserved(key) {
			t.Errorf("%s is none of the worker's keys", key)
		}
	}
}

func TestSettings(t *testing.T) {
	cases := map[string]struct {
		cfg        connector.Config
		topic      string
		wantTarget string
		wantTopics []string
		wantErr    bool
	}{
		"topic names stay by default":          {topic: "orders", wantTarget: "orders"},
		"illegal characters become underlines": {topic: "a.b c/ü", wantTarget: "a_b_c__"},
		"the format is applied first": {
			cfg:        connector.Config{"topic.rename.format": "eu.${topic}.v1"},
			topic:      "a.b",
			wantTarget: "eu_a_b_v1",
		},
		"topics are split and sorted":        {cfg: connector.Config{"topicNames": "b, a;c,,a"}, wantTopics: []string{"a", "b", "c"}},
		"any of three keys names the topics": {cfg: connector.Config{"topics": "x"}, wantTopics: []string{"x"}},
		"two keys may say the same": {
			cfg:        connector.Config{"topicNames": "x,y", "connect.topicnames": "y;x"},
			wantTopics: []string{"x", "y"},
		},
		"two keys that differ are refused": {
			cfg:        connector.Config{"topics": "x", "topicNames": "y"},
			wantErr:    true,
			wantTopics: []string{"y"},
		},
		"an unknown tolerance is refused":     {cfg: connector.Config{"errors.tolerance": "some"}, wantErr: true},
		"an unknown start is refused":         {cfg: connector.Config{"consume.from.where": "MIDDLE"}, wantErr: true},
		"a retry time must be a duration":     {cfg: connector.Config{"errors.retry.timeout": "soon"}, wantErr: true},
		"what is lost with a broker is known": {cfg: connector.Config{"on.broker.loss": "panic"}, wantErr: true},
		"an unknown order is refused":         {cfg: connector.Config{"queue.order": "random"}, wantErr: true},
		"a dead letter topic may be too long": {
			cfg:     connector.Config{"errors.deadletterqueue.topic.name": strings.Repeat("d", 128)},
			wantErr: true,
		},
		"a dead letter topic must be legal": {cfg: connector.Config{"errors.deadletterqueue.topic.name": "a.b"}, wantErr: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set, err := parseSettings(tc.cfg)
			if (err != nil) != tc.wantErr {
				t.Fatalf("got error %v, want one: %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.wantTarget, set.target(tc.topic)); diff != "" && tc.topic != "" {
				t.Errorf("target (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.wantTopics, set.topics); diff != "" {
				t.Errorf("topics (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTargetsThatRocketMQDoesNotAllowNameTheFormat(t *testing.T) {
	cases := map[string]struct {
		format, topic string
		want          string // part of the error; empty for none
	}{
		"as long as allowed": {topic: strings.Repeat("t", 127)},
		"too long": {
			topic: strings.Repeat("t", 142),
			want:  "has 142 characters, and RocketMQ allows 127; set topic.rename.format",
		},
		"too long with what is added":   {format: "eu-${topic}", topic: strings.Repeat("t", 125), want: "has 128 characters"},
		"made shorter by the format":    {format: "orders", topic: strings.Repeat("t", 142)},
		"nothing is left of a topic":    {topic: "", want: "topic.rename.format"},
		"a replaced character is short": {topic: strings.Repeat("ü", 127)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			set, err := parseSettings(connector.Config{keyRename: tc.format})
			if err != nil {
				t.Fatal(err)
			}
			err = set.checkTarget(tc.topic)
			if (err == nil) != (tc.want == "") ||
				err != nil && (!errors.Is(err, connector.ErrTopicName) || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// Invariant S1: the config topic holds secrets, and who writes it rules the cluster: no connector reads or writes any
// of them.
func TestInternalTopicsAreNoOriginAndNoTarget(t *testing.T) {
	source := connector.Spec{Kind: connector.KindSource, Keys: []connector.Key{{Name: "kafka.topics", Type: connector.List, Topics: true}}}
	cases := map[string]struct {
		cfg  connector.Config
		want string // empty: it is taken
	}{
		"a sink that reads one": {
			cfg:  connector.Config{"topicNames": "orders,connector-config-topic"},
			want: "topicNames: connector-config-topic",
		},
		"one of another cluster":     {cfg: connector.Config{"topics": "eu-connector-cluster-topic"}, want: "eu-connector-cluster-topic"},
		"one with a name of its own": {cfg: connector.Config{"topics": "our-offsets"}, want: "our-offsets"},
		"dead letters": {
			cfg:  connector.Config{"topics": "x", "errors.deadletterqueue.topic.name": "connector-status-topic"},
			want: "errors.deadletterqueue.topic.name: connector-status-topic",
		},
		"a source's topic of that name": {
			cfg:  connector.Config{"kafka.topics": "a,connector-config-topic"},
			want: "kafka.topics: records of connector-config-topic would go to connector-config-topic",
		},
		"a renamed target": {
			cfg:  connector.Config{"kafka.topics": "config", "topic.rename.format": "connector-${topic}-topic"},
			want: "records of config would go to connector-config-topic",
		},
		"one target for all": {
			cfg:  connector.Config{"topic.rename.format": "connector-position-topic"},
			want: "topic.rename.format: connector-position-topic",
		},
		"what only looks like one": {cfg: connector.Config{"topics": "connector-config-topics,my-connector-topic", "kafka.topics": "a"}},
		"a source that renames away": {
			cfg: connector.Config{"kafka.topics": "connector-config-topic", "topic.rename.format": "copy-of-${topic}-2"},
		},
	}
	topics := config.Default().Topics
	topics.Offset = "our-offsets"
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckSettings(topics.Internal)(source, tc.cfg)
			switch {
			case tc.want == "" && err != nil:
				t.Error(err)
			case tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want) || !strings.Contains(err.Error(), "internal topic")):
				t.Errorf("got %v, want it to say %q", err, tc.want)
			}
		})
	}
}

// What was stored before it was refused does not run either.
func TestNothingRunsOnInternalTopics(t *testing.T) {
	cases := map[string]func(t *testing.T, h *harness) error{
		"a sink reads one": func(t *testing.T, h *harness) error {
			return h.runSink(t, &collecting{}, connector.Config{"topics": "connector-config-topic"}, 2*time.Second)
		},
		"a source writes one": func(t *testing.T, h *harness) error {
			cfg := connector.Config{"topic.rename.format": "connector-position-topic"}
			return h.runner.RunSource(t.Context(), t.Context(), &counting{partitions: 1, limit: 3}, h.attempt(cfg))
		},
	}
	for name, run := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.runner.cfg.Internal = config.Default().Topics.Internal
				h.client.produce("connector-config-topic", 0, numbers(1, 9)...)
				if err := run(t, h); err == nil || !strings.Contains(err.Error(), "internal topic") {
					t.Errorf("got %v", err)
				}
				if len(h.client.sent) > 0 {
					t.Errorf("%d records were written to it", len(h.client.sent))
				}
			})
		})
	}
}
