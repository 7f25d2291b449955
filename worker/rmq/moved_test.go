package rmq_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// dialed counts connections by address.
type dialed struct {
	mu    sync.Mutex
	times map[string]int
}

func (d *dialed) through(b *rmqtest.Broker) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		d.mu.Lock()
		d.times[addr]++
		d.mu.Unlock()
		return b.Dial(ctx, network, addr)
	}
}

func (d *dialed) at(addr string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.times[addr]
}

// clientOf is a client that the test closes, and what it dials.
func clientOf(t *testing.T, b *rmqtest.Broker) (*rmq.Client, *dialed) {
	t.Helper()
	d := &dialed{times: map[string]int{}}
	c, err := rmq.Open(rmq.Config{NameServers: []string{b.NameServer()}, Dial: d.through(b)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, d
}

func addrOf(t *testing.T, c *rmq.Client, name string) string {
	t.Helper()
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range brokers {
		if b.Name == name {
			return b.Addr
		}
	}
	t.Fatalf("no broker %s", name)
	return ""
}

// A master hangs and another broker takes its place. Pulls that are parked at the old one, and a batch that is on its
// way to it, are done at the new one within two seconds, the time between two looks at where the masters are.
func TestAMasterThatMovedIsNoticed(t *testing.T) {
	for name, idle := range map[string]bool{"by who has a batch on its way": false, "by who only waits": true} {
		t.Run(name, func(t *testing.T) { synctest.Test(t, func(t *testing.T) { masterMoves(t, idle) }) })
	}
}

func masterMoves(t *testing.T, idle bool) {
	b := rmqtest.Start(t, rmqtest.OverPipe(), rmqtest.Masters("broker-a", "broker-b"))
	c, d := clientOf(t, b)
	writer, _ := clientOf(t, b)
	queues := topic(t, c, 1) // one on each broker
	l, _ := logOf(t, c)      // on broker-a
	appendAll(t, l, 0, 1)
	tailed := make(chan string, 10)
	ended := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		ended <- l.Follow(ctx, 0, 0, once(func(e rmq.Entry) { tailed <- string(e.Value) }))
	}()
	r := c.NewReader(rmq.ReaderConfig{Group: "g"})
	r.Assign(map[rmq.Queue]int64{queues[0]: 0, queues[1]: 0})
	s := c.NewSender(rmq.SenderConfig{})
	send(t, s, "first")
	if got, err := r.Poll(t.Context(), 10); err != nil || len(got) != 1 {
		t.Fatalf("read %v, %v", got, err)
	}
	time.Sleep(time.Minute + 700*time.Millisecond) // all is parked, and the masters are looked for in 1.3 s
	<-tailed
	old, other := addrOf(t, c, "broker-a"), addrOf(t, c, "broker-b")
	before, otherBefore := d.at(old), d.at(other)
	thaw, err := b.Elect("broker-a")
	if err != nil {
		t.Fatal(err)
	}
	begun := time.Now()
	if idle {
		s = writer.NewSender(rmq.SenderConfig{})
	}
	send(t, s, "sent")
	if q, err := writer.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{}); err != nil {
		t.Fatal(err)
	} else if _, err := writer.Log(q).Append(t.Context(), rmq.Entry{Value: []byte("appended")}); err != nil {
		t.Fatal(err)
	}
	if got := <-tailed; got != "appended" {
		t.Errorf("tailed %q", got)
	}
	got, err := r.Poll(t.Context(), 10)
	if err != nil || len(got) != 1 || string(got[0].Body) != "sent" {
		t.Errorf("read %v, %v", got, err)
	}
	if took := time.Since(begun); took > 2*time.Second+100*time.Millisecond { // by the bubble's clock
		t.Errorf("it took %s", took)
	}
	thaw() // the old one is back, and no master any more
	time.Sleep(time.Minute)
	if n := d.at(old) - before; n != 0 {
		t.Errorf("%d connections to the old master", n)
	}
	if n := d.at(old + "0"); n > 4 {
		t.Errorf("%d connections to the new master, want one for each purpose", n)
	}
	if n := d.at(other) - otherBefore; n != 0 {
		t.Errorf("%d connections to the other broker, which has not moved", n)
	}
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("tail ended with %v", err)
	}
}

// It is watched only while somebody reads or sends, by one request for all topics, and a proxy is asked once.
func TestMastersAreWatchedAtAConstantCost(t *testing.T) {
	cases := map[string]struct {
		options []rmqtest.Option
		want    int64 // within ten seconds
	}{
		"a name server":         {nil, 5},
		"a proxy does not tell": {[]rmqtest.Option{rmqtest.BehindProxy()}, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
				asked := func() int64 {
					before := b.Lists()
					time.Sleep(10 * time.Second)
					synctest.Wait()
					return b.Lists() - before
				}
				if n := asked(); n != 0 {
					t.Errorf("asked %d times while nobody reads or sends", n)
				}
				first, second := c.NewSender(rmq.SenderConfig{}), c.NewReader(rmq.ReaderConfig{Group: "g"})
				time.Sleep(5 * time.Second)
				if n := asked(); n != tc.want {
					t.Errorf("asked %d times, want %d", n, tc.want)
				}
				if err := errors.Join(first.Close(), second.Close()); err != nil {
					t.Error(err)
				}
				time.Sleep(5 * time.Second)
				if n := asked(); n != 0 {
					t.Errorf("asked %d times after they were closed", n)
				}
				third := c.NewSender(rmq.SenderConfig{})
				defer third.Close()
				if n := asked(); n != tc.want {
					t.Errorf("asked %d times by the next, want %d", n, tc.want)
				}
			}, tc.options...)
		})
	}
}

// What is there can be read and written through a proxy; what is not cannot be made, and the error says why.
func TestAProxyListsNoBrokers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := rmqtest.Start(t, rmqtest.OverPipe(), rmqtest.BehindProxy())
		c, _ := clientOf(t, b)
		for what, call := range map[string]func() error{
			"a log":   func() error { _, err := c.EnsureLogTopic(t.Context(), "log", rmq.LogPlace{}); return err },
			"a topic": func() error { _, err := c.EnsureTopic(t.Context(), "orders", rmq.TopicSpec{Queues: 1}); return err },
			"a group": func() error { return c.EnsureGroup(t.Context(), "g") },
		} {
			if err := call(); !errors.Is(err, rmq.ErrNoListing) || !strings.Contains(fmt.Sprint(err), "like a RocketMQ 5 proxy") {
				t.Errorf("making %s: %v", what, err)
			}
		}
		b.Create("log", 1)
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 3)
		var got []string
		if _, err := l.Read(t.Context(), 0, func(e rmq.Entry) error { got = append(got, string(e.Value)); return nil }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"0", "1", "2"}, got); diff != "" {
			t.Errorf("read (-want +got):\n%s", diff)
		}
	})
}

// A caller whose own time is over learns nothing of the broker, but the next call looks where it is.
func TestATimeOutLooksTheRouteUp(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 1)
		thaw, err := b.Elect("broker-a")
		if err != nil {
			t.Fatal(err)
		}
		defer thaw()
		within, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := l.Append(within, rmq.Entry{Value: []byte("1")}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("append to a master that hangs: %v", err)
		}
		begun := time.Now()
		if _, err := l.Append(t.Context(), rmq.Entry{Value: []byte("2")}); err != nil {
			t.Error(err)
		}
		wantTook(t, begun, 0)
	})
}

// What one answer tells of a broker counts for all topics: none of them finds out by itself.
func TestAMoveIsLearnedForAllTopics(t *testing.T) {
	bubble(t, rmq.Config{}, func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) {
		l, _ := logOf(t, c)
		appendAll(t, l, 0, 1)
		thaw, err := b.Elect("broker-a")
		if err != nil {
			t.Fatal(err)
		}
		defer thaw()
		topic(t, c, 1)
		begun := time.Now()
		appendAll(t, l, 1, 2)
		wantTook(t, begun, 0)
	})
}
