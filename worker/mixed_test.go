package worker

import (
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// One wrong name among the internal topics makes two clusters of one, each of which would run the other's connectors
// (C2). Whoever comes second ends, and says what is wrong; the first one goes on.
func TestAWorkerWithOneOtherInternalTopicEnds(t *testing.T) {
	cases := map[string]struct {
		change func(*config.Topics)
		want   []string
	}{
		"another cluster log": {
			func(t *config.Topics) { t.Cluster = "typo" },
			[]string{"belongs to a cluster with other internal topics", "typo"},
		},
		"another config topic": {func(t *config.Topics) { t.Config = "typo" }, []string{"has its stores in the topics", "typo"}},
		"another topic of positions": {
			func(t *config.Topics) { t.Position = "typo" },
			[]string{"belongs to a cluster with other internal topics", "typo"},
		},
		"another topic of statuses": {
			func(t *config.Topics) { t.Status = "typo" },
			[]string{"belongs to a cluster with other internal topics", "typo"},
		},
		"two topics the wrong way round": {
			func(t *config.Topics) { t.Position, t.Offset = t.Offset, t.Position },
			[]string{"belongs to a cluster with other internal topics"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			broker := rmqtest.Start(t)
			first := start(t, inAHurry(configFor(t, broker.NameServer())))
			first.answers("/readyz", 200, "ok")
			cfg := inAHurry(configFor(t, broker.NameServer()))
			cfg.WorkerID = "w2"
			tc.change(&cfg.Topics)
			second := start(t, cfg)
			err := second.ended()
			if err == nil {
				t.Fatal("it ended without an error")
			}
			for _, text := range tc.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("it ended with %v, want %q", err, text)
				}
			}
			first.answers("/readyz", 200, "ok")
		})
	}
}
