package simulation

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

const (
	simFaults = 40 * time.Second // faults happen
	simCalm   = 90 * time.Second // then everybody must come to rest within
	simSlice  = 50 * time.Millisecond
	// simSeeds are run unless SIM_SEEDS says otherwise; plantSeeds is how many may be needed to find a bug.
	simSeeds   = 1000
	plantSeeds = 600
)

// SIM_SEEDS and SIM_FROM say how many seeds are run, and from which on: `make simulate SEEDS=20000 SEED_FROM=7`.
func TestSimulation(t *testing.T) {
	from, n := envNumber(t, "SIM_FROM", 0), envNumber(t, "SIM_SEEDS", simSeeds)
	const parts = 4
	var failed atomic.Bool
	for part := range uint64(parts) {
		t.Run(fmt.Sprintf("part %d", part), func(t *testing.T) {
			t.Parallel()
			losses, holes, anew, moves, twins, parted, damages, rereads := 0, 0, 0, 0, 0, 0, 0, 0
			for seed := from + part; seed < from+n && !failed.Load(); seed += parts {
				s := simulate(seed, plant{})
				if s.failed != nil {
					failed.Store(true)
					t.Fatalf("seed %d: %v\n%s\nOnce more: make simulate SEED_FROM=%d SEEDS=1", seed, s.failed, s.tail(150), seed)
				}
				losses, holes, anew, moves = losses+len(s.losses), holes+s.holes, anew+s.anew, moves+s.moves
				twins, parted = twins+len(s.flow.twins), parted+s.parted
				damages, rereads = damages+s.damages, rereads+s.rereads
			}
			t.Logf("%d losses of the cluster log's tail, %d overlaps by newcomers within one session of them; %d logs recreated; "+
				"%d partitions whose queue became another; %d connectors with two configs of one epoch; %d times the workers held older "+
				"configs than the log; "+
				"%d damaged folds, %d read again", losses, holes, anew, moves, twins, parted, damages, rereads)
			if n >= simSeeds && min(losses, anew, moves, rereads) == 0 && !failed.Load() {
				t.Error("nothing was ever lost, or recreated, or moved")
			}
		})
	}
}

func envNumber(t *testing.T, name string, otherwise uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		t.Fatalf("reading %s: %v", name, err)
	}
	return n
}

func TestSimulationReplaysExactly(t *testing.T) {
	for seed := range uint64(4) {
		a, b := simulate(seed, plant{}), simulate(seed, plant{})
		if diff := cmp.Diff(a.trace, b.trace); diff != "" {
			t.Errorf("seed %d ran otherwise the second time (-first +second):\n%s", seed, diff)
		}
	}
}

// The checks are worth something only if they find bugs.
func TestSimulationFindsBugsOfItsOwnParts(t *testing.T) {
	cases := map[string]struct {
		plant plant
		want  string
	}{
		"a worker that misreads an entry":                 {plant{misread: true}, "C1"},
		"a log that is read on blindly after a reconnect": {plant{blind: true}, "C1"},
		"a log that is recreated on another broker":       {plant{elsewhere: true}, "C1"},
		"a queue among those that are shown just now":     {plant{routed: true}, "ORDER"},
		"a binding that is stored after the position":     {plant{late: true}, "ORDER"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(plantSeeds) {
				if s := simulate(seed, tc.plant); s.failed != nil && strings.Contains(s.failed.Error(), tc.want) {
					t.Logf("found by seed %d: %v", seed, s.failed)
					return
				}
			}
			t.Errorf("%d seeds found nothing", plantSeeds)
		})
	}
}

func simulate(seed uint64, p plant) *sim {
	s := newSim(seed, p)
	s.rough = true
	s.terms.RebalanceDelayMS = []int64{0, 0, 3000}[s.rng.IntN(3)]
	s.place(s.brokers[s.rng.IntN(len(s.brokers))])
	n := 2 + s.rng.IntN(3)
	for i := range n {
		s.startAuto(fmt.Sprintf("w%d", i), s.storeOf(i))
	}
	for _, name := range []string{sourceConnector, sinkConnector} {
		s.ask(storefold.Write{Name: name, RequestID: s.id("request"), IfRevision: -1,
			Config: map[string]string{"connector.class": "sim", "max.tasks": "2"}})
	}
	if seed%passes == 1 {
		s.passing()
	}
	for s.now < simFaults && s.failed == nil {
		s.slices(200*time.Millisecond + s.random(4*time.Second))
		s.fault()
	}
	s.calm()
	for end := s.now + simCalm; s.failed == nil; {
		s.slices(time.Second)
		left := s.unrest()
		if left == "" {
			break
		}
		if s.now >= end {
			s.fail("%s", left)
		}
	}
	return s
}

func (s *sim) storeOf(i int) string {
	if i%2 == 0 {
		return fmt.Sprintf("store%d", i)
	}
	return ""
}

func (s *sim) startAuto(id, store string) { s.start(id, store).worker.auto = true }

func (s *sim) slices(d time.Duration) {
	for end := s.now + d; s.now < end && s.failed == nil; {
		s.advance(simSlice)
		if s.now < simFaults {
			s.flow.produced = int(s.now * perSecond / time.Second)
		}
		for _, p := range s.procs {
			if p.alive && p.fatal == nil {
				s.wake(p)
				s.deliver(p)
			}
		}
	}
}

func (s *sim) calm() {
	s.tracef("calm")
	s.rough = false
	s.heal()
	s.at(3*time.Second, s.heal) // faults that were still to end
	s.at(20*time.Second, s.newcomer)
	for after := 5 * time.Second; after < simCalm; after += 5 * time.Second {
		s.at(after, s.decide)
	}
	// The user asks again, as the operator does, for what a broker that lost records may have undone.
	for after := 15 * time.Second; after < simCalm; after += 25 * time.Second {
		for _, name := range []string{sourceConnector, sinkConnector} {
			s.at(after, func() { s.askAgain(name) })
		}
	}
}

// newcomer starts a worker that holds nothing where the log has a config of a later epoch than anybody holds: it lost
// one that they took, and then took one that they refuse for that. What they write on is void to who reads the log from
// its start; once somebody does, all agree. This is the other hole that is left where the config topic loses
// acknowledged records.
func (s *sim) newcomer() {
	log, _ := s.flow.judges[s.config].fold.(*storefold.Configs)
	for _, name := range []string{sourceConnector, sinkConnector, passingConnector} {
		want, _ := log.View(name)
		holds := func(p *proc) bool {
			held, _ := p.worker.stores.configs.View(name)
			return p.alive && p.fatal == nil && held.Epoch >= want.Epoch
		}
		if s.config.losses > 0 && !slices.ContainsFunc(s.procs, holds) {
			s.parted++
			s.startAuto(s.id("w"), "")
			return
		}
	}
}

// askAgain asks for what was asked for first, and for a new epoch where one epoch has two configs: nothing tells the
// tasks of the one from those of the other. This is the hole that is left where the config topic loses acknowledged
// records and somebody who knows nothing of them takes the next write.
func (s *sim) askAgain(name string) {
	w := storefold.Write{Name: name, RequestID: s.id("request"), IfRevision: -1, State: states.WantRunning,
		Config: map[string]string{"connector.class": "sim", "max.tasks": "2"}}
	if s.flow.twins[name] {
		w.Config["for"] = w.RequestID
	}
	s.ask(w)
}

func (s *sim) heal() {
	for _, b := range s.brokers {
		b.slow = 0
		s.setDown(b, false)
	}
	for _, t := range s.topics() {
		t.slow = 0
	}
	for _, p := range s.procs {
		p.cut = false
		s.thaw(p)
	}
}

// unrest says what has not come to rest; "" once everything has.
func (s *sim) unrest() string {
	for _, name := range []string{sourceConnector, sinkConnector} {
		tasks := 0
		if c, ok := s.flow.judges[s.config].fold.(*storefold.Configs); ok {
			view, _ := c.View(name)
			if view.Tasks == nil || view.State != states.WantRunning {
				return "P4: connector " + name + " has no tasks, or does not run"
			}
			tasks = len(view.Tasks)
		}
		for task := allocate.ConnectorTask; task < tasks; task++ {
			u := fold.Unit{Connector: name, Task: task}
			if o, ok := s.truth.observer.Owner(u); !ok {
				return fmt.Sprintf("P4: nobody owns %s in the end", u)
			} else if task != allocate.ConnectorTask && !s.runs(u, o) {
				return fmt.Sprintf("P4: %s is not run in the end by its owner %+v", u, o)
			}
		}
	}
	if idle := s.idle(); idle != "" {
		return "QUEUES: " + idle
	}
	if missing := s.flow.missing(s); missing != "" {
		return "P4: " + missing
	}
	if wrong := s.wrongInTheEnd(); wrong != "" {
		return "C1: " + wrong
	}
	if left := s.flow.unsettled(s); left != "" {
		return left
	}
	return s.unerased()
}

// runs reports whether some process runs a unit under the ownership.
func (s *sim) runs(u fold.Unit, o fold.Owner) bool {
	for _, p := range s.procs {
		if a := p.worker.runs[u]; p.alive && p.fatal == nil && a != nil && a.running && !a.draining && a.grant.Generation == o.Generation {
			return true
		}
	}
	return false
}
