package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/service"
)

// replicas are the master, and who may follow it, once both are there and level.
func (s *strike) replicas(ctx context.Context) (master, replica rig.Broker, err error) {
	if err := s.level(ctx); err != nil {
		return master, replica, err
	}
	if master, err = s.brokers.Master(ctx, s.brokers.MasterNames()[0]); err != nil {
		return master, replica, err
	}
	replica, err = s.brokers.ReplicaOf(master)
	return master, replica, err
}

// killMaster kills a master whose slave nobody elects: the slave can be read, and nothing can be written until the
// master is back.
func killMaster(ctx context.Context, s *strike) error {
	master, _, err := s.replicas(ctx)
	if err != nil {
		return err
	}
	return s.killFor(ctx, brokerKilled, master.Process, s.seconds(0, 10))
}

// loseReplica takes the replica away, by a clean stop, a kill or a freeze: a master that replicates before it answers
// has nobody to wait for.
func loseReplica(ctx context.Context, s *strike) error {
	_, replica, err := s.replicas(ctx)
	if err != nil {
		return err
	}
	how, d := s.rng.IntN(3), s.seconds(2, 10)
	s.say("%s %s for %s", replica.Process, []string{"is stopped cleanly", "gets SIGKILL, and is away", "gets SIGSTOP"}[how], d)
	m := s.from(replicaLost)
	switch how {
	case 0:
		err = s.brokers.Stop(ctx, replica.Process)
	case 1:
		err = s.brokers.Kill(ctx, replica.Process)
	default:
		wake, failed := s.brokers.Freeze(ctx, replica.Process)
		if failed != nil {
			return failed
		}
		err = errors.Join(service.Sleep(ctx, d), wake())
		m.Origin = cluster.Now()
		return errors.Join(err, s.level(ctx))
	}
	if err = errors.Join(err, service.Sleep(ctx, d)); err != nil {
		return err
	}
	err = s.brokers.Start(ctx, replica.Process)
	m.Origin = cluster.Now()
	return errors.Join(err, s.level(ctx))
}

// failover has the controller elect the replica, because the master was killed, or hangs.
func failover(kind string, freeze bool) func(ctx context.Context, s *strike) error {
	return func(ctx context.Context, s *strike) error {
		master, replica, err := s.replicas(ctx)
		if err != nil {
			return err
		}
		d := s.seconds(1, 6)
		s.say("%s: %s; %s is to follow; the old one is back %s after that", kind, master.Process, replica.Process, d)
		logs, err := s.logSizes()
		if err != nil {
			return err
		}
		m, exposed := s.from(kind), s.flows.Expose()
		back, err := s.strikeMaster(ctx, master, freeze)
		if err != nil {
			return err
		}
		s.gone = exposed.End()
		if err := s.elect(ctx, m, election{replica: replica, back: back, after: d, exposed: exposed}); err != nil {
			return err
		}
		lost, err := s.rejoined(logs)
		if lost {
			m.Kind += lostToo
		}
		return err
	}
}

// logSizes says how much each worker has logged.
func (s *strike) logSizes() (map[*member]int64, error) {
	out := map[*member]int64{}
	for _, v := range s.live() {
		info, err := os.Stat(v.log)
		if err != nil {
			return nil, fmt.Errorf("looking at a worker's log: %w", err)
		}
		out[v] = info.Size()
	}
	return out, nil
}

// rejoined says whether a worker has logged since then that the cluster log does not hold what it read of it.
func (s *strike) rejoined(since map[*member]int64) (bool, error) {
	for v, size := range since {
		log, err := os.ReadFile(v.log)
		if err != nil {
			return false, fmt.Errorf("reading a worker's log: %w", err)
		}
		if bytes.Contains(log[size:], []byte("for the cluster log does not go on where it was read to")) {
			return true, nil
		}
	}
	return false, nil
}

// loseTail has the controller elect a replica that lacks what the master confirmed last. The replica is frozen, so that
// the master keeps it among those that may be elected, and the network between them is filled up: what is sent after
// that is nowhere else when the master goes.
func loseTail(kind string, freeze bool) func(ctx context.Context, s *strike) error {
	return func(ctx context.Context, s *strike) error {
		master, replica, err := s.replicas(ctx)
		if err != nil {
			return err
		}
		behind, d := s.seconds(1, 3), s.seconds(1, 6) // a replica that is silent for longer is elected no more
		s.say("%s: %s, %s is %s behind and is to follow; the old one is back %s after that", kind, master.Process, replica.Process, behind, d)
		m, exposed := s.from(kind), s.flows.Expose()
		wake, err := s.brokers.Freeze(ctx, replica.Process)
		if err != nil {
			return err
		}
		err = errors.Join(s.brokers.Clog(ctx, master), service.Sleep(ctx, behind))
		var back func() error
		if err == nil {
			back, err = s.strikeMaster(ctx, master, freeze)
		}
		if err = errors.Join(err, wake()); err != nil {
			return err
		}
		s.gone = exposed.End()
		return s.elect(ctx, m, election{replica: replica, back: back, after: d, exposed: exposed})
	}
}

// strikeMaster kills or freezes the master; back undoes it.
func (s *strike) strikeMaster(ctx context.Context, master rig.Broker, freeze bool) (back func() error, err error) {
	if freeze {
		return s.brokers.Freeze(ctx, master.Process)
	}
	return func() error { return s.brokers.Start(ctx, master.Process) }, s.brokers.Kill(ctx, master.Process)
}

// election is what is waited for once a master is gone.
type election struct {
	replica rig.Broker
	back    func() error
	after   time.Duration
	exposed traffic.Exposed
}

// elect waits until the replica is the master, from when tasks count as unowned, and lets the old one come back. One
// that was frozen confirms until it learns of the election, and then loses it.
func (s *strike) elect(ctx context.Context, m *mark, e election) error {
	err := s.brokers.Elected(ctx, e.replica)
	m.Origin = cluster.Now()
	if err == nil {
		err = service.Sleep(ctx, e.after)
	}
	if err = errors.Join(err, e.back()); err != nil {
		return err
	}
	err = s.level(ctx)
	s.gone = e.exposed.End()
	return err
}
