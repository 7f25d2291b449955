// Package simulation runs whole clusters on simulated brokers, in simulated time, from a seed: the same seed is the
// same run. What decides is the workers' own code: cluster/member, cluster/fold, schedule/book, the stores' folds and
// writers, keyedlog/replica, task/track, task/queues. What is simulated is what lies between: time, processes, the
// network, the brokers and name servers, the other systems. After every step the invariants of docs/architecture.md are
// checked.
package simulation

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// sim is a cluster in true time: some brokers, some processes, and a queue of what happens next.
type sim struct {
	rng     *rand.Rand
	now     time.Duration
	queue   agenda
	counter int

	brokers                  []*broker
	home                     *broker // where the internal topics are
	log                      *topic  // the cluster log
	second                   *topic  // one that must not be
	config, position, offset *topic
	internal                 []*topic // the log and the stores
	data                     []*topic // the queues that sources write and sinks read
	rough                    bool     // appends may be late, repeated, or lose their answers
	latency                  time.Duration

	procs []*proc
	trace []string
	quiet bool // nothing is traced
	truth truth
	flow  flow
	holds map[fold.Unit]hold
	// delivering has the grants that were traced.
	delivering map[fold.Unit]member.Grant
	starts     map[string]int64 // locks taken on each store
	losses     []time.Duration  // when the cluster log lost its tail
	holes      int              // overlaps that a newcomer after such a loss caused
	anew       int              // how often the internal topics were recreated
	moves      int              // how often a partition's queue became another for a reason
	parted     int              // how often the workers held older configs than the log in the end
	ids        int
	restarts   int
	damages    int // how many folds were damaged
	wrong      int // those, and the folds that began with what such a worker wrote
	rereads    int // how often a worker read again because most others contradicted it

	plant  plant
	terms  fold.Terms
	failed error
}

// plant is a bug of the simulation's own parts put in on purpose, to see that the checks find it. Those of the workers'
// parts are in planted_test.go.
type plant struct {
	misread bool // one worker now and then reads an entry of the cluster log differently
	blind   bool // after a reconnect nobody looks whether the log is the one that was read
	// elsewhere has workers that miss the log for a session make one on another broker.
	elsewhere bool
	routed    bool // a partition's queue is found among those that the name servers show just now
	late      bool // a binding is stored after the positions
}

// proc is one process of a worker.
type proc struct {
	id, store   string
	m           *member.Machine
	alive       bool
	frozen      bool
	cut         bool
	read        int // entries of the cluster log that were handed to the machine
	rate        float64
	wallStep    time.Duration
	wakeAt      time.Duration
	fatal       error
	inbox       []func()
	bootAtStart time.Duration
	conn        int
	log         *topic
	absent      [4]time.Duration // for how long their broker has said that internal topics are not there
	asked       time.Duration    // when p asked last, by its clock
	away        time.Duration    // for how long nobody has answered for the log
	restarts    int
	first       int              // where it began to read
	ready       bool             // it has read the log for the first time
	startedAt   time.Duration    // when that was
	seen        map[int64][]byte // what it read, by offset
	rereads     member.Rereads
	wrong       *fold.Fold // what it folded, once that is damaged
	bad         bool       // each fold of it is damaged soon
	worker      worker
}

type agenda []item

type item struct {
	at  time.Duration
	seq int
	fn  func()
}

func (a agenda) Len() int { return len(a) }
func (a agenda) Less(i, j int) bool {
	return a[i].at < a[j].at || a[i].at == a[j].at && a[i].seq < a[j].seq
}
func (a agenda) Swap(i, j int) { a[i], a[j] = a[j], a[i] }
func (a *agenda) Push(x any)   { *a = append(*a, x.(item)) }
func (a *agenda) Pop() any {
	last := (*a)[len(*a)-1]
	*a = (*a)[:len(*a)-1]
	return last
}

func newSim(seed uint64, p plant) *sim {
	s := &sim{
		rng: rand.New(rand.NewPCG(seed, 20)), latency: 10 * time.Millisecond, plant: p,
		holds: map[fold.Unit]hold{}, delivering: map[fold.Unit]member.Grant{}, starts: map[string]int64{},
		terms: fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500,
			Allocation: allocate.Params{Strategy: allocate.ConsistentHash, VirtualNodes: 16, MaxLoadFactor: 1.25}},
	}
	s.newBrokers()
	s.newTopics()
	return s
}

func (s *sim) at(d time.Duration, fn func()) {
	s.counter++
	heap.Push(&s.queue, item{s.now + d, s.counter, fn})
}

func (s *sim) advance(d time.Duration) {
	end := s.now + d
	for len(s.queue) > 0 && s.queue[0].at <= end && s.failed == nil {
		next := heap.Pop(&s.queue).(item)
		s.now = next.at
		next.fn()
	}
	s.now = end
}

func (s *sim) tracef(format string, args ...any) {
	if s.quiet {
		return
	}
	s.trace = append(s.trace, fmt.Sprintf("%8.3fs ", s.now.Seconds())+fmt.Sprintf(format, args...))
}

func (s *sim) fail(format string, args ...any) {
	if s.failed == nil {
		s.quiet = false
		s.failed = fmt.Errorf(format, args...)
		s.tracef("VIOLATION %v", s.failed)
	}
}

// tail is the end of the trace, for a failing seed.
func (s *sim) tail(n int) string {
	return strings.Join(s.trace[max(0, len(s.trace)-n):], "\n")
}

func (s *sim) random(most time.Duration) time.Duration {
	return time.Duration(s.rng.Int64N(int64(most) + 1))
}

// id is a name that nobody else has.
func (s *sim) id(kind string) string {
	s.ids++
	return fmt.Sprint(kind, s.ids)
}

// start starts a process. An empty store proves nothing.
func (s *sim) start(id, store string) *proc {
	s.restarts++
	cfg := member.Config{Worker: id, Address: "host-of-" + id, Version: "v1", Incarnation: fmt.Sprintf("p%d", s.restarts), Terms: s.terms}
	if store != "" {
		s.starts[store]++
		cfg.Proof = &fold.Proof{Store: store, Boot: "boot", Device: 1, Inode: 2, Start: s.starts[store]}
	}
	p := &proc{id: id, store: store, m: member.New(cfg), alive: true, rate: 1, log: s.log}
	if s.rough {
		p.rate = 0.98 + 0.04*s.rng.Float64()
		p.bootAtStart = s.random(time.Hour)
	}
	s.newWorker(p)
	s.procs = append(s.procs, p)
	s.tracef("start %s incarnation=%s", id, cfg.Incarnation)
	s.bootstrap(p, member.FromSnapshot)
	return p
}

// bootstrap folds from the newest snapshot that somebody wrote on, or from the first entry, once the broker is up.
func (s *sim) bootstrap(p *proc, how member.Reread) {
	if !p.log.there() || !p.ready && slices.ContainsFunc(s.internal, func(t *topic) bool { return !t.there() }) {
		s.ensure(p)
		s.at(100*time.Millisecond, func() {
			if p.alive {
				s.bootstrap(p, how)
			}
		})
		return
	}
	if !p.ready {
		s.load(p)
	}
	var found fold.Snapshots
	for _, e := range p.log.entries[max(0, len(p.log.entries)-400):] {
		found.Add(e)
	}
	f := found.Newest(p.id)
	if f == nil || how == member.FromStart {
		f = fold.New()
	}
	s.inherit(p, f)
	p.read, p.conn, p.seen = int(max(0, f.Offset())), p.log.broker.conn, map[int64][]byte{}
	p.first = p.read
	p.m.Restart(s.time(p), f)
	if p.ready {
		if p.restarts++; p.restarts > 500 {
			s.fail("C4: %s starts over again and again", p.id)
			return
		}
		p.m.Resumed(s.time(p))
	} else {
		p.ready, p.startedAt = true, s.now
	}
	s.wake(p)
}

// time is what p's clocks show.
func (s *sim) time(p *proc) member.Time {
	boot := p.bootAtStart + time.Duration(float64(s.now)*p.rate)
	return member.Time{Boot: boot, Wall: boot + p.wallStep}
}

// clock is p's clock as the stores and the scheduler read it: one that is never set.
func (s *sim) clock(p *proc) time.Time { return time.Unix(0, 0).UTC().Add(s.time(p).Boot) }

// run lets p do something now, or as soon as it is thawed; never once it is dead.
func (s *sim) run(p *proc, fn func()) {
	switch {
	case !p.alive || p.fatal != nil || !p.ready:
	case p.frozen:
		p.inbox = append(p.inbox, fn)
	default:
		fn()
	}
}

// wake lets p read what is there, and send and schedule what is due.
func (s *sim) wake(p *proc) {
	if p.frozen && len(p.inbox) > 0 {
		return // it will be woken when it is thawed
	}
	s.run(p, func() {
		budget := 1 << 30
		if s.rough {
			budget = 1 + s.rng.IntN(20) // what a worker has read lags behind, also after a pause
		}
		s.ensure(p)
		if s.reaches(p, p.log) && p.conn != p.log.broker.conn {
			s.reconnect(p)
		}
		for ; s.reaches(p, p.log) && p.read < len(p.log.entries) && p.fatal == nil && s.failed == nil; budget-- {
			if budget == 0 {
				s.at(s.random(100*time.Millisecond), func() { s.wake(p) })
				break
			}
			s.step(p)
		}
		if p.fatal == nil && s.failed == nil {
			s.follow(p)
			s.manage(p)
			s.send(p)
		}
	})
}

func (s *sim) step(p *proc) {
	e := p.log.entries[p.read]
	p.read++
	p.seen[e.Offset] = e.Value
	if s.plant.misread && s.rng.IntN(200) == 0 {
		e.Value = []byte("{}")
	}
	_, err := p.m.Step(s.time(p), e)
	if errors.Is(err, member.ErrOtherLog) {
		s.tracef("%s starts over: %v", p.id, err)
		p.m.GiveUp(s.time(p))
		s.bootstrap(p, member.FromSnapshot)
		return
	}
	if errors.Is(err, member.ErrDigest) {
		s.contradicted(p, err)
		return
	}
	if err != nil {
		p.fatal = err
		s.tracef("exit %s: %v", p.id, err)
		if !errors.Is(err, member.ErrDuplicate) {
			s.fail("worker %s: %w", p.id, err)
		}
		return
	}
	s.truth.checkFold(s, p, e)
}

func (s *sim) send(p *proc) {
	now := s.time(p)
	batch, ok, err := p.m.Ready(now)
	if err != nil {
		s.fail("worker %s: %w", p.id, err)
		return
	}
	if ok {
		s.truth.noteBasis(s, p, batch.Entries)
		s.carry(p, p.log, batch.Entries, func(_ int64, err error) {
			p.m.Appended(s.time(p), batch.ID, err)
			s.wake(p)
		})
	}
	// Woken at the next beat, once for each time it is due.
	if due, ok := p.m.Due(); ok && due > now.Boot && due != p.wakeAt {
		p.wakeAt = due
		s.at(time.Duration(float64(due-now.Boot)/p.rate)+time.Microsecond, func() { s.wake(p) })
	}
}

// entries is a batch of one entry.
func entries(key string, value []byte) []rmq.Entry { return []rmq.Entry{{Key: key, Value: value}} }
