package main

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
)

// The flow's topics: Kafka → RocketMQ under the same name → Kafka under another.
const (
	partitions = 8
	backSuffix = "-back"
)

// maxRecords is more than any run makes.
const maxRecords = 1 << 24

// traffic is the flow of numbered records through the cluster, and what came out of it so far.
type traffic struct {
	plan     flow.Plan
	topic    string
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

// startTraffic makes the topics and lets records flow until close.
func startTraffic(ctx context.Context, kafka, topic string, plan flow.Plan) (*traffic, error) {
	plan.Records, plan.Begin = maxRecords, time.Now()
	f := &traffic{plan: plan, topic: topic, checker: flow.NewChecker(plan)}
	var err error
	if f.producer, err = kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ProducerLinger(5*time.Millisecond), kgo.MetadataMinAge(time.Second)); err != nil {
		return nil, fmt.Errorf("opening the producer: %w", err)
	}
	made, err := kadm.NewClient(f.producer).CreateTopics(ctx, partitions, 1, nil, topic, topic+backSuffix)
	if err = errors.Join(err, made.Error()); err != nil {
		f.producer.Close()
		return nil, fmt.Errorf("creating the topics: %w", err)
	}
	f.reader, err = kgo.NewClient(kgo.SeedBrokers(kafka), kgo.ConsumeTopics(topic+backSuffix),
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

func (f *traffic) close() {
	f.stop()
	f.group.Wait()
	f.producer.Close()
	f.reader.Close()
}

// produce hands records to the producer at the plan's rate. While Kafka is away the producer keeps and repeats them.
func (f *traffic) produce(ctx context.Context) {
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
			f.producer.Produce(ctx, f.plan.Record(f.topic, int(id)), func(r *kgo.Record, err error) {
				if err != nil && ctx.Err() == nil {
					f.fail(fmt.Errorf("%w: partition %d: %w", errProducing, r.Partition, err))
				}
			})
			f.sent.Add(1)
		}
	}
}

func (f *traffic) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.failed = errors.Join(f.failed, err)
}

func (f *traffic) read(ctx context.Context) {
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

// tally is what came out until a moment.
type tally struct {
	flow.Result
	Sent, Peak int
	// Missing are the records that had to come out, and did not.
	Missing int
	Failed  error
}

// mark returns the state, and starts anew to look for the peak.
func (f *traffic) mark() tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := tally{Result: f.checker.Result(), Sent: int(f.sent.Load()), Peak: f.peak, Failed: f.failed,
		Missing: f.checker.Unseen(f.checker.Prefix(), f.want)}
	f.peak = 0
	return t
}

// prefix is the first record that has not come out.
func (f *traffic) prefix() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.checker.Prefix()
}

// drainTo notes up to where records must have come out by the end of the run.
func (f *traffic) drainTo(want int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.want = want
}

// mayLose lets the records of a window be missing once everything that was sent after them has come out.
func (f *traffic) mayLose(w window) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.losable = w
}

// drained waits until all that was sent until now has come out, but for what may be lost. By then what follows the losable
// records on every way has come out, so that those that have not are lost.
func (f *traffic) drained(ctx context.Context) error {
	want := int(f.sent.Load())
	f.drainTo(want)
	return until(ctx, 250*time.Millisecond, func(context.Context) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.failed != nil {
			return f.failed
		}
		w := f.losable
		if w.To > 0 && f.checker.Unseen(f.checker.Prefix(), w.From)+f.checker.Unseen(w.To, want) == 0 {
			f.checker.Forgive(w.From, w.To)
			f.losable = window{}
		}
		if got := f.checker.Prefix(); got < want {
			return fmt.Errorf("%w: %d of the %d that were sent; the first is %d", errMissing, f.checker.Unseen(got, want), want, got)
		}
		return nil
	})
}

var (
	errMissing   = errors.New("records are missing")
	errProducing = errors.New("producing failed for good")
)

// until asks until check is content, or fails for good; when ctx ends, its error is the last complaint.
func until(ctx context.Context, every time.Duration, check func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil || errors.Is(err, errEnded) || errors.Is(err, errProducing) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting: %w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}

// pause waits.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
