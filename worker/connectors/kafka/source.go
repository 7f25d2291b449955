package kafka

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Source reads the partitions of one task. The zero value is ready for Open.
//
// It reads partitions directly, without a Kafka group. A partition is named "topic/number", its position is the offset
// of the record to read next.
type Source struct {
	env    connector.Env
	set    sourceSettings
	from   record.Positions
	client *kgo.Client
	admin  *kadm.Client
	conns  *connections

	// broken ends with the cause why the source can no longer be read; stop ends it.
	broken context.Context
	stop   context.CancelCauseFunc
	watch  service.Group
	known  map[string]int // partitions seen so far per Kafka topic; the watch's own once it runs

	next     map[record.SourcePartition]int64 // offsets to read next, as far as they are known
	progress record.Positions
	skips    skips
	failure  error // to be returned by the next Poll
}

var (
	_ connector.Source     = (*Source)(nil)
	_ connector.Progressed = (*Source)(nil)
)

var errClosed = errors.New("the source was closed")

// Open connects, makes the RocketMQ topics that are missing, and starts this task's partitions at their positions.
func (s *Source) Open(ctx context.Context, env connector.Env, cfg connector.Config, from record.Positions) error {
	*s = Source{
		env: env, from: from.Clone(), known: make(map[string]int), next: make(map[record.SourcePartition]int64),
		progress: make(record.Positions), skips: make(skips),
	}
	var err error
	if s.set, err = readSourceSettings(cfg); err != nil {
		return err
	}
	if s.client, s.conns, err = s.set.connect(env, s.options()...); err != nil {
		return err
	}
	s.admin = kadm.NewClient(s.client)
	s.broken, s.stop = context.WithCancelCause(context.Background())
	counts, err := s.partitionCounts(ctx)
	if err != nil {
		return err
	}
	if len(counts) < len(s.set.topics) {
		return fmt.Errorf("looking up the topics: %w: Kafka is still choosing leaders for some of them", connector.ErrNotConnected)
	}
	if err := s.ensureTargets(ctx, counts); err != nil {
		return err
	}
	starts, err := s.starts(ctx, counts)
	if err != nil {
		return err
	}
	s.client.AddConsumePartitions(starts)
	s.watch.Go(func() { s.stop(service.Guard(s.watchPartitions)) })
	return nil
}

func (s *Source) options() []kgo.Opt {
	isolation := kgo.ReadUncommitted()
	if s.set.committed {
		isolation = kgo.ReadCommitted()
	}
	return []kgo.Opt{
		kgo.FetchMaxBytes(int32(s.set.fetchMax)), kgo.FetchMaxPartitionBytes(int32(s.set.partitionMax)),
		// One batch may be larger than what is asked for; Kafka then sends it whole.
		kgo.BrokerMaxReadBytes(int32(max(2*s.set.fetchMax, 64<<20))),
		kgo.FetchMaxWait(s.set.fetchWait), kgo.FetchIsolationLevel(isolation),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()), // what to do then is decided here, and counted
		kgo.DisableFetchSessions(),                  // closing a session would take a request
		kgo.MetadataMaxAge(s.set.refresh),
	}
}

// Poll returns the next records of this task's partitions. It may return none when it only met records to skip.
func (s *Source) Poll(ctx context.Context) ([]record.Record, error) {
	polling, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.broken, cancel)()
	for {
		if err := s.failed(); err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			return nil, nil
		}
		fetches := s.client.PollRecords(polling, s.set.pollMax)
		records := s.take(fetches)
		err := s.handle(ctx, fetches)
		if len(records) == 0 && err != nil {
			return nil, err
		}
		s.failure = err
		if len(records) > 0 || len(s.progress) > 0 {
			return records, nil
		}
	}
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

// Close lets go of the connections. It does not wait for the brokers.
func (s *Source) Close(context.Context) error {
	if s.client == nil {
		return nil
	}
	s.stop(errClosed)
	s.conns.cut()
	s.watch.Wait()
	s.client.Close()
	s.client = nil
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
		case errors.As(err, &lost):
			s.env.Skipped(skipDataLoss, 1)
			s.env.Log.Error(err, "Kafka lost records that were read", "topic", topic, "partition", partition)
		default:
			errs = append(errs, s.set.explain(ctx, fmt.Sprintf("reading partition %d of %s", partition, topic), err))
		}
	})
	return errors.Join(errs...)
}

func partitionName(topic string, partition int32) record.SourcePartition {
	return record.SourcePartition(topic + "/" + strconv.Itoa(int(partition)))
}

func position(offset int64) record.Position { return record.Position(strconv.FormatInt(offset, 10)) }
