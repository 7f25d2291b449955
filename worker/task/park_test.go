package task

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/service"
)

// pausing is counting with a key each, and can leave partitions alone.
type pausing struct {
	counting
	keyed bool

	mu     sync.Mutex
	paused []record.SourcePartition
	given  int // of the first partition
}

// state is what is paused, and how many records of the first partition were read.
func (p *pausing) state() (paused, given int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.paused), p.given
}

func (p *pausing) NewSource() connector.Source { return p }
func (p *pausing) Pause(partitions []record.SourcePartition) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.paused = partitions
}

func (p *pausing) Poll(ctx context.Context) ([]record.Record, error) {
	select {
	case <-ctx.Done():
		return nil, nil
	case <-time.After(p.pause):
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []record.Record
	for i := range p.partitions {
		name := record.SourcePartition(fmt.Sprint("p", i))
		if slices.Contains(p.paused, name) || p.next[i] >= p.limit {
			continue
		}
		p.next[i]++
		r := record.Record{
			Topic:     "orders",
			Queue:     i,
			Value:     fmt.Appendf(nil, "p%d/%d", i, p.next[i]),
			Partition: name,
			Position:  record.Position(strconv.Itoa(p.next[i])),
		}
		if p.keyed {
			r.Queue, r.Key = record.QueueAny, fmt.Appendf(nil, "k%d", p.next[i]%7)
		}
		out = append(out, r)
	}
	p.given = p.next[0]
	return out, nil
}

// begin runs a source's task until the returned function is called.
func (h *harness) begin(t *testing.T, src connector.SourceConnector, cfg connector.Config) (end func()) {
	soft, stop := context.WithCancel(t.Context())
	var group service.Group
	group.Go(func() {
		if err := h.runner.RunSource(soft, t.Context(), src, h.attempt(cfg)); err != nil {
			t.Errorf("the task ended with %v", err)
		}
	})
	return func() {
		stop()
		group.Wait()
	}
}

// readAll reads a topic to its end: what each queue holds, in its order.
func readAll(t *testing.T, c *rmq.Client, topic string) map[rmq.Queue][]string {
	t.Helper()
	queues, err := c.Route(t.Context(), topic)
	if err != nil {
		t.Fatal(err)
	}
	r, from, left := c.NewReader(rmq.ReaderConfig{Group: "test"}), map[rmq.Queue]int64{}, int64(0)
	defer r.Close()
	for _, q := range queues {
		_, end, err := c.Offsets(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		from[q], left = 0, left+end
	}
	r.Assign(from)
	out := map[rmq.Queue][]string{}
	for left > 0 {
		got, err := r.Poll(t.Context(), 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range got {
			out[m.Queue] = append(out[m.Queue], string(m.Body))
		}
		left -= int64(len(got))
	}
	return out
}

// wantOnOneQueueEach checks that all records of a partition are on one queue, in their order but for repeats, and how
// many.
func wantOnOneQueueEach(t *testing.T, got map[rmq.Queue][]string, want map[string]int) {
	t.Helper()
	home, last := map[string]rmq.Queue{}, map[string]int{}
	for q, bodies := range got {
		for _, body := range bodies {
			p, n, _ := strings.Cut(body, "/")
			if other, known := home[p]; known && other != q {
				t.Fatalf("records of %s are on %s and on %s", p, other, q)
			}
			home[p] = q
			if i, _ := strconv.Atoi(n); i == last[p]+1 {
				last[p] = i
			} else if i > last[p] {
				t.Fatalf("%s comes after %d on %s", body, last[p], q)
			}
		}
	}
	if diff := cmp.Diff(want, last); diff != "" {
		t.Errorf("records by partition (-want +got):\n%s", diff)
	}
}

func TestAPartitionKeepsItsQueueWhileBrokersComeAndGo(t *testing.T) {
	stop := func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client, name string) { b.DropMaster(name) }
	start := func(t *testing.T, b *rmqtest.Broker, _ *rmq.Client, name string) {
		if err := b.RestartMaster(name); err != nil {
			t.Error(err)
		}
	}
	cases := map[string]struct {
		// restart says that the task ends while the broker is away, and another attempt goes on.
		restart bool
		// takes says that the broker goes on taking what is sent to it.
		takes       bool
		stop, start func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, name string)
	}{
		"the name server forgets the broker":     {stop: stop, start: start},
		"the task is restarted while it is away": {stop: stop, start: start, restart: true},
		"the broker is killed and stays shown": {
			stop:  func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client, name string) { b.StopMaster(name) },
			start: start,
		},
		"the broker is killed, and the task starts again": {
			stop:    func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client, name string) { b.StopMaster(name) },
			start:   start,
			restart: true,
		},
		"the broker hangs": {
			stop: func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client, name string) {
				b.Intercept(func(master string, _ *remoting.Command) rmqtest.Verdict { return rmqtest.Verdict{Hang: master == name} })
			},
			start: func(_ *testing.T, b *rmqtest.Broker, _ *rmq.Client, _ string) { b.Intercept(nil) },
		},
		"the broker is read-only for a while, which brokers let senders ignore": {
			takes: true,
			stop:  func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ string) { setQueues(t, b, c, 1, 2, 4) },
			start: func(t *testing.T, b *rmqtest.Broker, c *rmq.Client, _ string) { setQueues(t, b, c, 1, 2, 6) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				b, c := h.overBrokers(t, 2, "broker-a", "broker-b")
				src := &pausing{counting: counting{partitions: 4, limit: 3000, pause: 20 * time.Millisecond}}
				end := h.begin(t, src, nil)
				time.Sleep(5 * time.Second)
				tc.stop(t, b, c, "broker-b")
				time.Sleep(5 * time.Second)
				if tc.restart {
					end()
					end = h.begin(t, src, nil)
				}
				time.Sleep(20 * time.Second)
				paused, given := src.state()
				if !tc.takes && paused != 2 {
					t.Errorf("%d partitions are paused while a broker is away, want the two of its queues", paused)
				}
				if given < 1200 {
					t.Errorf("%d records of a partition of the other broker were read in 30 s, want about 1,500", given)
				}
				if text := h.told(); !tc.takes && (!strings.Contains(text, "broker-b") || !strings.Contains(text, "on.broker.loss=move")) {
					t.Errorf("users were told %q", text)
				}
				tc.start(t, b, c, "broker-b")
				time.Sleep(60 * time.Second)
				end()
				if paused, _ := src.state(); paused != 0 || h.told() != "" && !strings.HasSuffix(h.told(), "\n") {
					t.Errorf("%d partitions are paused at the end; users were told %q", paused, h.told())
				}
				wantOnOneQueueEach(t, readAll(t, c, "orders"), map[string]int{"p0": 3000, "p1": 3000, "p2": 3000, "p3": 3000})
			})
		})
	}
}

func TestRecordsLeaveABrokerThatIsAwayIfTheyMay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		b, c := h.overBrokers(t, 2, "broker-a", "broker-b")
		src := &pausing{counting: counting{partitions: 4, limit: 1000, pause: 20 * time.Millisecond}}
		end := h.begin(t, src, connector.Config{keyOnLoss: onLossMove})
		time.Sleep(5 * time.Second)
		b.DropMaster("broker-b")
		time.Sleep(60 * time.Second)
		end()
		if diff := cmp.Diff(record.Positions{"p0": "1000", "p1": "1000", "p2": "1000", "p3": "1000"}, h.store.positions()); diff != "" {
			t.Errorf("stored without the broker (-want +got):\n%s", diff)
		}
		if err := b.RestartMaster("broker-b"); err != nil {
			t.Fatal(err)
		}
		seen := map[string]bool{}
		for _, bodies := range readAll(t, c, "orders") {
			for _, body := range bodies {
				seen[body] = true
			}
		}
		if len(seen) != 4000 {
			t.Errorf("%d different records, want 4000", len(seen))
		}
	})
}

// setQueues gives the topic so many queues and a permission on a broker, as an administrator does.
func setQueues(t *testing.T, b *rmqtest.Broker, c *rmq.Client, broker, n, perm int) {
	t.Helper()
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	pool := remoting.NewPool(b.Dial, time.Second, remoting.Credentials{})
	defer pool.Close()
	if _, err := pool.Call(t.Context(), brokers[broker].Addr, "test", &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
		{
			Name:  "topic",
			Value: "orders",
		},
		{Name: "readQueueNums", Value: strconv.Itoa(n)},
		{Name: "perm", Value: strconv.Itoa(perm)},
	}}); err != nil {
		t.Fatal(err)
	}
}

// A topic that gets more queues moves keys, but only once what was sent to their old queue is stored.
func TestATopicThatGrowsKeepsTheOrderOfWhatIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := newHarness(t)
		b, c := h.overBrokers(t, 2, "broker-a")
		src := &pausing{counting: counting{partitions: 2, limit: 6000, pause: 20 * time.Millisecond}, keyed: true}
		end := h.begin(t, src, nil)
		time.Sleep(5 * time.Second)
		setQueues(t, b, c, 0, 8, 6)
		time.Sleep(150 * time.Second)
		end()
		used, seen := 0, map[string]bool{}
		for _, bodies := range readAll(t, c, "orders") {
			last := map[string]int{}
			if len(bodies) > 0 {
				used++
			}
			for _, body := range bodies {
				p, n, _ := strings.Cut(body, "/")
				i, _ := strconv.Atoi(n)
				if i <= last[p] {
					t.Fatalf("%s comes after %d", body, last[p])
				}
				last[p], seen[body] = i, true
			}
		}
		if used < 5 || len(seen) != 12000 {
			t.Errorf("%d queues have %d different records; want more queues than before and 12,000", used, len(seen))
		}
		if text := string(h.store.read()[bindingEntry("orders", "p0")]); text != "id broker-a/0-1 broker-a/2-7" {
			t.Errorf("stored as %q", text)
		}
	})
}

func TestConnectorsKeepTheOrderOfQueuesThatTheyBeganWith(t *testing.T) {
	cases := map[string]struct {
		stored record.Positions
		cfg    connector.Config
		want   string
	}{
		"a new connector spreads few partitions over the brokers": {want: "id broker-a/0-3,broker-b/0-3"},
		"one that an older version began keeps its order": {
			stored: record.Positions{"p0": "0"},
			want:   "broker broker-a/0-3,broker-b/0-3",
		},
		"one that an older version began is asked to change it": {
			stored: record.Positions{"p0": "0"}, cfg: connector.Config{keyOrder: "id"}, want: "id broker-a/0-3,broker-b/0-3"},
		"what is stored counts": {
			stored: record.Positions{
				"p0":                         "0",
				orderEntry:                   "id",
				bindingEntry("orders", "p0"): "id broker-b/0-3",
			},
			want: "id broker-b/0-3 broker-a/0-3",
		},
		"another order puts all of them in a row again": {
			stored: record.Positions{"p0": "0", orderEntry: "id", bindingEntry("orders", "p0"): "id broker-b/0-3"},
			cfg:    connector.Config{keyOrder: "broker"}, want: "broker broker-a/0-3,broker-b/0-3"},
		"what cannot be read is chosen again": {
			stored: record.Positions{
				"p0":                         "0",
				orderEntry:                   "id",
				bindingEntry("orders", "p0"): "id what/ever",
			},
			want: "id broker-a/0-3,broker-b/0-3",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.overBrokers(t, 4, "broker-a", "broker-b")
				h.store.values = tc.stored.Clone()
				soft, end := context.WithTimeout(t.Context(), 3*time.Second)
				defer end()
				src := &pausing{counting: counting{partitions: 1, limit: 10, pause: 20 * time.Millisecond}}
				if err := h.runner.RunSource(soft, t.Context(), src, h.attempt(tc.cfg)); err != nil {
					t.Fatal(err)
				}
				got := h.store.read()
				if diff := cmp.Diff(tc.want, string(got[bindingEntry("orders", "p0")])); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
				if order, _, _ := strings.Cut(tc.want, " "); string(got[orderEntry]) != order {
					t.Errorf("the connector's order is stored as %q", got[orderEntry])
				}
			})
		})
	}
}

// A broker that gives its queues up for good: after a while its partitions go to the brokers that are left, in their
// order.
func TestPartitionsLeaveABrokerThatHasGivenItsQueuesUp(t *testing.T) {
	// Each returns what the topic held before.
	set := func(queues, perm int) func(*testing.T, *rmqtest.Broker, *rmq.Client) map[rmq.Queue][]string {
		return func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) map[rmq.Queue][]string {
			defer setQueues(t, b, c, 1, queues, perm)
			return readAll(t, c, "orders")
		}
	}
	cases := map[string]func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) map[rmq.Queue][]string{
		"an administrator makes it read-only": set(2, 4),
		"it has fewer queues than before":     set(1, 6),
		"it comes back with an empty disk": func(t *testing.T, b *rmqtest.Broker, c *rmq.Client) map[rmq.Queue][]string {
			// What is stored after the look, and lost with the disk, would be missed.
			b.Intercept(func(master string, req *remoting.Command) rmqtest.Verdict {
				return rmqtest.Verdict{Hang: master == "broker-b" && (req.Code == remoting.SendMessageV2 || req.Code == remoting.SendBatch)}
			})
			before := readAll(t, c, "orders")
			b.DropMaster("broker-b")
			b.Intercept(nil)
			time.Sleep(10 * time.Second)
			if err := b.Wipe("broker-b"); err != nil {
				t.Error(err)
			}
			return before
		},
	}
	for name, giveUp := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				b, c := h.overBrokers(t, 2, "broker-a", "broker-b")
				src := &pausing{counting: counting{partitions: 4, limit: 10_000, pause: 20 * time.Millisecond}}
				end := h.begin(t, src, nil)
				time.Sleep(5 * time.Second)
				before := giveUp(t, b, c)
				time.Sleep(10 * time.Minute)
				end()
				if diff := cmp.Diff(record.Positions{"p0": "10000", "p1": "10000", "p2": "10000", "p3": "10000"}, h.store.positions()); diff != "" {
					t.Errorf("stored (-want +got):\n%s", diff)
				}
				wantRising(t, before, readAll(t, c, "orders"), 40_000)
			})
		})
	}
}

// wantRising checks that the records of a partition rise on each queue, repeats left out, and how many there are in
// all: on the brokers as they are, or as they were before.
func wantRising(t *testing.T, before, now map[rmq.Queue][]string, want int) {
	t.Helper()
	seen := map[string]bool{}
	for _, got := range []map[rmq.Queue][]string{before, now} {
		for q, bodies := range got {
			last := map[string]int{}
			for _, body := range bodies {
				p, n, _ := strings.Cut(body, "/")
				i, _ := strconv.Atoi(n)
				if i < last[p] {
					t.Fatalf("%s: %s comes after %d", q, body, last[p])
				}
				last[p], seen[body] = i, true
			}
		}
	}
	if len(seen) != want {
		t.Errorf("%d different records, want %d", len(seen), want)
	}
}
