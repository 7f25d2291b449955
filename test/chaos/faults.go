package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/disk"
	"github.com/rocketmq-connect/operator/test/chaos/proxy"
	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/service"
)

// strike is one fault at work on a fleet.
type strike struct {
	*fleet
	rng   *rand.Rand
	say   func(format string, args ...any)
	tasks map[string]int
	pairs []pair
	flows traffic.Flows
	marks []*mark
	// gone is how many records the fault may have lost for good.
	gone int
	// skipped says why the fault could not be tried.
	skipped string
}

// from notes that what loses its owner from now on does so by kind, and counts from its own last moment.
func (s *strike) from(kind string) *mark {
	s.marks = append(s.marks, &mark{Kind: kind, Since: cluster.Now()})
	return s.marks[len(s.marks)-1]
}

// lost is from for one member.
func (s *strike) lost(kind string, v *member) *mark {
	m := s.from(kind)
	m.Worker = v.id
	return m
}

// silenced is lost for a member that lives on: its tasks count from now.
func (s *strike) silenced(kind string, v *member) *mark {
	m := s.lost(kind, v)
	m.Origin = m.Since
	return m
}

// victim is a live member.
func (s *strike) victim() *member {
	live := s.live()
	return live[s.rng.IntN(len(live))]
}

// pair is any; where there is one only, nothing is drawn.
func (s *strike) pair() pair {
	if len(s.pairs) == 1 {
		return s.pairs[0]
	}
	return s.pairs[s.rng.IntN(len(s.pairs))]
}

// topics are those of the flows.
func (s *strike) topics() []string {
	var out []string
	for _, p := range s.pairs {
		out = append(out, p.Topic)
	}
	return out
}

// level waits until the brokers are whole, and replicas know all topics of this run.
func (s *strike) level(ctx context.Context) error {
	return s.brokers.Whole(ctx, append(s.topics(), process.InternalTopics(s.cluster)...)...)
}

// seconds is a random time.
func (s *strike) seconds(least, most float64) time.Duration {
	return time.Duration((least + s.rng.Float64()*(most-least)) * float64(time.Second)).Round(time.Millisecond)
}

func killInPlace(_ context.Context, s *strike) error {
	v := s.victim()
	s.say("SIGKILL to %s, started at once in its own store", v.id)
	s.lost(killedInPlace, v)
	s.kill(v)
	return s.start(v)
}

func killElsewhere(ctx context.Context, s *strike) error {
	v, away := s.victim(), s.seconds(0, 8)
	s.say("SIGKILL to %s, started %s later with an empty store", v.id, away)
	s.lost(killedForGood, v)
	s.kill(v)
	if err := service.Sleep(ctx, away); err != nil {
		return err
	}
	if err := s.newStore(v); err != nil {
		return err
	}
	s.from(joined)
	return s.start(v)
}

func killAll(ctx context.Context, s *strike) error {
	away := s.seconds(0, 3)
	s.say("SIGKILL to all, started %s later", away)
	s.from(allKilled)
	for _, m := range s.live() {
		s.kill(m)
	}
	if err := service.Sleep(ctx, away); err != nil {
		return err
	}
	for _, m := range s.members[:len(s.members)-1] {
		if err := s.start(m); err != nil {
			return err
		}
	}
	return nil
}

func freezeShort(ctx context.Context, s *strike) error {
	return freezeFor(s.seconds(1, 20))(ctx, s)
}

func freezeFor(d time.Duration) func(ctx context.Context, s *strike) error {
	return func(ctx context.Context, s *strike) error {
		v := s.victim()
		s.say("SIGSTOP to %s for %s", v.id, d)
		s.silenced(frozen, v)
		err := s.freeze(ctx, v, d)
		s.from(joined)
		return err
	}
}

// cut breaks one member's way to RocketMQ for a time.
func cut(kind string, mode proxy.Mode) func(ctx context.Context, s *strike) error {
	return func(ctx context.Context, s *strike) error {
		v, d := s.victim(), s.seconds(1, 15)
		s.say("%s between %s and RocketMQ for %s", kind, v.id, d)
		from := s.silenced(kind, v).Since
		v.link.Set(mode)
		err := service.Sleep(ctx, d)
		v.link.Set(proxy.Mode{})
		s.own.shuts = append(s.own.shuts, shut{Worker: v.id, From: from, To: cluster.Now()})
		s.from(joined)
		return err
	}
}

// halfCut loses either what the member sends, or only the answers to it.
func halfCut(ctx context.Context, s *strike) error {
	up := s.rng.IntN(2) == 0
	return cut(networkHalfCut, proxy.Mode{HoldUp: up, HoldDown: !up})(ctx, s)
}

func cutKafka(ctx context.Context, s *strike) error {
	modes := []proxy.Mode{{HoldUp: true, HoldDown: true}, {HoldDown: true}, {Refuse: true}}
	mode, d := modes[s.rng.IntN(len(modes))], s.seconds(1, 15)
	s.say("Kafka unreachable for all (%+v) for %s", mode, d)
	m := s.from(kafkaCut)
	s.kafka.Set(mode)
	err := service.Sleep(ctx, d)
	s.kafka.Set(proxy.Mode{})
	m.Origin = cluster.Now()
	return err
}

// scale starts the member that is spare, and stops another one cleanly.
func scale(ctx context.Context, s *strike) error {
	spare := s.members[len(s.members)-1]
	s.say("%s joins, then another one leaves and comes back, then %s leaves", spare.id, spare.id)
	steps := []func() error{
		func() error { s.from(joined); return s.start(spare) },
		func() error { s.from(cleanStop); return s.stop(ctx, s.members[0]) },
		func() error { s.from(joined); return s.start(s.members[0]) },
		func() error { s.from(cleanStop); return s.stop(ctx, spare) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
		if err := s.settled(ctx, s.tasks); err != nil {
			return err
		}
	}
	return nil
}

// replaceConfig writes another config of a connector, twice, the second while the tasks of the first start.
func replaceConfig(ctx context.Context, s *strike) error {
	in, apart, kafkaAt := s.rng.IntN(2) == 0, s.seconds(0, 0.5), rig.Address(s.kafkaPort())
	p := s.pair()
	s.say("Two new configs %s apart, of the source: %t", apart, in)
	s.from(configReplaced)
	for i := range 2 {
		conn := p.sink(kafkaAt)
		if in {
			conn = p.source(kafkaAt)
		}
		conn.Config["offset.flush.interval.ms"] = fmt.Sprint(900 + s.rng.IntN(200))
		if _, err := s.victim().client().Put(ctx, conn, restclient.AnyRevision); err != nil {
			return fmt.Errorf("replacing a config: %w", err)
		}
		if i == 0 {
			if err := service.Sleep(ctx, apart); err != nil {
				return err
			}
		}
	}
	return nil
}

func pauseResume(ctx context.Context, s *strike) error {
	kinds := []string{sourceName, sinkName}
	kind, d := kinds[s.rng.IntN(2)], s.seconds(0.2, 5)
	name := s.pair().named(kind)
	s.say("%s paused for %s", name, d)
	m := s.from(pausedResumed)
	if _, err := s.victim().client().SetState(ctx, name, restapi.StatePaused); err != nil {
		return fmt.Errorf("pausing: %w", err)
	}
	if err := service.Sleep(ctx, d); err != nil {
		return err
	}
	m.Origin = cluster.Now()
	if _, err := s.victim().client().SetState(ctx, name, restapi.StateRunning); err != nil {
		return fmt.Errorf("resuming: %w", err)
	}
	return nil
}

// fillDisk leaves a member no room in its store for a time.
func fillDisk(ctx context.Context, s *strike) error {
	if len(s.mounted) == 0 {
		s.skipped = "only root can make small file systems"
		return nil
	}
	v, d := s.victim(), s.seconds(2, 10)
	s.say("No room left in the store of %s for %s", v.id, d)
	s.lost(diskFull, v)
	path := filepath.Join(v.store, "filler")
	if err := disk.Fill(path); err != nil {
		return err
	}
	return errors.Join(service.Sleep(ctx, d), os.Remove(path))
}

// damage kills a member, changes some of its files, and starts it again on them.
func damage(kind string, change func(*rand.Rand, []byte) []byte) func(ctx context.Context, s *strike) error {
	return func(_ context.Context, s *strike) error {
		v := s.victim()
		s.lost(kind, v)
		s.kill(v)
		changed := 0
		err := filepath.WalkDir(v.store, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || s.rng.IntN(3) == 0 {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			changed++
			return os.WriteFile(path, change(s.rng, b), 0o600)
		})
		if err != nil {
			return fmt.Errorf("damaging a store: %w", err)
		}
		s.say("SIGKILL to %s, %d files of its store damaged, started again", v.id, changed)
		return s.start(v)
	}
}

func truncated(rng *rand.Rand, b []byte) []byte { return b[:rng.IntN(len(b)+1)] }

func corrupted(rng *rand.Rand, b []byte) []byte {
	for range min(len(b), 8) {
		b[rng.IntN(len(b))] = byte(rng.Uint32())
	}
	return b
}
