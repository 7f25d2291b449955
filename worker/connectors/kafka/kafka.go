// Package kafka holds the Kafka source and sink connectors.
package kafka

import (
	"context"

	"github.com/rocketmq-connect/operator/worker/connector"
)

// SourceConnector is the class KafkaSource.
type SourceConnector struct{}

// SinkConnector is the class KafkaSink.
type SinkConnector struct{}

// Spec describes the class.
func (SourceConnector) Spec() connector.Spec {
	return connector.Spec{Class: "KafkaSource", Aliases: []string{"org.apache.rocketmq.connect.kafka.connector.KafkaSourceConnector"}, Kind: connector.KindSource}
}

// Validate checks a config.
func (SourceConnector) Validate(connector.Config) error { return nil }

// Tasks returns maxTasks copies.
func (SourceConnector) Tasks(_ context.Context, cfg connector.Config, _ int) ([]connector.Config, error) {
	return []connector.Config{cfg}, nil
}

// Spec describes the class.
func (SinkConnector) Spec() connector.Spec {
	return connector.Spec{Class: "KafkaSink", Aliases: []string{"org.apache.rocketmq.connect.kafka.connector.KafkaSinkConnector"}, Kind: connector.KindSink}
}

// Validate checks a config.
func (SinkConnector) Validate(connector.Config) error { return nil }

// Tasks returns maxTasks copies.
func (SinkConnector) Tasks(_ context.Context, cfg connector.Config, _ int) ([]connector.Config, error) {
	return []connector.Config{cfg}, nil
}
