//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
	"github.com/apache/rocketmq-client-go/v2/rlog"
	"github.com/twmb/franz-go/pkg/kgo"
	"golang.org/x/sync/errgroup"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// The bare loops are the least that moves records between Kafka and RocketMQ with the usual libraries: no positions, no
// headers, no ownership, no tolerance. They run as processes of their own, pinned as the worker is.
const (
	bareBatch = 512 // records a batch
	// bareBytes bounds a batch, too: a broker takes at most 4 MiB.
	bareBytes = 1 << 20
	bareQueue = 2 * bareBatch // records that wait for a lane
	barePull  = 32            // what a broker gives by default
)

// bareJob is what one bare loop does.
type bareJob struct {
	Kind     kind
	From, To string
	Records  int64
}

// bareResult is what a bare loop says of itself once everything is delivered.
type bareResult struct {
	Mallocs uint64
}

// runBare carries out the job on its standard input, prints the result, and stays until its input ends, so that it can
// be looked at.
func runBare(ctx context.Context, env environment, stdin io.Reader, stdout io.Writer) error {
	in := bufio.NewReader(stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	var job bareJob
	if err := json.Unmarshal(line, &job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	rlog.SetLogLevel("error")
	move := bareSource
	if job.Kind == sink {
		move = bareSink
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if err := move(ctx, env, job); err != nil {
		return err
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if err := json.NewEncoder(stdout).Encode(bareResult{Mallocs: m.Mallocs}); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	_, err = io.Copy(io.Discard, in)
	return err
}

// bareContender is a bare loop in a process of its own.
type bareContender struct {
	env environment
	p   *pinned
	in  io.WriteCloser
	out *json.Decoder
}

func (c *bareContender) start(_ context.Context, job bareJob) (*pinned, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("finding this program: %w", err)
	}
	cmd := exec.Command(self, argBare)
	out, outErr := cmd.StdoutPipe()
	in, inErr := cmd.StdinPipe()
	if err := errors.Join(outErr, inErr); err != nil {
		return nil, fmt.Errorf("connecting to the bare loop: %w", err)
	}
	c.in, c.out = in, json.NewDecoder(out)
	if c.p, err = startPinned(cmd); err != nil {
		return nil, err
	}
	return c.p, json.NewEncoder(in).Encode(job)
}

func (c *bareContender) check(context.Context) error { return c.p.ended() }

func (c *bareContender) finish(ctx context.Context) (float64, error) {
	if ctx.Err() != nil {
		c.p.Kill()
		return 0, context.Cause(ctx)
	}
	var r bareResult
	decodeErr := c.out.Decode(&r)
	_ = c.in.Close()
	<-c.p.Done()
	if c.p.ExitCode() != 0 {
		return 0, c.p.ended()
	}
	return float64(r.Mallocs), decodeErr
}

// bareSource fetches with franz-go and sends batches with rocketmq-client-go, one lane per queue.
func bareSource(ctx context.Context, env environment, job bareJob) error {
	queues, err := route(ctx, env, job.To)
	if err != nil {
		return err
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(env.kafka), kgo.ConsumeTopics(job.From), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxBytes(4<<20), kgo.FetchMaxWait(500*time.Millisecond))
	if err != nil {
		return fmt.Errorf("opening Kafka: %w", err)
	}
	defer kafka.Close()
	to, err := producer.NewDefaultProducer(producer.WithNameServer(primitive.NamesrvAddr{env.nameServer}), producer.WithRetry(0),
		producer.WithQueueSelector(producer.NewManualQueueSelector()), producer.WithGroupName("bench-"+job.To),
		producer.WithInstanceName(fmt.Sprintf("bench-%d", os.Getpid())), producer.WithCompressMsgBodyOverHowmuch(1<<30))
	if err != nil {
		return fmt.Errorf("making the producer: %w", err)
	}
	if err := to.Start(); err != nil {
		return fmt.Errorf("starting the producer: %w", err)
	}
	group, ctx := errgroup.WithContext(ctx)
	lanes := make([]chan *kgo.Record, len(queues))
	for i, q := range queues {
		lanes[i] = make(chan *kgo.Record, bareQueue)
		lane := bareLane{from: lanes[i], queue: &primitive.MessageQueue{Topic: q.Topic, BrokerName: q.Broker, QueueId: q.ID}}
		group.Go(func() error { return lane.run(ctx, to.SendSync) })
	}
	group.Go(func() error {
		for _, lane := range lanes {
			defer close(lane)
		}
		for n := int64(0); n < job.Records; {
			fetches := kafka.PollFetches(ctx)
			if err := fetches.Err(); err != nil {
				return fmt.Errorf("fetching: %w", err)
			}
			for it := fetches.RecordIter(); !it.Done(); n++ {
				r := it.Next()
				select {
				case lanes[int(r.Partition)%len(lanes)] <- r:
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			}
		}
		return nil
	})
	return group.Wait()
}

type bareLane struct {
	from  <-chan *kgo.Record
	queue *primitive.MessageQueue
}

type sendSync func(ctx context.Context, messages ...*primitive.Message) (*primitive.SendResult, error)

// run sends what has gathered, one batch at a time.
func (l bareLane) run(ctx context.Context, send sendSync) error {
	var next *primitive.Message
	for {
		if next == nil {
			r, ok := <-l.from
			if !ok {
				return nil
			}
			next = l.message(r)
		}
		batch, bytes := []*primitive.Message{next}, len(next.Body)
		next = nil
	gather:
		for len(batch) < bareBatch {
			select {
			case r, ok := <-l.from:
				if !ok {
					break gather
				}
				m := l.message(r)
				if bytes += len(m.Body); bytes > bareBytes {
					next = m
					break gather
				}
				batch = append(batch, m)
			default:
				break gather
			}
		}
		if err := sendAll(ctx, send, batch); err != nil {
			return err
		}
	}
}

func (l bareLane) message(r *kgo.Record) *primitive.Message {
	m := primitive.NewMessage(l.queue.Topic, r.Value)
	m.Queue = l.queue
	return m.WithKeys([]string{string(r.Key)})
}

// sendAll retries while the broker is busy, as any loop has to.
func sendAll(ctx context.Context, send sendSync, batch []*primitive.Message) error {
	for tries := 0; ; tries++ {
		result, err := send(ctx, batch...)
		if err == nil && result.Status == primitive.SendOK {
			return nil
		}
		if err == nil {
			err = fmt.Errorf("status %d", result.Status)
		}
		if tries == 20 {
			return fmt.Errorf("sending: %w", err)
		}
		if err := service.Sleep(ctx, 5*time.Millisecond); err != nil {
			return err
		}
	}
}

// bareSink pulls with rocketmq-client-go and produces with franz-go, one loop per queue.
func bareSink(ctx context.Context, env environment, job bareJob) error {
	queues, err := route(ctx, env, job.From)
	if err != nil {
		return err
	}
	kafka, err := kgo.NewClient(kgo.SeedBrokers(env.kafka), kgo.DefaultProduceTopic(job.To), kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(kgo.NoCompression()))
	if err != nil {
		return fmt.Errorf("opening Kafka: %w", err)
	}
	defer kafka.Close()
	from, err := startPuller(env, job.From)
	if err != nil {
		return err
	}
	var delivered atomic.Int64
	pulling, finish := context.WithCancelCause(ctx)
	group, pulling := errgroup.WithContext(pulling)
	done := func(_ *kgo.Record, err error) {
		if err != nil {
			finish(err)
		} else if delivered.Add(1) == job.Records {
			finish(errDelivered)
		}
	}
	for i, q := range queues {
		queue := &primitive.MessageQueue{Topic: q.Topic, BrokerName: q.Broker, QueueId: q.ID}
		group.Go(func() error {
			for offset := int64(0); ; {
				// Not pulling: the library reports the end of its context as an empty answer.
				got, err := from.PullFrom(ctx, queue, offset, barePull)
				switch {
				case pulling.Err() != nil:
					return context.Cause(pulling)
				case err != nil:
					return fmt.Errorf("pulling: %w", err)
				}
				for _, m := range got.GetMessageExts() {
					kafka.Produce(
						ctx,
						&kgo.Record{Partition: int32(i), Key: []byte(m.GetKeys()), Value: m.Body, Timestamp: time.UnixMilli(m.BornTimestamp)},
						done,
					)
				}
				offset = got.NextBeginOffset
			}
		})
	}
	if err := group.Wait(); !errors.Is(err, errDelivered) {
		return err
	}
	return nil
}

var errDelivered = errors.New("everything is delivered")

// route looks the queues up; the loops themselves do without our client.
func route(ctx context.Context, env environment, topic string) ([]rmq.Queue, error) {
	client, err := rmq.Open(rmq.Config{NameServers: []string{env.nameServer}})
	if err != nil {
		return nil, err
	}
	defer client.Close()
	return client.Route(ctx, topic)
}

// puller is the part of rocketmq-client-go's pull consumer that a bare loop needs.
type puller interface {
	PullFrom(ctx context.Context, queue *primitive.MessageQueue, offset int64, n int) (*primitive.PullResult, error)
}

func startPuller(env environment, topic string) (puller, error) {
	c, err := consumer.NewPullConsumer(consumer.WithNameServer(primitive.NamesrvAddr{env.nameServer}),
		consumer.WithGroupName("bench-"+topic), consumer.WithInstance(fmt.Sprintf("bench-%d", os.Getpid())),
		consumer.WithStrategy(noQueues))
	if err != nil {
		return nil, fmt.Errorf("making the consumer: %w", err)
	}
	if err := c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}); err != nil {
		return nil, fmt.Errorf("subscribing: %w", err)
	}
	if err := c.Start(); err != nil {
		return nil, fmt.Errorf("starting the consumer: %w", err)
	}
	return c, nil
}

// noQueues keeps the library from pulling by itself.
func noQueues(string, string, []*primitive.MessageQueue, []string) []*primitive.MessageQueue {
	return nil
}
