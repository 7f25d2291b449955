//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"github.com/rocketmq-connect/operator/test/flow"
)

// figures are what one run gave. A zero allocations means that it is not known.
type figures struct {
	rate        float64 // records/s
	bytes       float64 // of values, a second
	cpu         float64 // µs a record
	rss         float64 // peak, bytes
	allocations float64 // a record
}

// contender is what moves the records of a job.
type contender interface {
	// start begins the job; it is over when everything is delivered.
	start(ctx context.Context, job bareJob) (*process, error)
	// check returns an error when the job failed.
	check(ctx context.Context) error
	// finish stops it after the job, and says how many objects it allocated.
	finish(ctx context.Context) (mallocs float64, err error)
}

// pair are the medians of the worker and the bare loop.
type pair struct {
	kind         kind
	size         int
	records      int64
	worker, bare figures
}

// throughput measures one direction and size: the worker and the bare loop in turns.
func (b *suite) throughput(ctx context.Context, k kind, size int) (p pair, err error) {
	p = pair{kind: k, size: size, records: b.recordsOf(size)}
	from, err := b.filled(ctx, k, size, p.records)
	if err != nil {
		return p, err
	}
	if k == source {
		defer b.dropKafkaTopic(context.WithoutCancel(ctx), from)
	}
	var ours, bare []figures
	for i := range b.o.runs {
		for turn := range 2 {
			isWorker := (i+turn)%2 == 0
			var c contender = &bareContender{env: b.env}
			if isWorker {
				c = &workerContender{workers: b.workers}
			}
			f, err := b.measure(ctx, c, bareJob{Kind: k, From: from, Records: p.records}, size)
			if err != nil {
				return p, fmt.Errorf("measuring %T: %w", c, err)
			}
			b.say("%s %d B, run %d, %-6s %8.0f records/s %6.2f µs/record %5.0f MiB %6.1f allocations/record",
				k, size, i+1, nameOf(isWorker), f.rate, f.cpu, f.rss/(1<<20), f.allocations)
			if isWorker {
				ours = append(ours, f)
			} else {
				bare = append(bare, f)
			}
		}
	}
	p.worker, p.bare = medians(ours), medians(bare)
	return p, nil
}

func nameOf(isWorker bool) string {
	if isWorker {
		return "worker"
	}
	return "bare"
}

func (b *suite) filled(ctx context.Context, k kind, size int, n int64) (topic string, err error) {
	if k == source {
		if topic, err = b.kafkaTopic(ctx, queues); err == nil {
			err = b.fillKafka(ctx, topic, size, n)
		}
		return topic, err
	}
	if topic, err = b.rmqTopic(ctx); err == nil {
		err = b.fillRocketMQ(ctx, topic, size, n)
	}
	return topic, err
}

// target makes the topic that a job writes, and returns what counts its records.
func (b *suite) target(ctx context.Context, k kind) (topic string, count flow.Count, drop func(), err error) {
	if k == source {
		topic, err = b.rmqTopic(ctx)
		return topic, flow.RocketMQEnds(b.rmq, topic), func() {}, err
	}
	topic, err = b.kafkaTopic(ctx, queues)
	return topic, flow.KafkaEnds(b.kafka, topic), func() { b.dropKafkaTopic(context.WithoutCancel(ctx), topic) }, err
}

// stuck is how long a run may take.
const stuck = 3 * time.Minute

func (b *suite) measure(ctx context.Context, c contender, job bareJob, size int) (f figures, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stuck, fmt.Errorf("it is not done after %s", stuck))
	defer cancel()
	to, count, drop, err := b.target(ctx, job.Kind)
	if err != nil {
		return f, err
	}
	defer drop()
	job.To = to
	p, err := c.start(ctx, job)
	if err != nil {
		return f, err
	}
	first, last, err := b.watch(ctx, c, p, count, job.Records)
	if err == nil {
		var peak int64
		peak, err = p.memory("VmHWM")
		f.rss = float64(peak)
	}
	mallocs, finishErr := c.finish(ctx)
	if err = errors.Join(err, finishErr); err != nil {
		return f, err
	}
	n := float64(last.records - first.records)
	f.rate = n / last.at.Sub(first.at).Seconds()
	f.bytes = f.rate * float64(size)
	f.cpu = float64((last.cpu - first.cpu).Microseconds()) / n
	f.allocations = mallocs / float64(job.Records)
	return f, nil
}

// sample is how far a job was at a time.
type sample struct {
	at      time.Time
	records int64
	cpu     time.Duration
}

// watch takes a sample at the first records that are seen and one at the last.
func (b *suite) watch(ctx context.Context, c contender, p *process, count flow.Count, want int64) (first, last sample, err error) {
	for {
		var now sample
		if now.records, err = count(ctx); err != nil {
			return first, last, err
		}
		now.at = time.Now()
		if now.cpu, err = p.cpu(); err != nil {
			return first, last, errors.Join(err, p.ended())
		}
		if first.records == 0 && now.records > 0 {
			first = now
		}
		if now.records >= want {
			if first.records >= want {
				return first, now, errors.New("everything came at once: use more -records")
			}
			return first, now, nil
		}
		if err := c.check(ctx); err != nil {
			return first, last, err
		}
		if err := wait(ctx, 25*time.Millisecond); err != nil {
			return first, last, fmt.Errorf("waiting for %d records, %d are there: %w", want, now.records, err)
		}
	}
}

// bareContender is a bare loop in a process of its own.
type bareContender struct {
	env environment
	p   *process
	in  io.WriteCloser
	out *json.Decoder
}

func (c *bareContender) start(_ context.Context, job bareJob) (*process, error) {
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
		_ = c.p.cmd.Process.Kill()
		<-c.p.done
		return 0, context.Cause(ctx)
	}
	var r bareResult
	decodeErr := c.out.Decode(&r)
	_ = c.in.Close()
	<-c.p.done
	if !c.p.cmd.ProcessState.Success() {
		return 0, fmt.Errorf("bare loop ended with %s: %s", c.p.cmd.ProcessState, c.p.lastWords())
	}
	return float64(r.Mallocs), decodeErr
}

// workerContender is a connector with one task on a worker.
type workerContender struct {
	workers *workers
	w       *runningWorker
	name    string
	before  float64
}

func (c *workerContender) start(ctx context.Context, job bareJob) (*process, error) {
	var err error
	if c.w, err = c.workers.start(ctx); err != nil {
		return nil, err
	}
	if c.before, err = c.w.mallocs(ctx); err != nil {
		return nil, errors.Join(err, c.w.stop())
	}
	c.name = fmt.Sprintf("c%d", c.workers.started)
	if err := c.w.create(ctx, c.workers.env, c.name, job, 1); err != nil {
		return nil, errors.Join(err, c.w.stop())
	}
	return c.w.process, nil
}

func (c *workerContender) check(ctx context.Context) error { return c.w.failure(ctx, c.name) }

func (c *workerContender) finish(ctx context.Context) (float64, error) {
	after, err := c.w.mallocs(ctx)
	return after - c.before, errors.Join(err, c.w.rest.Delete(context.WithoutCancel(ctx), c.name), c.w.stop())
}
