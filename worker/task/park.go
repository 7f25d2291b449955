package task

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/task/track"
)

const (
	// parkedLook is how often it is retried to send records whose queue takes nothing.
	parkedLook = 200 * time.Millisecond
	// waitsLook is how often it is looked whether records that were sent wait.
	waitsLook = 2 * time.Second
)

// pending is a record that was read, with its ticket.
type pending struct {
	rec    record.Record
	ticket track.Ticket
}

// parked are records that wait outside of the lanes, per source partition in their order. The source is not asked for
// more of such a partition, so they are no more than one Poll gave.
type parked map[record.SourcePartition][]pending

func (p parked) partitions() []record.SourcePartition { return slices.Sorted(maps.Keys(p)) }

// address gives a message the queue that its record takes.
func (s *sourceRun) address(rec *record.Record, msg *rmq.Message) error {
	s.mu.Lock()
	idle := s.tracker.Open(rec.Partition) <= max(1, len(s.parked[rec.Partition])) // the record itself, or all that is parked
	s.mu.Unlock()
	b, entry, err := s.bindings.find(s.life.reading, rec.Partition, rec.Topic, idle)
	if err != nil {
		return err
	}
	if entry != "" {
		s.mu.Lock()
		s.entries[bindingEntry(rec.Topic, rec.Partition)] = entry
		s.mu.Unlock()
	}
	q, ordered := b.queue(rec)
	switch {
	case !ordered:
		return nil
	case q == rmq.Queue{}:
		s.shut = rec.Topic
		return errShut
	case b.shifts && s.pauses():
		return errShifts
	}
	msg.Queue, msg.Movable = q, s.set.move
	return nil
}

// errShut means that a topic can be written to nowhere: its records wait until somebody lets them in again.
var errShut = fmt.Errorf("%w: the topic can be written to nowhere", rmq.ErrStalled)

// errShifts means that a partition's records wait until those before them are stored: other queues take them.
var errShifts = fmt.Errorf("%w: the topic has other queues than before", rmq.ErrStalled)

func (s *sourceRun) pauses() bool {
	_, ok := s.source.(connector.Pauser)
	return ok
}

// sendOrPark sends a record, or parks it behind those of its partition that wait already. A source that cannot leave
// single partitions alone waits as a whole.
func (s *sourceRun) sendOrPark(p pending) error {
	waits := s.parked[p.rec.Partition]
	if len(waits) == 0 {
		err := s.send(p)
		for ; errors.Is(err, rmq.ErrStalled) && !s.pauses(); err = s.send(p) {
			s.warn()
			if service.Sleep(s.life.reading, parkedLook) != nil {
				return nil
			}
		}
		if !errors.Is(err, rmq.ErrStalled) {
			return err
		}
	}
	s.parked[p.rec.Partition] = append(waits, p)
	return nil
}

// unpark sends what its queue takes again.
func (s *sourceRun) unpark() error {
	s.bindings.again()
	for _, partition := range s.parked.partitions() {
		waits := s.parked[partition]
		for len(waits) > 0 {
			err := s.send(waits[0])
			if errors.Is(err, rmq.ErrStalled) {
				break
			}
			if err != nil {
				return s.life.unlessEnding(err)
			}
			waits = waits[1:]
			s.parked[partition] = waits
		}
		if len(waits) == 0 {
			delete(s.parked, partition)
		}
	}
	return nil
}

// poll asks the source for records of the partitions of which none waits.
func (s *sourceRun) poll() (batch []record.Record, err error) {
	waits := s.warn()
	s.shut = ""
	ctx := s.life.reading
	if pauser, ok := s.source.(connector.Pauser); ok {
		if err := service.Guard(func() error { pauser.Pause(s.parked.partitions()); return nil }); err != nil {
			return nil, fmt.Errorf("pausing partitions: %w", err)
		}
		var done context.CancelFunc
		ctx, done = limited(ctx, len(s.parked) > 0, waits)
		defer done()
	}
	err = service.Guard(func() (err error) {
		batch, err = s.source.Poll(ctx)
		return err
	})
	return batch, err
}

// limited is for a Poll: while records are parked their queues are looked at often, and while some are on their way now
// and then, to tell when they wait for long.
func limited(ctx context.Context, parked, waits bool) (context.Context, context.CancelFunc) {
	switch {
	case parked:
		return context.WithTimeout(ctx, parkedLook)
	case waits:
		return context.WithTimeout(ctx, waitsLook)
	}
	return ctx, func() {}
}

// drain waits until all that was sent is stored, but not for queues that take nothing when nothing else is left: what
// waits there is read again by the next attempt, in its order.
func (s *sourceRun) drain() error {
	patience := s.cfg.SendTimeout + time.Second
	for {
		short, cancel := context.WithTimeout(s.life.alive, parkedLook)
		err := s.sender.Flush(short)
		cancel()
		if err == nil || s.life.alive.Err() != nil {
			return err
		}
		stalled, rest := s.sender.Stalled()
		recent := func(q rmq.Stalled) bool { return time.Since(q.Since) < patience }
		if len(stalled) > 0 && !rest && !slices.ContainsFunc(stalled, recent) {
			s.log.Info("Stopping without records that wait for their queues; they are read again", "queues", len(stalled),
				"first", stalled[0].Queue.String(), "since", stalled[0].Since.UTC().Format(time.RFC3339))
			return nil
		}
	}
}

// warn tells which records wait, and why. It says whether any are on their way.
func (s *sourceRun) warn() (waits bool) {
	stalled, rest := s.sender.Stalled()
	brokers := waitedFor(stalled)
	text := waitingText(brokers, stalled, s.set.move)
	if s.shut != "" {
		brokers, text = "/"+s.shut, fmt.Sprintf(
			"records for topic %s wait: no broker lets anybody write to it; give the topic, or its brokers, their permission back",
			s.shut,
		)
	}
	if brokers != s.told {
		s.told = brokers
		s.warnings.set(ofTask, text)
	}
	return rest || len(stalled) > 0
}

// waitedFor names the brokers whose queues take nothing; empty if there is none of which it is known why.
func waitedFor(stalled []rmq.Stalled) string {
	brokers := map[string]bool{}
	for _, q := range stalled {
		if q.Err != nil {
			brokers[q.Queue.Broker] = true
		}
	}
	return strings.Join(slices.Sorted(maps.Keys(brokers)), ", ")
}

// waitingText says since when and why the queues of brokers take nothing; empty if none is named.
func waitingText(brokers string, stalled []rmq.Stalled, move bool) string {
	if brokers == "" {
		return ""
	}
	first := rmq.Stalled{}
	for _, q := range stalled {
		if q.Err != nil && (first.Err == nil || q.Since.Before(first.Since)) {
			first = q
		}
	}
	text := fmt.Sprintf("records for broker %s wait since %s, in their order, and their source partitions with them: %v",
		brokers, first.Since.UTC().Format(time.RFC3339), first.Err)
	if !move {
		text += fmt.Sprintf("; %s=%s sends them elsewhere, without order", keyOnLoss, onLossMove)
	}
	return text
}
