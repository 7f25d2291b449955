package store

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// broker has the topics of a cluster.
type broker struct {
	mu   sync.Mutex
	logs map[string]*logtest.Log
}

func newBroker() *broker { return &broker{logs: map[string]*logtest.Log{}} }

// OpenLog makes the topic if there is none.
func (b *broker) OpenLog(_ context.Context, topic, _ string) (keyedlog.Log, error) {
	return b.log(topic), nil
}

func (b *broker) log(topic string) *logtest.Log {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.logs[topic] == nil {
		b.logs[topic] = logtest.New()
	}
	return b.logs[topic]
}

func (b *broker) inject(t *testing.T, topic, key, value string) {
	t.Helper()
	if _, err := b.log(topic).Append(context.Background(), rmq.Entry{Key: key, Value: []byte(value)}); err != nil {
		t.Fatal(err)
	}
}

// worker is one worker's stores, running in a synctest bubble.
type worker struct {
	*Stores
	t    *testing.T
	end  context.CancelFunc
	done chan error
	mu   sync.Mutex
	logs []string
}

func testTopics() Topics {
	return Topics{Config: "config", Position: "position", Offset: "offset", Status: "status"}
}

func startWorker(t *testing.T, b *broker, change func(*Options)) *worker {
	t.Helper()
	w := &worker{t: t, done: make(chan error, 1)}
	opts := Options{ClusterID: "c1", Topics: testTopics(), Registerer: prometheus.NewRegistry()}
	opts.Log = funcr.New(func(prefix, args string) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.logs = append(w.logs, prefix+args)
	}, funcr.Options{})
	if change != nil {
		change(&opts)
	}
	stores, err := Open(opts, b)
	if err != nil {
		t.Fatal(err)
	}
	w.Stores = stores
	var ctx context.Context
	ctx, w.end = context.WithCancel(context.Background())
	stopping := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), time.Minute)
	}
	go func() { w.done <- service.Run(ctx, stopping, stores.Services()...) }()
	w.settle()
	return w
}

// settle lets what was just read be folded everywhere. Files are real: waits for them need a moment of fake time too.
func (w *worker) settle() { elapse(10 * time.Millisecond); synctest.Wait() }

func (w *worker) stop() {
	w.t.Helper()
	w.end()
	if err := <-w.done; err != nil {
		w.t.Error(err)
	}
}

func (w *worker) put(wr Write) Connector {
	w.t.Helper()
	out, err := w.Configs().Put(w.t.Context(), wr)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *worker) fence(f Fence) *Writer {
	w.t.Helper()
	out, err := w.Positions().Fence(w.t.Context(), f)
	if err != nil {
		w.t.Fatal(err)
	}
	return out
}

func notOldest(o *Options) { o.IsOldest = func() bool { return false } }

func wantEqual(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("unexpected result (-want +got):\n%s", diff)
	}
}

func wantIs(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("got error %v, want %v", err, want)
	}
}

func TestOpenChecksItsOptions(t *testing.T) {
	cases := map[string]func(o *Options) Client{
		"no client":          func(*Options) Client { return nil },
		"a topic is empty":   func(o *Options) Client { o.Topics.Offset = ""; return newBroker() },
		"two topics are one": func(o *Options) Client { o.Topics.Offset = "position"; return newBroker() },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			opts := Options{Topics: testTopics()}
			client := change(&opts)
			if _, err := Open(opts, client); err == nil {
				t.Error("got no error")
			}
		})
	}
}

// elapse lets a bubble's fake time pass.
func elapse(d time.Duration) { time.Sleep(d) }
