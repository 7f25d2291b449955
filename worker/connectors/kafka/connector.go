// Package kafka moves records between Kafka and RocketMQ: the classes KafkaSource and KafkaSink. Keys, values, headers
// and timestamps are kept; docs/record-mapping.md says how. Positions are kept by the worker, not by a Kafka group.
package kafka

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/rocketmq-connect/operator/worker/connector"
)

// The classes and the names that configs of the Java runtime give them.
const (
	SourceClass     = "KafkaSource"
	SinkClass       = "KafkaSink"
	javaSourceClass = "org.apache.rocketmq.connect.kafka.connector.KafkaSourceConnector"
	javaSinkClass   = "org.apache.rocketmq.connect.kafka.connector.KafkaSinkConnector"
	version         = "1.0.0"
)

// SourceConnector is the class KafkaSource: Kafka topics to RocketMQ topics. The zero value is ready.
type SourceConnector struct{}

// SinkConnector is the class KafkaSink: RocketMQ topics to Kafka topics. The zero value is ready.
type SinkConnector struct{}

var (
	_ connector.SourceConnector = SourceConnector{}
	_ connector.SinkConnector   = SinkConnector{}
)

// Spec describes the class.
func (SourceConnector) Spec() connector.Spec {
	return connector.Spec{
		Class: SourceClass, Aliases: []string{javaSourceClass}, Kind: connector.KindSource, Version: version, Keys: sourceKeys(),
	}
}

// Spec describes the class.
func (SinkConnector) Spec() connector.Spec {
	return connector.Spec{
		Class: SinkClass, Aliases: []string{javaSinkClass}, Kind: connector.KindSink, Version: version, Keys: sinkKeys(),
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
func (SourceConnector) NewSource() connector.Source { return &Source{} }

// NewSink makes the sink of one task.
func (SinkConnector) NewSink() connector.Sink { return &Sink{} }
