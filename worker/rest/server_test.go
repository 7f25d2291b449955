package rest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/store"
)

func TestNothingButProbesBeforeTheWorkerIsReady(t *testing.T) {
	w := newWorld(t, nil)
	w.ready = errors.New("reading the stores")
	for target, want := range map[string]int{"/healthz": 200, "/readyz": 503, "/metrics": 200,
		restapi.Prefix + "/connectors": 503, "/getClusterInfo": 503, "/connectors/all/remove": 503} {
		rec := w.do(http.MethodGet, target, "")
		if rec.Code != want || want == 503 && !strings.Contains(rec.Body.String(), "reading the stores") {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Body)
		}
	}
	w.ready = nil
	if got := w.get("/readyz"); got != "ok" {
		t.Errorf("ready: %s", got)
	}
}

// A worker that RocketMQ does not answer tells what it knew last to who asks, but not as news.
func TestAWorkerWithoutALeaseIsNotReadyAndAnswers(t *testing.T) {
	w := newWorld(t, nil)
	w.source("s1")
	w.lapse(errors.New("RocketMQ is away"))
	for target, want := range map[string]int{"/healthz": 200, "/readyz": 503, restapi.Prefix + "/connectors/s1": 200,
		"/getClusterInfo": 200, restapi.Prefix + "/watch": 503} {
		rec := w.do(http.MethodGet, target, "")
		if rec.Code != want || want == 503 && !strings.Contains(rec.Body.String(), "RocketMQ is away") {
			t.Errorf("%s: %d %s", target, rec.Code, rec.Body)
		}
	}
	w.lapse(nil)
	if got := w.get("/readyz"); got != "ok" {
		t.Errorf("ready: %s", got)
	}
}

func TestMetricsCountRequests(t *testing.T) {
	w := newWorld(t, nil)
	w.do(http.MethodGet, restapi.Prefix+"/connectors/x", "")
	if got := w.get("/metrics"); !strings.Contains(got, `connect_worker_rest_requests_total{code="404",route="/api/v1/connectors/{name}"} 1`) {
		t.Errorf("metrics: %s", got)
	}
}

func TestPanicsAreAnswered(t *testing.T) {
	w := newWorld(t, func(_ *Config, b *Backends) { b.Local = func() []compat.LocalTask { panic("boom") } })
	if rec := w.do(http.MethodGet, "/getAllocatedTask", ""); rec.Code != 500 || strings.Contains(rec.Body.String(), "boom") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

// serve runs the server's service on a loopback listener.
func (w *world) serve() (base string) {
	w.t.Helper()
	s := w.server.Service()
	if err := s.Start(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Error(err)
		}
	})
	return "http://" + w.server.api.Addr().String()
}

func client(t *testing.T) *http.Client {
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestClientRoundTrip(t *testing.T) {
	w := newWorld(t, nil)
	c := restclient.New(w.serve()+"/", "", client(t))
	ctx := t.Context()
	want := restapi.Connector{Name: "n", Class: "KafkaSource", MaxTasks: 2, State: restapi.StatePaused,
		Config: map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h", "login": "x"}}
	got, err := c.Put(ctx, want, 0)
	if err != nil || got.Revision != 11 || got.State != restapi.StatePaused {
		t.Fatalf("created %+v, %v", got, err)
	}
	if _, err := c.Put(ctx, want, 0); !restclient.Conflict(err) {
		t.Errorf("created twice: %v", err)
	}
	if same, err := c.Put(ctx, want, restclient.AnyRevision); err != nil || same.Revision != got.Revision {
		t.Errorf("the same again: %+v, %v", same, err)
	}
	stale := got
	stale.MaxTasks = 5
	_, err = c.Put(ctx, stale, 3)
	var p *restapi.Problem
	if !errors.As(err, &p) || p.Status != 412 || p.Current == nil || p.Current.Revision != 11 || p.Current.Config["login"] != restapi.Mask {
		t.Errorf("stale: %v %+v", err, p)
	}
	if _, err := c.Put(ctx, restapi.Connector{Name: "n", Class: "Nope"}, restclient.AnyRevision); !restclient.Invalid(err) {
		t.Errorf("invalid: %v", err)
	}
	if running, err := c.SetState(ctx, "n", restapi.StateRunning); err != nil || running.State != restapi.StateRunning {
		t.Errorf("running: %+v, %v", running, err)
	}
	if err := c.Restart(ctx, "n", -1, "r1"); err != nil {
		t.Error(err)
	}
	if err := c.Restart(ctx, "n", 0, ""); !restclient.NotFound(err) {
		t.Errorf("no tasks yet: %v", err)
	}
	if list, err := c.List(ctx); err != nil || len(list) != 1 {
		t.Errorf("list: %v, %v", list, err)
	}
	if cl, err := c.Cluster(ctx); err != nil || cl.ID != "c1" {
		t.Errorf("cluster: %v, %v", cl, err)
	}
	if st, err := c.Status(ctx, "n"); err != nil || st.Desired != restapi.StateRunning {
		t.Errorf("status: %v, %v", st, err)
	}
	if tasks, err := c.Tasks(ctx, "n"); err != nil || len(tasks) != 0 {
		t.Errorf("tasks: %v, %v", tasks, err)
	}
	if plugins, err := c.Plugins(ctx); err != nil || len(plugins) != 2 {
		t.Errorf("plugins: %v, %v", plugins, err)
	}
	if v, err := c.Validate(ctx, want); err != nil || !v.Valid {
		t.Errorf("validate: %v, %v", v, err)
	}
	for range 2 {
		if err := c.Delete(ctx, "n"); err != nil {
			t.Error(err)
		}
	}
	if _, err := c.Get(ctx, "n"); !restclient.NotFound(err) {
		t.Errorf("deleted: %v", err)
	}
}

// script collects events as short texts until fn has seen enough.
func follow(t *testing.T, c *restclient.Client, from int64, enough func(events []string) bool) (events []string, last int64) {
	t.Helper()
	stop := errors.New("enough")
	err := c.Watch(t.Context(), from, func(ev restapi.WatchEvent) error {
		text := ev.Type
		switch {
		case ev.Connector != nil:
			text += " " + ev.Name + " " + ev.Connector.State
		case ev.Cluster != nil:
			text += fmt.Sprintf(" of %d", len(ev.Cluster.Members))
		case ev.Name != "":
			text += " " + ev.Name
		}
		if ev.Revision < last {
			t.Errorf("revision %d after %d", ev.Revision, last)
		}
		events, last = append(events, text), ev.Revision
		if enough(events) {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) {
		t.Fatalf("watch ended: %v after %v", err, events)
	}
	return events, last
}

func TestADeletedConnectorIsWatchedUntilItsTasksHaveEnded(t *testing.T) {
	w := newWorld(t, nil)
	c := w.source("src")
	w.own("src", 0, 1, 3, 5, "Running")
	api := restclient.New(w.serve(), "", client(t))
	_, at := follow(t, api, 0, func(events []string) bool { return events[len(events)-1] == "synced" })
	c.Deleted = true
	w.configs.Set(c)
	w.members.Change(func(v *cluster.View) { v.Members = append(v.Members, cluster.Member{Session: 9, Worker: "w2"}) })
	events, _ := follow(t, api, at, func(events []string) bool {
		if events[len(events)-1] == "cluster of 2" {
			w.disown("src")
		}
		return events[len(events)-1] == "deleted src"
	})
	if diff := cmp.Diff([]string{"synced", "cluster of 2", "cluster of 2", "deleted src"}, events); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWatch(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	c := restclient.New(w.serve(), "", client(t))
	synced := func(events []string) bool { return events[len(events)-1] == "synced" }
	events, at := follow(t, c, 0, synced)
	if diff := cmp.Diff([]string{"snapshot", "cluster of 1", "connector src Unassigned", "synced"}, events); diff != "" {
		t.Fatalf("whole state (-want +got):\n%s", diff)
	}

	events, at = follow(t, c, at, func(events []string) bool {
		switch {
		case len(events) == 1:
			w.own("src", -1, 1, 3, 5, "Running")
		case strings.HasPrefix(events[len(events)-1], "connector src Running"):
			gone, _ := w.configs.Get("src")
			gone.Deleted = true
			w.configs.Set(gone)
			w.disown("src")
		}
		return events[len(events)-1] == "deleted src"
	})
	if events[0] != "synced" || events[len(events)-2] != "connector src Running" {
		t.Errorf("changes: %v", events)
	}

	w.members.Change(func(v *cluster.View) { v.Members = append(v.Members, cluster.Member{Session: 9, Worker: "w2"}) })
	missed, _ := follow(t, c, at, func(events []string) bool {
		return len(events) >= 2 && strings.Contains(strings.Join(events, ","), "cluster of 2")
	})
	if strings.Contains(strings.Join(missed, ","), "snapshot") {
		t.Errorf("resumed: %v", missed)
	}
	err := c.Watch(t.Context(), at+1000, func(restapi.WatchEvent) error { return nil })
	if !restclient.Gone(err) {
		t.Errorf("from the future: %v", err)
	}
}

func TestWatchEndsWithTheServer(t *testing.T) {
	w := newWorld(t, nil)
	s := w.server.Service()
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	err := restclient.New("http://"+w.server.api.Addr().String(), "", client(t)).Watch(t.Context(), 0, func(ev restapi.WatchEvent) error {
		if ev.Type == restapi.EventSynced {
			cancel()
		}
		return nil
	})
	if err == nil {
		t.Error("want an error")
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestAWorkerOutOfTheClusterSaysNothingNewOfConnectors(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	w.own("src", -1, 1, 3, 5, "Running")
	w.server.hub.refresh()
	_, at, _, _ := w.server.hub.snapshot()
	w.members.Change(func(v *cluster.View) { *v = cluster.View{} })
	w.server.hub.refresh()
	events, _, _, _ := w.server.hub.since(at)
	if len(events) != 1 || events[0].Type != restapi.EventCluster || events[0].Cluster.Joined {
		t.Errorf("got %+v", events)
	}
}

func TestHubForgetsWhatIsTooOld(t *testing.T) {
	w := newWorld(t, nil)
	h := w.server.hub
	h.refresh()
	_, start, _, ok := h.snapshot()
	if !ok {
		t.Fatal("no state")
	}
	for i := range kept + 1 {
		w.configs.Set(store.Connector{Name: "n", Revision: int64(i + 1), Config: map[string]string{}})
		h.refresh()
	}
	if _, _, _, ok := h.since(start); ok {
		t.Error("the first revision can still be resumed from")
	}
	events, newest, _, ok := h.since(start + kept)
	if !ok || len(events) != 1 || events[0].Revision != newest {
		t.Errorf("got %d events, newest %d, %v", len(events), newest, ok)
	}
}

func TestPingsShowThatTheStreamLivesUntilTheLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, nil)
		w.server.hub.refresh()
		here, there := net.Pipe()
		ctx, cancel := context.WithCancel(t.Context())
		srv := &http.Server{Handler: w.server.Handler(), BaseContext: func(net.Listener) context.Context { return ctx }}
		done := make(chan struct{})
		go func() { defer close(done); _ = srv.Serve(newOneConn(there)) }()
		go func() { _, _ = here.Write([]byte("GET /api/v1/watch HTTP/1.1\r\nHost: localhost\r\n\r\n")) }()
		start := time.Now()
		lines := bufio.NewScanner(here)
		pings := 0
		for pings < 10 && lines.Scan() {
			if strings.Contains(lines.Text(), `"type":"ping"`) {
				pings++
			}
		}
		if took := time.Since(start); pings != 10 || took != 10*pingInterval {
			t.Errorf("%d pings in %s", pings, took)
		}
		w.lapse(errors.New("RocketMQ is away"))
		for lines.Scan() {
			if strings.Contains(lines.Text(), `"type":"ping"`) {
				t.Errorf("got %s without a lease", lines.Text())
			}
			if lines.Text() == "0" { // the last chunk
				break
			}
		}
		if took := time.Since(start); took != 11*pingInterval {
			t.Errorf("the stream went on for %s", took)
		}
		cancel()
		_ = srv.Close()
		_ = here.Close()
		<-done
	})
}

// oneConn is a listener of one connection.
type oneConn struct {
	conns chan net.Conn
	addr  net.Addr
	close sync.Once
}

func newOneConn(conn net.Conn) *oneConn {
	l := &oneConn{conns: make(chan net.Conn, 1), addr: conn.LocalAddr()}
	l.conns <- conn
	return l
}

func (l *oneConn) Accept() (net.Conn, error) {
	if conn, ok := <-l.conns; ok {
		return conn, nil
	}
	return nil, net.ErrClosed
}

func (l *oneConn) Close() error {
	l.close.Do(func() { close(l.conns) })
	return nil
}

func (l *oneConn) Addr() net.Addr { return l.addr }

func TestAPortThatIsTaken(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	w := newWorld(t, func(c *Config, _ *Backends) { c.Listen = l.Addr().String() })
	if err := w.server.Service().Start(t.Context()); err == nil || !strings.Contains(err.Error(), "is another worker running on this port?") {
		t.Errorf("got %v", err)
	}
}
