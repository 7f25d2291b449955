package worker

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connectors"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long something may take that takes far less on an idle machine.
const patience = 30 * time.Second

func configFor(t *testing.T, nameServer string) config.Worker {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.Default()
	cfg.HTTPHost, cfg.HTTPPort = "127.0.0.1", l.Addr().(*net.TCPAddr).Port
	cfg.NamesrvAddrs, cfg.StoreDir = []string{nameServer}, t.TempDir()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// run is a worker in this process.
type run struct {
	t    *testing.T
	cfg  config.Worker
	out  *output
	log  *output
	stop context.CancelFunc
	done chan struct{}
	err  error // of Run; valid after done
	http *http.Client
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

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

func start(t *testing.T, cfg config.Worker) *run {
	t.Helper()
	return startWith(t, cfg, connectors.Catalog(), 0)
}

// startLogging starts a worker that logs as much as that: 9 is all there is.
func startLogging(t *testing.T, cfg config.Worker, verbosity int) *run {
	t.Helper()
	return startWith(t, cfg, connectors.Catalog(), verbosity)
}

func startWith(t *testing.T, cfg config.Worker, catalog Catalog, verbosity int) *run {
	t.Helper()
	ctx, end := context.WithCancelCause(context.Background())
	cancel := func() { end(errors.New("received terminated")) } // as signal.NotifyContext ends one
	transport := &http.Transport{}
	r := &run{
		t:    t,
		cfg:  cfg,
		out:  &output{},
		log:  &output{},
		stop: cancel,
		done: make(chan struct{}),
		http: &http.Client{Transport: transport},
	}
	registry := prometheus.NewRegistry()
	log := funcr.New(func(_, args string) { _, _ = fmt.Fprintln(r.log, args) }, funcr.Options{Verbosity: verbosity})
	go func() {
		defer close(r.done)
		r.err = Run(
			ctx,
			cfg,
			Options{Log: log, Audit: log.WithName("audit"), Version: "v1", Registerer: registry, Gatherer: registry, Catalog: catalog, Out: r.out},
		)
	}()
	t.Cleanup(func() {
		cancel()
		<-r.done
		transport.CloseIdleConnections()
	})
	return r
}

// ended waits for Run to return.
func (r *run) ended() error {
	r.t.Helper()
	select {
	case <-r.done:
		return r.err
	case <-time.After(patience):
		r.t.Fatal("the worker does not end")
		return nil
	}
}

// answers waits until the path's answer holds the texts.
func (r *run) answers(path string, code int, texts ...string) {
	r.t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		got, body, err := r.get(path)
		missing := got != code || err != nil
		for _, text := range texts {
			missing = missing || !strings.Contains(body, text)
		}
		if !missing {
			return
		}
		select {
		case <-deadline:
			r.t.Fatalf("%s answers %d %s %v, want %d with %q", path, got, body, err, code, texts)
		case <-r.done:
			r.t.Fatalf("the worker ended: %v", r.err)
		case <-tick.C:
		}
	}
}

func (r *run) get(path string) (int, string, error) {
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", r.cfg.HTTPPort, path), nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := r.http.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestAWorkerBootsAnswersAndStops(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	cfg.AdvertisedAddress = "192.168.1.115:8081"
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	id := fmt.Sprintf("192.168.1.115@%d", cfg.HTTPPort)
	if got, want := r.out.String(), "The worker ["+id+"] boot success.\n"; got != want {
		t.Errorf("standard output %q, want %q", got, want)
	}
	r.answers("/getClusterInfo", 200, `["`+id+`"]`)
	r.answers("/api/v1/cluster", 200, `"version":"v1"`, `"address":"192.168.1.115:8081"`)
	r.answers("/metrics", 200, "connect_worker_")
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	second := start(t, cfg) // at once on the same folder and port, under the same id
	second.answers("/readyz", 200, "ok")
	second.stop()
	if err := second.ended(); err != nil {
		t.Error(err)
	}
}

func TestAWorkerWaitsForRocketMQ(t *testing.T) {
	broker := rmqtest.Start(t)
	broker.Stop()
	r := start(t, configFor(t, broker.NameServer()))
	r.answers("/readyz", 503, "RocketMQ cannot be reached", broker.NameServer(), "check namesrvAddr")
	r.answers("/healthz", 200)
	r.answers("/api/v1/connectors", 503, "the worker is not ready")
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	r.answers("/readyz", 200, "ok")
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

func TestAWorkerThatIsStoppedWhileItWaitsEndsWell(t *testing.T) {
	broker := rmqtest.Start(t)
	broker.Stop()
	r := start(t, configFor(t, broker.NameServer()))
	r.answers("/readyz", 503, "RocketMQ cannot be reached")
	r.stop()
	if err := r.ended(); err != nil {
		t.Error(err)
	}
}

func TestRefusedCredentialsAreExplainedAndRenewedOnesEndTheWorker(t *testing.T) {
	broker := rmqtest.Start(t, rmqtest.WithCredentials("rocketmq", "12345678"))
	dir := t.TempDir()
	write := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("accessKey", "rocketmq")
	write("secretKey", "wrong")
	cfg := configFor(t, broker.NameServer())
	cfg.ACLEnable, cfg.CredentialsDir = true, dir
	r := start(t, cfg)
	r.answers("/readyz", 503, "RocketMQ refuses access", "wrong secretKey")
	write("secretKey", "12345678")
	if err := r.ended(); !errors.Is(err, errRenewed) {
		t.Errorf("ended with %v", err)
	}
	r = start(t, cfg)
	r.answers("/readyz", 200, "ok")
}

func TestAnInternalTopicOfTheWrongShapeIsExplained(t *testing.T) {
	cases := map[string]func(config.Topics) string{
		"the cluster log": func(t config.Topics) string { return t.Cluster },
		"configs":         func(t config.Topics) string { return t.Config },
		"positions":       func(t config.Topics) string { return t.Position },
		"offsets":         func(t config.Topics) string { return t.Offset },
		"statuses":        func(t config.Topics) string { return t.Status },
	}
	for name, topicOf := range cases {
		t.Run(name, func(t *testing.T) {
			broker := rmqtest.Start(t)
			client, err := rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}})
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = client.Close() }()
			cfg := configFor(t, broker.NameServer())
			topic := topicOf(cfg.Topics)
			if _, err := client.EnsureTopic(t.Context(), topic, rmq.TopicSpec{Queues: 4}); err != nil {
				t.Fatal(err)
			}
			r := start(t, cfg)
			r.answers("/readyz", 503, "must have exactly one queue on one broker", "topic "+topic+" has 4 readable and 4 writable queues")
			r.answers("/healthz", 200)
			r.stop()
			if err := r.ended(); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestTwoWorkersAreOneCluster(t *testing.T) {
	broker := rmqtest.Start(t)
	first, second := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
	first.WorkerID, second.WorkerID = "w1", "w2"
	r1, r2 := start(t, first), start(t, second)
	r1.answers("/getClusterInfo", 200, `["w1","w2"]`)
	r2.answers("/getClusterInfo", 200, `["w1","w2"]`)
	r1.stop()
	if err := r1.ended(); err != nil {
		t.Error(err)
	}
	r2.answers("/getClusterInfo", 200, `["w2"]`)
}

func TestAnOutageOfRocketMQShowsInReadiness(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	cfg.HeartbeatInterval, cfg.SessionTimeout, cfg.SendTimeout = 100*time.Millisecond, time.Second, 300*time.Millisecond
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	broker.Stop()
	r.answers("/readyz", 503, "RocketMQ has not brought back a heartbeat sent after ", cfg.Topics.Cluster)
	r.answers("/api/v1/connectors", 200)
	if err := broker.Restart(); err != nil {
		t.Fatal(err)
	}
	r.answers("/readyz", 200, "ok")
}

func TestAnotherClusterOnTheSameTopicsIsRefused(t *testing.T) {
	broker := rmqtest.Start(t)
	first, second := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
	first.WorkerID, second.WorkerID, second.ClusterID = "w1", "w2", "other"
	r := start(t, first)
	r.answers("/readyz", 200, "ok")
	err := start(t, second).ended()
	if err == nil || !strings.Contains(err.Error(), `worker w1 at `+first.AdvertisedAddress) || !strings.Contains(err.Error(), `"other"`) ||
		!strings.Contains(err.Error(), "internal topics of its own") {
		t.Errorf("got %v", err)
	}
	r.answers("/getClusterInfo", 200, `["w1"]`)
}

func TestTheStoreDirectoryOfARunningWorkerIsRefused(t *testing.T) {
	broker := rmqtest.Start(t)
	first, second := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
	first.WorkerID, second.WorkerID, second.StoreDir = "w1", "w2", first.StoreDir
	r := start(t, first)
	r.answers("/readyz", 200, "ok")
	if err := start(
		t,
		second,
	).ended(); err == nil || !strings.Contains(err.Error(), first.StoreDir) ||
		!strings.Contains(err.Error(), "storePathRootDir") {
		t.Errorf("got %v", err)
	}
}

func TestRunChecksItsConfiguration(t *testing.T) {
	err := Run(t.Context(), config.Default(), Options{})
	if err == nil || !strings.Contains(err.Error(), "namesrvAddr is required") {
		t.Errorf("got %v", err)
	}
}

func TestWorkerIDIsStableAndOfTheDocumentsForm(t *testing.T) {
	cfg := config.Default()
	cfg.NamesrvAddrs = []string{"127.0.0.1:9876"}
	got, again := identified(cfg), identified(cfg)
	if got.WorkerID != again.WorkerID || !strings.HasSuffix(got.WorkerID, "@8082") ||
		net.ParseIP(strings.TrimSuffix(got.WorkerID, "@8082")) == nil {
		t.Errorf("worker ids %q and %q", got.WorkerID, again.WorkerID)
	}
	cfg.WorkerID = "mine"
	if got := identified(cfg); got.WorkerID != "mine" {
		t.Errorf("worker id %q", got.WorkerID)
	}
}
