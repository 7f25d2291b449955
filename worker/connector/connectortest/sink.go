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
}

// RunSink holds a sink connector to the contract of package connector. setup makes a system for each test.
func RunSink(t *testing.T, c connector.SinkConnector, setup func(t *testing.T) SinkSystem) {
	tests := map[string]func(*testing.T, connector.SinkConnector, SinkSystem){
		"delivers each queue in order":                            sinkDelivers,
		"what was flushed survives a close without grace":         sinkFlushes,
		"takes an empty batch":                                    sinkEmpty,
		"delivers nothing once its context has ended":             sinkEnded,
		"delivers nothing more when its context ends in a stall":  sinkStalled,
		"names the record that no retry will deliver":             sinkPoison,
		"a system that is away is reported as not connected":      sinkUnreachable,
		"an open whose context has ended fails and can be closed": sinkOpenEnded,
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { test(t, c, setup(t)) })
	}
}

func (s SinkSystem) worker() *Worker { return NewWorker(map[string]int{s.Topic: s.Queues}) }

func (s SinkSystem) open(t *testing.T, c connector.SinkConnector) connector.Sink {
	t.Helper()
	sink := c.NewSink()
	if err := sink.Open(waiting(t), s.worker().Env(0, 1), s.Config); err != nil {
		t.Fatalf("opening: %v", err)
	}
	return sink
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

func put(t *testing.T, sink connector.Sink, batch []record.Record) {
	t.Helper()
	if err := sink.Put(waiting(t), batch); err != nil {
		t.Fatalf("putting %d records: %v", len(batch), err)
	}
}

func flushAndClose(t *testing.T, sink connector.Sink) {
	t.Helper()
	if err := sink.Flush(waiting(t)); err != nil {
		t.Errorf("flushing: %v", err)
	}
	if err := sink.Close(waiting(t)); err != nil {
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
	if err := sink.Flush(waiting(t)); err != nil {
		t.Fatalf("flushing: %v", err)
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	if err := sink.Close(ended); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("closing: %v", err)
	}
	s.wantPerQueue(t, s.Delivered(t, 50), batch)
	if err := sink.Open(waiting(t), s.worker().Env(0, 1), s.Config); err != nil {
		t.Fatalf("opening again: %v", err)
	}
	put(t, sink, s.batch(50, 60))
	flushAndClose(t, sink)
	s.wantPerQueue(t, s.Delivered(t, 60), s.batch(0, 60))
}

func sinkEmpty(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	sink := s.open(t, c)
	put(t, sink, nil)
	flushAndClose(t, sink)
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
	if err := sink.Put(ended, s.batch(0, 10)); err == nil {
		err = sink.Flush(ended)
		if err == nil {
			t.Error("Put and Flush say that records were delivered with an ended context")
		}
	}
	_ = sink.Close(waiting(t))
	s.wantNothingButMarks(t, c)
}

func sinkStalled(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	if s.Stall == nil {
		t.Skip("the system cannot be stalled")
	}
	sink := s.open(t, c)
	taken, release := s.Stall(t)
	ctx, cancel := context.WithCancel(waiting(t))
	delivered := make(chan error, 1)
	var putting service.Group
	putting.Go(func() {
		err := sink.Put(ctx, s.batch(0, 500))
		if err == nil {
			err = sink.Flush(ctx)
		}
		delivered <- err
	})
	<-taken
	cancel()
	select {
	case err := <-delivered:
		if err == nil {
			t.Error("Put and Flush say that a stalled system stored records")
		}
	case <-waiting(t).Done():
		t.Fatal("Put does not end with its context")
	}
	release()
	if err := sink.Flush(waiting(t)); err == nil {
		t.Error("Flush returns nil though records were lost")
	}
	// The old sink is closed after the marks: whatever it still had in mind it had time to do.
	s.wantNothingButMarks(t, c)
	_ = sink.Close(waiting(t))
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
	if err := sink.Put(waiting(t), batch); !errors.As(err, &poison) || poison.Index != 4 {
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
	sink := c.NewSink()
	if err := sink.Open(waiting(t), s.worker().Env(0, 1), s.Unreachable); !errors.Is(err, connector.ErrNotConnected) {
		t.Errorf("opening an unreachable system: %v", err)
	}
	if err := sink.Close(waiting(t)); err != nil {
		t.Errorf("closing after a failed open: %v", err)
	}
}

func sinkOpenEnded(t *testing.T, c connector.SinkConnector, s SinkSystem) {
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	sink := c.NewSink()
	if err := sink.Open(ended, s.worker().Env(0, 1), s.Config); !errors.Is(err, context.Canceled) {
		t.Errorf("opening with an ended context: %v", err)
	}
	if err := sink.Close(waiting(t)); err != nil {
		t.Errorf("closing after a failed open: %v", err)
	}
}
