package member

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// sim is a cluster in true time: one log, some processes, and a queue of what happens next. It drives real Machines.
type sim struct {
	rng     *rand.Rand
	now     time.Duration
	queue   agenda
	counter int

	log      []rmq.Entry
	observer *fold.Fold // folds each entry as it is stored, and so knows the truth
	down     bool
	slow     time.Duration // added to each append
	rough    bool          // appends may be late, repeated, or lose their answers
	latency  time.Duration

	procs   []*proc
	trace   []string
	digests map[int64]string
	images  map[int64]string
	holds   map[fold.Unit]hold
	starts  map[string]int64 // locks taken on each store
	rings   map[string]map[fold.Unit]string
	epochs  map[string]int64 // of the configs, before each worker hears of them

	owned        map[fold.Unit]fold.Owner
	epochOf      map[string]int64
	generationOf map[fold.Unit]int64

	conn      int                  // of the broker: another after each restart of it
	losses    []time.Duration      // when the log lost its tail
	holes     int                  // overlaps that a newcomer after such a loss caused
	fences    map[fold.Unit]int64  // generations that were started, as the stores tell
	sequences map[int64]int64      // of each session's newest accepted record
	basis     map[string]rmq.Entry // by a record's bytes: the entry at its asOf, as its writer read it
	quiet     bool                 // nothing is traced

	plant    plant
	terms    fold.Terms
	restarts int
	failed   error
}

// plant is a bug put in on purpose, to see that the checks find it.
type plant struct {
	ignoreGate  bool // tasks run while the log says so, lease or no lease
	ignoreDrain bool // tasks run on after their release was first tried
	misread     bool // one worker now and then reads an entry differently
	blind       bool // after a reconnect nobody looks whether the log is the one that was read
	hasty       bool // what is claimed after a reconnect starts at once
	freshLease  bool // the lease counts from when a heartbeat comes back
}

type proc struct {
	id, store   string
	m           *Machine
	alive       bool
	frozen      bool
	cut         bool
	read        int // entries that were handed to the machine
	rate        float64
	wallStep    time.Duration
	wakeAt      time.Duration
	fatal       error
	inbox       []func()
	tasks       tasks
	bootAtStart time.Duration
	conn        int
	restarts    int
	first       int              // where it began to read
	ready       bool             // it has read the log for the first time
	startedAt   time.Duration    // when that was
	seen        map[int64][]byte // what it read, by offset
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
	return &sim{
		rng: rand.New(rand.NewPCG(seed, 20)), observer: fold.New(), latency: 10 * time.Millisecond, plant: p,
		digests: map[int64]string{}, images: map[int64]string{}, holds: map[fold.Unit]hold{}, starts: map[string]int64{},
		rings: map[string]map[fold.Unit]string{}, epochs: map[string]int64{},
		fences: map[fold.Unit]int64{}, sequences: map[int64]int64{}, basis: map[string]rmq.Entry{},
		owned: map[fold.Unit]fold.Owner{}, epochOf: map[string]int64{}, generationOf: map[fold.Unit]int64{},
		terms: fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500,
			Allocation: allocate.Params{Strategy: allocate.ConsistentHash, VirtualNodes: 16, MaxLoadFactor: 1.25}},
	}
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

// start starts a process. An empty store proves nothing.
func (s *sim) start(id, store string) *proc {
	s.restarts++
	cfg := Config{Worker: id, Address: "host-of-" + id, Version: "v1", Incarnation: fmt.Sprintf("p%d", s.restarts), Terms: s.terms}
	if store != "" {
		s.starts[store]++
		cfg.Proof = &fold.Proof{Store: store, Boot: "boot", Device: 1, Inode: 2, Start: s.starts[store]}
	}
	p := &proc{id: id, store: store, m: New(cfg), alive: true, rate: 1, tasks: newTasks()}
	if s.rough {
		p.rate = 0.98 + 0.04*s.rng.Float64()
		p.bootAtStart = s.random(time.Hour)
	}
	s.procs = append(s.procs, p)
	s.tracef("start %s incarnation=%s", id, cfg.Incarnation)
	s.bootstrap(p)
	return p
}

// bootstrap folds from the newest snapshot that somebody wrote on, or from the first entry, once the broker is up.
func (s *sim) bootstrap(p *proc) {
	if s.down {
		s.at(100*time.Millisecond, func() {
			if p.alive {
				s.bootstrap(p)
			}
		})
		return
	}
	var found fold.Snapshots
	for _, e := range s.log[max(0, len(s.log)-400):] {
		found.Add(e)
	}
	f := found.Newest()
	if f == nil {
		f = fold.New()
	}
	p.read, p.conn, p.seen = int(max(0, f.Offset())), s.conn, map[int64][]byte{}
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
func (s *sim) time(p *proc) Time {
	boot := p.bootAtStart + time.Duration(float64(s.now)*p.rate)
	return Time{Boot: boot, Wall: boot + p.wallStep}
}

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
	s.run(p, func() {
		budget := len(s.log)
		if s.rough {
			budget = 1 + s.rng.IntN(20) // what a worker has read lags behind, also after a pause
		}
		if !p.cut && !s.down && p.conn != s.conn {
			s.reconnect(p)
		}
		for ; !p.cut && !s.down && p.read < len(s.log) && p.fatal == nil && s.failed == nil; budget-- {
			if budget == 0 {
				s.at(s.random(100*time.Millisecond), func() { s.wake(p) })
				break
			}
			s.step(p)
		}
		if p.fatal == nil {
			s.manage(p)
			s.send(p)
		}
	})
}

func (s *sim) step(p *proc) {
	e := s.log[p.read]
	p.read++
	p.seen[e.Offset] = e.Value
	if s.plant.misread && s.rng.IntN(200) == 0 {
		e.Value = []byte("{}")
	}
	out, err := p.m.Step(s.time(p), e)
	if s.plant.freshLease && out.Record != nil && out.Record.Kind == fold.Heartbeat && out.Reason == fold.Accepted && p.m.isOwn(out.Record) {
		p.m.lease.sent = s.time(p)
	}
	if s.plant.hasty {
		p.m.calm = calm{}
	}
	if errors.Is(err, ErrOtherLog) {
		s.tracef("%s starts over: %v", p.id, err)
		s.bootstrap(p)
		return
	}
	if err != nil {
		p.fatal = err
		s.tracef("exit %s: %v", p.id, err)
		if !errors.Is(err, ErrDuplicate) {
			s.fail("worker %s: %w", p.id, err)
		}
		return
	}
	// Invariant C1.
	f := p.m.Fold()
	if e.Offset < f.Offset() {
		return // on its way to the last one that it read
	}
	if want, ok := s.digests[f.Offset()]; ok && want != f.Digest() {
		s.fail("C1: worker %s has digest %s at offset %d, want %s", p.id, f.Digest(), f.Offset(), want)
	}
	if want, ok := s.images[f.Offset()]; ok {
		if got, err := f.Image(); err != nil || string(got) != want {
			s.fail("C1: worker %s has at offset %d (%v)\n%s\nwant\n%s", p.id, f.Offset(), err, got, want)
		}
	}
}

func (s *sim) send(p *proc) {
	now := s.time(p)
	batch, ok, err := p.m.Ready(now)
	if err != nil {
		s.fail("worker %s: %w", p.id, err)
		return
	}
	if ok {
		s.append(p, batch)
	}
	// Woken at the next beat, once for each time it is due.
	if due, ok := p.m.Due(); ok && due > now.Boot && due != p.wakeAt {
		p.wakeAt = due
		s.at(time.Duration(float64(due-now.Boot)/p.rate)+time.Microsecond, func() { s.wake(p) })
	}
}

const simSendTimeout = 2 * time.Second

// append carries a batch to the log. It may arrive late, twice, or lose its answer; the sender gives up after a while
// and knows no more.
func (s *sim) append(p *proc, batch Append) {
	answered := false
	answer := func(err error) {
		s.run(p, func() {
			if !answered {
				answered = true
				p.m.Appended(s.time(p), batch.ID, err)
				s.wake(p)
			}
		})
	}
	s.noteBasis(p, batch.Entries)
	s.at(simSendTimeout, func() { answer(errors.New("timed out")) })
	if p.cut || s.down && s.rng.IntN(2) == 0 {
		s.at(s.latency, func() { answer(errors.New("unreachable")) })
		return
	}
	delay, lost := s.latency+s.slow, false
	if s.rough {
		delay += s.random(30 * time.Millisecond)
		switch s.rng.IntN(25) {
		case 0:
			delay += s.random(10 * time.Second)
		case 1:
			lost = true
		case 2:
			s.at(delay+s.random(10*time.Second), func() { s.store(batch.Entries, func() {}) })
		}
	}
	s.at(delay, func() {
		s.store(batch.Entries, func() {
			if !lost && !p.cut {
				s.at(s.latency, func() { answer(nil) })
			}
		})
	})
}

// store puts entries into the log, once the broker is up.
func (s *sim) store(entries []rmq.Entry, stored func()) {
	if s.down {
		s.at(100*time.Millisecond, func() { s.store(entries, stored) })
		return
	}
	for _, e := range entries {
		e.Offset = int64(len(s.log))
		s.log = append(s.log, e)
		s.observe(e)
	}
	stored()
	for _, p := range s.procs {
		d := s.latency
		if s.rough {
			d += s.random(20 * time.Millisecond)
		}
		if p.alive {
			s.at(d, func() { s.wake(p) })
		}
	}
}

func (s *sim) observe(e rmq.Entry) {
	out, err := s.observer.Step(e)
	if err != nil {
		s.fail("observer: %w", err)
		return
	}
	s.digests[e.Offset] = s.observer.Digest()
	if e.Offset%64 == 0 {
		image, err := s.observer.Image()
		if err != nil {
			s.fail("observer: %w", err)
		}
		s.images[e.Offset] = string(image)
	}
	for _, ev := range out.Events {
		s.tracef("@%d %s", e.Offset, ev)
		s.checkEvent(ev)
	}
	s.checkAccepted(e, out)
	if out.Reason != fold.Accepted && out.Reason != fold.WorkerAlive {
		kind := fold.Kind("record")
		if out.Record != nil {
			kind = out.Record.Kind
		}
		s.tracef("@%d %s refused: %s", e.Offset, kind, out.Reason)
	}
}

// checkEvent looks at ownership by itself, without the fold's maps.
//
// Invariant C3: units of one connector are owned at one epoch, which never goes back; generations only rise.
func (s *sim) checkEvent(ev fold.Event) {
	switch ev.Kind {
	case fold.Granted:
		for u, o := range s.owned {
			if u == ev.Unit || u.Connector == ev.Unit.Connector && o.Epoch != ev.Epoch {
				s.fail("C3: %s while %s is owned: %+v", ev, u, o)
			}
		}
		if ev.Epoch < s.epochOf[ev.Unit.Connector] || ev.Generation <= s.generationOf[ev.Unit] {
			s.fail("C3: %s goes back behind epoch %d or generation %d", ev, s.epochOf[ev.Unit.Connector], s.generationOf[ev.Unit])
		}
		s.owned[ev.Unit] = fold.Owner{Session: ev.Session, Generation: ev.Generation, Epoch: ev.Epoch}
		s.epochOf[ev.Unit.Connector], s.generationOf[ev.Unit] = ev.Epoch, ev.Generation
	case fold.Freed:
		delete(s.owned, ev.Unit)
	}
}
