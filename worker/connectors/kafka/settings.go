package kafka

import (
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
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

// reader reads settings and gathers what is wrong with them.
type reader struct {
	spec connector.Spec
	cfg  connector.Config
	errs []error
}

func newReader(spec connector.Spec, cfg connector.Config) *reader {
	_, err := spec.Check(cfg, func(string) bool { return true })
	return &reader{spec: spec, cfg: cfg, errs: []error{err}}
}

func (r *reader) text(key string) string { return strings.TrimSpace(r.spec.Get(r.cfg, key)) }

func (r *reader) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

func (r *reader) list(key string) []string {
	var out []string
	seen := map[string]bool{}
	for part := range strings.SplitSeq(r.text(key), ",") {
		if part = strings.TrimSpace(part); part != "" && !seen[part] {
			seen[part] = true
			out = append(out, part)
		}
	}
	return out
}

// number reads an Int key; Check has refused what is none.
func (r *reader) number(key string, least int) int {
	n, err := strconv.Atoi(r.text(key))
	if err == nil && (n < least || n > 1<<30) {
		r.fail("%s must be from %d to %d, not %d", key, least, 1<<30, n)
	}
	return n
}

func (r *reader) duration(key string, least time.Duration) time.Duration {
	d, err := connector.ParseDuration(r.text(key))
	if err == nil && d < least {
		r.fail("%s must be at least %s, not %s", key, least, d)
	}
	return d
}

func (r *reader) access() access {
	a := access{bootstrap: r.list(keyBootstrap), clientID: r.text(keyClientID), security: r.security()}
	if other := r.list(keyBootstrapKafka); len(a.bootstrap) == 0 {
		a.bootstrap = other
	} else if len(other) > 0 && !slices.Equal(a.bootstrap, other) {
		r.fail("%s and %s differ: set one of them", keyBootstrap, keyBootstrapKafka)
	}
	if len(a.bootstrap) == 0 {
		r.fail("%s is required: the Kafka brokers to ask first, for example 127.0.0.1:9092", keyBootstrap)
	}
	for i, addr := range a.bootstrap {
		if !strings.Contains(addr, ":") {
			a.bootstrap[i] = net.JoinHostPort(addr, defaultPort)
		} else if _, _, err := net.SplitHostPort(addr); err != nil {
			r.fail("%s: %q is not host:port", keyBootstrap, addr)
		}
	}
	return a
}

func readSourceSettings(cfg connector.Config) (sourceSettings, error) {
	r := newReader(SourceConnector{}.Spec(), cfg)
	s := sourceSettings{
		access: r.access(), topics: r.list(keyTopics),
		byKey: r.text(keyQueueSelector) == selectKey, reset: resume.Reset(r.text(keyReset)), committed: r.text(keyIsolation) == readCommitted,
		refresh: r.duration(keyMetadataAge, minRefresh), fetchWait: r.duration(keyFetchWait, time.Millisecond),
		fetchMax: r.number(keyFetchMax, 1024), partitionMax: r.number(keyPartitionMax, 1024), pollMax: r.number(keyPollMax, 1),
	}
	// Sorted: the share of a task must not hang on the order in which the topics were written down.
	slices.Sort(s.topics)
	s.partitionMax = min(s.partitionMax, s.fetchMax)
	return s, r.err(SourceClass)
}

func readSinkSettings(cfg connector.Config) (sinkSettings, error) {
	r := newReader(SinkConnector{}.Spec(), cfg)
	s := sinkSettings{
		access: r.access(), compression: r.text(keyCompression),
		deliveryTimeout: r.duration(keyDeliveryTimeout, 100*time.Millisecond), replication: r.number(keyReplication, -1),
	}
	for _, key := range connector.TopicKeys() {
		if s.topics = r.list(key); len(s.topics) > 0 {
			break
		}
	}
	if len(s.topics) == 0 {
		r.fail("%s is required: the RocketMQ topics to read, separated by commas", connector.TopicKeys()[0])
	}
	return s, r.err(SinkClass)
}

func (r *reader) err(class string) error {
	if err := errors.Join(r.errs...); err != nil {
		return fmt.Errorf("reading the settings of %s: %w", class, err)
	}
	return nil
}
