package worker

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/brokers"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestAnswersLaterThanSendTimeoutAreTold(t *testing.T) {
	cases := map[string]struct {
		sendTimeout time.Duration
		config      string
		want        []string // of the text; none: nothing is told
	}{
		"an asynchronous master answers at once": {2 * time.Second, "brokerRole=ASYNC_MASTER\nflushDiskType=ASYNC_FLUSH\n", nil},
		"a synchronous master waits for its slaves": {
			2 * time.Second,
			"brokerRole=SYNC_MASTER\n",
			[]string{"slaveTimeout=3s", "syncFlushTimeout=5s", "sendTimeout is 2s"},
		},
		"one that waits for no slave answers at once": {2 * time.Second, "brokerRole=SYNC_MASTER\ninSyncReplicas=1\n", nil},
		"a sendTimeout above both is enough":          {6 * time.Second, "brokerRole=SYNC_MASTER\n", nil},
		"a synchronous flush waits for the disk": {
			2 * time.Second,
			"brokerRole=ASYNC_MASTER\nflushDiskType=SYNC_FLUSH\nsyncFlushTimeout=4000",
			[]string{"syncFlushTimeout=4s", "sendTimeout is 2s"},
		},
		"a broker that tells nothing of itself is believed": {2 * time.Second, "", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := slowAnswers(tc.sendTimeout, brokers.ParseSettings([]byte(tc.config)))
			if (got == "") != (len(tc.want) == 0) {
				t.Errorf("told %q", got)
			}
			for _, part := range tc.want {
				if !strings.Contains(got, part) {
					t.Errorf("told %q, want %q in it", got, part)
				}
			}
		})
	}
}

func TestAProxyIsNamed(t *testing.T) {
	b := rmqtest.Start(t, rmqtest.BehindProxy())
	cfg := config.Default()
	cfg.NamesrvAddrs = []string{b.NameServer()}
	client, err := rmq.Open(rmq.Config{NameServers: cfg.NamesrvAddrs})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	p := &parts{cfg: cfg, client: client}
	got := explained(proxied(p.ensureTopics(t.Context()), cfg), cfg.NamesrvAddrs)
	for _, part := range []string{"RocketMQ 5 proxy", b.NameServer(), "namesrvAddr", "spec.rocketmq.nameServers",
		cfg.Topics.Cluster, cfg.Topics.Status} {
		if !strings.Contains(fmt.Sprint(got), part) {
			t.Errorf("told %q, want %q in it", got, part)
		}
	}
	for _, topic := range []string{cfg.Topics.Cluster, cfg.Topics.Config, cfg.Topics.Position, cfg.Topics.Offset, cfg.Topics.Status} {
		b.Create(topic, 1)
	}
	if err := p.ensureTopics(t.Context()); err != nil {
		t.Errorf("with the topics made beforehand: %v", err)
	}
}
