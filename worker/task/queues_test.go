package task

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

func queuesOf(broker string, n int) (out []rmq.Queue) {
	for i := range n {
		out = append(out, rmq.Queue{Topic: "t", Broker: broker, ID: i})
	}
	return out
}

func TestShareCoversEachQueueOnce(t *testing.T) {
	for tasks := 1; tasks < 6; tasks++ {
		queues, owners := queuesOf("a", 7), map[rmq.Queue]int{}
		for i := range tasks {
			add, drop := newShare(i, tasks).step(queues)
			for _, q := range add {
				owners[q]++
			}
			if len(drop) != 0 {
				t.Errorf("the first look dropped %v", drop)
			}
		}
		for _, q := range queues {
			if owners[q] != 1 {
				t.Errorf("%d tasks: %d of them read %s", tasks, owners[q], q)
			}
		}
	}
}

func TestShareTakesMovedQueuesLater(t *testing.T) {
	old := queuesOf("b", 4)
	now := append(queuesOf("a", 4), old...) // a broker that sorts first: shares of task 1 shift
	first, second := newShare(0, 2), newShare(1, 2)
	first.step(old)
	second.step(old)

	add, drop := first.step(now)
	if diff := cmp.Diff(queuesOf("a", 4), add); diff != "" {
		t.Errorf("new queues are taken at once (-want +got):\n%s", diff)
	}
	if len(drop) != 2 {
		t.Errorf("dropped %v, want the two queues of broker b", drop)
	}
	for look := range settleChecks {
		if add, _ := second.step(now); len(add) != 0 {
			t.Errorf("look %d: %v was taken before its old task let go of it", look, add)
		}
	}
	if add, _ := second.step(now); len(add) != 2 {
		t.Errorf("took %v, want the two queues that moved", add)
	}
	if got := second.index[rmq.Queue{Topic: "t", Broker: "b", ID: 0}]; got != 4 {
		t.Errorf("index %d of the first queue of broker b, want 4", got)
	}
}

func TestWhatTheWorkerObeysIsNotCalledUnknown(t *testing.T) {
	for _, key := range []string{keyTolerance, keyRetryTimeout, keyRetryDelay, keyDeadLetter, keyRename, keyFromWhere, keyGroup} {
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
