package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// notifier is the Watch half of the fakes.
type notifier struct {
	mu  sync.Mutex
	all []chan struct{}
}

func (n *notifier) Watch() (<-chan struct{}, func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	ch := make(chan struct{}, 1)
	n.all = append(n.all, ch)
	return ch, func() {}
}

func (n *notifier) notify() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, ch := range n.all {
		service.Signal(ch)
	}
}

// fakeConfigs is a config store without a log.
type fakeConfigs struct {
	notifier
	mu       sync.Mutex
	held     map[string]store.Connector
	revision int64
	requests map[string]bool
	err      error                  // what Put fails with
	unread   func()                 // makes of what is held what is stored: this worker has not read it yet
	unsynced error                  // what Sync fails with
	race     func(*store.Connector) // what somebody else does right before each Put
}

func (f *fakeConfigs) Get(name string) (store.Connector, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c, ok := f.held[name]
	return c, ok && !c.Deleted
}

func (f *fakeConfigs) All() []store.Connector {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []store.Connector
	for _, name := range slices.Sorted(maps.Keys(f.held)) {
		if !f.held[name].Deleted {
			out = append(out, f.held[name])
		}
	}
	return out
}

func (f *fakeConfigs) Epoch(name string) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[name].Epoch
}

func (f *fakeConfigs) Sync(context.Context) error {
	f.mu.Lock()
	unread, err := f.unread, f.unsynced
	if err == nil {
		f.unread = nil
	}
	f.mu.Unlock()
	if err == nil && unread != nil {
		unread()
	}
	return err
}

func (f *fakeConfigs) Put(_ context.Context, w store.Write) (store.Connector, error) {
	defer f.notify()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return store.Connector{}, f.err
	}
	c := f.held[w.Name]
	if f.race != nil {
		f.race(&c)
		f.held[w.Name] = c
	}
	exists := c.Name != "" && !c.Deleted
	switch {
	case f.requests[w.RequestID]:
		return c, nil
	case w.IfRevision == 0 && exists, w.IfRevision > 0 && (!exists || c.Revision != w.IfRevision):
		return store.Connector{}, &store.ConflictError{Current: c}
	case !exists && w.Config == nil:
		return store.Connector{}, fmt.Errorf("writing: %w", store.ErrNotFound)
	}
	f.requests[w.RequestID] = true
	f.revision++
	if w.Config != nil && !maps.Equal(w.Config, c.Config) || w.Delete {
		c.Config, c.Epoch = w.Config, f.revision
	}
	if w.State != "" {
		c.State = w.State
	} else if !exists {
		c.State = states.WantRunning
	}
	if w.Restart != nil {
		c.Restarts = map[int]string{w.Restart.Task: w.Restart.ID}
	}
	c.Name, c.Revision, c.Deleted = w.Name, f.revision, w.Delete
	f.held[w.Name] = c
	return c, nil
}

func (f *fakeConfigs) set(c store.Connector) {
	f.mu.Lock()
	f.held[c.Name] = c
	f.mu.Unlock()
	f.notify()
}

type fakeStatuses struct {
	notifier
	mu   sync.Mutex
	held map[cluster.Unit]store.Status
}

func (f *fakeStatuses) Get(name string, task int) (store.Status, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	st, ok := f.held[cluster.Unit{Connector: name, Task: task}]
	return st, ok
}

func (f *fakeStatuses) set(st store.Status) {
	f.mu.Lock()
	f.held[cluster.Unit{Connector: st.Connector, Task: st.Task}] = st
	f.mu.Unlock()
	f.notify()
}

type fakeMembers struct {
	notifier
	mu   sync.Mutex
	view cluster.View
}

func (f *fakeMembers) View() cluster.View {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.view
}

type fakeProgress struct {
	mu    sync.Mutex
	held  map[string]record.Positions
	reset []string
	err   error
}

func (f *fakeProgress) Read(name string) record.Positions {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[name].Clone()
}

func (f *fakeProgress) Reset(_ context.Context, name string, _ record.Positions, epoch int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	delete(f.held, name)
	f.reset = append(f.reset, fmt.Sprintf("%s@%d", name, epoch))
	return nil
}

// fakeClass is a connector class with every kind of setting.
type fakeClass struct{ spec connector.Spec }

func (f fakeClass) Spec() connector.Spec { return f.spec }

func (f fakeClass) Validate(cfg connector.Config) error {
	switch cfg["kafka.topics"] + cfg["topicNames"] {
	case "panic":
		panic("boom")
	case "panic with all":
		panic(fmt.Sprint(cfg))
	case "tell all":
		return fmt.Errorf("kafka.topics cannot be read by %v", cfg)
	case "tell all as JSON":
		text, err := json.Marshal(cfg)
		return errors.Join(err, fmt.Errorf("kafka.topics cannot be read by %s", text))
	case "needs a name":
		if !strings.Contains(cfg["login"], "name=") {
			return errors.New("login must have name=")
		}
	case "bad topic":
		return errors.New("kafka.topics must not have blanks")
	}
	return nil
}

func (f fakeClass) Tasks(context.Context, connector.Config, int) ([]connector.Config, error) {
	return nil, nil
}

type fakeCatalog []fakeClass

func (f fakeCatalog) Find(class string) (connector.Connector, error) {
	for _, c := range f {
		if c.spec.Class == class || slices.Contains(c.spec.Aliases, class) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("connector.class %q is not known to this worker; it has KafkaSink, KafkaSource", class)
}

func (f fakeCatalog) List() []connector.Spec {
	var out []connector.Spec
	for _, c := range f {
		out = append(out, c.spec)
	}
	return out
}

func catalog() fakeCatalog {
	broker := connector.Key{Name: "kafka.bootstrap.server", Type: connector.List, Required: true, Destination: true, Doc: "host:port of the brokers"}
	hidden := connector.Key{Name: "login", Type: connector.String, Secret: true, Doc: "a secret whose name does not say so"}
	return fakeCatalog{
		{connector.Spec{Class: "KafkaSink", Kind: connector.KindSink, Keys: []connector.Key{broker, hidden,
			{Name: "topicNames", Type: connector.List, Required: true, Doc: "topics"}}}},
		{connector.Spec{Class: "KafkaSource", Aliases: []string{"java.KafkaSource"}, Kind: connector.KindSource, Keys: []connector.Key{broker, hidden,
			{Name: "kafka.topics", Type: connector.List, Required: true, Doc: "topics"}, {Name: "poll", Type: connector.Int}, {Name: "partitions"},
			{Name: "mode", Type: connector.String, Enum: []string{"fast", "safe"}}}, Prefixes: []string{"kafka.client."}}},
	}
}

// world is a server over fakes.
type world struct {
	t         *testing.T
	configs   *fakeConfigs
	statuses  *fakeStatuses
	members   *fakeMembers
	positions *fakeProgress
	offsets   *fakeProgress
	ready     error
	leased    atomic.Pointer[error]
	server    *Server
	registry  *prometheus.Registry
	ctx       context.Context // of requests; nil: the test's
}

func newWorld(t *testing.T, change func(*Config, *Backends)) *world {
	t.Helper()
	w := &world{
		t: t, configs: &fakeConfigs{held: map[string]store.Connector{}, requests: map[string]bool{}, revision: 10},
		statuses:  &fakeStatuses{held: map[cluster.Unit]store.Status{}},
		members:   &fakeMembers{view: cluster.View{Joined: true, Self: 1, Members: []cluster.Member{{Session: 1, Worker: "w1", Address: "10.0.0.1:8082", Eligible: true}}}},
		positions: &fakeProgress{held: map[string]record.Positions{}}, offsets: &fakeProgress{held: map[string]record.Positions{}},
		registry: prometheus.NewRegistry(),
	}
	cfg := Config{ClusterID: "c1", WorkerID: "w1", Listen: "127.0.0.1:0", CompatRoutes: true, Compat: "old", Log: logr.Discard(),
		Connections: limit.Limits{All: 512, PerAddress: 64}, Streams: limit.Limits{All: 128, PerAddress: 16}, Registerer: w.registry, Gatherer: w.registry}
	b := Backends{Configs: w.configs, Positions: w.positions, Offsets: w.offsets, Statuses: w.statuses, Members: w.members,
		Catalog: catalog(), CheckSettings: task.CheckSettings(config.Default().Topics.Internal), Ready: func() error { return w.ready }, Leased: w.leasedErr}
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
	w.members.mu.Lock()
	owners := maps.Clone(w.members.view.Owners)
	if owners == nil {
		owners = map[allocate.Unit]cluster.Owner{}
	}
	owners[allocate.Unit{Connector: name, Task: task}] = cluster.Owner{Session: session, Generation: generation, Epoch: epoch}
	w.members.view.Owners = owners
	w.members.mu.Unlock()
	w.members.notify()
	if state != "" {
		w.statuses.set(store.Status{Connector: name, Task: task, State: state, Worker: "w1", Generation: generation, Epoch: epoch})
	}
}

// disown takes all units of the connector from their sessions.
func (w *world) disown(name string) {
	w.members.mu.Lock()
	owners := maps.Clone(w.members.view.Owners)
	maps.DeleteFunc(owners, func(u allocate.Unit, _ cluster.Owner) bool { return u.Connector == name })
	w.members.view.Owners = owners
	w.members.mu.Unlock()
	w.members.notify()
}

// source stores a running KafkaSource with two tasks.
func (w *world) source(name string) store.Connector {
	c := store.Connector{
		Name: name, Config: map[string]string{"tasks.num": "2", "kafka.topics": "a,b", "kafka.bootstrap.server": "h:1", "login": "hunter2", "kafka.client.password": "pw"},
		State: states.WantRunning, Epoch: 5, Revision: 7,
		Tasks: []map[string]string{{"partitions": "0", "login": "hunter2"}, {"partitions": "1"}},
	}
	w.configs.set(c)
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
