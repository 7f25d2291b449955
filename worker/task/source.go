package task

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/convert"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/task/track"
)

// closeTimeout bounds the Close of a connector, which starts when its contexts may already have ended.
const closeTimeout = 5 * time.Second

// sourceRun is one attempt of a source task.
type sourceRun struct {
	attempt
	source connector.Source
	sender Sender
	saver  *saver
	system string                  // the RocketMQ that is written to
	topics map[string]record.Place // of the source's topics, the targets that exist
	rounds track.Rounds
	// bindings are the queues that the records take; parked are those that wait because their queue takes nothing at
	// present.
	bindings *bindings
	parked   parked
	told     string // the brokers that users were warned of last
	shut     string // a topic that can be written to nowhere

	mu      sync.Mutex
	tracker *track.Tracker
	commits record.Positions // stored, and not yet told to a Committer
	entries record.Positions // of bindings
}

// RunSource runs one attempt of a source task until soft ends, hard ends, the source ends (connector.ErrEndOfSource),
// or something fails. It returns nil after a clean drain: everything that was read is delivered and its position
// stored. When it returns nothing of the attempt delivers any more.
func (r *Runner) RunSource(soft, hard context.Context, c connector.SourceConnector, a Attempt) (err error) {
	set, err := parseSettings(a.Config)
	if err != nil {
		return err
	}
	s := &sourceRun{attempt: r.attempt(soft, hard, a, set, connector.KindSource), topics: map[string]record.Place{},
		tracker: track.New(), commits: record.Positions{}, entries: record.Positions{}}
	s.saver = newSaver(boundWriter{a.Writer}, r.cfg.FlushInterval, s.log, s.count)
	s.saver.ready, s.saver.after = s.storable, s.stored
	defer s.life.end()
	if err := r.wait(s.life.reading, a.Gate, r.cfg.SendTimeout); err != nil {
		return s.life.outcome(err)
	}
	r.audit(auditStart, a.ID, r.cfg.Now())
	defer func() { r.auditStop(a, s.sender.LastWrite()) }()
	gate := func(ctx context.Context) error { return r.wait(ctx, a.Gate, r.cfg.SendTimeout) }
	s.sender = r.client.NewSender(gate, r.cfg.MaxBufferedBytes, func(_, _ int, _ time.Duration, err error) { s.count.batch(err) })
	defer s.sender.Close()
	if err := service.Guard(func() error { s.source = c.NewSource(); return nil }); err != nil {
		return fmt.Errorf("making the source: %w", err)
	}
	defer s.close()
	if s.system, err = r.system(s.life.reading); err != nil {
		return s.life.outcome(s.life.unlessEnding(err))
	}
	defer func() { sumUpRounds(&s.rounds, s.log) }()
	return s.life.outcome(s.run())
}

func (s *sourceRun) run() error {
	stored := s.a.Stored()
	s.bindings, s.parked = newBindings(s.client, s.set, stored, s.log), parked{}
	// Stored before the first position: it tells a later attempt that the connector began with it.
	if order := record.Position(s.bindings.order); stored[orderEntry] != order {
		s.entries[orderEntry] = order
	}
	err := open(s.life.reading, s.a, func() error {
		return s.source.Open(s.life.reading, s.env(s.a, s.set, s.log, s.count, s.warnings), s.a.Config, own(stored))
	}, s.close)
	if err != nil {
		return s.life.unlessEnding(fmt.Errorf("opening the source: %w", err))
	}
	var group service.Group
	saving, stopSaving := context.WithCancel(s.life.alive)
	group.Go(func() { s.saver.run(saving, s.life.lose) })
	err = s.pump()
	drained := s.drain()
	stopSaving()
	group.Wait()
	if drained == nil || s.life.alive.Err() == nil {
		drained = errors.Join(drained, s.saver.last(s.life.alive))
		s.commit()
	}
	if err != nil {
		return err
	}
	return drained
}

// pump reads and sends until reading ends. Its error is what ended it; nil for a soft stop.
func (s *sourceRun) pump() error {
	for s.life.reading.Err() == nil {
		if err := s.unpark(); err != nil {
			return err
		}
		batch, err := s.poll()
		if sendErr := s.deliver(batch); sendErr != nil {
			return sendErr
		}
		if err != nil {
			return s.life.unlessEnding(fmt.Errorf("polling the source: %w", err))
		}
		if err := s.passed(); err != nil {
			return err
		}
		s.commit()
	}
	return nil
}

// passed notes what the source read past without returning it: such a place is stored once all before it is delivered.
// Not asked once reading has ended, when records that were returned may have been left out.
func (s *sourceRun) passed() error {
	progressed, ok := s.source.(connector.Progressed)
	if !ok || s.life.reading.Err() != nil {
		return nil
	}
	var upTo record.Positions
	if err := service.Guard(func() error { upTo = progressed.Progressed(); return nil }); err != nil {
		return fmt.Errorf("asking the source how far it read: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, pos := range upTo {
		s.tracker.Settle(s.tracker.Add(p, pos))
		s.saver.move()
	}
	return nil
}

// deliver hands records to the lanes. What it leaves out when reading ends is read again by the next attempt.
func (s *sourceRun) deliver(batch []record.Record) error {
	s.bindings.again()
	defer func() { s.warnings.set(ofRounds, s.rounds.Warning()) }()
	for i := range batch {
		rec := &batch[i]
		if err := s.ensureTarget(rec.Topic); err != nil {
			return err
		}
		place := s.topics[rec.Topic]
		rec.Topic = s.set.target(rec.Topic)
		if s.life.reading.Err() != nil {
			return nil
		}
		s.mu.Lock()
		k := s.tracker.Add(rec.Partition, rec.Position)
		s.mu.Unlock()
		if !s.goes(rec, place) {
			s.settle(k)
			continue
		}
		if err := s.sendOrPark(pending{*rec, k}); err != nil {
			return s.life.unlessEnding(err)
		}
	}
	return nil
}

// goes decides whether a record goes on to its target, and is its path there.
func (s *sourceRun) goes(rec *record.Record, to record.Place) bool {
	there, goes := s.rounds.Goes(rec.Partition, rec.Path, to)
	if rec.Path = there; !goes {
		wentRound(&s.rounds, place{rec.Partition, rec.Position}, s.count, s.log)
	}
	return goes
}

// send hands a record to its lane. It fails with rmq.ErrStalled when the queue takes nothing at present.
func (s *sourceRun) send(p pending) error {
	rec, k := &p.rec, p.ticket
	where := place{rec.Partition, rec.Position}
	msg, err := convert.ToMessage(rec)
	if err != nil {
		s.poison(k, where, stageConvert, err)
		return nil
	}
	if err := s.address(rec, &msg); err != nil {
		return err
	}
	size := len(msg.Body)
	err = s.sender.Send(s.life.work, msg, func(_ int64, err error) { s.sent(k, where, size, err) })
	if errors.Is(err, rmq.ErrStalled) {
		return err
	}
	if err != nil && s.life.work.Err() == nil {
		s.sent(k, where, size, err)
	}
	return nil
}

// sent takes the broker's answer for one record; it runs in the lane's goroutine.
func (s *sourceRun) sent(k track.Ticket, where place, size int, err error) {
	switch {
	case err == nil:
		s.count.delivered(1, size)
		s.settle(k)
	case errors.Is(err, ErrLost):
		s.life.lose(err)
	case errors.Is(err, rmq.ErrClosed), s.life.alive.Err() != nil: // the attempt is ending; nothing was confirmed
	case errors.Is(err, rmq.ErrTooLarge):
		s.poison(k, where, stageProduce, err)
	default:
		s.count.failed(stageProduce)
		s.life.fail(fmt.Errorf("sending the record of %s: %w", where, err))
	}
}

func (s *sourceRun) settle(k track.Ticket) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tracker.Settle(k)
	s.saver.move()
}

// poison applies errors.tolerance to a record that no retry will deliver.
func (s *sourceRun) poison(k track.Ticket, where place, stage string, err error) {
	s.count.failed(stage)
	if !s.set.tolerateAll {
		s.life.fail(&RecordError{Where: where.String(), Stage: stage, Err: err})
		return
	}
	// Invariant P4: a skip is counted and logged with its source position.
	s.count.skipped("poison", 1)
	s.log.Info("Skipping a record that cannot be delivered", "partition", where.partition, "position", where.bare(),
		"stage", stage, "reason", s.a.Scrub(err.Error()))
	s.settle(k)
}

// ensureTarget makes the target of a source's topic on first use. Sources that know how many queues it should have made
// it already.
func (s *sourceRun) ensureTarget(topic string) error {
	if s.topics[topic] != "" {
		return nil
	}
	target := s.set.target(topic)
	if target == "" {
		return errors.New("the source gave a record without a topic: set its topic, or " + keyRename)
	}
	if err := s.checkTarget(s.set, topic); err != nil {
		return fmt.Errorf("the target of topic %q: %w", topic, err)
	}
	if err := s.ensureTopic(s.life.reading, target, s.cfg.DefaultQueues); err != nil {
		return s.life.unlessEnding(fmt.Errorf("ensuring target topic %q: %w", target, err))
	}
	s.topics[topic] = record.PlaceOf(s.system, target)
	return nil
}

// storable are the positions that may be stored, and which queues their partitions' records take.
func (s *sourceRun) storable() record.Positions {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.tracker.Positions()
	maps.Copy(out, s.entries)
	return out
}

func (s *sourceRun) stored(_ context.Context, positions record.Positions) {
	if _, ok := s.source.(connector.Committer); !ok {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for p, pos := range positions {
		if !p.Internal() {
			s.commits[p] = pos
		}
	}
}

// commit tells a Committer what was stored. It runs between polls: a source's methods are never called concurrently.
func (s *sourceRun) commit() {
	committer, ok := s.source.(connector.Committer)
	if !ok {
		return
	}
	s.mu.Lock()
	upTo := s.commits
	s.commits = record.Positions{}
	s.mu.Unlock()
	if len(upTo) == 0 {
		return
	}
	if err := service.Guard(func() error { return committer.Commit(s.life.alive, upTo) }); err != nil {
		s.count.failed("COMMIT")
		s.log.Error(s.a.scrubbed(err), "Committing positions to the source failed; they are stored all the same")
	}
}

func (s *sourceRun) close() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := service.Guard(func() error { return s.source.Close(ctx) }); err != nil {
		s.log.Error(s.a.scrubbed(err), "Closing the source failed")
	}
}

// place is where a record lies in its source.
type place struct {
	partition record.SourcePartition
	position  record.Position
}

// bare is the position as people know it.
func (p place) bare() record.Position {
	position, _ := p.position.Split()
	return position
}

// String is "partition at position".
func (p place) String() string { return fmt.Sprintf("%s at %s", p.partition, p.bare()) }
