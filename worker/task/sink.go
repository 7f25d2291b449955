package task

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/task/queues"
	"github.com/rocketmq-connect/operator/worker/task/track"
)

const (
	// maxPutRecords bounds one batch that is put.
	maxPutRecords = 2048
	// flushBytes is how much is put before the sink is flushed ahead of its interval.
	flushBytes = 32 << 20
)

// sinkRun is one attempt of a sink task: the loop that reads, puts and flushes. What it reads is decided by its
// Reading; what may be stored, and what its lease covers, by its Puts.
type sinkRun struct {
	attempt
	sink    connector.Sink
	reader  Reader
	dead    *deadLetters
	reading *queues.Reading
	system  string // the RocketMQ that is read
	rounds  track.Rounds
	// group mirrors the offsets for RocketMQ's own tools.
	group string
	saver *saver
	// lease ends when the worker's lease does; it lasts while puts are covered. Nil outside of that.
	lease    context.Context
	endLease context.CancelFunc
	closing  sync.Once
	news     routeNews

	mu   sync.Mutex // guards what puts says is storable: the saver asks
	puts *track.Puts
}

// RunSink runs one attempt of a sink task until soft ends, hard ends, or something fails. It returns nil after a clean
// drain: everything that was read is durable and its offset stored. When it returns nothing of the attempt delivers any
// more.
func (r *Runner) RunSink(soft, hard context.Context, c connector.SinkConnector, a Attempt) error {
	set, err := parseSettings(a.Config)
	if err == nil && len(set.topics) == 0 {
		err = fmt.Errorf("%s is required: the RocketMQ topics to read, separated by commas", connector.TopicKeys()[0])
	}
	if err == nil {
		err = set.checkTopics(r.cfg.Internal)
	}
	if err != nil {
		return err
	}
	s := &sinkRun{attempt: r.attempt(soft, hard, a, set, connector.KindSink), puts: track.NewPuts()}
	defer s.life.end()
	if err := r.wait(s.life.reading, a.Gate, r.cfg.PutMargin); err != nil {
		return s.life.outcome(err)
	}
	r.audit(auditStart, a.ID, r.cfg.Now())
	defer func() { r.auditStop(a, s.lastDelivery()) }()
	s.group = set.mirrorOf(r.cfg.ClusterID, a.ID.Connector)
	s.reader = r.client.NewReader(s.group, r.cfg.MaxBufferedBytes, func(q rmq.Queue) rmq.Trail { return s.reading.Trail(q) }, s.gap)
	defer s.reader.Close()
	s.dead = &deadLetters{Runner: r, a: a, topic: set.deadLetter}
	defer s.dead.close()
	if err := service.Guard(func() error { s.sink = c.NewSink(); return nil }); err != nil {
		return fmt.Errorf("making the sink: %w", err)
	}
	defer s.count.setLag(0)
	defer s.close()
	if s.system, err = r.system(s.life.reading); err != nil {
		return s.life.outcome(s.life.unlessEnding(err))
	}
	defer func() { sumUpRounds(&s.rounds, s.log) }()
	return s.life.outcome(s.run())
}

func (s *sinkRun) run() error {
	from, err := s.begin()
	if err != nil {
		return s.life.unlessEnding(err)
	}
	s.reader.Assign(from)
	var group service.Group
	side, stop := context.WithCancel(s.life.alive)
	group.Go(func() { s.saver.run(side, s.life.lose) })
	group.Go(func() { s.watchRoutes(side, s.a, s.set.topics, s.life.fail, s.news.put) })
	err = s.pump()
	var held *heldUpError
	if (err == nil || errors.As(err, &held)) && s.life.work.Err() == nil {
		if failed := s.flush(); failed != nil {
			err = errors.Join(err, failed)
		}
	}
	if s.puts.Covered() {
		s.close() // Invariant C2: what is not durable must not outlast the lease, and storing offsets may wait for a broker
	}
	stop()
	group.Wait()
	if s.life.alive.Err() == nil {
		err = errors.Join(err, s.saver.last(s.life.alive))
	}
	return err
}

// begin finds the queues and where to start, and opens the sink.
func (s *sinkRun) begin() (map[rmq.Queue]int64, error) {
	ctx := s.life.reading
	starts := s.starts()
	shown, err := starts.routes(ctx)
	if err != nil {
		return nil, err
	}
	s.reading = queues.NewReading(s.a.ID.Task, s.a.ID.Tasks, starts.known()...)
	mine := s.reading.Begin(shown)
	s.warnings.set(ofTask, s.reading.Warning(shown.Missing))
	if s.set.fromLast {
		if err := starts.lookFirst(ctx, shown.Queues); err != nil {
			return nil, err
		}
	}
	from, err := starts.store(ctx, s.reading, mine)
	if err != nil {
		return nil, err
	}
	if err := s.client.EnsureGroup(ctx, s.group); err != nil {
		s.log.V(1).Info("Making the consumer group that mirrors the offsets failed", "group", s.group, "reason", err.Error())
	}
	s.saver = newSaver(s.a.Writer, s.cfg.FlushInterval, s.log, s.count)
	s.saver.ready, s.saver.after = s.storable, s.mirror
	env := s.env(s.a, s.set, s.log, s.count, s.warnings)
	env.QueueCount = func(_ context.Context, topic string) (int, error) { return s.reading.Count(s.set.origin(topic)), nil }
	err = open(ctx, s.a, func() error { return s.sink.Open(ctx, env, s.a.Config) }, s.closeSink)
	if err != nil {
		return nil, fmt.Errorf("opening the sink: %w", err)
	}
	return from, nil
}

func (s *sinkRun) starts() *starts { return &starts{&s.attempt, s.group} }

// pump reads, puts and flushes until reading ends. Its error is what ended it; nil for a soft stop.
func (s *sinkRun) pump() error {
	s.puts.Begin(time.Now())
	for s.life.reading.Err() == nil {
		batch, err := s.poll()
		if err != nil {
			return s.life.unlessEnding(&heldUpError{fmt.Errorf("reading from RocketMQ: %w", err)})
		}
		if s.lease != nil && s.lease.Err() != nil {
			return s.leaseEnded()
		}
		if len(batch) > 0 {
			if err := s.deliver(batch); errors.Is(err, errReadingEnded) {
				return nil
			} else if err != nil {
				return err
			}
		}
		if s.puts.Due(time.Now(), s.cfg.FlushInterval, flushBytes) {
			if err := s.flush(); err != nil {
				return err
			}
		}
		if found := s.news.take(); found != nil {
			if err := s.reassign(found); err != nil {
				return err
			}
		}
	}
	return nil
}

// poll waits for records, but not beyond the time of the next flush, if there will be one, or the end of the lease that
// covers what was put.
func (s *sinkRun) poll() ([]rmq.Received, error) {
	ctx, cancel := context.WithCancel(s.life.reading)
	defer cancel()
	s.news.whileWaiting(cancel)
	if at, due := s.puts.Deadline(s.cfg.FlushInterval); due {
		var done context.CancelFunc
		ctx, done = context.WithDeadline(ctx, at)
		defer done()
	}
	if s.lease != nil {
		defer context.AfterFunc(s.lease, cancel)()
	}
	return s.reader.Poll(ctx, maxPutRecords)
}

// flush makes what was put durable, and lets its offsets be stored.
func (s *sinkRun) flush() error {
	s.showLag()
	if s.puts.Try(time.Now()) {
		if err := s.covered(func(ctx context.Context) error { return s.sink.Flush(ctx) }); err != nil {
			s.count.failed("FLUSH")
			return fmt.Errorf("flushing the sink: %w", err)
		}
		s.dropLease() // nothing is under way any more
	}
	s.mu.Lock()
	// Invariant P2: the sink has just said that everything that was put is durable, or was given nothing.
	moved := s.puts.Durable()
	s.mu.Unlock()
	if moved {
		s.saver.kick()
	}
	return nil
}

func (s *sinkRun) storable() record.Positions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.puts.Storable()
}

// mirror shows the stored offsets in the broker's own consumer group. Nothing depends on it.
func (s *sinkRun) mirror(ctx context.Context, stored record.Positions) {
	offsets := make(map[rmq.Queue]int64, len(stored))
	for p, pos := range stored {
		q, ok := queues.ParsePartition(p)
		if offset, err := queues.ParseOffset(pos); ok && err == nil {
			offsets[q] = offset.Next
		}
	}
	if err := s.client.Commit(ctx, s.group, offsets); err != nil && ctx.Err() == nil {
		s.count.failed("MIRROR")
		s.log.V(1).Info("Mirroring offsets to the consumer group failed", "group", s.group, "reason", err.Error())
	}
}

// reassign follows a change of the topics' queues.
func (s *sinkRun) reassign(shown *queues.Routes) error {
	add, drop := s.reading.Follow(*shown)
	s.warnings.set(ofTask, s.reading.Warning(shown.Missing))
	if len(add)+len(drop) == 0 {
		return nil
	}
	s.log.Info("Changing the queues of the task", "added", len(add), "dropped", len(drop))
	if err := s.flush(); err != nil {
		return err
	}
	from, err := s.starts().store(s.life.reading, s.reading, add)
	if err != nil {
		return s.life.unlessEnding(err)
	}
	assignment := make(map[rmq.Queue]int64)
	for _, q := range s.reading.Queues() {
		assignment[q] = from[q] // queues that stay go on where they are
	}
	s.reader.Assign(assignment)
	return nil
}

// gap counts records that the topic's retention took before they were read, and queues that lost their end; the reader
// has logged where.
//
// Invariant P4: what is not delivered is counted.
func (s *attempt) gap(_ rmq.Queue, from, to int64) {
	if to > from {
		s.count.skipped("expired", int(to-from))
		return
	}
	s.count.failed("TAIL_LOST")
}

func (s *sinkRun) showLag() {
	var sum int64
	for _, n := range s.reader.Lag() {
		sum += n
	}
	s.count.setLag(sum)
}

// close releases the sink; further calls do nothing.
func (s *sinkRun) close() {
	s.closing.Do(func() {
		s.dropLease()
		s.closeSink()
		if s.puts.Covered() {
			s.puts.Back(time.Now())
		}
	})
}

func (s *sinkRun) closeSink() {
	ctx, cancel := context.WithTimeout(context.Background(), closeTimeout)
	defer cancel()
	if err := service.Guard(func() error { return s.sink.Close(ctx) }); err != nil {
		s.log.Error(s.a.scrubbed(err), "Closing the sink failed")
	}
}

// lastDelivery is when the attempt's deliveries had ended, for all that is known: a sink that does not tell may have
// delivered until its call came back, or, with something not flushed, until it was closed.
func (s *sinkRun) lastDelivery() time.Time {
	last := s.puts.Touched()
	if w, ok := s.sink.(connector.LastWriter); ok {
		if err := service.Guard(func() error { last = w.LastWrite(); return nil }); err != nil {
			s.log.Error(s.a.scrubbed(err), "Asking the sink when it last wrote failed")
		}
	}
	if at := s.dead.lastWrite(); at.After(last) {
		return at
	}
	return last
}
