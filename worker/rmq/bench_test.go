package rmq_test

import (
	"testing"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func benchClient(b *testing.B) *rmq.Client {
	b.Helper()
	broker := rmqtest.Start(b)
	c, err := rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { c.Close() })
	if _, err := c.EnsureTopic(b.Context(), "bench", rmq.TopicSpec{Queues: 4}); err != nil {
		b.Fatal(err)
	}
	return c
}

func benchSend(b *testing.B, c *rmq.Client, n int) {
	b.Helper()
	s := c.NewSender(rmq.SenderConfig{})
	defer s.Close()
	m := rmq.Message{Topic: "bench", Body: make([]byte, 1024), Properties: []rmq.Property{
		{Name: "KEYS", Value: "order-4711"}, {Name: "connect-timestamp", Value: "1700000000123"},
	}}
	done := func(_ int64, err error) {
		if err != nil {
			b.Error(err)
		}
	}
	queues, err := c.Route(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	for i := range n {
		m.Queue = queues[i%len(queues)]
		if err := s.Send(b.Context(), m, done); err != nil {
			b.Fatal(err)
		}
	}
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
}

// The in-memory broker runs in the same process: its work and allocations are in the figures (one of them per record).
func BenchmarkSender1KiB(b *testing.B) {
	c := benchClient(b)
	b.SetBytes(1024)
	b.ReportAllocs()
	b.ResetTimer()
	benchSend(b, c, b.N)
}

func BenchmarkReader1KiB(b *testing.B) {
	c := benchClient(b)
	benchSend(b, c, 100_000)
	queues, err := c.Route(b.Context(), "bench")
	if err != nil {
		b.Fatal(err)
	}
	start := map[rmq.Queue]int64{}
	for _, q := range queues {
		start[q] = 0
	}
	b.SetBytes(1024)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; {
		r := c.NewReader(rmq.ReaderConfig{Group: "bench"})
		r.Assign(start)
		for seen := 0; seen < 100_000 && n < b.N; {
			got, err := r.Poll(b.Context(), 512)
			if err != nil {
				b.Fatal(err)
			}
			seen += len(got)
			n += len(got)
		}
		r.Close()
	}
}
