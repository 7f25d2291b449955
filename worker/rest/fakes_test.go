package rest

import (
	"context"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rest/resttest"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server over fakes.
type world struct {
	t         *testing.T
	configs   *resttest.Configs
	statuses  *resttest.Statuses
	members   *resttest.Members
	positions *resttest.Progress
	offsets   *resttest.Progress
	ready     error
	leased    atomic.Pointer[error]
	server    *Server
	registry  *prometheus.Registry
	ctx       context.Context // of requests; nil: the test's
}

func newWorld(t *testing.T, change func(*Config, *Backends)) *world {
	t.Helper()
	w := &world{
		t: t, configs: resttest.NewConfigs(), statuses: &resttest.Statuses{}, members: &resttest.Members{},
		positions: resttest.NewProgress(), offsets: resttest.NewProgress(),
		registry: prometheus.NewRegistry(),
	}
	w.members.Change(func(v *cluster.View) {
		*v = cluster.View{Joined: true, Self: 1, Members: []cluster.Member{{Session: 1, Worker: "w1", Address: "10.0.0.1:8082", Eligible: true}}}
	})
	cfg := Config{
		ClusterID:    "c1",
		WorkerID:     "w1",
		Listen:       "127.0.0.1:0",
		CompatRoutes: true,
		Compat:       "old",
		Log:          logr.Discard(),
		Connections: limit.Limits{
			All:        512,
			PerAddress: 64,
		},
		Streams:    limit.Limits{All: 128, PerAddress: 16},
		Registerer: w.registry,
		Gatherer:   w.registry,
	}
	b := Backends{
		Configs:       w.configs,
		Positions:     w.positions,
		Offsets:       w.offsets,
		Statuses:      w.statuses,
		Members:       w.members,
		Catalog:       resttest.Kafka(),
		CheckSettings: task.CheckSettings(config.Default().Topics.Internal),
		Ready:         func() error { return w.ready },
		Leased:        w.leasedErr,
	}
	if change != nil {
		change(&cfg, &b)
	}
	s, err := New(cfg, b)
	if err != nil {
		t.Fatal(err)
	}
	w.server = s
	return w
}

// lapse takes the worker's lease away; nil brings it back.
func (w *world) lapse(why error) { w.leased.Store(&why) }

func (w *world) leasedErr() error {
	if why := w.leased.Load(); why != nil {
		return *why
	}
	return nil
}

// own gives the unit to the session and lets it say its state.
func (w *world) own(name string, task int, session, generation, epoch int64, state states.Observed) {
	w.members.Change(func(v *cluster.View) {
		v.Owners = maps.Clone(v.Owners)
		if v.Owners == nil {
			v.Owners = map[allocate.Unit]cluster.Owner{}
		}
		v.Owners[allocate.Unit{Connector: name, Task: task}] = cluster.Owner{Session: session, Generation: generation, Epoch: epoch}
	})
	if state != "" {
		w.statuses.Set(store.Status{Connector: name, Task: task, State: state, Worker: "w1", Generation: generation, Epoch: epoch})
	}
}

// disown takes all units of the connector from their sessions.
func (w *world) disown(name string) {
	w.members.Change(func(v *cluster.View) {
		v.Owners = maps.Clone(v.Owners)
		maps.DeleteFunc(v.Owners, func(u allocate.Unit, _ cluster.Owner) bool { return u.Connector == name })
	})
}

// source stores a running KafkaSource with two tasks.
func (w *world) source(name string) store.Connector {
	c := store.Connector{
		Name: name,
		Config: map[string]string{
			"tasks.num":              "2",
			"kafka.topics":           "a,b",
			"kafka.bootstrap.server": "h:1",
			"login":                  "hunter2",
			"kafka.client.password":  "pw",
		},
		State:    states.WantRunning,
		Epoch:    5,
		Revision: 7,
		Tasks:    []map[string]string{{"partitions": "0", "login": "hunter2"}, {"partitions": "1"}},
	}
	w.configs.Set(c)
	return c
}

// do sends a request; header lines are "Name: value".
func (w *world) do(method, target, body string, header ...string) *httptest.ResponseRecorder {
	w.t.Helper()
	ctx := w.ctx
	if ctx == nil {
		ctx = w.t.Context()
	}
	r := httptest.NewRequestWithContext(ctx, method, "/", strings.NewReader(body))
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery, r.Host = path, query, "localhost:8082"
	if method == http.MethodPost || method == http.MethodPut {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, h := range header {
		switch name, value, _ := strings.Cut(h, ": "); name {
		case "Host":
			r.Host = value
		case "Remote":
			r.RemoteAddr = value
		case "Content-Type":
			r.Header[name] = nil
			if value != "" {
				r.Header.Set(name, value)
			}
		default:
			r.Header.Add(name, value)
		}
	}
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, r)
	return rec
}

// get is do for a body that is wanted with status 200.
func (w *world) get(target string) string {
	w.t.Helper()
	rec := w.do(http.MethodGet, target, "")
	if rec.Code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", target, rec.Code, rec.Body)
	}
	return strings.TrimSpace(rec.Body.String())
}

// pass lets time go by in a synctest bubble.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// metric is the value of a counter or gauge; label is the value of its only label, empty if it has none.
func (w *world) metric(name, label string) float64 {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}
