package task

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
)

func TestWhatTheWorkerObeysIsNotCalledUnknown(t *testing.T) {
	for _, key := range []string{keyTolerance, keyRetryTimeout, keyRetryDelay, keyDeadLetter, keyRename, keyFromWhere, keyGroup, keyOnLoss, keyOrder} {
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
		"the format is applied first":          {cfg: connector.Config{"topic.rename.format": "eu.${topic}.v1"}, topic: "a.b", wantTarget: "eu_a_b_v1"},
		"topics are split and sorted":          {cfg: connector.Config{"topicNames": "b, a;c,,a"}, wantTopics: []string{"a", "b", "c"}},
		"any of three keys names the topics":   {cfg: connector.Config{"topics": "x"}, wantTopics: []string{"x"}},
		"two keys may say the same":            {cfg: connector.Config{"topicNames": "x,y", "connect.topicnames": "y;x"}, wantTopics: []string{"x", "y"}},
		"two keys that differ are refused":     {cfg: connector.Config{"topics": "x", "topicNames": "y"}, wantErr: true, wantTopics: []string{"y"}},
		"an unknown tolerance is refused":      {cfg: connector.Config{"errors.tolerance": "some"}, wantErr: true},
		"an unknown start is refused":          {cfg: connector.Config{"consume.from.where": "MIDDLE"}, wantErr: true},
		"a retry time must be a duration":      {cfg: connector.Config{"errors.retry.timeout": "soon"}, wantErr: true},
		"what is lost with a broker is known":  {cfg: connector.Config{"on.broker.loss": "panic"}, wantErr: true},
		"an unknown order is refused":          {cfg: connector.Config{"queue.order": "random"}, wantErr: true},
		"a dead letter topic must be legal":    {cfg: connector.Config{"errors.deadletterqueue.topic.name": "a.b"}, wantErr: true},
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
