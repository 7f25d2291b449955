package schedule

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// unit is a unit of the connector c.
func unit(index int) Unit { return Unit{Connector: "c", Task: index} }

func specForTest() connector.Spec {
	return connector.Spec{Class: "Fake", Kind: connector.KindSource, Keys: []connector.Key{
		{Name: "kafka.bootstrap.server"}, {Name: "login", Secret: true}, {Name: "sasl.jaas.config", Secret: true},
	}}
}

// world is the cluster log and the stores of several schedulers in one process, without any delay but that of an
// append.
type world struct {
	t  *testing.T
	mu sync.Mutex
	// the log; the first that joins has session 0
	offset   int64
	members  []cluster.Member
	owners   map[Unit]cluster.Owner
	floors   map[string]int64
	watchers map[chan struct{}]bool
	// the stores
	configs  map[string]store.Connector
	fences   map[Unit]store.Fence
	statuses map[Unit]store.Status
	// what attempts did, in order
	trace []string
	// running counts attempts per unit: never above one.
	running map[Unit]int
	script  func(a task.Attempt) error // an attempt's outcome at once, nil: it runs
	drains  map[Unit]time.Duration
	workers map[string]*member
	// forgotten are the connectors whose figures were dropped.
	forgotten []string
	timeout   time.Duration // of sessions
	away      bool          // the log and the stores take nothing, and leases are over
	secrets   string        // the folder that secrets are mounted in
	// referencesOnly refuses secrets in the clear.
	referencesOnly bool
	log            logr.Logger
}

type member struct {
	*world
	name    string
	session int64
	sched   *Scheduler
	stop    context.CancelFunc
	ended   chan struct{}
}

func newWorld(t *testing.T) *world {
	return &world{t: t, offset: -1, owners: map[Unit]cluster.Owner{}, floors: map[string]int64{}, watchers: map[chan struct{}]bool{},
		configs: map[string]store.Connector{}, fences: map[Unit]store.Fence{}, statuses: map[Unit]store.Status{},
		running: map[Unit]int{}, drains: map[Unit]time.Duration{}, workers: map[string]*member{}, timeout: 5 * time.Second, log: logr.Discard()}
}

// change appends to the log, or to a store, and tells all watchers.
func (w *world) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.offset++
	fn()
	for ch := range w.watchers {
		service.Signal(ch)
	}
}

func (w *world) Watch() (<-chan struct{}, func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	ch := make(chan struct{}, 1)
	w.watchers[ch] = true
	return ch, func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.watchers, ch)
	}
}

func (m *member) View() cluster.View {
	m.mu.Lock()
	defer m.mu.Unlock()
	v := cluster.View{Self: m.session, Offset: m.offset, Members: slices.Clone(m.members), Owners: maps.Clone(m.owners),
		Floors: maps.Clone(m.floors), Allocation: allocate.Params{Strategy: "Averagely"}}
	for _, each := range m.members {
		v.Homes = append(v.Homes, each.Worker)
		v.Joined = v.Joined || each.Session == m.session
	}
	slices.Sort(v.Homes)
	return v
}

func (m *member) Claim(_ context.Context, reqs []cluster.ClaimRequest) (grants []cluster.Grant, err error) {
	time.Sleep(5 * time.Millisecond)
	m.change(func() {
		for _, r := range reqs {
			_, owned := m.owners[r.Unit]
			for u, o := range m.owners {
				owned = owned || u.Connector == r.Unit.Connector && o.Epoch != r.Epoch
			}
			live := slices.ContainsFunc(m.members, func(each cluster.Member) bool { return each.Session == m.session })
			if owned || !live || r.Epoch < m.floors[r.Unit.Connector] {
				continue
			}
			g := cluster.Grant{Unit: r.Unit, Generation: max(m.offset, r.Above+1), Epoch: r.Epoch}
			m.owners[r.Unit] = cluster.Owner{Session: m.session, Generation: g.Generation, Epoch: r.Epoch}
			m.floors[r.Unit.Connector] = r.Epoch
			grants = append(grants, g)
		}
	})
	return grants, nil
}

func (m *member) Lapsed() (since time.Time, lapsed bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return time.Time{}, m.away
}

// takes waits for ctx while nothing is taken.
func (w *world) takes(ctx context.Context) error {
	w.mu.Lock()
	away := w.away
	w.mu.Unlock()
	if away {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (m *member) Release(ctx context.Context, grants []cluster.Grant) error {
	time.Sleep(5 * time.Millisecond)
	if err := m.takes(ctx); err != nil {
		return err
	}
	m.change(func() {
		for _, g := range grants {
			if o := m.owners[g.Unit]; o.Session == m.session && o.Generation == g.Generation {
				delete(m.owners, g.Unit)
				m.trace = append(m.trace, fmt.Sprintf("%s releases %s", m.name, g.Unit))
				if m.running[g.Unit] > 0 {
					m.t.Errorf("%s was released while it ran", g.Unit)
				}
			}
		}
	})
	return nil
}

func (w *world) All() []store.Connector {
	w.mu.Lock()
	defer w.mu.Unlock()
	var out []store.Connector
	for _, name := range slices.Sorted(maps.Keys(w.configs)) {
		out = append(out, w.configs[name])
	}
	return out
}

func (w *world) PublishTasks(_ context.Context, name string, epoch int64, tasks []map[string]string) (store.Connector, error) {
	var c store.Connector
	w.change(func() {
		if c = w.configs[name]; c.Epoch == epoch && c.Tasks == nil {
			c.Tasks = tasks
			w.configs[name] = c
		}
	})
	return c, nil
}

// put sets a connector: another class or number of tasks is another epoch.
func (w *world) put(name string, state states.Wanted, tasks int) {
	w.change(func() {
		c := w.configs[name]
		cfg := map[string]string{"connector.class": "Fake", "max.tasks": fmt.Sprint(tasks), "password": "hunter2"}
		if !maps.Equal(cfg, c.Config) {
			c.Epoch, c.Tasks = c.Epoch+1, nil
		}
		c.Name, c.State, c.Config = name, state, cfg
		w.configs[name] = c
	})
}

// configure sets a running connector with further settings.
func (w *world) configure(name string, tasks int, settings ...string) {
	w.change(func() {
		cfg := map[string]string{"connector.class": "Fake", "max.tasks": fmt.Sprint(tasks)}
		for i := 0; i < len(settings); i += 2 {
			cfg[settings[i]] = settings[i+1]
		}
		w.configs[name] = store.Connector{Name: name, State: states.WantRunning, Config: cfg, Epoch: w.configs[name].Epoch + 1}
	})
}

// openGate is the gate of a lease that has so much left: what is left just before one is renewed as rarely as is
// allowed.
type openGate struct{ left time.Duration }

func (openGate) Until() time.Duration { return math.MaxInt64 }

func (g openGate) Wait(ctx context.Context, need time.Duration) error {
	if g.left <= need {
		<-ctx.Done()
	}
	return ctx.Err()
}

func (openGate) Context(parent context.Context) (context.Context, context.CancelFunc) {
	return context.WithCancel(parent)
}

type fakeProgress struct{ *world }

func (p fakeProgress) Read(string) record.Positions { return record.Positions{} }

func (p fakeProgress) Newest(name string, index int) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.fences[Unit{Connector: name, Task: index}].Generation
}

func (p fakeProgress) Fence(_ context.Context, f store.Fence) (task.Writer, func(), error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	u := Unit{Connector: f.Connector, Task: f.Task}
	old := p.fences[u]
	if old.Generation > f.Generation || old.Generation == f.Generation && old.Attempt >= f.Attempt {
		return nil, nil, store.ErrFenced
	}
	p.fences[u] = f
	return nil, func() {}, nil
}

type fakeStatuses struct{ *world }

func (s fakeStatuses) Put(ctx context.Context, statuses ...store.Status) (err error) {
	if err := s.takes(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range statuses {
		u := Unit{Connector: st.Connector, Task: st.Task}
		old := s.statuses[u]
		if cmp.Or(cmp.Compare(st.Epoch, old.Epoch), cmp.Compare(st.Generation, old.Generation), cmp.Compare(st.Attempt, old.Attempt)) < 0 {
			err = store.ErrFenced
			continue
		}
		s.statuses[u] = st
	}
	return err
}

func (s fakeStatuses) Newest(name string, index int) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.statuses[Unit{Connector: name, Task: index}].Generation
}

func (w *world) status(name string, index int) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	st := w.statuses[Unit{Connector: name, Task: index}]
	return fmt.Sprintf("%s on %s: %s", st.State, st.Worker, st.Error)
}

// fakeClass is a source of as many tasks as allowed.
type fakeClass struct{ *world }

func (fakeClass) Spec() connector.Spec { return specForTest() }
func (fakeClass) Validate(cfg connector.Config) error {
	if cfg["panics"] == "in Validate" {
		panic("boom")
	}
	return nil
}
func (fakeClass) NewSource() connector.Source { return nil }
func (fakeClass) Tasks(_ context.Context, cfg connector.Config, limit int) ([]connector.Config, error) {
	if cfg["panics"] == "in Tasks" {
		panic("boom")
	}
	out := make([]connector.Config, limit)
	for i := range out {
		out[i] = connector.Config{"index": fmt.Sprint(i)}
		for _, key := range []string{"login", "leak"} {
			if cfg[key] != "" {
				out[i][key] = cfg["login"]
			}
		}
	}
	return out, nil
}

func (w *world) Find(class string) (connector.Connector, error) {
	if class != "Fake" {
		return nil, fmt.Errorf("class %q is not known", class)
	}
	return fakeClass{w}, nil
}

func (w *world) Implied(cfg map[string]string) (string, error) {
	return connector.Implied([]connector.Spec{specForTest()}, cfg)
}

func (m *member) Forget(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgotten = append(m.forgotten, name)
}

func (w *world) forgot() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.forgotten)
}

func (m *member) RunSink(_, _ context.Context, _ connector.SinkConnector, _ task.Attempt) error {
	return errors.New("no sinks here")
}

// RunSource is an attempt that runs until soft ends, and then drains for as long as the world says.
func (m *member) RunSource(soft, hard context.Context, _ connector.SourceConnector, a task.Attempt) error {
	u := Unit{Connector: a.ID.Connector, Task: a.ID.Task}
	m.note(u, 1, "%s starts %s", m.name, u)
	defer m.note(u, -1, "%s stops %s", m.name, u)
	if m.script != nil {
		if err := m.script(a); err != nil {
			return err
		}
	}
	a.Opened()
	select {
	case <-soft.Done():
	case <-hard.Done():
		return hard.Err()
	}
	m.mu.Lock()
	d := m.drains[u]
	m.mu.Unlock()
	select {
	case <-time.After(d):
		return nil
	case <-hard.Done():
		return hard.Err()
	}
}

func (w *world) note(u Unit, change int, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.trace = append(w.trace, fmt.Sprintf(format, args...))
	if w.running[u] += change; w.running[u] > 1 {
		w.t.Errorf("%s runs %d times at once: %v", u, w.running[u], w.trace)
	}
}

// join starts a worker.
func (w *world) join(name string) *member {
	m := &member{world: w, name: name, ended: make(chan struct{})}
	w.change(func() {
		m.session = w.offset
		w.members = append(w.members, cluster.Member{Session: m.session, Worker: name, Eligible: true})
		w.workers[name] = m
	})
	var err error
	m.sched, err = New(
		Config{WorkerID: name, SessionTimeout: w.timeout, ReferencesOnly: w.referencesOnly, Log: w.log, Random: func() float64 { return 0.5 }},
		Deps{
			Cluster:   m,
			Gate:      func(cluster.Grant) task.Gate { return openGate{w.timeout*9/10 - w.timeout/3} },
			Configs:   w,
			Positions: fakeProgress{w},
			Offsets:   fakeProgress{w},
			Statuses:  fakeStatuses{w},
			Runner:    m,
			Catalog:   w,
			Secrets:   secret.New(secret.Config{Mounted: w.secrets}),
		},
	)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stop = cancel
	svc := m.sched.Service()
	go func() {
		defer close(m.ended)
		_ = svc.Run(ctx)
	}()
	return m
}

// leave stops a worker in good order; its session ends afterwards.
func (m *member) leave() error {
	m.stop()
	<-m.ended
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	err := m.sched.Service().Stop(ctx)
	m.expire()
	return err
}

// expire ends the session of a worker, and with it what it owns.
func (m *member) expire() {
	m.change(func() {
		m.members = slices.DeleteFunc(m.members, func(each cluster.Member) bool { return each.Session == m.session })
		for u, o := range m.owners {
			if o.Session == m.session {
				delete(m.owners, u)
			}
		}
	})
}

// took returns the trace since the last call.
func (w *world) took() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := w.trace
	w.trace = nil
	return out
}

func (w *world) runs() map[string]int {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := map[string]int{}
	for u, n := range w.running {
		if n > 0 {
			out[u.String()] = n
		}
	}
	return out
}
