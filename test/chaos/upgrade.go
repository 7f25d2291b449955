package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/rocketmq-connect/operator/worker/cluster"
)

// The versions of an upgrade.
const (
	oldVersion = "4.9.7"
	newVersion = "5.3.3"
)

// upgrade stops the old version's name server and broker cleanly, and starts the new one's in the store of the old.
func upgrade(ctx context.Context, s *strike) error {
	b, names := s.brokers.Brokers[0], s.brokers.NameServers[0]
	store, err := s.brokers.Store(ctx, b)
	if err != nil {
		return err
	}
	newStore, ok := strings.CutSuffix(store, "-"+oldVersion)
	if !ok {
		s.skipped = "the broker was upgraded in a round before"
		return nil
	}
	s.say("%s and %s of %s are stopped, and started as %s", b.Process, names.Process, oldVersion, newVersion)
	m := s.from(upgraded)
	if err := errors.Join(s.brokers.Stop(ctx, b.Process), s.brokers.Stop(ctx, names.Process)); err != nil {
		return err
	}
	if err := os.Rename(store, newStore); err != nil {
		return fmt.Errorf("moving the store to where %s looks for it: %w", newVersion, err)
	}
	s.brokers.Use(newVersion)
	err = s.brokers.Up(ctx)
	if err == nil {
		err = s.brokers.Registered(ctx, s.topics()...)
	}
	m.Origin = cluster.Now()
	return err
}
