package connectortest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
)

// SinkSystem is an empty system to write to, made for one test.
type SinkSystem struct {
	// Config makes the connector write there what comes from the RocketMQ topic Topic, which has so many Queues.
	Config connector.Config
	Topic  string
	Queues int
	// Delivered returns the values that arrived so far, at least `least` of them, in the system's order.
	Delivered func(t testing.TB, least int) []string
	// Poison is a record that the system will never take; nil when there is none.
	Poison *record.Record
	// Stall makes the system take deliveries without storing or answering them, until release is called; taken is
	// closed at the first. Nil when the system cannot be made to.
	Stall func(t testing.TB) (taken <-chan struct{}, release func())
	// Unreachable is a config of a system that nobody serves.
	Unreachable connector.Config
	// Patience is how long the suite waits for what has to come, and for calls whose context has ended: 30 s if it is 0.
	Patience time.Duration
}

func (s SinkSystem) calls() calls { return callsWithin(s.Patience) }

// RunSink holds a sink connector to the contract of package connector. setup makes a system for each test.
func RunSink(t *testing.T, c connector.SinkConnector, setup func(t *testing.T) SinkSystem) {
	tests := map[string]func(*testing.T, connector.SinkConnector, SinkSystem){
		"delivers each queue in order":                            sinkDelivers,
		"what was flushed survives a close without grace":         sinkFlushes,
		"takes an empty batch":                                    sinkEmpty,
		"takes the records of a queue that appears":               sinkGrows,
		"delivers nothing once its context has ended":             sinkEnded,
		"delivers nothing more when its context ends after a put": sinkEndedAfterPut,
		"delivers nothing more when its context ends in a stall":  sinkStalled,
		"names the record that no retry will deliver":             sinkPoison,
		"tells where records go and when it last wrote":           sinkTells,
		"a system that is away is reported as not connected":      sinkUnreachable,
		"an open whose context has ended fails and can be closed": sinkOpenEnded,
		"a close without an open does nothing":                    sinkCloseUnopened,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			leavesNothing(t)
			test(t, c, setup(t))
		})
	}
	t.Run("in a worker, faults fail one task and lose nothing", func(t *testing.T) {
		leavesNothing(t)
		sinkInWorker(t, c, setup)
	})
}

func (s SinkSystem) worker() *Worker { return NewWorker(map[string]int{s.Topic: s.Queues}) }

// opened is a sink that is open, with what it is told of its worker.
type opened struct {
	calls
	sink   connector.Sink
	worker *Worker
}

func (s SinkSystem) made(t *testing.T, c connector.SinkConnector) *opened {
	t.Helper()
	o := &opened{calls: s.calls(), worker: s.worker()}
	_ = o.do(t, "NewSink", func() error { o.sink = c.NewSink(); return nil })
	return o
}

func (s SinkSystem) open(t *testing.T, c connector.SinkConnector) *opened {
	t.Helper()
	o := s.made(t, c)
	o.open(t, s.Config)
	return o
}

func (o *opened) open(t *testing.T, cfg connector.Config) {
	t.Helper()
	ctx := o.waiting(t)
	if err := o.do(t, "Open", func() error { return o.sink.Open(ctx, o.worker.Env(0, 1), cfg) }); err != nil {
		t.Fatalf("opening: %v", err)
	}
}

func (o *opened) put(t *testing.T, ctx context.Context, batch []record.Record) error {
	t.Helper()
	return o.do(t, "Put", func() error { return o.sink.Put(ctx, batch) })
}

func (o *opened) flush(t *testing.T, ctx context.Context) error {
	t.Helper()
	return o.do(t, "Flush", func() error { return o.sink.Flush(ctx) })
}

func (o *opened) close(t *testing.T, ctx context.Context) error {
	t.Helper()
	return o.do(t, "Close", func() error { return o.sink.Close(ctx) })
}

// batch makes records of the numbers, dealt round over the queues.
func (s SinkSystem) batch(from, to int) []record.Record {
	var out []record.Record
	for i := from; i < to; i++ {
		queue := i % s.Queues
		out = append(out, record.Record{
			Topic: s.Topic, Queue: queue, Value: fmt.Appendf(nil, "q%d-%04d", queue, i), Timestamp: time.UnixMilli(1_600_000_000_000),
			Headers:   []record.Header{{Name: "number", Value: fmt.Append(nil, i)}},
			Partition: record.SourcePartition(fmt.Sprintf("%s/broker-a/%d", s.Topic, queue)), Position: record.Position(fmt.Sprint(i + 1)),
		})
	}
	return out
}

func put(t *testing.T, o *opened, batch []record.Record) {
	t.Helper()
	if err := o.put(t, o.waiting(t), batch); err != nil {
		t.Fatalf("putting %d records: %v", len(batch), err)
	}
}

func flushAndClose(t *testing.T, o *opened) {
	t.Helper()
	if err := o.flush(t, o.waiting(t)); err != nil {
		t.Errorf("flushing: %v", err)
	}
	if err := o.close(t, o.waiting(t)); err != nil {
		t.Errorf("closing: %v", err)
	}
}

// wantPerQueue checks that values came once and in order within each queue.
func (s SinkSystem) wantPerQueue(t *testing.T, got []string, want []record.Record) {
	t.Helper()
	byQueue := func(values []string) map[string][]string {
		out := make(map[string][]string)
		for _, v := range values {
			var queue, number int
			if _, err := fmt.Sscanf(v, "q%d-%d", &queue, &number); err != nil {
				t.Errorf("value %q came", v)
			}
			out[fmt.Sprint(queue)] = append(out[fmt.Sprint(queue)], v)
		}
		return out
	}
	if diff := cmp.Diff(byQueue(valuesOf(want)), byQueue(got)); diff != "" {
		t.Errorf("delivered per queue (-want +got):\n%s", diff)
	}
}

func valuesOf(records []record.Record) []string {
	var out []string
	for _, r := range records {
		out = append(out, string(r.Value))
	}
	return out
}

func sinkDelivers(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink := s.open(t, c)
	batch := s.batch(0, 200)
	put(t, sink, batch[:120])
	put(t, sink, batch[120:])
	flushAndClose(t, sink)
	s.wantPerQueue(t, s.Delivered(t, 200), batch)
}

func sinkFlushes(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink := s.open(t, c)
	batch := s.batch(0, 50)
	put(t, sink, batch)
	if err := sink.flush(t, sink.waiting(t)); err != nil {
		t.Fatalf("flushing: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := sink.close(t, ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("closing: %v", err)
	}
	s.wantPerQueue(t, s.Delivered(t, 50), batch)
	sink.open(t, s.Config)
	put(t, sink, s.batch(50, 60))
	flushAndClose(t, sink)
	s.wantPerQueue(t, s.Delivered(t, 60), s.batch(0, 60))
}

func sinkEmpty(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink := s.open(t, c)
	put(t, sink, nil)
	flushAndClose(t, sink)
}

// sinkGrows puts records of a queue that was not there when the sink was opened.
func sinkGrows(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink := s.open(t, c)
	batch, more := s.batch(0, 30), s
	put(t, sink, batch)
	more.Queues++
	sink.worker.setQueues(s.Topic, more.Queues)
	batch = append(batch, more.batch(30, 60)...)
	put(t, sink, batch[30:])
	flushAndClose(t, sink)
	more.wantPerQueue(t, s.Delivered(t, len(batch)), batch)
}

// sinkTells is for a sink that is Placed or a LastWriter.
func sinkTells(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink, begun := s.open(t, c), time.Now()
	if placed, ok := sink.sink.(connector.Placed); ok {
		var to record.Place
		if _ = sink.do(t, "Place", func() error { to = placed.Place(s.Topic); return nil }); to == "" {
			t.Errorf("the sink names no place that the records of %s go to", s.Topic)
		}
	}
	put(t, sink, s.batch(0, 10))
	flushAndClose(t, sink)
	if writer, ok := sink.sink.(connector.LastWriter); ok { // it is asked also after Close
		var at time.Time
		_ = sink.do(t, "LastWrite", func() error { at = writer.LastWrite(); return nil })
		if at.Before(begun) || at.After(time.Now()) {
			t.Errorf("the sink says that it last wrote at %s; it wrote after %s", at, begun)
		}
	}
}

// wantNothingButMarks writes marks with a new sink: what the old one still delivered lies before or among them.
func (s SinkSystem) wantNothingButMarks(t *testing.T, c connector.SinkConnector) {
	t.Helper()
	fresh, marks := s.open(t, c), s.batch(9000, 9000+s.Queues)
	put(t, fresh, marks)
	flushAndClose(t, fresh)
	s.wantPerQueue(t, s.Delivered(t, len(marks)), marks)
}

func sinkEnded(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink := s.open(t, c)
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := sink.put(t, ended, s.batch(0, 10)); err == nil {
		err = sink.flush(t, ended)
		if err == nil {
			t.Error("Put and Flush say that records were delivered with an ended context")
		}
	}
	_ = sink.close(t, sink.waiting(t))
	s.wantNothingButMarks(t, c)
}

// sinkEndedAfterPut has the lease end between a put and its flush: another worker may have the task from then on.
func sinkEndedAfterPut(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink := s.open(t, c)
	lease, cancel := context.WithCancel(sink.waiting(t))
	if err := sink.put(t, lease, s.batch(0, 10)); err != nil {
		t.Fatalf("putting 10 records: %v", err)
	}
	cancel()
	before := s.Delivered(t, 0)
	if err := sink.flush(t, lease); err == nil && len(s.Delivered(t, 0)) < 10 {
		t.Error("Flush returns nil with an ended context though not all that was put is delivered")
	}
	_ = sink.close(t, sink.waiting(t))
	// Marks of a sink that comes after it: whatever the first one still had in mind it had time to do.
	marks, fresh := s.batch(1000, 1010), s.open(t, c)
	put(t, fresh, marks)
	flushAndClose(t, fresh)
	if after := s.Delivered(t, len(before)+len(marks)); len(after) != len(before)+len(marks) {
		t.Errorf("%d records are delivered, want the %d from before the context ended, and %d marks", len(after), len(before), len(marks))
	}
}

func sinkStalled(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	if s.Stall == nil {
		t.Skip("the system cannot be stalled")
	}
	sink := s.open(t, c)
	taken, release := s.Stall(t)
	ctx, cancel := context.WithCancel(sink.waiting(t))
	var ending service.Group
	defer ending.Wait()
	defer cancel()
	err := sink.do(t, "Put, or Flush,", func() error {
		ending.Go(func() {
			select {
			case <-taken:
			case <-ctx.Done():
			}
			cancel()
		})
		if err := sink.sink.Put(ctx, s.batch(0, 500)); err != nil {
			return err
		}
		return sink.sink.Flush(ctx)
	})
	if err == nil {
		t.Error("Put and Flush say that a stalled system stored records")
	}
	release()
	if err := sink.flush(t, sink.waiting(t)); err == nil {
		t.Error("Flush returns nil though records were lost")
	}
	// The old sink is closed after the marks: whatever it still had in mind it had time to do.
	s.wantNothingButMarks(t, c)
	_ = sink.close(t, sink.waiting(t))
	s.wantPerQueue(t, s.Delivered(t, s.Queues), s.batch(9000, 9000+s.Queues))
}

func sinkPoison(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	if s.Poison == nil {
		t.Skip("the system takes everything")
	}
	sink := s.open(t, c)
	batch := s.batch(0, 9)
	batch = slices.Insert(batch, 4, *s.Poison)
	var poison *connector.PoisonError
	if err := sink.put(t, sink.waiting(t), batch); !errors.As(err, &poison) || poison.Index != 4 {
		t.Fatalf("putting a batch whose record 4 is poison: %v", err)
	}
	put(t, sink, batch[5:])
	flushAndClose(t, sink)
	got := s.Delivered(t, 9)
	for _, want := range valuesOf(s.batch(0, 9)) {
		if !slices.Contains(got, want) {
			t.Errorf("record %s did not arrive", want)
		}
	}
	if slices.Contains(got, string(s.Poison.Value)) {
		t.Error("the poison record arrived")
	}
}

func sinkUnreachable(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	s.failedOpen(t, c, s.calls().waiting(t), s.Unreachable, connector.ErrNotConnected)
}

func sinkOpenEnded(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	s.failedOpen(t, c, ended, s.Config, context.Canceled)
}

// failedOpen opens a sink for which that has to fail, and closes it.
func (s SinkSystem) failedOpen(t *testing.T, c connector.SinkConnector, ctx context.Context, cfg connector.Config, want error) {
	t.Helper()
	o := s.made(t, c)
	if err := o.do(t, "Open", func() error { return o.sink.Open(ctx, o.worker.Env(0, 1), cfg) }); !errors.Is(err, want) {
		t.Errorf("an open that has to fail with %q: %v", want, err)
	}
	if err := o.close(t, o.waiting(t)); err != nil {
		t.Errorf("closing after a failed open: %v", err)
	}
}

// sinkCloseUnopened closes as a worker does that was told to stop before it could open.
func sinkCloseUnopened(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	o := s.made(t, c)
	if err := o.close(t, o.waiting(t)); err != nil {
		t.Errorf("closing: %v", err)
	}
}
