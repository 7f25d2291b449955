package rmq_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// sending counts what was stored of what it sends.
type sending struct {
	t      *testing.T
	s      *rmq.Sender
	stored atomic.Int32
}

// send fails the test when the sender takes no message for a minute.
func (s *sending) send(queue int, bodies ...string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for _, body := range bodies {
		if err := s.s.Send(ctx, rmq.Message{Topic: "orders", Queue: queue, Body: []byte(body)}, func(_ int64, err error) {
			if err != nil {
				s.t.Errorf("message %.20s: %v", body, err)
			}
			s.stored.Add(1)
		}); err != nil {
			s.t.Fatal(err)
		}
	}
}

// flush fails the test when it takes more than a few minutes.
func (s *sending) flush() {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 5*time.Minute)
	defer cancel()
	if err := s.s.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
}

// The name server goes on showing the queues of a broker of which only a slave is left.
func TestMessagesWithoutOrderLeaveABrokerWithoutMaster(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 1)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{MaxBufferedBytes: 64 << 10})}
		b.LeaveSlave("broker-a")
		s.send(0, "first")
		time.Sleep(10 * time.Second)
		for range 200 {
			s.send(rmq.QueueAny, strings.Repeat("x", 1000)) // more than may wait
		}
		s.send(0, "second")
		time.Sleep(time.Second)
		synctest.Wait()
		if n := s.stored.Load(); n != 200 {
			t.Errorf("%d messages stored while the master is away, want the 200 that may go anywhere", n)
		}
		if err := b.RestartMaster("broker-a"); err != nil {
			t.Fatal(err)
		}
		s.flush()
		if diff := cmp.Diff([]string{"first", "second"}, contents(t, c, queues[0])); diff != "" {
			t.Errorf("bound to the queue (-want +got):\n%s", diff)
		}
		if n := len(contents(t, c, queues[1])); n != 200 {
			t.Errorf("%d messages on the other broker, want 200", n)
		}
	}, rmqtest.Masters("broker-a", "broker-b"))
}

// ask has a master carry out a request that no client here makes.
func ask(t *testing.T, b *rmqtest.Broker, c *rmq.Client, cmd *remoting.Command) {
	t.Helper()
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool := remoting.NewPool(b.Dial, time.Second, remoting.Credentials{})
	defer pool.Close()
	if _, err := pool.Call(t.Context(), brokers[0].Addr, "test", cmd); err != nil {
		t.Fatal(err)
	}
}

// A 4.9 broker answers with SystemError for a queue that is no more, as it does when it is in trouble.
func TestMessagesMoveWhenTheirQueueIsTakenAway(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		queues := topic(t, c, 4)
		s := &sending{t: t, s: c.NewSender(rmq.SenderConfig{})}
		s.send(3, "before")
		s.flush()
		ask(t, b, c, &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
			{Name: "topic", Value: "orders"}, {Name: "readQueueNums", Value: "2"}}})
		s.send(3, "0", "1", "2")
		synctest.Wait()
		s.send(3, "3", "4")
		s.flush()
		if diff := cmp.Diff([]string{"0", "1", "2", "3", "4"}, contents(t, c, queues[1])); diff != "" {
			t.Errorf("on the queue that takes their place (-want +got):\n%s", diff)
		}
	}, rmqtest.Line4())
}
