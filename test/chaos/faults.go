package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/proxy"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

// The kinds of times in which tasks ran nowhere, as the table names them.
const (
	killedInPlace  = "killed, restarted in place"
	killedForGood  = "killed, restarted elsewhere"
	frozen         = "frozen"
	networkCut     = "network cut"
	networkHalfCut = "network cut one way"
	networkReset   = "network reset"
	networkSlow    = "network slow"
	kafkaCut       = "Kafka unreachable"
	brokerKilled   = "broker killed"
	brokerRestored = "broker restored from a copy"
	namesKilled    = "name server killed"
	kafkaKilled    = "Kafka killed"
	diskFull       = "store disk full"
	storeTruncated = "killed, store truncated"
	storeCorrupted = "killed, store corrupted"
	cleanStop      = "stopped cleanly"
	joined         = "joined or came back"
	moved          = "moved between the others"
	configReplaced = "config replaced"
	pausedResumed  = "paused and resumed"
	allKilled      = "all killed"
)

// targets are how long a task may run nowhere; kinds without one are only reported.
var targets = map[string]time.Duration{
	cleanStop: 500 * time.Millisecond, killedInPlace: 1500 * time.Millisecond, joined: 500 * time.Millisecond, moved: 500 * time.Millisecond,
	killedForGood: sessionTimeout + time.Second, frozen: sessionTimeout + time.Second, networkCut: sessionTimeout + time.Second,
	networkHalfCut: sessionTimeout + time.Second, networkReset: sessionTimeout + time.Second, brokerKilled: 3 * time.Second, namesKilled: 3 * time.Second,
	brokerRestored: sessionTimeout + time.Second, // invariant C4: nothing newly claimed starts for one session
}

// strike is one fault at work on a fleet.
type strike struct {
	*fleet
	rng   *rand.Rand
	say   func(format string, args ...any)
	tasks map[string]int
	topic string
	flow  *traffic
	marks []*mark
	// window is what the fault may have lost for good.
	window window
	// skipped says why the fault could not be tried.
	skipped string
}

// fault is one kind of fault.
type fault struct {
	name string
	do   func(ctx context.Context, s *strike) error
	// clean says that it ends no task without a drain: nothing may be repeated.
	clean bool
	// resent is how often a batch of a source that lives on may be stored without its answer coming through.
	resent int
}

// faults returns every kind that comes once in each block of rounds.
func faults() []fault {
	return []fault{
		{name: killedInPlace, do: killInPlace}, {name: killedForGood, do: killElsewhere}, {name: frozen, do: freezeShort, resent: 1},
		{name: networkCut, do: cut(networkCut, proxy.Mode{HoldUp: true, HoldDown: true}), resent: 1},
		{name: networkHalfCut, do: halfCut, resent: int(leaseTime/sendTimeout) + 1},
		{name: networkReset, do: cut(networkReset, proxy.Mode{Refuse: true}), resent: 1},
		{name: networkSlow, do: cut(networkSlow, proxy.Mode{Delay: 150 * time.Millisecond}), resent: 1}, {name: kafkaCut, do: cutKafka},
		{name: brokerKilled, do: killBroker(rocketMQ, brokerKilled), resent: 1}, {name: brokerRestored, do: restoreBroker, resent: 1},
		{name: namesKilled, do: killBroker(nameServer, namesKilled)}, {name: kafkaKilled, do: killBroker(kafka, kafkaKilled)},
		{name: diskFull, do: fillDisk}, {name: storeTruncated, do: damage(storeTruncated, truncated)},
		{name: storeCorrupted, do: damage(storeCorrupted, corrupted)}, {name: cleanStop, do: scale, clean: true},
		{name: configReplaced, do: replaceConfig, clean: true}, {name: pausedResumed, do: pauseResume, clean: true},
		{name: allKilled, do: killAll},
	}
}

// longFreezes come once every longEvery rounds, each instead of another fault.
func longFreezes() []fault {
	return []fault{
		{name: frozen + " 60 s", do: freezeFor(60 * time.Second), resent: 1}, {name: frozen + " 200 s", do: freezeFor(200 * time.Second), resent: 1},
	}
}

const longEvery = 60

// pick is the fault of a round: all kinds come once in each block of rounds, in an order of the seed's; the last rounds of
// every longEvery are long freezes.
func pick(seed uint64, round int) fault {
	all, long := faults(), longFreezes()
	if left := longEvery - 1 - round%longEvery; left < len(long) {
		return long[left]
	}
	order := rand.New(rand.NewPCG(seed, uint64(round/len(all)))).Perm(len(all))
	return all[order[round%len(all)]]
}

// named finds a fault by its name.
func named(name string) (fault, bool) {
	all := append(faults(), longFreezes()...)
	i := slices.IndexFunc(all, func(f fault) bool { return f.name == name })
	if i < 0 {
		return fault{}, false
	}
	return all[i], true
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
	if err := pause(ctx, away); err != nil {
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
	if err := pause(ctx, away); err != nil {
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
		err := pause(ctx, d)
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
	err := pause(ctx, d)
	s.kafka.Set(proxy.Mode{})
	m.Origin = cluster.Now()
	return err
}

func killBroker(name, kind string) func(ctx context.Context, s *strike) error {
	return func(ctx context.Context, s *strike) error {
		away := s.seconds(0, 10)
		s.say("SIGKILL to %s, started %s later", name, away)
		m := s.from(kind)
		if err := s.brokers.kill(ctx, name); err != nil {
			return err
		}
		err := errors.Join(pause(ctx, away), s.brokers.up(ctx))
		if err == nil {
			err = s.brokers.registered(ctx, s.topic)
		}
		m.Origin = cluster.Now()
		return err
	}
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
	in, apart := s.rng.IntN(2) == 0, s.seconds(0, 0.5)
	s.say("Two new configs %s apart, of the source: %t", apart, in)
	s.from(configReplaced)
	for i := range 2 {
		conn := sink(s.topic, address(s.kafkaPort()))
		if in {
			conn = source(s.topic, address(s.kafkaPort()))
		}
		conn.Config["offset.flush.interval.ms"] = fmt.Sprint(900 + s.rng.IntN(200))
		if _, err := s.victim().client().Put(ctx, conn, restclient.AnyRevision); err != nil {
			return fmt.Errorf("replacing a config: %w", err)
		}
		if i == 0 {
			if err := pause(ctx, apart); err != nil {
				return err
			}
		}
	}
	return nil
}

func pauseResume(ctx context.Context, s *strike) error {
	names := []string{sourceName, sinkName}
	name, d := names[s.rng.IntN(2)], s.seconds(0.2, 5)
	s.say("%s paused for %s", name, d)
	m := s.from(pausedResumed)
	if _, err := s.victim().client().SetState(ctx, name, restapi.StatePaused); err != nil {
		return fmt.Errorf("pausing: %w", err)
	}
	if err := pause(ctx, d); err != nil {
		return err
	}
	m.Origin = cluster.Now()
	if _, err := s.victim().client().SetState(ctx, name, restapi.StateRunning); err != nil {
		return fmt.Errorf("resuming: %w", err)
	}
	return nil
}
