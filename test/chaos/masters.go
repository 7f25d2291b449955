package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/rocketmq-connect/operator/test/chaos/disk"
	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

var errNotThere = errors.New("no broker holds it")

// topicsLieOn is the broker of the internal topics, and another one.
func (s *strike) topicsLieOn(ctx context.Context) (its, other rig.Broker, err error) {
	client, err := rmq.Open(rmq.Config{NameServers: s.brokers.Names()})
	if err != nil {
		return its, other, fmt.Errorf("looking for the cluster log: %w", err)
	}
	defer client.Close()
	topic := process.InternalTopics(s.cluster)[0]
	queues, err := client.Route(ctx, topic)
	if err != nil {
		return its, other, fmt.Errorf("looking for the cluster log: %w", err)
	}
	for _, b := range s.brokers.Brokers {
		if b.Name == queues[0].Broker {
			its = b
		} else {
			other = b
		}
	}
	if its.Name == "" || other.Name == "" {
		return its, other, fmt.Errorf("%w: topic %s is on %s", errNotThere, topic, queues[0].Broker)
	}
	return its, other, nil
}

// loseBroker takes the broker of the internal topics away for good: the workers are told to have them on another one,
// as the runbook says. An empty one of its name comes back at the end, for what waits for it.
func loseBroker(ctx context.Context, s *strike) error {
	lost, other, err := s.topicsLieOn(ctx)
	if err != nil {
		return err
	}
	noticed, away := s.seconds(0, 8), s.seconds(2, 6)
	s.say("%s is lost with its store; %s later all workers are restarted with clusterTopicBroker=%s; an empty one comes %s after that",
		lost.Process, noticed, other.Name, away)
	m := s.from(brokerLost)
	if err := s.lose(ctx, lost); err != nil {
		return err
	}
	if err := service.Sleep(ctx, noticed); err != nil {
		return err
	}
	s.topicBroker = other.Name
	live := s.live()
	for _, v := range live {
		if err := s.stop(ctx, v); err != nil {
			return err
		}
	}
	for _, v := range live {
		if err := s.start(v); err != nil {
			return err
		}
	}
	m.Origin = cluster.Now()
	if err := errors.Join(s.settled(ctx, s.tasks), service.Sleep(ctx, away)); err != nil {
		return err
	}
	return s.bringBack(ctx, lost)
}

// recreateBroker gives a broker an empty store.
func recreateBroker(ctx context.Context, s *strike) error {
	b := s.broker()
	s.say("%s is lost with its store, and an empty one comes at once", b.Process)
	m := s.from(brokerRecreated)
	if err := s.lose(ctx, b); err != nil {
		return err
	}
	err := s.bringBack(ctx, b)
	m.Origin = cluster.Now()
	return err
}

// lose stops a broker and removes its store: what no sink had read of it is gone.
func (s *strike) lose(ctx context.Context, b rig.Broker) error {
	exposed := s.flows.Expose()
	err := s.brokers.Lose(ctx, b.Process)
	s.gone = exposed.End()
	return err
}

// bringBack starts an empty broker, with the topics of others on it. The internal ones are the workers' affair.
func (s *strike) bringBack(ctx context.Context, b rig.Broker) error {
	if err := errors.Join(s.brokers.Start(ctx, b.Process), s.brokers.Whole(ctx)); err != nil {
		return err
	}
	for _, topic := range s.topics() {
		if err := s.brokers.CreateTopic(ctx, b, topic, queuesEach); err != nil {
			return err
		}
	}
	return s.brokers.Registered(ctx, s.topics()...)
}

// closeBroker takes a broker the right to be written for a time.
func closeBroker(ctx context.Context, s *strike) error {
	const key, readOnly, open = "brokerPermission", "4", "6"
	b, d := s.broker(), s.seconds(2, 12)
	s.say("%s is read-only for %s", b.Process, d)
	m := s.from(brokerReadOnly)
	if err := s.brokers.Configure(ctx, b, key, readOnly); err != nil {
		return err
	}
	err := errors.Join(service.Sleep(ctx, d), s.brokers.Configure(context.WithoutCancel(ctx), b, key, open))
	m.Origin = cluster.Now()
	return err
}

// fillBroker has a broker refuse all records as one does whose disk is full: it looks at a file system without room.
func fillBroker(ctx context.Context, s *strike) error {
	const key = "storePathCommitLog"
	if !disk.Possible() {
		s.skipped = "only root can make small file systems"
		return nil
	}
	b, d := s.broker(), s.seconds(2, 12)
	store, err := s.brokers.Store(ctx, b)
	if err != nil {
		return err
	}
	small := filepath.Join(s.dir, "full")
	if err := disk.Mount(small, storeSize); err != nil {
		return err
	}
	defer func() { _ = disk.Unmount(small) }()
	if err := disk.Fill(filepath.Join(small, "filler")); err != nil {
		return err
	}
	s.say("%s says that its disk is full, for %s or a little longer", b.Process, d)
	m := s.from(brokerFull)
	if err := s.brokers.Configure(ctx, b, key, small); err != nil {
		return err
	}
	err = errors.Join(s.brokers.Refuses(ctx, b), service.Sleep(ctx, d))
	err = errors.Join(err, s.brokers.Configure(context.WithoutCancel(ctx), b, key, filepath.Join(store, "commitlog")), s.brokers.Takes(ctx, b))
	m.Origin = cluster.Now()
	return err
}
