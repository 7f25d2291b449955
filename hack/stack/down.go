//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// down stops everything and removes the instance's state; what was fetched and built stays. It can be repeated.
func (s *stack) down(ctx context.Context) error {
	return s.locked(ctx, func(ctx context.Context) error {
		if err := step.All(ctx, s.cluster().Stop, s.stopBrokers); err != nil {
			return err
		}
		if err := os.RemoveAll(s.layout.State()); err != nil {
			return fmt.Errorf("removing the state: %w", err)
		}
		s.report.Say("stack", "down")
		return nil
	})
}

// brokerGrace is short because the brokers' data go too: they need not be written down.
const brokerGrace = 2 * time.Second

func (s *stack) stopBrokers(ctx context.Context) error {
	b, err := s.brokers()
	if err != nil {
		return err
	}
	var g step.Group
	for _, name := range b.Names() {
		g.Go(func() error {
			if _, running := s.daemons.Running(name); running {
				s.report.Say(name, "stopping")
			}
			return s.daemons.StopWithin(ctx, name, brokerGrace)
		})
	}
	return g.Wait()
}
