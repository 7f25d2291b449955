package kafka

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
)

// quiet is how long a source keeps a client of its own that brings nothing.
const quiet = 30 * time.Second

// Source reads the partitions of one task. The zero value is ready for Open.
//
// It reads partitions directly, without a Kafka group. A partition is named "topic/number", its position is the offset
// of the record to read next. While there is nothing to read it has no client: the hub tells when to look.
//
// One value holds it all, for it is what the engine calls, one method at a time: what a partition is at, is read by and
// waits for changes together. What is decided of a topic that was recreated is in package resume, the looking in
// package watch.
type Source struct {
	shared *watch.Pool
	quiet  time.Duration // 0: the default

	env  connector.Env
	set  sourceSettings
	from record.Positions
	hub  *watch.Hub
	// client is nil while the source rests; idle is for how long it was polled and had nothing.
	client *kgo.Client
	conns  *connections
	idle   time.Duration

	// broken ends with the cause why the source can no longer be read; stop ends it.
	broken context.Context
	stop   context.CancelCauseFunc
	watch  service.Group
	// known are the topics that were begun, gone those of them that cannot be read at present, warned is what users were
	// told last; the watch's own once it runs.
	known  map[string]resume.Topic
	gone   map[string]bool
	denied map[string]bool // topics of which Kafka shows everything but the records
	warned string
	fresh  arrivals

	ids      map[string]string // of the topics that are read
	places   map[string]record.Place
	away     map[string]bool                     // topics that are left alone until the watch has looked at them
	next     map[watch.Partition]kgo.EpochOffset // what to read next of each of the task's partitions
	paused   map[watch.Partition]bool
	progress record.Positions
	untold   bool // Open made progress: the first Poll does not wait
	skips    skips
	skipped  int   // loops in all
	failure  error // to be returned by the next Poll
}

var (
	_ connector.Source     = (*Source)(nil)
	_ connector.Progressed = (*Source)(nil)
	_ connector.Pauser     = (*Source)(nil)
)

var errClosed = errors.New("the source was closed")

// Open connects, makes the RocketMQ topics that are missing, and finds out where this task's partitions start.
func (s *Source) Open(ctx context.Context, env connector.Env, cfg connector.Config, from record.Positions) error {
	if s.shared == nil {
		s.shared = &watch.Pool{}
	}
	*s = Source{
		shared: s.shared,
		quiet:  cmp.Or(s.quiet, quiet),
		env:    env,
		from:   from.Clone(),
		known:  make(map[string]resume.Topic),
		gone: make(
			map[string]bool,
		),
		denied:   make(map[string]bool),
		fresh:    arrivals{doubt: make(chan struct{}, 1)},
		ids:      make(map[string]string),
		places:   make(map[string]record.Place),
		away:     make(map[string]bool),
		next:     make(map[watch.Partition]kgo.EpochOffset),
		progress: make(record.Positions),
		skips:    make(skips),
	}
	var err error
	if s.set, err = readSourceSettings(cfg); err != nil {
		return err
	}
	if s.hub, err = s.set.share(s.shared, env, s.set.committed); err != nil {
		return err
	}
	s.broken, s.stop = context.WithCancelCause(context.Background())
	if err := s.beginAll(ctx); err != nil {
		return err
	}
	s.untold = len(s.progress) > 0
	s.watch.Go(func() { s.stop(service.Guard(s.watchTopics)) })
	return nil
}

// maxUnfolded is what a compressed batch may take once it is unfolded: a small one must not fill the memory.
const maxUnfolded = 32 << 20

func (s *Source) options() []kgo.Opt {
	isolation := kgo.ReadUncommitted()
	if s.set.committed {
		isolation = kgo.ReadCommitted()
	}
	return []kgo.Opt{
		kgo.FetchMaxBytes(int32(s.set.fetchMax)), kgo.FetchMaxPartitionBytes(int32(s.set.partitionMax)),
		// One batch may be larger than what is asked for; Kafka then sends it whole.
		kgo.BrokerMaxReadBytes(int32(max(2*s.set.fetchMax, 64<<20))),
		kgo.MaxDecompressBatchBytes(maxUnfolded),
		kgo.FetchMaxWait(s.set.fetchWait), kgo.FetchIsolationLevel(isolation),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // what to do then is decided here, and counted
		kgo.DisableFetchSessions(),                  // closing a session would take a request
		kgo.MetadataMaxAge(s.set.refresh),
	}
}

// Poll returns the next records of this task's partitions. It returns none when there is only progress to be stored.
func (s *Source) Poll(ctx context.Context) ([]record.Record, error) {
	if s.untold {
		s.untold = false
		return nil, nil
	}
	for {
		if err := s.failed(); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		records, err := s.step(ctx)
		s.failure = err // told after what came before it
		if len(records) > 0 || len(s.progress) > 0 {
			return records, nil
		}
	}
}

// step waits once: for news while the source rests, else for records.
func (s *Source) step(ctx context.Context) ([]record.Record, error) {
	waiting, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.broken, cancel)()
	for _, n := range s.fresh.take(cancel) {
		s.apply(n.topic, n.news)
		s.untold = s.untold || len(n.progress) > 0
	}
	if s.untold { // to be stored before anything is read
		s.untold = false
		return nil, nil
	}
	if s.client == nil {
		return nil, s.rest(waiting)
	}
	return s.read(ctx, waiting)
}

// rest waits until there is something to read, and connects then.
func (s *Source) rest(ctx context.Context) error {
	from := make(map[watch.Partition]int64, len(s.next))
	for p, next := range s.next {
		if s.reads(p) {
			from[p] = next.Offset
		}
	}
	moved := false
	for p, offset := range s.hub.Wait(ctx, from) {
		if offset > from[p] { // there are no records for users in between
			s.next[p] = kgo.EpochOffset{Epoch: -1, Offset: offset}
			s.advance(p, offset)
			moved = true
		}
	}
	if ctx.Err() != nil || moved {
		return nil
	}
	return s.wakeUp(ctx)
}

// reads says whether there is anybody to hand a partition's records to, and anything to take them from.
func (s *Source) reads(p watch.Partition) bool { return !s.paused[p] && !s.away[p.Topic] }

// advance notes how far a partition was read without a record for users.
func (s *Source) advance(p watch.Partition, offset int64) {
	s.progress[resume.Partition(p.Topic, p.Number)] = resume.Place{Offset: offset, Topic: s.ids[p.Topic]}.Position()
}

// wakeUp makes a client that reads on, if the topics are still the same: a client takes those of the same names.
func (s *Source) wakeUp(ctx context.Context) error {
	same, err := s.same(ctx, 0, s.set.topics...)
	if ctx.Err() != nil { // there is news, which may have cut the question off
		return nil
	}
	if err != nil || !same {
		return err
	}
	if s.client, s.conns, err = s.set.connectTask(s.env, s.options()...); err != nil {
		return err
	}
	s.idle = 0
	s.client.PauseFetchPartitions(byTopic(s.paused))
	s.consume(s.next)
	return nil
}

// read takes what the client has. A client that had nothing for long is released.
func (s *Source) read(ctx, waiting context.Context) ([]record.Record, error) {
	limited, cancel := context.WithTimeout(waiting, s.quiet-s.idle)
	defer cancel()
	begun := time.Now()
	fetches := s.client.PollRecords(limited, s.set.pollMax)
	records := s.take(fetches)
	err := s.handle(ctx, fetches)
	if s.idle += time.Since(begun); fetches.NumRecords() > 0 {
		s.idle = 0
	}
	if err == nil && waiting.Err() == nil && s.idle >= s.quiet {
		s.letGo()
	}
	return records, err
}

// letGo ends the client. What it has fetched and not given out is fetched again.
func (s *Source) letGo() {
	if s.client != nil {
		s.conns.cut()
		s.client.Close()
		s.client = nil
	}
}

// apply does what has become of a topic.
func (s *Source) apply(topic string, n news) {
	if n.away || s.away[topic] || n.former != "" {
		s.letGo()
	}
	if s.away[topic] = n.away; n.away {
		return
	}
	if n.former != "" {
		s.startOver(topic, n)
	}
	s.ids[topic] = n.id
	maps.Copy(s.next, n.starts)
	maps.Copy(s.progress, n.progress)
	if s.client != nil && len(n.starts) > 0 {
		s.consume(n.starts)
	}
}

// consume has the client fetch partitions from the given offsets on.
func (s *Source) consume(from map[watch.Partition]kgo.EpochOffset) {
	offsets := make(map[string]map[int32]kgo.Offset)
	for p, next := range from {
		if s.away[p.Topic] {
			continue
		}
		if offsets[p.Topic] == nil {
			offsets[p.Topic] = make(map[int32]kgo.Offset)
		}
		offsets[p.Topic][p.Number] = kgo.NewOffset().At(next.Offset).WithEpoch(next.Epoch)
	}
	s.client.AddConsumePartitions(offsets)
}

func (s *Source) failed() error {
	if err := s.failure; err != nil {
		s.failure = nil
		return err
	}
	if s.broken.Err() != nil {
		return context.Cause(s.broken)
	}
	return nil
}

// Pause has Poll leave partitions alone: the client drops what it has fetched of them, and fetches it again later.
func (s *Source) Pause(partitions []record.SourcePartition) {
	paused := make(map[watch.Partition]bool, len(partitions))
	for p := range s.next {
		if slices.Contains(partitions, resume.Partition(p.Topic, p.Number)) {
			paused[p] = true
		}
	}
	if maps.Equal(paused, s.paused) {
		return
	}
	if s.client != nil {
		s.client.ResumeFetchPartitions(byTopic(s.paused))
		s.client.PauseFetchPartitions(byTopic(paused))
	}
	s.paused = paused
}

// byTopic is partitions as the client takes them.
func byTopic(partitions map[watch.Partition]bool) map[string][]int32 {
	out := make(map[string][]int32)
	for p := range partitions {
		out[p.Topic] = append(out[p.Topic], p.Number)
	}
	return out
}

// Progressed returns how far partitions were read whose last records were skipped, and where partitions start that have
// no position yet but must not start elsewhere next time.
func (s *Source) Progressed() record.Positions {
	if len(s.progress) == 0 {
		return nil
	}
	progress := s.progress
	s.progress = make(record.Positions)
	return progress
}

// Close releases the connections. It does not wait for the brokers.
func (s *Source) Close(context.Context) error {
	if s.hub == nil {
		return nil
	}
	s.sumUpSkips()
	s.stop(errClosed)
	s.letGo()
	s.watch.Wait()
	s.shared.Put(s.hub)
	s.hub = nil
	return nil
}

// handle deals with the errors among fetches; it returns those that end the task.
func (s *Source) handle(ctx context.Context, fetches kgo.Fetches) error {
	var errs []error
	fetches.EachError(func(topic string, partition int32, err error) {
		var lost *kgo.ErrDataLoss
		switch {
		case topic == "" || errors.Is(err, context.Canceled):
			// The poll itself ended: the caller's context or this source did.
		case errors.Is(err, kerr.OffsetOutOfRange):
			errs = append(errs, s.reposition(ctx, topic, partition))
		case errors.Is(err, kerr.UnknownTopicID), errors.Is(err, kerr.UnknownTopicOrPartition):
			s.question(topic, nil)
		case errors.Is(err, kerr.TopicAuthorizationFailed) && len(s.set.topics) > 1:
			s.question(topic, err)
		case errors.As(err, &lost):
			s.goBack(lost)
		case errors.Is(err, kgo.ErrMaxDecompress):
			errs = append(
				errs,
				fmt.Errorf("partition %d of %s holds a compressed batch at offset %d or later that takes more than %d bytes unfolded: "+
					"remove its records in Kafka (kafka-delete-records), or reset the connector's positions behind it: %w",
					partition, topic, s.next[watch.Partition{Topic: topic, Number: partition}].Offset, maxUnfolded, err),
			)
		default:
			errs = append(errs, s.set.explain(ctx, fmt.Sprintf("reading partition %d of %s", partition, topic), err))
		}
	})
	return errors.Join(errs...)
}
