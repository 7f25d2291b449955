package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
	"github.com/rocketmq-connect/operator/worker/record"
)

const (
	// maxBufferedBytes bounds what one task keeps in memory on its way to Kafka; Put waits above it.
	maxBufferedBytes = 32 << 20
	// untoldBatch is below Kafka's own max.message.bytes of 1,048,588, by what Kafka adds to a batch of many records.
	untoldBatch = 1_000_000
)

// Sink writes records to Kafka, acknowledged by all in-sync replicas. The zero value is ready for Open.
//
// Put returns once Kafka acknowledged its batch, so nothing is under way between two calls. A Put that ends otherwise
// cuts the sink off from Kafka: what the brokers do not have then, they will not get.
type Sink struct {
	shared *watch.Pool

	env    connector.Env
	set    sinkSettings
	hub    *watch.Hub
	client *kgo.Client // from the first Put on
	conns  *connections

	mu      sync.Mutex
	targets map[string]*target // by record.Topic
	limits  map[string]int     // max.message.bytes by Kafka topic; the client asks for it too
	untold  bool               // Kafka does not tell one of them
	dead    error              // why nothing can be delivered before the next Open
}

var (
	_ connector.Sink       = (*Sink)(nil)
	_ connector.LastWriter = (*Sink)(nil)
	_ connector.Placed     = (*Sink)(nil)
)

var errCutOff = fmt.Errorf("%w: the sink was cut off from Kafka and has to be opened again", connector.ErrNotConnected)

// Open sees whether Kafka can be reached. Kafka topics are looked up, and made if they are missing, at their first
// record.
func (s *Sink) Open(ctx context.Context, env connector.Env, cfg connector.Config) error {
	if s.shared == nil {
		s.shared = &watch.Pool{}
	}
	*s = Sink{shared: s.shared, env: env, targets: make(map[string]*target), limits: make(map[string]int)}
	var err error
	if s.set, err = readSinkSettings(cfg); err != nil {
		return err
	}
	if s.hub, err = s.set.share(s.shared, env, false); err != nil {
		return err
	}
	if err := s.hub.Ping(ctx); err != nil {
		return s.set.explain(ctx, "opening the sink", err)
	}
	return nil
}

// connect makes the client that writes.
func (s *Sink) connect() (err error) {
	if s.client == nil {
		s.client, s.conns, err = s.set.connectTask(s.env, s.options()...)
	}
	return err
}

func (s *Sink) options() []kgo.Opt {
	return []kgo.Opt{
		kgo.RequiredAcks(kgo.AllISRAcks()),
		// Idempotent writes alone would keep a record that was sent once for ever, lease or not.
		kgo.AllowIdempotentProduceCancellation(),
		kgo.ProducerBatchCompression(s.codec()), kgo.ProducerBatchMaxBytesFn(s.limit),
		kgo.MaxBufferedBytes(maxBufferedBytes), kgo.RecordPartitioner(partitioner{kgo.StickyKeyPartitioner(nil)}),
	}
}

func (s *Sink) codec() kgo.CompressionCodec {
	switch s.set.compression {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

// Put delivers the batch and returns when Kafka has acknowledged all of it. When ctx ends first, nothing more of the
// batch is delivered, and the sink has to be opened again.
func (s *Sink) Put(ctx context.Context, batch []record.Record) error {
	if s.dead != nil {
		return s.dead
	}
	if ctx.Err() != nil {
		return fmt.Errorf("writing to Kafka: %w", context.Cause(ctx))
	}
	out, tooLarge, err := s.prepare(ctx, batch)
	if err != nil {
		return err
	}
	if err := s.connect(); err != nil {
		return err
	}
	s.conns.put(ctx)
	// Not the client's own delivery timeout: it counts from the records' timestamps, which may be years old.
	delivering, done := context.WithTimeout(ctx, s.set.deliveryTimeout)
	defer done()
	refused, err := s.deliver(delivering, out, s.pieces(batch[:len(out)]))
	switch {
	case isPoison(err):
		return &connector.PoisonError{Index: refused, Err: s.set.explain(ctx, "writing to "+out[refused].Topic, err)}
	case err != nil:
		return s.cut(ctx, err)
	case tooLarge != nil:
		return tooLarge
	}
	return nil
}

// prepare maps the batch up to the first record that Kafka would refuse for its size.
func (s *Sink) prepare(ctx context.Context, batch []record.Record) ([]*kgo.Record, *connector.PoisonError, error) {
	space, headers := make([]kgo.Record, len(batch)), newHeaders(batch)
	out := make([]*kgo.Record, 0, len(batch))
	for i := range batch {
		r := &batch[i]
		to, err := s.target(ctx, r)
		if err != nil {
			return nil, nil, err
		}
		if size := leastSize(r); to.limit > 0 && size > to.limit {
			return out, &connector.PoisonError{Index: i, Err: fmt.Errorf(
				"it takes %d bytes, and Kafka topic %s takes %d (its max.message.bytes)", size, to.name, to.limit)}, nil
		}
		space[i] = kgo.Record{
			Topic: to.name, Key: r.Key, Value: r.Value, Timestamp: r.Timestamp, Headers: headers.of(r),
			Partition: int32(r.Queue), // read by the partitioner
		}
		out = append(out, &space[i])
	}
	return out, nil, nil
}

// headers makes the headers of a batch's records in one piece of memory. Those of most records are the same.
type headers struct {
	space []kgo.RecordHeader
	// own is what the sink adds to a record of a path: most have the same as the one before.
	path record.Path
	own  []kgo.RecordHeader
}

func newHeaders(batch []record.Record) headers {
	var h headers
	n := 0
	for i := range batch {
		if len(batch[i].Headers) > 0 {
			n += len(batch[i].Headers) + 1
		}
	}
	h.space = make([]kgo.RecordHeader, 0, n)
	return h
}

func (h *headers) of(r *record.Record) []kgo.RecordHeader {
	if r.Path != h.path {
		h.path, h.own = r.Path, nil
		if r.Path != "" {
			h.own = []kgo.RecordHeader{{Key: record.PathHeader, Value: []byte(r.Path)}}
		}
	}
	if len(r.Headers) == 0 {
		return h.own
	}
	from := len(h.space)
	for _, each := range r.Headers {
		h.space = append(h.space, kgo.RecordHeader{Key: each.Name, Value: each.Value})
	}
	h.space = append(h.space, h.own...)
	return h.space[from:len(h.space):len(h.space)]
}

// pieces says how many records are sent at a time: all, if Kafka told how large batches may be. If it did not, no more
// than a batch may have by default; what is refused then is alone, or among few.
func (s *Sink) pieces(batch []record.Record) []int {
	if !s.untold {
		return []int{len(batch)}
	}
	var out []int
	from, size := 0, 0
	for i := range batch {
		if s.targets[batch[i].Topic].limit > 0 {
			continue
		}
		each := leastSize(&batch[i])
		if size += each; size > untoldBatch && i > from {
			out = append(out, i-from)
			from, size = i, each
		}
	}
	return append(out, len(batch)-from)
}

// deliver sends the records in pieces. It returns the first that was refused, and why, or what ended the whole batch.
func (s *Sink) deliver(ctx context.Context, out []*kgo.Record, pieces []int) (refused int, err error) {
	done := 0
	for _, n := range pieces {
		piece := out[done : done+n]
		if refused, err = s.produce(ctx, piece); err == nil && refused >= 0 {
			refused, err = s.produceSingly(ctx, piece, refused)
		}
		if err != nil {
			return done + refused, err
		}
		done += n
	}
	return -1, nil
}

// produce sends the records and waits for all of them. It returns the first that was refused as poison, -1 if none was,
// or the error that ended the whole batch.
func (s *Sink) produce(ctx context.Context, out []*kgo.Record) (refused int, err error) {
	var mu sync.Mutex
	first, failure := len(out), error(nil)
	answered := func(r *kgo.Record, err error) { // one for all: a batch has many records, and few that are refused
		if err == nil {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		if isPoison(err) {
			first = min(first, slices.Index(out, r))
		} else if failure == nil {
			failure = err
		}
	}
	for _, r := range out {
		s.client.Produce(ctx, r, answered)
	}
	if err := s.client.Flush(ctx); err != nil {
		return -1, err
	}
	mu.Lock()
	defer mu.Unlock()
	if first == len(out) {
		first = -1
	}
	return first, failure
}

// produceSingly sends the records from the given one on, each for itself, up to the first that is refused: Kafka
// refuses whole batches, the innocent included.
func (s *Sink) produceSingly(ctx context.Context, out []*kgo.Record, from int) (refused int, err error) {
	for i := from; i < len(out); i++ {
		again := *out[i] // the partition stays the one that was chosen
		if err := s.client.ProduceSync(ctx, &again).FirstErr(); err != nil {
			return i, err
		}
	}
	return -1, nil
}

// isPoison reports whether Kafka refuses the record itself, today and tomorrow.
func isPoison(err error) bool {
	return slices.ContainsFunc([]*kerr.Error{
		kerr.MessageTooLarge, kerr.RecordListTooLarge, kerr.InvalidRecord, kerr.InvalidTimestamp, kerr.UnsupportedForMessageFormat,
	}, func(e *kerr.Error) bool { return errors.Is(err, e) })
}

// cut ends all delivery for good. Invariant C2: once ctx, the lease, is over, nothing that was put may still arrive.
// The connections are reset, so that neither the client nor the kernel sends what is left.
func (s *Sink) cut(ctx context.Context, err error) error {
	s.conns.cut()
	s.dead = errCutOff
	if ctx.Err() != nil {
		return fmt.Errorf("writing to Kafka: %w", context.Cause(ctx))
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("writing to Kafka: no acknowledgement within %s of %s: %w", keyDeliveryTimeout, s.set.deliveryTimeout,
			s.set.explain(ctx, "waiting for Kafka", err))
	}
	return s.set.explain(ctx, "writing to Kafka", err)
}

// Flush returns nil while all that was put is acknowledged: Put has waited for it.
func (s *Sink) Flush(context.Context) error { return s.dead }

// LastWrite is when records were last written to a connection.
func (s *Sink) LastWrite() time.Time {
	if s.conns == nil {
		return time.Time{}
	}
	return s.conns.lastWrite()
}

// Close releases the connections. It does not wait for the brokers.
func (s *Sink) Close(context.Context) error {
	if s.hub == nil {
		return nil
	}
	s.dead = errCutOff
	if s.client != nil {
		s.conns.cut()
		s.client.Close()
		s.client = nil
	}
	s.shared.Put(s.hub)
	s.hub = nil
	return nil
}
