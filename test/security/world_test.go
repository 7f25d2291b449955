// Package security holds running workers to what docs/security.md promises.
package security

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/zapr"
	"github.com/twmb/franz-go/pkg/kfake"
	"go.uber.org/goleak"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "the-token-of-the-test"

// world is workers in this process, on a RocketMQ and a Kafka in this process.
type world struct {
	t       *testing.T
	rocket  *rmq.Client
	kafka   string
	workers []*running
}

type running struct {
	id, address, store string
	token              string
	log                *output
	done               chan error
}

type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) Sync() error { return nil }

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func newWorld(t *testing.T, workers int) *world {
	t.Helper()
	return worldOf(t, workers, token)
}

// worldOf is a world whose workers ask for a token; for none if it is empty.
func worldOf(t *testing.T, workers int, token string) *world {
	t.Helper()
	broker := rmqtest.Start(t)
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	w := &world{t: t, kafka: kafka.ListenAddrs()[0]}
	if w.rocket, err = rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.rocket.Close() })
	for i := range workers {
		w.start(fmt.Sprintf("w%d", i+1), broker.NameServer(), token)
	}
	w.eventually("all workers are members", func(ctx context.Context) error {
		return w.whole(ctx, nil)
	})
	return w
}

func (w *world) whole(ctx context.Context, tasks map[string]int) error {
	var clients []*restclient.Client
	for _, r := range w.workers {
		clients = append(clients, r.client())
	}
	return process.Whole(ctx, clients, tasks)
}

// start runs a worker that logs all that it can, until the test ends.
func (w *world) start(id, nameServer, token string) {
	w.t.Helper()
	port, err := process.FreePort(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := config.Default()
	cfg.WorkerID, cfg.NamesrvAddrs, cfg.HTTPPort, cfg.StoreDir = id, []string{nameServer}, port, w.t.TempDir()
	cfg.AdvertisedAddress = fmt.Sprintf("127.0.0.1:%d", port)
	cfg.SessionTimeout = 30 * time.Second // however slow the machine is, no lease runs out
	if token != "" {
		cfg.RESTTokenFile = filepath.Join(w.t.TempDir(), "token")
		if err := os.WriteFile(cfg.RESTTokenFile, []byte(token), 0o600); err != nil {
			w.t.Fatal(err)
		}
	}
	r := &running{id: id, token: token, address: cfg.AdvertisedAddress, store: cfg.StoreDir, log: &output{}, done: make(chan error, 1)}
	core := zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), r.log, zapcore.Level(-5))
	log := zapr.NewLogger(zap.New(core))
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		r.done <- process.Serve(ctx, cfg, worker.Options{Log: log, Audit: log.WithName("audit"), Version: "v1", Out: r.log})
	}()
	w.t.Cleanup(func() {
		cancel()
		if err := <-r.done; err != nil {
			w.t.Errorf("%s ended: %v", id, err)
		}
	})
	w.workers = append(w.workers, r)
}

func (r *running) client() *restclient.Client {
	return restclient.New("http://"+r.address, r.token, nil)
}

const patience = time.Minute

func (w *world) eventually(what string, check func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := wait.Until(ctx, 50*time.Millisecond, check); err != nil {
		w.t.Fatalf("%s: %v", what, err)
	}
}

// create stores a connector, and waits until its tasks run, if it is to run.
func (w *world) create(c restapi.Connector) {
	w.t.Helper()
	w.eventually(c.Name+" is stored", func(ctx context.Context) error {
		_, err := w.workers[0].client().Put(ctx, c, restclient.AnyRevision)
		return err
	})
	if c.State == restapi.StateStopped {
		return
	}
	w.eventually(c.Name+" runs", func(ctx context.Context) error {
		return w.whole(ctx, map[string]int{c.Name: c.MaxTasks})
	})
}
