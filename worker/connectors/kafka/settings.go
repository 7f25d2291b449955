package kafka

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/setting"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
)

const (
	selectPartition = "partition"
	selectKey       = "key"

	readCommitted = "read_committed"

	defaultPort = "9092"
)

// access is what both directions need to reach Kafka.
type access struct {
	bootstrap []string
	clientID  string
	security  security
}

type sourceSettings struct {
	access
	topics                 []string
	byKey                  bool
	reset                  resume.Reset
	committed              bool
	refresh, fetchWait     time.Duration
	fetchMax, partitionMax int
	pollMax                int
}

type sinkSettings struct {
	access
	topics          []string
	compression     string
	deliveryTimeout time.Duration
	replication     int
}

// reader reads settings, those too that classes share.
type reader struct{ *setting.Reader }

func newReader(spec connector.Spec, cfg connector.Config) reader {
	return reader{setting.Read(spec, cfg)}
}

func (r reader) access() access {
	a := access{bootstrap: r.List(keyBootstrap), clientID: r.Text(keyClientID), security: r.security()}
	if other := r.List(keyBootstrapKafka); len(a.bootstrap) == 0 {
		a.bootstrap = other
	} else if len(other) > 0 && !slices.Equal(a.bootstrap, other) {
		r.Fail("%s and %s differ: set one of them", keyBootstrap, keyBootstrapKafka)
	}
	if len(a.bootstrap) == 0 {
		r.Fail("%s is required: the Kafka brokers to ask first, for example 127.0.0.1:9092", keyBootstrap)
	}
	for i, addr := range a.bootstrap {
		if !strings.Contains(addr, ":") {
			a.bootstrap[i] = net.JoinHostPort(addr, defaultPort)
		} else if _, _, err := net.SplitHostPort(addr); err != nil {
			r.Fail("%s: %q is not host:port", keyBootstrap, addr)
		}
	}
	return a
}

func readSourceSettings(cfg connector.Config) (sourceSettings, error) {
	r := newReader(SourceConnector{}.Spec(), cfg)
	s := sourceSettings{
		access: r.access(), topics: r.List(keyTopics),
		byKey: r.Text(keyQueueSelector) == selectKey, reset: resume.Reset(r.Text(keyReset)), committed: r.Text(keyIsolation) == readCommitted,
		refresh: r.Duration(keyMetadataAge, minRefresh), fetchWait: r.Duration(keyFetchWait, time.Millisecond),
		fetchMax: r.Int(keyFetchMax, 1024), partitionMax: r.Int(keyPartitionMax, 1024), pollMax: r.Int(keyPollMax, 1),
	}
	// Sorted: the share of a task must not hang on the order in which the topics were written down.
	slices.Sort(s.topics)
	s.partitionMax = min(s.partitionMax, s.fetchMax)
	return s, r.err(SourceClass)
}

func readSinkSettings(cfg connector.Config) (sinkSettings, error) {
	r := newReader(SinkConnector{}.Spec(), cfg)
	s := sinkSettings{
		access: r.access(), compression: r.Text(keyCompression),
		deliveryTimeout: r.Duration(keyDeliveryTimeout, 100*time.Millisecond), replication: r.Int(keyReplication, -1),
	}
	s.topics = r.SinkTopics()
	return s, r.err(SinkClass)
}

func (r reader) err(class string) error {
	if err := r.Err(); err != nil {
		return fmt.Errorf("reading the settings of %s: %w", class, err)
	}
	return nil
}
