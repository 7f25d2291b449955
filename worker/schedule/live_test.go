package schedule

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// The live test moves numbers through two real workers (cluster log, stores, tasks) over a RocketMQ in memory.
const (
	livePartitions = 4
	liveLimit      = 2000
)

// liveCluster is what the workers of the test share.
type liveCluster struct {
	t      *testing.T
	broker *rmqtest.Broker
	base   time.Time

	mu     sync.Mutex
	events []audit.Event
	sunk   map[string]int
}

// liveNode is one worker.
type liveNode struct {
	sched   *Scheduler
	stores  *store.Stores
	client  *rmq.Client
	network *liveNetwork
	// services in their order, with what ends each run and what tells its end.
	services []service.Service
	cancels  []context.CancelFunc
	ended    []chan struct{}
}

// liveNetwork is a worker's way to the broker, which can be cut.
type liveNetwork struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func (n *liveNetwork) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cut {
		return nil, errors.New("network is cut")
	}
	conn, err := n.dial(ctx, network, addr)
	if err == nil {
		n.conns = append(n.conns, conn)
	}
	return conn, err
}

// set cuts the network, or mends it.
func (n *liveNetwork) set(cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut = cut
	for _, conn := range n.conns {
		conn.Close()
	}
	n.conns = nil
}

func (l *liveCluster) elapsed() time.Duration { return time.Since(l.base) }

// auditLog keeps the audit lines as a reader of the workers' logs gets them.
func (l *liveCluster) auditLog() logr.Logger {
	return funcr.NewJSON(func(line string) {
		if e, ok := audit.Parse(line); ok {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.events = append(l.events, e)
		}
	}, funcr.Options{})
}

func (l *liveCluster) start(id string) *liveNode {
	l.t.Helper()
	must := func(err error) {
		l.t.Helper()
		if err != nil {
			l.t.Fatalf("starting %s: %v", id, err)
		}
	}
	network := &liveNetwork{dial: l.broker.Dial}
	client, err := rmq.Open(rmq.Config{NameServers: []string{l.broker.NameServer()}, ClientID: id, Dial: network.Dial, Log: logr.Discard()})
	must(err)
	members, err := cluster.New(cluster.Config{WorkerID: id, Log: logr.Discard(), Allocation: allocate.Params{Strategy: "Averagely"},
		Clock: func() (time.Duration, time.Duration) { return l.elapsed(), l.elapsed() }},
		func(ctx context.Context) (cluster.Log, error) {
			q, err := client.EnsureLogTopic(ctx, "cluster", rmq.LogPlace{})
			if err != nil {
				return nil, err
			}
			return client.Log(q), nil
		})
	must(err)
	stores, err := store.Open(store.Options{ClusterID: "live", Log: logr.Discard(),
		Topics: store.Topics{Config: "config", Position: "position", Offset: "offset", Status: "status"}}, store.RocketMQ(client, "cluster"))
	must(err)
	runner, err := task.New(
		task.Config{Worker: id, ClusterID: "live", Now: l.elapsed, Log: logr.Discard(), Audit: l.auditLog()},
		task.FromClient(client),
	)
	must(err)
	n := &liveNode{stores: stores, client: client, network: network}
	n.sched, err = New(Config{WorkerID: id, Log: logr.Discard()}, Wire(members, stores, runner, l, secret.New(secret.Config{})))
	must(err)
	n.services = append(append(n.services, members.Service()), stores.Services()...)
	n.services = append(n.services, n.sched.Service())
	for _, s := range n.services {
		ctx, cancel := context.WithCancel(context.Background())
		n.cancels = append(n.cancels, cancel)
		if s.Start != nil {
			must(s.Start(ctx))
		}
		done := make(chan struct{})
		n.ended = append(n.ended, done)
		go func() {
			defer close(done)
			if s.Run != nil {
				_ = s.Run(ctx)
			}
		}()
	}
	return n
}

// kill ends a worker as SIGKILL does: nothing is drained, stored, released or said.
func (n *liveNode) kill() {
	n.sched.endBase()
	for i, cancel := range n.cancels {
		cancel()
		<-n.ended[i]
	}
	n.sched.units.Wait()
	n.client.Close()
}

// leave stops a worker in good order.
func (n *liveNode) leave(t *testing.T) {
	for i := len(n.services) - 1; i >= 0; i-- {
		n.cancels[i]()
		<-n.ended[i]
		if s := n.services[i]; s.Stop != nil {
			if err := s.Stop(context.Background()); err != nil {
				t.Errorf("stopping %s: %v", s.Name, err)
			}
		}
	}
	n.client.Close()
}

func (l *liveCluster) Find(class string) (connector.Connector, error) {
	if class == "Sink" {
		return liveSinkClass{l}, nil
	}
	return liveSourceClass{}, nil
}

func (l *liveCluster) Implied(cfg map[string]string) (string, error) {
	return connector.Implied(nil, cfg)
}

func divide(limit int) (out []connector.Config, _ error) {
	for i := range limit {
		out = append(out, connector.Config{"index": strconv.Itoa(i)})
	}
	return out, nil
}

type liveSourceClass struct{}

func (liveSourceClass) Spec() connector.Spec {
	return connector.Spec{Class: "Source", Kind: connector.KindSource}
}
func (liveSourceClass) Validate(connector.Config) error { return nil }
func (liveSourceClass) NewSource() connector.Source     { return &liveSource{} }
func (liveSourceClass) Tasks(_ context.Context, _ connector.Config, limit int) ([]connector.Config, error) {
	return divide(limit)
}

// liveSource counts up in the partitions of its task, twenty numbers each 100 ms.
type liveSource struct{ next map[int]int }

func (s *liveSource) Open(_ context.Context, env connector.Env, _ connector.Config, from record.Positions) error {
	s.next = map[int]int{}
	for p := env.Task; p < livePartitions; p += env.Tasks {
		s.next[p], _ = strconv.Atoi(string(from[record.SourcePartition(strconv.Itoa(p))]))
	}
	return nil
}

func (s *liveSource) Poll(ctx context.Context) (out []record.Record, _ error) {
	for ctx.Err() == nil && len(out) == 0 {
		select {
		case <-ctx.Done():
			return nil, nil
		case <-time.After(100 * time.Millisecond):
		}
		for p := range s.next {
			for range 20 {
				if s.next[p] < liveLimit {
					s.next[p]++
					out = append(out, record.Record{Topic: "numbers", Queue: p, Value: fmt.Appendf(nil, "%d/%d", p, s.next[p]),
						Partition: record.SourcePartition(strconv.Itoa(p)), Position: record.Position(strconv.Itoa(s.next[p]))})
				}
			}
		}
	}
	return out, nil
}

func (s *liveSource) Close(context.Context) error { return nil }

type liveSinkClass struct{ *liveCluster }

func (liveSinkClass) Spec() connector.Spec {
	return connector.Spec{Class: "Sink", Kind: connector.KindSink}
}
func (liveSinkClass) Validate(connector.Config) error { return nil }
func (c liveSinkClass) NewSink() connector.Sink       { return &liveSink{liveCluster: c.liveCluster} }
func (liveSinkClass) Tasks(_ context.Context, _ connector.Config, limit int) ([]connector.Config, error) {
	return divide(limit)
}

// liveSink counts what it is given, at a flush.
type liveSink struct {
	*liveCluster
	held []string
}

func (s *liveSink) Open(context.Context, connector.Env, connector.Config) error { return nil }

func (s *liveSink) Put(_ context.Context, batch []record.Record) error {
	for _, r := range batch {
		s.held = append(s.held, string(r.Value))
	}
	return nil
}

func (s *liveSink) Flush(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, v := range s.held {
		s.sunk[v]++
	}
	s.held = nil
	return nil
}

func (s *liveSink) Close(context.Context) error { return nil }

// newLive starts two workers and has a source and a sink created.
func newLive(t *testing.T) (l *liveCluster, w1, w2 *liveNode) {
	l = &liveCluster{t: t, broker: rmqtest.Start(t, rmqtest.OverPipe()), base: time.Now().Add(-time.Hour), sunk: map[string]int{}}
	w1, w2 = l.start("w1"), l.start("w2")
	if _, err := w1.client.EnsureTopic(t.Context(), "numbers", rmq.TopicSpec{Queues: livePartitions}); err != nil {
		t.Fatal(err) // or sinks that start first fail and wait
	}
	for name, class := range map[string]string{"source": "Source", "sink": "Sink"} {
		_, err := w1.stores.Configs().Put(t.Context(), store.Write{Name: name, IfRevision: 0, State: states.WantRunning,
			Config: map[string]string{"connector.class": class, "max.tasks": "4", "topics": "numbers"}})
		if err != nil {
			t.Fatal(err)
		}
	}
	after(5 * time.Second)
	for range 30 {
		if w1.tasks() >= 2 && w2.tasks() >= 2 {
			return l, w1, w2
		}
		after(time.Second)
	}
	t.Fatalf("w1 runs %d tasks, w2 %d, want two each at least", w1.tasks(), w2.tasks())
	return nil, nil, nil
}

// tasks is how many tasks run on the node.
func (n *liveNode) tasks() int {
	running := 0
	for _, u := range n.sched.Running() {
		if u.Task != allocate.ConnectorTask && u.State == states.Running && !u.Stopping {
			running++
		}
	}
	return running
}

func TestTwoWorkersOneIsKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w1, w2 := newLive(t)
		w2.kill()
		died := audit.Death{Worker: "w2", At: l.elapsed()}
		after(5 * time.Second)
		w3 := l.start("w3")
		after(time.Minute)
		if len(w3.sched.Running()) == 0 {
			t.Error("the worker that joined got nothing")
		}
		w3.leave(t)
		w1.leave(t)
		l.check(died, 12) // eight tasks, and those of the dead one twice more
	})
}

// A worker that is cut off notices the loss of its tasks when the network is back: its stop lines are late, and say all
// the same that its deliveries had ended with its lease, before the other worker began.
func TestAWorkerThatIsCutOffLetsGoWithItsLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w1, w2 := newLive(t)
		cutAt := l.elapsed()
		w2.network.set(true)
		after(30 * time.Second)
		healedAt := l.elapsed()
		for _, unit := range w1.sched.Running() {
			if unit.State != states.Running {
				t.Errorf("while the other was cut off: %+v", unit)
			}
		}
		if n := len(w1.sched.Running()); n != 10 { // two connectors with four tasks each
			t.Errorf("the worker that was left runs %d units, want all 10", n)
		}
		w2.network.set(false)
		after(time.Minute)
		if len(w2.sched.Running()) == 0 {
			t.Error("the worker that came back got nothing")
		}
		late := 0
		for _, e := range l.events {
			if ended := time.Duration(e.Ended); e.Kind == audit.Stop && e.Worker == "w2" && time.Duration(e.At) > healedAt && ended < healedAt {
				late++
				if ended < cutAt || ended > cutAt+5*time.Second {
					t.Errorf("cut off at %s, deliveries ended at %s, want them to end with the lease", cutAt, ended)
				}
			}
		}
		if late == 0 {
			t.Error("no stop line was late: the test shows nothing")
		}
		w2.leave(t)
		w1.leave(t)
		l.check(audit.Death{}, 12)
	})
}

func TestBrokerOutagesLoseNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, w1, w2 := newLive(t)
		for _, outage := range []time.Duration{time.Second, 20 * time.Second, 3 * time.Minute} {
			l.broker.Stop()
			after(outage)
			if err := l.broker.Restart(); err != nil {
				t.Fatal(err)
			}
			after(2 * time.Second)
		}
		after(time.Minute)
		for _, st := range append(w1.sched.Running(), w2.sched.Running()...) {
			if st.State != states.Running {
				t.Errorf("a minute after the outages: %+v", st)
			}
		}
		w2.leave(t)
		w1.leave(t)
		l.check(audit.Death{}, 8)
	})
}

// check compares what came out with what went in, and the intervals of the audit lines.
func (l *liveCluster) check(died audit.Death, wantIntervals int) {
	missing, repeated := 0, 0
	for p := range livePartitions {
		for i := 1; i <= liveLimit; i++ {
			switch n := l.sunk[fmt.Sprintf("%d/%d", p, i)]; {
			case n == 0:
				missing++
			case n > 1:
				repeated += n - 1
			}
		}
	}
	l.t.Logf("%d numbers came out, %d are missing, %d came more than once", len(l.sunk), missing, repeated)
	if missing > 0 {
		l.t.Errorf("%d numbers are missing", missing)
	}
	intervals := audit.Intervals(l.events, []audit.Death{died}, l.elapsed())
	if overlaps := audit.Overlaps(intervals); len(overlaps) > 0 {
		l.t.Errorf("tasks ran twice at once: %v", overlaps)
	}
	for _, in := range intervals {
		if in.Open {
			l.t.Errorf("no stop line for %+v", in)
		}
	}
	if len(intervals) < wantIntervals {
		text, _ := json.Marshal(l.events)
		l.t.Errorf("%d intervals, want %d at least: %s", len(intervals), wantIntervals, text)
	}
}
