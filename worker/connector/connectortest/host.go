package connectortest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
	"github.com/rocketmq-connect/operator/worker/service"
)

// host is a worker in this process with a RocketMQ in memory. Beside the connectors under test it runs a neighbour,
// which nothing that they do may disturb.
type host struct {
	calls
	broker *rmqtest.Broker
	client *rmq.Client
	rest   *restclient.Client
	log    journal
}

// startHost starts a worker that has these classes, and stops it when the test ends. Its start has the longest
// patience, whatever the one for the connectors is.
func (c calls) startHost(t *testing.T, classes ...connector.Connector) *host {
	t.Helper()
	h := &host{calls: c, broker: rmqtest.Start(t)}
	client, err := rmq.Open(rmq.Config{NameServers: []string{h.broker.NameServer()}, ClientID: "acceptance"})
	if err != nil {
		t.Fatalf("opening RocketMQ: %v", err)
	}
	t.Cleanup(func() { _ = client.Close() })
	h.client = client
	cfg := config.Default()
	cfg.HTTPHost, cfg.HTTPPort, cfg.StoreDir = "127.0.0.1", freePort(t), t.TempDir()
	cfg.NamesrvAddrs, cfg.FlushInterval, cfg.DrainTimeout = []string{h.broker.NameServer()}, 50*time.Millisecond, time.Second
	cfg.SessionTimeout = time.Minute // a busy machine must not cost it its lease
	transport := &http.Transport{}
	h.rest = restclient.New("http://"+net.JoinHostPort(cfg.HTTPHost, strconv.Itoa(cfg.HTTPPort)), "", &http.Client{Transport: transport})
	registry := prometheus.NewRegistry()
	ctx, stop := context.WithCancel(context.Background())
	var running service.Group
	running.Go(func() {
		err := worker.Run(ctx, cfg, worker.Options{Log: h.log.logger(), Audit: logr.Discard(), Version: "acceptance", Registerer: registry,
			Gatherer: registry, Catalog: catalog(append(classes, neighbour{})), Out: io.Discard})
		if err != nil {
			t.Errorf("the worker ended with %v", err)
		}
	})
	t.Cleanup(func() { stop(); running.Wait(); transport.CloseIdleConnections() })
	long := callsWithin(0)
	long.until(t, "the worker does not start", func() bool {
		_, err := h.rest.Put(long.waiting(t), restapi.Connector{Name: neighbourTopic, Class: neighbourClass}, restclient.AnyRevision)
		return err == nil
	})
	long.until(t, "the neighbour does not start", func() bool { return h.ticks(t) > 0 })
	return h
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("looking for a free port: %v", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// put makes a connector of one task.
func (h *host) put(t *testing.T, name, class string, cfg connector.Config) {
	t.Helper()
	_, err := h.rest.Put(callsWithin(0).waiting(t), restapi.Connector{Name: name, Class: class, Config: cfg, MaxTasks: 1}, 0)
	if err != nil {
		t.Fatalf("making connector %s: %v", name, err)
	}
}

// restart has the connector's tasks stop and start again.
func (h *host) restart(t *testing.T, name string) {
	t.Helper()
	if err := h.rest.Restart(callsWithin(0).waiting(t), name, -1, ""); err != nil {
		t.Fatalf("restarting connector %s: %v", name, err)
	}
}

// ends is where the queues of a RocketMQ topic end; none while it is not there.
func (h *host) ends(t *testing.T, topic string) map[rmq.Queue]int64 {
	t.Helper()
	ctx := callsWithin(0).waiting(t)
	queues, err := h.client.Route(ctx, topic)
	if errors.Is(err, rmq.ErrTopicNotFound) {
		return nil
	}
	out := map[rmq.Queue]int64{}
	for _, q := range queues {
		if err == nil {
			_, out[q], err = h.client.Offsets(ctx, q)
		}
	}
	if err != nil {
		t.Fatalf("asking RocketMQ for the ends of topic %s: %v", topic, err)
	}
	return out
}

// values reads what a RocketMQ topic holds now; a value may be there more than once.
func (h *host) values(t *testing.T, topic string) map[string]bool {
	t.Helper()
	from, left := map[rmq.Queue]int64{}, int64(0)
	for q, end := range h.ends(t, topic) {
		from[q], left = 0, left+end
	}
	reader := h.client.NewReader(rmq.ReaderConfig{Group: "acceptance"})
	defer reader.Close()
	reader.Assign(from)
	out, ctx := map[string]bool{}, callsWithin(0).waiting(t)
	for left > 0 {
		batch, err := reader.Poll(ctx, 1000)
		if err != nil || ctx.Err() != nil {
			t.Fatalf("reading RocketMQ topic %s: %v", topic, errors.Join(err, ctx.Err()))
		}
		for _, m := range batch {
			out[string(m.Body)] = true
		}
		left -= int64(len(batch))
	}
	return out
}

// produce writes records to the queues of their RocketMQ topic, and waits until they are stored.
func (h *host) produce(t *testing.T, records []record.Record) {
	t.Helper()
	ctx, sender := callsWithin(0).waiting(t), h.client.NewSender(rmq.SenderConfig{})
	defer sender.Close()
	for _, r := range records {
		m := rmq.Message{Topic: r.Topic, Queue: rmq.Queue{Topic: r.Topic, Broker: "broker-a", ID: r.Queue}, Body: r.Value}
		err := sender.Send(ctx, m, func(_ int64, err error) {
			if err != nil {
				t.Errorf("writing to RocketMQ topic %s: %v", r.Topic, err)
			}
		})
		if err != nil {
			t.Fatalf("writing to RocketMQ topic %s: %v", r.Topic, err)
		}
	}
	if err := sender.Flush(ctx); err != nil {
		t.Fatalf("writing to RocketMQ: %v", err)
	}
}

func (h *host) ticks(t *testing.T) (sum int64) {
	t.Helper()
	for _, end := range h.ends(t, neighbourTopic) {
		sum += end
	}
	return sum
}

// othersGoOn waits until the neighbour has moved more records, and checks that it never failed.
func (h *host) othersGoOn(t *testing.T) {
	t.Helper()
	had := h.ticks(t)
	callsWithin(0).until(t, "the other tasks of the worker do not go on", func() bool { return h.ticks(t) >= had+5 })
	if h.log.told(neighbourTopic, "failed") {
		t.Error("another task of the worker failed")
	}
}

// journal keeps the lines of the worker's log that belong to connectors. The zero value is ready.
type journal struct {
	mu    sync.Mutex
	lines map[string][]string
}

func (j *journal) logger() logr.Logger {
	return funcr.NewJSON(func(text string) {
		var line struct{ Msg, Error, Connector string }
		if err := json.Unmarshal([]byte(text), &line); err != nil || line.Connector == "" {
			return
		}
		j.mu.Lock()
		defer j.mu.Unlock()
		if j.lines == nil {
			j.lines = map[string][]string{}
		}
		j.lines[line.Connector] = append(j.lines[line.Connector], line.Msg+": "+line.Error)
	}, funcr.Options{})
}

// told reports whether a line about the connector has the text.
func (j *journal) told(connector, text string) bool {
	return slices.ContainsFunc(j.all(connector), func(line string) bool { return strings.Contains(line, text) })
}

func (j *journal) all(connector string) []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.lines[connector])
}

// catalog is the classes of a host.
type catalog []connector.Connector

// Find returns the class of that name.
func (c catalog) Find(class string) (connector.Connector, error) {
	for _, each := range c {
		if each.Spec().Class == class {
			return each, nil
		}
	}
	return nil, fmt.Errorf("connector.class %q is not known", class)
}

// List returns the Spec of every class.
func (c catalog) List() []connector.Spec {
	var out []connector.Spec
	for _, each := range c {
		out = append(out, each.Spec())
	}
	return out
}

// Implied returns the class of a config that names none.
func (c catalog) Implied(cfg map[string]string) (string, error) {
	return connector.Implied(c.List(), cfg)
}

const (
	neighbourClass = "Neighbour"
	neighbourTopic = "neighbour"
)

// neighbour is the class of a source that counts.
type neighbour struct{}

// Spec has no keys.
func (neighbour) Spec() connector.Spec {
	return connector.Spec{Class: neighbourClass, Kind: connector.KindSource, Version: "1"}
}

// Validate takes everything.
func (neighbour) Validate(connector.Config) error { return nil }

// NewSource makes one that starts at 1.
func (neighbour) NewSource() connector.Source { return &counting{} }

// Tasks makes one.
func (neighbour) Tasks(_ context.Context, cfg connector.Config, _ int) ([]connector.Config, error) {
	return []connector.Config{maps.Clone(cfg)}, nil
}

type counting struct{ n int }

// Open goes on from the stored number.
func (c *counting) Open(_ context.Context, _ connector.Env, _ connector.Config, from record.Positions) error {
	c.n, _ = strconv.Atoi(string(from[neighbourTopic]))
	return nil
}

// Poll gives the next number after a while.
func (c *counting) Poll(ctx context.Context) ([]record.Record, error) {
	tick := time.NewTimer(10 * time.Millisecond)
	defer tick.Stop()
	select {
	case <-ctx.Done():
		return nil, nil
	case <-tick.C:
	}
	c.n++
	n := strconv.Itoa(c.n)
	return []record.Record{{Topic: neighbourTopic, Value: []byte(n), Partition: neighbourTopic, Position: record.Position(n)}}, nil
}

// Close has nothing to release.
func (c *counting) Close(context.Context) error { return nil }
