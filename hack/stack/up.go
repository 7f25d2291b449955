//go:build linux

package main

import (
	"context"

	"github.com/rocketmq-connect/operator/hack/stack/internal/broker"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

func (s *stack) up(ctx context.Context, c call) error {
	return s.locked(ctx, func(ctx context.Context) error {
		if err := s.fetch.BrokerPackages(ctx); err != nil {
			return err
		}
		b := s.brokers()
		var work []func(context.Context) error
		if c.wants(partRocketMQ) {
			work = append(work, inOrder(s.fetch.RocketMQ, b.StartRocketMQ))
		}
		if c.wants(partKafka) {
			work = append(work, inOrder(s.fetch.Kafka, b.StartKafka))
		}
		return step.All(ctx, work...)
	})
}

func (s *stack) brokers() broker.Set {
	return broker.Set{Layout: s.layout, Ports: s.ports, Daemons: s.daemons, Report: s.report}
}

// inOrder is one function that calls all of them until one fails.
func inOrder(fns ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, fn := range fns {
			if err := fn(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}
