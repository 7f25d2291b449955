package simulation

import (
	"errors"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// shelf is one store of one process: what a keyedlog.Table is, without its goroutines.
type shelf struct {
	topic   *topic
	replica *replica.Replica
	conn    int
	queue   []*request
	busy    bool
	pauses  backoff.Doubling
	waiters []waiter
	looked  time.Duration // true time of the last look for values to publish again
	settle  time.Duration
}

// request is what one caller appends. done is called when the records came back, or never will, unless the caller is
// gone.
type request struct {
	entries []rmq.Entry
	gone    func() bool
	done    func(error)
}

type waiter struct {
	until int64
	since time.Duration // true time of the confirmation
	done  func(error)
}

// overdue is how long a keyedlog.Table waits for what was confirmed before it asks whether the log still holds it.
const overdue = 5 * time.Second

// stores are the stores of one process.
type stores struct {
	configs            *storefold.Configs
	positions, offsets *storefold.Progress
	config             *shelf
	position, offset   *shelf
	writers            map[string]int // fence keys of the writers that are here
}

func (s *sim) newStores(p *proc) stores {
	st := stores{
		configs:   storefold.NewConfigs(),
		positions: storefold.NewProgress(),
		offsets:   storefold.NewProgress(),
		writers:   map[string]int{},
	}
	oldest := func(string) bool {
		session, joined := p.m.Session()
		first, ok := p.m.Fold().Oldest()
		return ok && joined && first.ID == session
	}
	owns := func(f *storefold.Progress) func(string) bool {
		return func(key string) bool { return st.writers[f.FenceOf(key)] > 0 || oldest(key) }
	}
	shelf := func(t *topic, f replica.Fold, owns func(string) bool, settle time.Duration) *shelf {
		return &shelf{topic: t, settle: settle, replica: replica.New(replica.Options{Fold: f, Owns: owns, Settle: settle, Random: s.rng.Float64})}
	}
	st.config = shelf(s.config, st.configs, oldest, 2*time.Second)
	st.position = shelf(s.position, st.positions, owns(st.positions), time.Second)
	st.offset = shelf(s.offset, st.offsets, owns(st.offsets), time.Second)
	return st
}

func (st *stores) shelves() []*shelf { return []*shelf{st.position, st.offset, st.config} }

// load reads all stores to their ends, before the worker joins.
func (s *sim) load(p *proc) {
	for _, sh := range p.worker.stores.shelves() {
		for _, e := range sh.topic.entries {
			_, _ = sh.replica.Apply(s.clock(p), e)
		}
	}
}

// follow lets p read what is there of the stores, as a rmq.Log's Tail does, and publish again what is due.
func (s *sim) follow(p *proc) {
	for _, sh := range p.worker.stores.shelves() {
		if s.reaches(p, sh.topic) {
			s.read(p, sh)
		}
		if s.now-sh.looked >= sh.settle/2 {
			sh.looked = s.now
			if due := sh.replica.Due(s.clock(p)); len(due) > 0 {
				s.tracef("%s publishes %d values of %s again", p.id, len(due), sh.topic.name)
				s.publish(p, sh, due, nil, func(error) {})
			}
		}
	}
}

func (s *sim) read(p *proc, sh *shelf) {
	end, read := int64(len(sh.topic.entries)), sh.replica.Next()
	if lost := sh.replica.Relocate(s.clock(p), 0, end); lost || !s.goneOver(p, sh) {
		if !lost {
			sh.replica.Lost(s.clock(p), 0)
		}
		s.tracef("%s finds that %s, which ends at %d, lost records; it was read to %d", p.id, sh.topic.name, end, read)
		waiters := sh.waiters
		sh.waiters = nil
		for _, w := range waiters {
			w.done(keyedlog.ErrLogLost)
		}
	}
	for sh.replica.Next() < end && s.failed == nil {
		if s.rough && s.rng.IntN(50) == 0 {
			break // the rest at the next look
		}
		_, _ = sh.replica.Apply(s.clock(p), sh.topic.entries[sh.replica.Next()])
	}
	var ready []waiter
	sh.waiters = slices.DeleteFunc(sh.waiters, func(w waiter) bool {
		if w.until <= sh.replica.Next() {
			ready = append(ready, w)
			return true
		}
		return false
	})
	for _, w := range ready {
		w.done(nil)
	}
	s.miss(sh, end)
}

// miss answers those whose records were lost before anybody read them.
func (s *sim) miss(sh *shelf, end int64) {
	var lost []waiter
	sh.waiters = slices.DeleteFunc(sh.waiters, func(w waiter) bool {
		late := s.now-w.since >= overdue && w.until > end
		if late {
			lost = append(lost, w)
		}
		return late
	})
	for _, w := range lost {
		s.tracef("a write that %s confirmed up to %d is lost: it ends at %d", sh.topic.name, w.until, end)
		w.done(keyedlog.ErrLogLost)
	}
}

// goneOver reports, after a reconnect, whether the topic still holds what was read of it last, as far as that is read
// again.
func (s *sim) goneOver(p *proc, sh *shelf) bool {
	if sh.conn == sh.topic.broker.conn {
		return true
	}
	sh.conn = sh.topic.broker.conn
	next := sh.replica.Next()
	return !slices.ContainsFunc(sh.topic.entries[max(0, next-rmq.GoneOver):next], func(e rmq.Entry) bool { return !sh.replica.Holds(e) })
}

// publish appends records and waits until they came back. It retries for as long as the caller is there.
func (s *sim) publish(p *proc, sh *shelf, records []replica.Record, gone func() bool, done func(error)) {
	r := &request{gone: gone, done: done}
	if gone == nil {
		r.gone = func() bool { return false }
	}
	for _, rec := range records {
		r.entries = append(r.entries, rmq.Entry{Key: rec.Key, Value: rec.Value})
	}
	sh.queue = append(sh.queue, r)
	s.ship(p, sh)
}

// ship sends what has gathered while the batch before was on its way.
func (s *sim) ship(p *proc, sh *shelf) {
	sh.queue = slices.DeleteFunc(sh.queue, func(r *request) bool { return r.gone() })
	if sh.busy || len(sh.queue) == 0 {
		return
	}
	batch := sh.queue
	sh.queue = nil
	var entries []rmq.Entry
	for _, r := range batch {
		entries = append(entries, r.entries...)
	}
	sh.busy = true
	s.carry(p, sh.topic, entries, func(first int64, err error) {
		if err != nil {
			sh.queue = append(batch, sh.queue...)
			s.at(sh.pauses.Next(100*time.Millisecond, 3*time.Second), func() {
				s.run(p, func() {
					sh.busy = false
					s.ship(p, sh)
				})
			})
			return
		}
		sh.busy = false
		sh.pauses.Reset()
		for _, r := range batch {
			first += int64(len(r.entries))
			sh.waiters = append(sh.waiters, waiter{until: first, since: s.now, done: func(err error) {
				if !r.gone() {
					r.done(err)
				}
			}})
		}
		s.read(p, sh)
		s.ship(p, sh)
	})
}

// write stores progress as a store's Writer does: until it was read back and is the newest.
func (s *sim) write(p *proc, a *attempt, changed record.Positions, done func(error)) {
	sequence := a.sequence + 1
	a.sequence = sequence
	var try func()
	try = func() {
		records, err := a.writer.Records(a.progress, changed, sequence)
		if err != nil || len(records) == 0 {
			done(err)
			return
		}
		s.publish(p, a.shelf, records, a.gone, func(err error) {
			if err != nil {
				done(err)
				return
			}
			try()
		})
	}
	try()
}

// change is a user's request that p answers. It has ten seconds.
func (s *sim) change(p *proc, w storefold.Write) {
	st := &p.worker.stores
	view := p.m.View()
	floor := max(st.positions.Epoch(w.Name), st.offsets.Epoch(w.Name), view.Floors[w.Name], view.Asked[w.Name])
	until := s.now + 10*time.Second
	var try func()
	try = func() {
		next, answer, err := st.configs.Put(w, floor, s.clock(p))
		var conflict *storefold.ConflictError
		switch {
		case errors.As(err, &conflict):
			s.tracef("%s refuses %s at revision %d: %v", p.id, w.RequestID, w.IfRevision, err)
		case errors.Is(err, storefold.ErrNotFound):
			s.tracef("%s has nothing to delete for %s", p.id, w.RequestID)
		case err != nil:
			s.fail("worker %s: %w", p.id, err)
		case next == nil:
			s.tracef("%s answers %s: epoch %d revision %d", p.id, w.RequestID, answer.Epoch, answer.Revision)
			s.flow.answered(s, w)
		default:
			s.publish(p, st.config, []replica.Record{*next}, func() bool { return s.now > until }, func(err error) {
				if err == nil {
					try()
				}
			})
		}
	}
	try()
}
