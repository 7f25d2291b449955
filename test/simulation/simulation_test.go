package member

import (
	"fmt"
	"maps"
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
)

const (
	simFaults = 60 * time.Second // faults happen
	simCalm   = 50 * time.Second // then everybody must come to rest
	simSlice  = 50 * time.Millisecond
	// plantSeeds is how many seeds may be needed to find a bug.
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
			losses, holes := 0, 0
			for seed := from + part; seed < from+n && !failed.Load(); seed += parts {
				s := simulate(seed, plant{})
				if s.failed != nil {
					failed.Store(true)
					t.Fatalf("seed %d: %v\n%s\nOnce more: make simulate SEED_FROM=%d SEEDS=1", seed, s.failed, s.tail(150), seed)
				}
				losses, holes = losses+len(s.losses), holes+s.holes
			}
			t.Logf("%d losses of the log's tail, %d overlaps by newcomers within one session of them", losses, holes)
			if n >= simSeeds && losses == 0 && !failed.Load() {
				t.Error("nothing was ever lost")
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
func TestSimulationFindsPlantedBugs(t *testing.T) {
	if raceEnabled {
		t.Skip("takes more seeds than are run under the race detector")
	}
	cases := map[string]struct {
		plant plant
		want  string
	}{
		"a gate that is ignored":                             {plant{ignoreGate: true}, "C2"},
		"a lease that counts from a heartbeat's coming back": {plant{freshLease: true}, "C2"},
		"tasks that run on while they are released":          {plant{ignoreDrain: true}, "C2"},
		"a worker that misreads an entry":                    {plant{misread: true}, "C1"},
		"a log that is read on blindly after a reconnect":    {plant{blind: true}, "C1"},
		"a claim that starts at once after a reconnect":      {plant{hasty: true}, "C2"},
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
	s.epochs["a"], s.epochs["b"] = 1, 1
	s.terms.RebalanceDelayMS = []int64{0, 0, 3000}[s.rng.IntN(3)]
	n := 2 + s.rng.IntN(3)
	for i := range n {
		s.startAuto(fmt.Sprintf("w%d", i), s.storeOf(i))
	}
	for s.now < simFaults && s.failed == nil {
		s.slices(200*time.Millisecond + s.random(4*time.Second))
		s.fault()
	}
	s.calm()
	s.slices(simCalm)
	if s.failed == nil && p == (plant{}) {
		s.checkRest()
	}
	return s
}

func (s *sim) storeOf(i int) string {
	if i%2 == 0 {
		return fmt.Sprintf("store%d", i)
	}
	return ""
}

func (s *sim) startAuto(id, store string) {
	p := s.start(id, store)
	p.tasks.auto, p.tasks.want = true, maps.Clone(s.epochs)
}

func (s *sim) slices(d time.Duration) {
	for end := s.now + d; s.now < end && s.failed == nil; {
		s.advance(simSlice)
		for _, p := range s.procs {
			s.wake(p)
			s.deliver(p, simSlice)
		}
	}
}

// fault does one thing to somebody.
func (s *sim) fault() {
	live := s.live()
	ids := make([]string, 0, len(live))
	for id := range live {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	if len(ids) == 0 {
		return
	}
	p := live[ids[s.rng.IntN(len(ids))]]
	switch s.rng.IntN(12) {
	case 0, 1:
		s.crash(p)
		s.startAgain(p, s.random(12*time.Second))
	case 2:
		s.freeze(p)
		s.at(s.random(12*time.Second), func() { s.thaw(p) })
	case 3:
		s.setDown(true)
		s.at(s.random(10*time.Second), func() { s.setDown(false) })
	case 4:
		s.setCut(p, true)
		s.at(s.random(10*time.Second), func() { s.setCut(p, false) })
	case 5:
		c := []string{"a", "b"}[s.rng.IntN(2)]
		s.epochs[c]++
		epoch := s.epochs[c]
		s.tracef("epoch %s=%d", c, epoch)
		for _, other := range s.procs {
			s.at(s.random(time.Second), func() { other.tasks.want[c] = max(other.tasks.want[c], epoch) })
		}
	case 6:
		s.tracef("stop %s", p.id)
		p.tasks.leaving = true
		s.startAgain(p, s.random(12*time.Second))
	case 7:
		s.slow = s.random(3 * time.Second)
		s.tracef("slow %v", s.slow)
		s.at(s.random(8*time.Second), func() { s.slow = 0 })
	case 8:
		p.wallStep += s.random(4*time.Second) - 2*time.Second
		s.tracef("clock step %s %v", p.id, p.wallStep)
	case 9, 10:
		if s.plant.freshLease { // is found on a slow log
			s.slow = s.random(3 * time.Second)
			return
		}
		s.faultLoss(p)
	case 11:
		s.faultPause(p, []string{"a", "b"}[s.rng.IntN(2)])
	}
}

// faultLoss takes the newest records away, at times while somebody cannot see it.
func (s *sim) faultLoss(p *proc) {
	if s.rng.IntN(2) == 0 {
		s.setCut(p, true)
		s.at(s.random(10*time.Second), func() { s.setCut(p, false) })
		s.advance(s.random(time.Second))
	}
	s.setDown(true)
	s.lose(1 + s.rng.IntN(60))
	s.at(s.random([]time.Duration{time.Second, 8 * time.Second}[s.rng.IntN(2)]), func() { s.setDown(false) })
}

// faultPause stops a connector everywhere and resumes it after a while. One worker hears of an older epoch first.
func (s *sim) faultPause(laggard *proc, connector string) {
	s.tracef("pause %s", connector)
	for _, p := range s.procs {
		s.at(s.random(time.Second), func() { delete(p.tasks.want, connector) })
	}
	s.at(2*time.Second+s.random(4*time.Second), func() {
		epoch := s.epochs[connector]
		s.tracef("resume %s, as of epoch %d on %s", connector, epoch-1, laggard.id)
		laggard.tasks.want[connector] = max(laggard.tasks.want[connector], epoch-1)
		for _, p := range s.procs {
			s.at(500*time.Millisecond+s.random(time.Second), func() { p.tasks.want[connector] = max(p.tasks.want[connector], epoch) })
		}
	})
}

// startAgain starts a worker id anew once its process has gone, in place or elsewhere.
func (s *sim) startAgain(old *proc, after time.Duration) {
	s.at(after, func() {
		if old.alive && old.fatal == nil {
			s.startAgain(old, time.Second)
			return
		}
		if s.live()[old.id] != nil {
			return
		}
		store := old.store
		if s.rng.IntN(3) == 0 {
			store = ""
		}
		s.startAuto(old.id, store)
	})
}

func (s *sim) calm() {
	s.tracef("calm")
	s.slow, s.rough = 0, false
	s.setDown(false)
	for _, p := range s.procs {
		p.cut = false
		s.thaw(p)
	}
	s.at(3*time.Second, func() { // faults that were still to end
		for _, p := range s.procs {
			p.cut = false
			s.thaw(p)
		}
	})
}

// checkRest wants each unit run by exactly one live worker in the end.
func (s *sim) checkRest() {
	for _, c := range []string{"a", "b"} {
		for task := allocate.ConnectorTask; task < tasksOfConnector; task++ {
			u := fold.Unit{Connector: c, Task: task}
			o, ok := s.observer.Owner(u)
			h := s.holds[u]
			if !ok || h.p == nil || h.grant.Generation != o.Generation || h.until+2*simSlice < s.now {
				s.fail("%s is not run in the end: owner %+v (%t), last run of generation %d until %v", u, o, ok, h.grant.Generation, h.until)
			}
		}
	}
}
