//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/test/bench/mirrormaker"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/service"
)

// figures are what one run gave. A zero allocations means that it is not known.
type figures struct {
	rate        float64 // records/s
	bytes       float64 // of values, a second
	cpu         float64 // µs a record
	rss         float64 // peak, bytes
	allocations float64 // a record
	lead        float64 // seconds from the start to the first record at the target
}

// contender is what moves the records of a job.
type contender interface {
	// start begins the job; it is over when everything is delivered.
	start(ctx context.Context, job bareJob) (*pinned, error)
	// check returns an error when the job failed.
	check(ctx context.Context) error
	// finish stops it after the job, and says how many objects it allocated.
	finish(ctx context.Context) (mallocs float64, err error)
}

// The names of those who move records. MirrorMaker takes one turn, and gives figures under two names.
const (
	nameWorker = "worker"
	nameBare   = "bare"
	nameCold   = "MM2 from cold"
	nameWarm   = "MM2 warm"
)

// entrant is one of those that are compared.
type entrant struct {
	kind kind
	name string
}

// entrants are in the order of the table.
func entrants() []entrant {
	return []entrant{{source, nameWorker}, {source, nameBare}, {sink, nameWorker}, {sink, nameBare}, {peer, nameCold}, {peer, nameWarm}}
}

// round is the medians of all that moved values of one size.
type round struct {
	size    int
	records int64
	medians map[entrant]figures
}

// throughput measures values of one size: everybody in turns. After a failure the medians are those of the runs before
// it.
func (b *suite) throughput(ctx context.Context, size int) (r round, err error) {
	r = round{size: size, records: b.recordsOf(size), medians: map[entrant]figures{}}
	jobs, drop, err := b.jobs(ctx, size, r.records)
	defer drop()
	if err != nil {
		return r, err
	}
	runs := map[entrant][]figures{}
	for i := range b.o.runs {
		if err = b.turnsOf(ctx, i, jobs, size, runs); err != nil {
			break
		}
	}
	for e, all := range runs {
		r.medians[e] = medians(all)
	}
	return r, err
}

// turnsOf lets everybody take one turn, and adds the figures to runs.
func (b *suite) turnsOf(ctx context.Context, run int, jobs map[kind]bareJob, size int, runs map[entrant][]figures) error {
	for _, e := range turns(run, jobs) {
		names := []string{e.name}
		if e.kind == peer {
			names = []string{nameCold, nameWarm}
		}
		all, err := b.turn(ctx, e, jobs[e.kind], size, len(names))
		if err != nil {
			return fmt.Errorf("measuring %s, %s: %w", e.kind, e.name, err)
		}
		for n, f := range all {
			b.say("%s %d B, run %d, %-13s %8.0f records/s %6.2f µs/record %5.0f MiB %6.1f allocations/record, first after %.2f s",
				e.kind, size, run+1, names[n], f.rate, f.cpu, f.rss/mib, f.allocations, f.lead)
			who := entrant{e.kind, names[n]}
			runs[who] = append(runs[who], f)
		}
	}
	return nil
}

// turns are the entrants that have a job, in the table's order and in the reverse by turns, so that each goes ahead of
// its rival as often as behind it. MirrorMaker is there once.
func turns(run int, jobs map[kind]bareJob) []entrant {
	out := slices.DeleteFunc(entrants(), func(e entrant) bool { return jobs[e.kind].Kind == "" || e.name == nameWarm })
	if run%2 == 1 {
		slices.Reverse(out)
	}
	return out
}

// turn has an entrant do its job, more than once if it is to be seen warm.
func (b *suite) turn(ctx context.Context, e entrant, job bareJob, size, times int) (all []figures, err error) {
	var c contender
	switch e.name {
	case nameWorker:
		c = &workerContender{workers: b.workers}
	case nameBare:
		c = &bareContender{env: b.env}
	default:
		mm := &peerContender{peers: b.peers}
		defer func() {
			err = errors.Join(err, mm.stop())
			b.dropKafkaTopic(context.WithoutCancel(ctx), mm.w.SyncsTopic())
		}()
		c = mm
	}
	for range times {
		f, err := b.measure(ctx, c, job, size)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	return all, nil
}

// jobs fills the topics that the wanted kinds read; a source and MirrorMaker read the same.
func (b *suite) jobs(ctx context.Context, size int, n int64) (jobs map[kind]bareJob, drop func(), err error) {
	jobs, drop = map[kind]bareJob{}, func() {}
	if b.o.parts[partSource] || b.o.parts[partPeer] {
		topic, err := b.kafkaTopic(ctx, queues)
		if err != nil {
			return nil, drop, err
		}
		drop = func() { b.dropKafkaTopic(context.WithoutCancel(ctx), topic) }
		if err := b.fillKafka(ctx, topic, size, n); err != nil {
			return nil, drop, err
		}
		for _, k := range []kind{source, peer} {
			if b.o.parts[string(k)] {
				jobs[k] = bareJob{Kind: k, From: topic, Records: n}
			}
		}
	}
	if b.o.parts[partSink] {
		topic, err := b.rmqTopic(ctx)
		if err != nil {
			return nil, drop, err
		}
		if err := b.fillRocketMQ(ctx, topic, size, n); err != nil {
			return nil, drop, err
		}
		jobs[sink] = bareJob{Kind: sink, From: topic, Records: n}
	}
	return jobs, drop, nil
}

// target makes the topic that a job writes, and returns what counts its records.
func (b *suite) target(ctx context.Context, job bareJob) (topic string, count flow.Count, drop func(), err error) {
	switch job.Kind {
	case source:
		topic, err = b.rmqTopic(ctx)
		return topic, flow.RocketMQEnds(b.rmq, topic), func() {}, err
	case peer:
		topic = mirrormaker.Target(b.kafkaName(), job.From)
		err = b.createKafkaTopic(ctx, queues, topic)
	default:
		topic, err = b.kafkaTopic(ctx, queues)
	}
	return topic, flow.KafkaEnds(b.kafka, topic), func() { b.dropKafkaTopic(context.WithoutCancel(ctx), topic) }, err
}

// stuck is how long a run may take.
const stuck = 10 * time.Minute

func (b *suite) measure(ctx context.Context, c contender, job bareJob, size int) (f figures, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, stuck, fmt.Errorf("it is not done after %s", stuck))
	defer cancel()
	to, count, drop, err := b.target(ctx, job)
	if err != nil {
		return f, err
	}
	defer drop()
	job.To = to
	begun := time.Now()
	p, err := c.start(ctx, job)
	if err != nil {
		return f, err
	}
	first, last, err := b.watch(ctx, c, p, count, job.Records)
	if err == nil {
		var peak int64
		peak, err = process.Memory(p.PID(), "VmHWM")
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
	f.lead = first.at.Sub(begun).Seconds()
	return f, nil
}

// sample is how far a job was at a time.
type sample struct {
	at      time.Time
	records int64
	cpu     time.Duration
}

// Between two looks at the target, and at the job's state: the latter costs what is measured.
const (
	lookEvery  = 25 * time.Millisecond
	checkEvery = time.Second
)

// watch takes a sample at the first records that are seen and one at the last.
func (b *suite) watch(ctx context.Context, c contender, p *pinned, count flow.Count, want int64) (first, last sample, err error) {
	checked := time.Now()
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
		if now.at.Sub(checked) >= checkEvery {
			if err := c.check(ctx); err != nil {
				return first, last, err
			}
			checked = now.at
		}
		if err := service.Sleep(ctx, lookEvery); err != nil {
			return first, last, fmt.Errorf("waiting for %d records, %d are there: %w", want, now.records, err)
		}
	}
}
