package worker

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/brokers"
	"github.com/rocketmq-connect/operator/worker/service"
)

// proxied says what to do about a namesrvAddr that is a proxy's.
func proxied(err error, cfg config.Worker) error {
	if !errors.Is(err, rmq.ErrNoListing) {
		return err
	}
	t := cfg.Topics
	return fmt.Errorf(
		"namesrvAddr %s answers like a RocketMQ 5 proxy, which lists no brokers, so that no topic can be created: give the "+
			"addresses of the name "+
			"servers instead (namesrvAddr, spec.rocketmq.nameServers), or create the topics beforehand: %s with one queue on one "+
			"broker each, the same for all, "+
			"and those of the connectors: %w",
		strings.Join(cfg.NamesrvAddrs, ";"),
		strings.Join([]string{t.Cluster, t.Config, t.Position, t.Offset, t.Status}, ", "),
		err,
	)
}

// settingsWithin bounds asking the broker how it is configured: a start waits for no more.
const settingsWithin = 5 * time.Second

// comparing compares sendTimeout with what the cluster topic's broker is configured to, once it is known that the topic
// is there.
func (p *parts) comparing() service.Service {
	return service.Service{Name: "time-outs of RocketMQ", Start: func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, settingsWithin)
		defer cancel()
		queues, err := p.client.Route(ctx, p.cfg.Topics.Cluster)
		if err != nil || len(queues) == 0 {
			return nil // what follows tells
		}
		s, told, err := p.client.Settings(ctx, queues[0])
		if err != nil || !told {
			return nil
		}
		if why := slowAnswers(p.cfg.SendTimeout, s); why != "" {
			p.opts.Log.Info("Expecting answers later than sendTimeout whenever a slave or the disk is away: "+why, "broker", queues[0].Broker)
		}
		return nil
	}}
}

// slowAnswers says which answers of a broker come later than sendTimeout, "" if none do.
func slowAnswers(sendTimeout time.Duration, s brokers.Settings) string {
	switch {
	case s.AwaitsSlaves() && sendTimeout <= max(s.SlaveTimeout, s.SyncFlushTimeout):
		return fmt.Sprintf(
			"the broker is a SYNC_MASTER with slaveTimeout=%s and syncFlushTimeout=%s, and sendTimeout is %s: batches that wait for their answer "+
				"hold their queue up meanwhile, and the cluster sends the next heartbeat without an answer to the one before; a "+
				"sendTimeout above both avoids the "+
				"latter, and needs a longer sessionTimeout",
			s.SlaveTimeout,
			s.SyncFlushTimeout,
			sendTimeout,
		)
	case s.AwaitsDisk() && sendTimeout <= s.SyncFlushTimeout:
		return fmt.Sprintf(
			"the broker flushes with flushDiskType=SYNC_FLUSH and syncFlushTimeout=%s, and sendTimeout is %s",
			s.SyncFlushTimeout,
			sendTimeout,
		)
	}
	return ""
}
