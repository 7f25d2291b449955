// Package kafka moves records between Kafka and RocketMQ: the classes KafkaSource and KafkaSink. Keys, values, headers
// and timestamps are kept; docs/record-mapping.md says how. Positions are kept by the worker, not by a Kafka group.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
)

// The classes and the names that configs of the Java runtime give them.
const (
	SourceClass     = "KafkaSource"
	SinkClass       = "KafkaSink"
	javaSourceClass = "org.apache.rocketmq.connect.kafka.connector.KafkaSourceConnector"
	javaSinkClass   = "org.apache.rocketmq.connect.kafka.connector.KafkaSinkConnector"
	version         = "1.0.0"
)

// SourceConnector is the class KafkaSource: Kafka topics to RocketMQ topics. Of the zero value, each source has all
// connections of its own.
type SourceConnector struct{ shared *watch.Pool }

// SinkConnector is the class KafkaSink: RocketMQ topics to Kafka topics. Of the zero value, each sink has all
// connections of its own.
type SinkConnector struct{ shared *watch.Pool }

// NewSourceConnector makes the class for one worker: its tasks share what does not move records.
func NewSourceConnector() SourceConnector { return SourceConnector{shared: &watch.Pool{}} }

// NewSinkConnector makes the class for one worker: its tasks share what does not move records.
func NewSinkConnector() SinkConnector { return SinkConnector{shared: &watch.Pool{}} }

var (
	_ connector.SourceConnector = SourceConnector{}
	_ connector.SinkConnector   = SinkConnector{}
)

// Spec describes the class.
func (SourceConnector) Spec() connector.Spec {
	return connector.Spec{
		Class: SourceClass, Aliases: []string{javaSourceClass}, Kind: connector.KindSource, Version: version, Keys: sourceKeys(),
		ImpliedBy: []string{keyTopics},
	}
}

// Spec describes the class.
func (SinkConnector) Spec() connector.Spec {
	return connector.Spec{
		Class: SinkClass, Aliases: []string{javaSinkClass}, Kind: connector.KindSink, Version: version, Keys: sinkKeys(),
		ImpliedBy: []string{connector.TopicKeys()[0], keyBootstrap},
	}
}

// Validate checks what Spec cannot express. It does no IO: certificate files are read when a task is opened.
func (SourceConnector) Validate(cfg connector.Config) error {
	_, err := readSourceSettings(cfg)
	return err
}

// Validate checks what Spec cannot express. It does no IO: certificate files are read when a task is opened.
func (SinkConnector) Validate(cfg connector.Config) error {
	_, err := readSinkSettings(cfg)
	return err
}

// Tasks returns maxTasks copies of cfg: partitions are dealt inside the tasks, so that a new partition finds its task
// without a new epoch. It does no IO.
func (SourceConnector) Tasks(_ context.Context, cfg connector.Config, maxTasks int) ([]connector.Config, error) {
	return copies(cfg, maxTasks)
}

// Tasks returns maxTasks copies of cfg: the worker deals the RocketMQ queues. It does no IO.
func (SinkConnector) Tasks(_ context.Context, cfg connector.Config, maxTasks int) ([]connector.Config, error) {
	return copies(cfg, maxTasks)
}

func copies(cfg connector.Config, n int) ([]connector.Config, error) {
	if n < 1 {
		return nil, fmt.Errorf("dividing the work: %w", errors.New("at least one task is needed"))
	}
	tasks := make([]connector.Config, n)
	for i := range tasks {
		tasks[i] = maps.Clone(cfg)
	}
	return tasks, nil
}

// NewSource makes the source of one task.
func (c SourceConnector) NewSource() connector.Source { return &Source{shared: c.shared} }

// NewSink makes the sink of one task.
func (c SinkConnector) NewSink() connector.Sink { return &Sink{shared: c.shared} }

// The settings. Those that Kafka's own clients have too carry Kafka's names behind "kafka.".
const (
	keyBootstrap       = "kafka.bootstrap.server"
	keyBootstrapKafka  = "kafka.bootstrap.servers"
	keyTopics          = "kafka.topics"
	keyQueueSelector   = "queue.selector"
	keyReset           = "kafka.auto.offset.reset"
	keyIsolation       = "kafka.isolation.level"
	keyMetadataAge     = "kafka.metadata.max.age.ms"
	keyFetchMax        = "kafka.fetch.max.bytes"
	keyPartitionMax    = "kafka.max.partition.fetch.bytes"
	keyFetchWait       = "kafka.fetch.max.wait.ms"
	keyPollMax         = "kafka.max.poll.records"
	keyClientID        = "kafka.client.id"
	keyCompression     = "kafka.compression.type"
	keyDeliveryTimeout = "kafka.delivery.timeout.ms"
	keyReplication     = "kafka.topic.replication.factor"

	keyProtocol           = "kafka.security.protocol"
	keyMechanism          = "kafka.sasl.mechanism"
	keyJAAS               = "kafka.sasl.jaas.config"
	keyUsername           = "kafka.sasl.username"
	keyPassword           = "kafka.sasl.password"
	keyCALocation         = "kafka.ssl.ca.location"
	keyCertLocation       = "kafka.ssl.certificate.location"
	keyKeyLocation        = "kafka.ssl.key.location"
	keyTruststorePEM      = "kafka.ssl.truststore.certificates"
	keyKeystoreChain      = "kafka.ssl.keystore.certificate.chain"
	keyKeystoreKey        = "kafka.ssl.keystore.key"
	keyTruststoreLocation = "kafka.ssl.truststore.location"
	keyKeystoreLocation   = "kafka.ssl.keystore.location"
	keyEndpointIdent      = "kafka.ssl.endpoint.identification.algorithm"
)

func sourceKeys() []connector.Key {
	return append([]connector.Key{
		{Name: keyTopics, Type: connector.List, Required: true, Topics: true, Doc: "the Kafka topics to read, separated by commas"},
		{
			Name:    keyQueueSelector,
			Type:    connector.String,
			Default: selectPartition,
			Enum:    []string{selectPartition, selectKey},
			Doc:     "what chooses the queue: the Kafka partition's number or the record's key",
		},
		{
			Name:    keyReset,
			Type:    connector.String,
			Default: string(resume.Earliest),
			Enum:    []string{string(resume.Earliest), string(resume.Latest), string(resume.None)},
			Doc:     "where to start without a stored position; none fails then, and also where Kafka no longer holds the stored one",
		},
		{
			Name:    keyIsolation,
			Type:    connector.String,
			Default: readCommitted,
			Enum:    []string{readCommitted, "read_uncommitted"},
			Doc:     "whether records of open and aborted transactions are left out",
		},
		{Name: keyMetadataAge, Type: connector.Duration, Default: "10000", Doc: "how often new partitions are looked for"},
		{Name: keyFetchMax, Type: connector.Int, Default: "4194304", Doc: "how many bytes one answer of a broker may have"},
		{Name: keyPartitionMax, Type: connector.Int, Default: "1048576", Doc: "how many bytes of one partition an answer may have"},
		{Name: keyFetchWait, Type: connector.Duration, Default: "500", Doc: "how long a broker may wait for records"},
		{Name: keyPollMax, Type: connector.Int, Default: "1000", Doc: "how many records are handed over at once"},
	}, sharedKeys()...)
}

func sinkKeys() []connector.Key {
	keys := []connector.Key{
		{
			Name:    keyCompression,
			Type:    connector.String,
			Default: "none",
			Enum:    []string{"none", "gzip", "snappy", "lz4", "zstd"},
			Doc:     "how batches are compressed",
		},
		{
			Name:    keyDeliveryTimeout,
			Type:    connector.Duration,
			Default: "30000",
			Doc:     "how long Kafka may take to acknowledge a record before the task fails and starts again",
		},
		{
			Name:    keyReplication,
			Type:    connector.Int,
			Default: "-1",
			Doc:     "the replication factor of topics that are made; -1 takes the brokers' default",
		},
	}
	for _, name := range connector.TopicKeys() {
		keys = append(keys, connector.Key{Name: name, Type: connector.List, Doc: "the RocketMQ topics to read, separated by commas"})
	}
	return append(keys, sharedKeys()...)
}

func sharedKeys() []connector.Key {
	return []connector.Key{
		{Name: keyBootstrap, Type: connector.List, Destination: true, Doc: "Kafka brokers to ask first, host:port, separated by commas"},
		{Name: keyBootstrapKafka, Type: connector.List, Destination: true, Doc: "the same, by Kafka's own name"},
		{
			Name: keyClientID,
			Type: connector.String,
			Doc:  "the client id that brokers see; by default the connector's name and task, and the Connect cluster's id for what tasks share",
		},
		{
			Name:        keyProtocol,
			Type:        connector.String,
			Default:     protocolPlain,
			Enum:        []string{protocolPlain, protocolTLS, protocolSASL, protocolSASLTLS},
			Destination: true,
			Doc:         "whether TLS and SASL are used",
		},
		{
			Name:        keyMechanism,
			Type:        connector.String,
			Default:     mechanismPlain,
			Enum:        []string{mechanismPlain, mechanismSCRAM256, mechanismSCRAM512},
			Destination: true,
			Doc:         "how SASL proves who we are",
		},
		{
			Name:   keyJAAS,
			Type:   connector.String,
			Secret: true,
			Doc:    "user name and password in Kafka's form: … required username=\"…\" password=\"…\";",
		},
		{Name: keyUsername, Type: connector.String, Destination: true, Doc: "the SASL user name, instead of " + keyJAAS},
		{Name: keyPassword, Type: connector.String, Secret: true, Doc: "the SASL password, instead of " + keyJAAS},
		{
			Name:        keyCALocation,
			Type:        connector.String,
			Destination: true,
			Doc:         "a PEM file with the authorities that sign the brokers' certificates; the system's by default",
		},
		{Name: keyCertLocation, Type: connector.String, Doc: "a PEM file with the client's certificate chain"},
		{Name: keyKeyLocation, Type: connector.String, Doc: "a PEM file with the client's private key, not encrypted"},
		{Name: keyTruststorePEM, Type: connector.String, Destination: true, Doc: "the authorities themselves, PEM"},
		{Name: keyKeystoreChain, Type: connector.String, Doc: "the client's certificate chain itself, PEM"},
		{Name: keyKeystoreKey, Type: connector.String, Secret: true, Doc: "the client's private key itself, PEM, not encrypted"},
		{
			Name:        keyEndpointIdent,
			Type:        connector.String,
			Default:     "https",
			Enum:        []string{"https", "none"},
			Destination: true,
			Doc:         "none accepts a broker certificate of another host name",
		},
	}
}
