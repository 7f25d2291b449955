// Package traffic lets numbered records flow through a cluster of workers, and tells what came out of them so far.
package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/wait"
)

// BackSuffix tells a flow's topics apart: Kafka → RocketMQ under the same name → Kafka under another.
const BackSuffix = "-back"

// Way is which way a flow takes.
type Way struct {
	// Name tells it from others.
	Name string
	// Topic is where records enter, of so many partitions; BackPartitions has the one where they come out. With one alone,
	// the order in which they come out is the order of all.
	Topic                      string
	Partitions, BackPartitions int
	// Dealt records go to the partition that the plan gives them, and the order within it is checked.
	Dealt bool
}

// maxRecords is more than any run makes.
const maxRecords = 1 << 24

// Flow is one flow of numbered records through the cluster, and what came out of it so far.
type Flow struct {
	way      Way
	plan     flow.Plan
	producer *kgo.Client
	reader   *kgo.Client
	sent     atomic.Int64
	group    sync.WaitGroup
	stop     context.CancelFunc

	mu      sync.Mutex
	checker *flow.Checker
	arrived int // in this second
	peak    int // records that arrived within one second, since the mark before
	failed  error
	// losable may be missing for good: a fault took them with it. Empty when nothing may.
	losable window
	want    int // where the newest wait for records ends
}

// Start makes the topics and lets records flow until Close.
func Start(ctx context.Context, kafka string, way Way, plan flow.Plan) (*Flow, error) {
	plan.Records, plan.Begin = maxRecords, time.Now()
	producing := []kgo.Opt{kgo.SeedBrokers(kafka), kgo.ProducerLinger(5 * time.Millisecond), kgo.MetadataMinAge(time.Second)}
	if way.Dealt {
		plan.Partitions = way.Partitions
		producing = append(producing, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	}
	f := &Flow{way: way, plan: plan, checker: flow.NewChecker(plan)}
	var err error
	if f.producer, err = kgo.NewClient(producing...); err != nil {
		return nil, fmt.Errorf("opening the producer: %w", err)
	}
	if err := f.createTopics(ctx); err != nil {
		f.producer.Close()
		return nil, fmt.Errorf("creating the topics: %w", err)
	}
	f.reader, err = kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ConsumeTopics(way.Topic+BackSuffix),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(time.Second))
	if err != nil {
		f.producer.Close()
		return nil, fmt.Errorf("opening the reader: %w", err)
	}
	ctx, f.stop = context.WithCancel(ctx)
	f.group.Go(func() { f.produce(ctx) })
	f.group.Go(func() { f.read(ctx) })
	return f, nil
}

func (f *Flow) createTopics(ctx context.Context) error {
	admin := kadm.NewClient(f.producer)
	for topic, partitions := range map[string]int{f.way.Topic: f.way.Partitions, f.way.Topic + BackSuffix: f.way.BackPartitions} {
		made, err := admin.CreateTopics(ctx, int32(partitions), 1, nil, topic)
		if err = errors.Join(err, made.Error()); err != nil {
			return err
		}
	}
	return nil
}

// Close ends the flow.
func (f *Flow) Close() {
	f.stop()
	f.group.Wait()
	f.producer.Close()
	f.reader.Close()
}

// produce hands records to the producer at the plan's rate. While Kafka is away the producer keeps and repeats them.
func (f *Flow) produce(ctx context.Context) {
	const step = 20 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	for begun := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		due := int64(time.Since(begun).Seconds() * float64(f.plan.Rate))
		for id := f.sent.Load(); id < min(due, maxRecords) && ctx.Err() == nil; id++ {
			f.producer.Produce(ctx, f.plan.Record(f.way.Topic, int(id)), func(r *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					f.fail(fmt.Errorf("%w: partition %d: %w", errProducing, r.Partition, err))
				}
			})
			f.sent.Add(1)
		}
	}
}

func (f *Flow) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = errors.Join(f.failed, err)
}

func (f *Flow) read(ctx context.Context) {
	second := time.Now()
	for ctx.Err() == nil {
		fetches := f.reader.PollFetches(ctx)
		f.mu.Lock()
		fetches.EachRecord(f.checker.See)
		if time.Since(second) >= time.Second {
			f.arrived, second = 0, time.Now()
		}
		f.arrived += fetches.NumRecords()
		f.peak = max(f.peak, f.arrived)
		f.mu.Unlock()
	}
}

// drained waits until all that was sent until now has come out, but for what may be lost. By then what follows the
// losable records on every way has come out, so that those that have not are lost.
func (f *Flow) drained(ctx context.Context) error {
	want := f.drainToNow()
	return wait.Until(ctx, 250*time.Millisecond, func(context.Context) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.failed != nil {
			return wait.Final(f.failed)
		}
		w := f.losable
		if w.to > 0 && f.checker.Unseen(f.checker.Prefix(), w.from)+f.checker.Unseen(w.to, want) == 0 {
			f.checker.Forgive(w.from, w.to)
			f.losable = window{}
		}
		if got := f.checker.Prefix(); got < want {
			return fmt.Errorf(
				"%w: %d of the %d that were sent by %s; the first is %d",
				errMissing,
				f.checker.Unseen(got, want),
				want,
				f.way.Topic,
				got,
			)
		}
		return nil
	})
}

// drainToNow notes up to where records must have come out by the end of the run.
func (f *Flow) drainToNow() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want = int(f.sent.Load())
	return f.want
}

var (
	errMissing   = errors.New("records are missing")
	errProducing = errors.New("producing failed for good")
)
