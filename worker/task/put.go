package task

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/convert"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
	"github.com/rocketmq-connect/operator/worker/task/queues"
)

// errReadingEnded means a stop was asked for while a batch waited to be put again: it was not put, and its offsets must
// not be stored.
var errReadingEnded = errors.New("reading ended")

// deliver converts and puts one batch, and notes how far it reaches.
func (s *sinkRun) deliver(batch []rmq.Received) error {
	records := make([]record.Record, 0, len(batch))
	origins := make([]*rmq.Received, 0, len(batch))
	bytes := 0
	var from queueFacts
	var goes bool
	for i := range batch {
		m := &batch[i]
		if i == 0 || m.Queue != from.queue {
			from = s.facts(m.Queue)
		}
		rec, err := fromMessage(m)
		if err != nil {
			if held := s.poison(m, stageConvert, err); held != nil {
				return s.putAhead(records, origins, held)
			}
			continue
		}
		if rec.Path, goes = s.rounds.Goes(from.partition, rec.Path.In(from.place), from.to); !goes {
			wentRound(&s.rounds, place{from.partition, position(m.Offset)}, s.count, s.log)
			continue
		}
		rec.Topic, rec.Queue, rec.Partition, rec.Position = from.topic, from.index, from.partition, position(m.NextOffset)
		records, origins, bytes = append(records, rec), append(origins, m), bytes+len(m.Body)
	}
	s.warnings.set(ofRounds, s.rounds.Warning())
	if err := s.put(records, origins); err != nil {
		return err
	}
	s.puts.Add(bytes)
	for i := range batch {
		if m := &batch[i]; i == len(batch)-1 || batch[i+1].Queue != m.Queue {
			s.puts.Reached(queues.Partition(m.Queue), s.reading.Reached(m))
		}
	}
	return nil
}

// fromMessage converts a message, if its body could be read.
func fromMessage(m *rmq.Received) (record.Record, error) {
	if m.Err != nil {
		return record.Record{}, m.Err
	}
	return convert.FromMessage(m)
}

// putAhead puts what lies ahead of a record that holds the task up. It never returns nil.
func (s *sinkRun) putAhead(records []record.Record, origins []*rmq.Received, held error) error {
	if err := s.put(records, origins); err != nil {
		return err
	}
	s.reached(origins)
	return held
}

// queueFacts is what all records of a queue have in common. Those of a batch lie together, so it is found out once for
// all.
type queueFacts struct {
	queue     rmq.Queue
	topic     string
	index     int
	partition record.SourcePartition
	// place is the queue's topic, to the one that its records go to; empty if the sink does not tell.
	place, to record.Place
}

func (s *sinkRun) facts(q rmq.Queue) queueFacts {
	f := queueFacts{queue: q, topic: s.set.renamed(q.Topic), index: s.reading.Index(q), partition: queues.Partition(q)}
	if placed, ok := s.sink.(connector.Placed); ok {
		f.place, f.to = record.PlaceOf(s.system, q.Topic), placed.Place(f.topic)
	}
	return f
}

// put hands the records over, once more after failures for as long as errors.retry.timeout allows, and without those
// that the sink says are poison.
func (s *sinkRun) put(records []record.Record, origins []*rmq.Received) error {
	var pauses backoff.Doubling
	started := time.Now()
	for len(records) > 0 {
		err := s.covered(func(ctx context.Context) error { return s.sink.Put(ctx, records) })
		s.count.batch(err)
		var poison *connector.PoisonError
		switch {
		case err == nil:
			s.count.delivered(len(records), bodies(origins))
			return nil
		case errors.As(err, &poison) && poison.Index >= 0 && poison.Index < len(records):
			taken := poison.Index // the sink has the records before it; those after it are put again
			s.count.delivered(taken, bodies(origins[:taken]))
			s.reached(origins[:taken])
			if err := s.poison(origins[taken], stagePut, poison.Err); err != nil {
				return err
			}
			records, origins = records[taken+1:], origins[taken+1:]
			started = time.Now()
			pauses.Reset()
			continue
		}
		s.count.failed(stagePut)
		if !s.retries(err, time.Since(started)) {
			return fmt.Errorf("putting records into the sink: %w", err)
		}
		pause := pauses.Next(100*time.Millisecond, s.set.retryDelay)
		s.log.V(1).Info("Putting a batch again", "reason", s.a.Scrub(err.Error()), "pause", pause.String())
		if service.Sleep(s.life.reading, pause) != nil {
			return errReadingEnded
		}
	}
	return nil
}

// reached notes, per queue, the last of some messages that the sink has.
func (s *sinkRun) reached(messages []*rmq.Received) {
	for i, m := range messages {
		if i == len(messages)-1 || messages[i+1].Queue != m.Queue {
			s.puts.Reached(queues.Partition(m.Queue), s.reading.Reached(m))
		}
	}
}

// retries says whether the same batch is put again in place. What is not, is put again by the next attempt, which
// starts from the stored offsets.
func (s *sinkRun) retries(err error, since time.Duration) bool {
	var panicked *service.PanicError
	if errors.Is(err, connector.ErrNotConnected) || errors.Is(err, ErrLost) || errors.Is(err, ErrLeaseOver) || errors.As(err, &panicked) {
		return false
	}
	return s.life.work.Err() == nil && (s.set.retryTimeout < 0 || since < s.set.retryTimeout)
}

// covered calls the sink while the lease runs.
func (s *sinkRun) covered(call func(ctx context.Context) error) error {
	// Invariant C2: a put starts only while enough of the lease is left, and its context ends with the lease. What was put
	// and is not durable yet lives under the lease it was put with.
	waiting := s.life.alive
	if s.lease != nil {
		waiting = s.lease
	}
	if err := s.wait(waiting, s.a.Gate, s.cfg.PutMargin); err != nil {
		if errors.Is(err, ErrLost) {
			return err
		}
		return s.leaseEnded()
	}
	if s.puts.Open() {
		s.lease, s.endLease = s.a.Gate.Context(s.life.alive)
	}
	err := service.Guard(func() error { return call(s.lease) })
	s.puts.Back(time.Now())
	if err != nil && s.lease.Err() != nil {
		return s.leaseEnded()
	}
	return err
}

func (s *sinkRun) dropLease() {
	if s.lease != nil {
		s.endLease()
		s.lease = nil
	}
}

// leaseEnded says why the lease's context ended.
func (s *sinkRun) leaseEnded() error {
	if s.life.alive.Err() != nil {
		return context.Cause(s.life.alive)
	}
	return ErrLeaseOver
}

// poison applies errors.tolerance to a record that no retry will deliver: nil when the task goes on without it.
func (s *sinkRun) poison(m *rmq.Received, stage string, err error) error {
	s.count.failed(stage)
	where := place{queues.Partition(m.Queue), position(m.Offset)}
	if !s.set.tolerateAll {
		return &heldUpError{&RecordError{Where: where.String(), Stage: stage, Err: err}}
	}
	log := s.log
	// Invariant P4: the record goes to the dead letter topic, or its skip is counted and logged with its place.
	if s.set.deadLetter != "" {
		failed := s.dead.put(s.life.alive, m, stage, err)
		switch {
		case failed == nil:
			s.count.deadLettered()
			return nil
		case !unstorable(failed):
			return &heldUpError{fmt.Errorf("writing the record of %s to the dead letter topic %q: %w", where, s.set.deadLetter, failed)}
		}
		log = log.WithValues("deadLetter", s.a.Scrub(failed.Error()))
	}
	s.count.skipped("poison", 1)
	log.Info("Skipping a record that cannot be delivered", "queue", m.Queue.String(), "offset", m.Offset,
		"stage", stage, "reason", s.a.Scrub(err.Error()))
	return nil
}

// heldUpError is what ends an attempt though its sink is well: a record that can be neither read nor delivered nor left
// out. What lies ahead of it is made durable and stored, or each start would put it again.
type heldUpError struct{ err error }

func (e *heldUpError) Error() string { return e.err.Error() }

func (e *heldUpError) Unwrap() error { return e.err }

func bodies(messages []*rmq.Received) int {
	sum := 0
	for _, m := range messages {
		sum += len(m.Body)
	}
	return sum
}
