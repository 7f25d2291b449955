package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/service"
)

// broker is any broker process; where there is one only, nothing is drawn.
func (s *strike) broker() rig.Broker {
	all := s.brokers.Brokers
	if len(all) == 1 {
		return all[0]
	}
	return all[s.rng.IntN(len(all))]
}

// nameServer is any of them.
func (s *strike) nameServer() rig.Server {
	all := s.brokers.NameServers
	if len(all) == 1 {
		return all[0]
	}
	return all[s.rng.IntN(len(all))]
}

func killBroker(ctx context.Context, s *strike) error {
	away := s.seconds(0, 10)
	return s.killFor(ctx, brokerKilled, s.broker().Process, away)
}

func killNameServer(ctx context.Context, s *strike) error {
	away := s.seconds(0, 10)
	return s.killFor(ctx, namesKilled, s.nameServer().Process, away)
}

func killKafka(ctx context.Context, s *strike) error {
	return s.killFor(ctx, kafkaKilled, rig.Kafka, s.seconds(0, 10))
}

// killFor kills a process of the stack and starts it again later.
func (s *strike) killFor(ctx context.Context, kind, process string, away time.Duration) error {
	s.say("SIGKILL to %s, started %s later", process, away)
	m := s.from(kind)
	if err := s.brokers.Kill(ctx, process); err != nil {
		return err
	}
	err := errors.Join(service.Sleep(ctx, away), s.brokers.Start(ctx, process))
	if err == nil {
		err = s.brokers.Registered(ctx, s.topics()...)
	}
	m.Origin = cluster.Now()
	return err
}

// rollBrokers restarts all brokers as an upgrade does: each once the one before is registered again.
func rollBrokers(ctx context.Context, s *strike) error {
	s.say("Each broker gets SIGTERM and is started again, one after the other")
	if err := s.level(ctx); err != nil {
		return err
	}
	exposed := s.flows.Expose()
	for _, b := range s.brokers.Brokers {
		if err := s.restart(ctx, b); err != nil {
			return err
		}
	}
	if s.brokers.Name == rig.Controller { // a master that stops may have confirmed what its replica has not
		s.gone = exposed.End()
	}
	return nil
}

// restart ends one broker cleanly and starts it again. Where a replica takes over, tasks count from its election.
func (s *strike) restart(ctx context.Context, b rig.Broker) error {
	master, err := s.brokers.Master(ctx, b.Name)
	if err != nil {
		return err
	}
	m := s.from(brokersRolled)
	if err := s.brokers.Stop(ctx, b.Process); err != nil {
		return err
	}
	if s.brokers.Name == rig.Controller && master.Process == b.Process {
		replica, err := s.brokers.ReplicaOf(b)
		if err == nil {
			err = s.brokers.Elected(ctx, replica)
		}
		if err != nil {
			return err
		}
		m.Origin = cluster.Now()
	}
	if err := s.brokers.Start(ctx, b.Process); err != nil {
		return err
	}
	err = errors.Join(s.level(ctx), s.brokers.Registered(ctx, s.topics()...))
	if m.Origin == 0 {
		m.Origin = cluster.Now()
	}
	return err
}

func rollNameServers(ctx context.Context, s *strike) error {
	s.say("Each name server gets SIGTERM and is started again, one after the other")
	for _, n := range s.brokers.NameServers {
		m := s.from(namesRolled)
		if err := errors.Join(s.brokers.Stop(ctx, n.Process), s.brokers.Start(ctx, n.Process)); err != nil {
			return err
		}
		if err := errors.Join(s.level(ctx), s.brokers.Registered(ctx, s.topics()...)); err != nil {
			return err
		}
		m.Origin = cluster.Now()
	}
	return nil
}

// longestHang is how long a broker hangs at most.
const longestHang = 8 * time.Second

// freezeBroker has a master hang: it is connected, and does not answer. What it was sent meanwhile it carries out
// later.
func freezeBroker(ctx context.Context, s *strike) error {
	b, d := s.broker(), s.seconds(2, longestHang.Seconds())
	s.say("SIGSTOP to %s for %s", b.Process, d)
	m := s.from(brokerFrozen)
	wake, err := s.brokers.Freeze(ctx, b.Process)
	if err != nil {
		return err
	}
	err = errors.Join(service.Sleep(ctx, d), wake())
	m.Origin = cluster.Now()
	return err
}

// restoreBroker gives a broker a copy of its store that is some seconds old: it loses records of all topics, the
// workers' own included, that it had confirmed. What had come out before the copy was made cannot be lost, nor can what
// was sent after the kill.
func restoreBroker(ctx context.Context, s *strike) error {
	age, away := s.seconds(1, 6), s.seconds(0, 3)
	b := s.broker()
	s.say("SIGKILL to %s, started %s later with its store of %s before", b.Process, away, age)
	store, err := s.brokers.Store(ctx, b)
	if err != nil {
		return err
	}
	older := store + "-older"
	defer os.RemoveAll(older)
	exposed := s.flows.Expose()
	if err := s.brokers.Snapshot(ctx, b, store, older); err != nil {
		return err
	}
	if err := service.Sleep(ctx, age); err != nil {
		return err
	}
	m := s.from(brokerRestored)
	if err := s.brokers.Kill(ctx, b.Process); err != nil {
		return err
	}
	s.gone = exposed.End()
	if err := errors.Join(os.RemoveAll(store), os.Rename(older, store)); err != nil {
		return fmt.Errorf("replacing the store: %w", err)
	}
	err = errors.Join(service.Sleep(ctx, away), s.brokers.Start(ctx, b.Process))
	if err == nil {
		err = s.brokers.Registered(ctx, s.topics()...)
	}
	m.Origin = cluster.Now()
	return err
}

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
