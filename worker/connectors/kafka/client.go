package kafka

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

const (
	// requestTimeout bounds a request with its retries. The data path has bounds of its own.
	requestTimeout = 10 * time.Second
	requestRetries = 4
	minRefresh     = 100 * time.Millisecond
	softwareName   = "rocketmq-connect"
)

// connect makes a client that dials through the returned connections. It does no IO.
func (a access) connect(clientID string, log logr.Logger, cfg *tls.Config, opts ...kgo.Opt) (*kgo.Client, *connections, error) {
	conns := &connections{tls: cfg}
	if a.clientID != "" {
		clientID = a.clientID
	}
	base := []kgo.Opt{
		kgo.SeedBrokers(a.bootstrap...), kgo.ClientID(clientID), kgo.SoftwareNameAndVersion(softwareName, version),
		kgo.Dialer(conns.Dial), kgo.RequestRetries(requestRetries), kgo.RetryTimeout(requestTimeout),
		kgo.MetadataMinAge(minRefresh), kgo.DisableClientMetrics(), kgo.WithLogger(clientLog{log}),
	}
	if mechanism := a.security.saslMechanism(); mechanism != nil {
		base = append(base, kgo.SASL(mechanism))
	}
	client, err := kgo.NewClient(append(base, opts...)...)
	if err != nil {
		return nil, nil, fmt.Errorf("making a Kafka client: %w", err)
	}
	return client, conns, nil
}

// connectTask makes a client of a task's own, for its records.
func (a access) connectTask(env connector.Env, opts ...kgo.Opt) (*kgo.Client, *connections, error) {
	cfg, _, err := a.security.tlsConfig()
	if err != nil {
		return nil, nil, err
	}
	return a.connect(fmt.Sprintf("%s-%d", env.Connector, env.Task), env.Log, cfg, opts...)
}

// share returns the hub of all tasks that reach Kafka in this way, by the same certificates, too: files may have
// changed since others read them.
func (a access) share(pool *watch.Pool, env connector.Env, committed bool) (*watch.Hub, error) {
	cfg, pems, err := a.security.tlsConfig()
	if err != nil {
		return nil, err
	}
	key := sha256.Sum256(fmt.Appendf(nil, "%q %q %+v %q %t", a.bootstrap, a.clientID, a.security, pems, committed))
	return pool.Get(string(key[:]), func() (watch.Link, error) {
		client, conns, err := a.connect(softwareName+"-"+env.ClusterID, logr.Discard(), cfg, watch.Options()...)
		if err != nil {
			return watch.Link{}, err
		}
		return watch.Link{Client: client, Committed: committed, Close: func() { conns.cut(); client.Close() }}, nil
	})
}

// place names a Kafka topic. Brokers that give no cluster id are known by how they are reached.
func (a access) place(hub *watch.Hub, topic string) record.Place {
	id := hub.ID()
	if id == "" {
		id = strings.Join(slices.Sorted(slices.Values(a.bootstrap)), ",")
	}
	return record.PlaceOf("kafka:"+id, topic)
}

// explain tells why a request failed and what to do. What may pass by itself matches connector.ErrNotConnected.
func (a access) explain(ctx context.Context, doing string, err error) error {
	at := strings.Join(a.bootstrap, ",")
	var refused *kerr.Error
	var badCert *tls.CertificateVerificationError
	var unknownAuthority x509.UnknownAuthorityError
	switch {
	case errors.Is(ctx.Err(), context.Canceled):
		return fmt.Errorf("%s: %w", doing, ctx.Err())
	case errors.As(err, &badCert), errors.As(err, &unknownAuthority):
		return fmt.Errorf("%s: the certificate of Kafka at %s is not trusted; check %s: %w", doing, at, keyCALocation, err)
	case errors.As(err, &refused):
		return a.explainRefusal(doing, at, refused, err)
	}
	return fmt.Errorf("%s: %w to Kafka at %s (check %s and %s): %w", doing, connector.ErrNotConnected, at, keyBootstrap, keyProtocol, err)
}

// explainTopic tells why one topic cannot be read, and what to do.
func (a access) explainTopic(ctx context.Context, topic string, err error) error {
	at := strings.Join(a.bootstrap, ",")
	switch {
	case errors.Is(err, kerr.UnknownTopicOrPartition):
		return fmt.Errorf("topic %q does not exist in Kafka at %s: make it, or correct %s: %w", topic, at, keyTopics, err)
	case errors.Is(err, kerr.InvalidTopicException):
		return fmt.Errorf("topic %q cannot exist in Kafka: names have letters, digits, '.', '_' and '-', %d at most; correct %s: %w",
			topic, maxTopic, keyTopics, err)
	case errors.Is(err, kerr.TopicAuthorizationFailed):
		return fmt.Errorf("topic %q cannot be read: the user of %s lacks the rights Describe and Read on it; grant them in Kafka at %s: %w",
			topic, keyMechanism, at, err)
	}
	return a.explain(ctx, "looking up topic "+topic, err)
}

// passing is an error that may pass by itself, and says itself what is.
type passing struct{ error }

// Unwrap makes it match connector.ErrNotConnected.
func (p passing) Unwrap() []error { return []error{p.error, connector.ErrNotConnected} }

func (a access) explainRefusal(doing, at string, refused *kerr.Error, err error) error {
	switch refused {
	case kerr.SaslAuthenticationFailed, kerr.UnsupportedSaslMechanism, kerr.IllegalSaslState:
		return fmt.Errorf("%s: Kafka at %s refused the credentials; check %s and the user's name and password: %w", doing, at, keyMechanism, err)
	case kerr.TopicAuthorizationFailed, kerr.ClusterAuthorizationFailed, kerr.TransactionalIDAuthorizationFailed:
		return fmt.Errorf("%s: the user of %s lacks the right; grant it in Kafka at %s: %w", doing, keyMechanism, at, err)
	}
	switch refused {
	case kerr.UnknownTopicID:
		return passing{
			fmt.Errorf("%s: the topic in Kafka at %s was deleted, or deleted and recreated, while it was used; it is looked for again: %w",
				doing, at, err),
		}
	case kerr.UnknownTopicOrPartition:
		return passing{
			fmt.Errorf(
				"%s: Kafka at %s does not have the topic, or not this partition of it, or hides it from the user of %s; make it, or grant Describe: %w",
				doing,
				at,
				keyMechanism,
				err,
			),
		}
	case kerr.LeaderNotAvailable, kerr.ListenerNotFound:
		return passing{fmt.Errorf("%s: Kafka at %s has no leader for it at present; it is retried: %w", doing, at, err)}
	}
	if refused.Retriable {
		return fmt.Errorf("%s: %w to Kafka at %s: %w", doing, connector.ErrNotConnected, at, err)
	}
	return fmt.Errorf("%s on Kafka at %s: %w", doing, at, err)
}

// clientLog hands the client's own log over, at a level that is off by default: what matters comes back as errors.
type clientLog struct{ log logr.Logger }

// Level says which of the client's messages are wanted.
func (l clientLog) Level() kgo.LogLevel {
	switch {
	case l.log.V(3).Enabled():
		return kgo.LogLevelDebug
	case l.log.V(2).Enabled():
		return kgo.LogLevelInfo
	case l.log.V(1).Enabled():
		return kgo.LogLevelWarn
	}
	return kgo.LogLevelNone
}

// Log writes one message.
func (l clientLog) Log(_ kgo.LogLevel, msg string, keyvals ...any) {
	l.log.V(1).WithName("kafka-client").Info(msg, keyvals...)
}

// bounds are the first offset of a partition and the one after its last.
type bounds struct{ start, end int64 }

// bounds asks for the bounds of partitions.
func (s *Source) bounds(ctx context.Context, topic string, partitions []int32) (out map[int32]bounds, err error) {
	if len(partitions) == 0 {
		return nil, nil
	}
	err = settled(ctx, func() error {
		out, err = s.askBounds(ctx, topic, partitions)
		return err
	})
	if err != nil {
		return nil, s.set.explain(ctx, "asking for the offsets of "+topic, err)
	}
	return out, nil
}

// lastPause would come after three seconds of asking: there the asking ends.
const lastPause = 2 * time.Second

// settled asks, more than once while Kafka is not ready to answer: it learns of a topic that was just made, or chooses
// leaders.
func settled(ctx context.Context, ask func() error) error {
	var pauses backoff.Doubling
	for {
		err := ask()
		pause := pauses.Next(50*time.Millisecond, lastPause)
		if err == nil || !kerr.IsRetriable(err) || pause == lastPause || service.Sleep(ctx, pause) != nil {
			return err
		}
	}
}

func (s *Source) askBounds(ctx context.Context, topic string, partitions []int32) (map[int32]bounds, error) {
	starts, err := s.hub.Admin().ListStartOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	ends, err := s.hub.Admin().ListEndOffsets(ctx, topic)
	if err != nil {
		return nil, err
	}
	out := make(map[int32]bounds, len(partitions))
	for _, p := range partitions {
		start, _ := starts.Lookup(topic, p)
		end, known := ends.Lookup(topic, p)
		switch {
		case start.Err != nil:
			return nil, start.Err
		case end.Err != nil:
			return nil, end.Err
		case !known:
			return nil, kerr.LeaderNotAvailable
		}
		out[p] = bounds{start: start.Offset, end: end.Offset}
	}
	return out, nil
}
