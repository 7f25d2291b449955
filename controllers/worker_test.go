//go:build envtest

package controllers_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// fakeWorkers is the REST API of a cluster's workers, which do at once what they are asked for.
type fakeWorkers struct {
	server *httptest.Server

	mu         sync.Mutex
	token      string // of the last call
	members    []restapi.Member
	connectors map[string]*stored
	revision   int64
	puts       int
	// slow keeps removed connectors in the report until finish.
	slow    bool
	failing map[string]string // connector → text of its tasks' failures
	busy    bool
	changed chan struct{}
}

type stored struct {
	restapi.Connector
	removed bool
}

func startWorkers(t *testing.T, members ...string) *fakeWorkers {
	t.Helper()
	w := &fakeWorkers{connectors: map[string]*stored{}, failing: map[string]string{}, changed: make(chan struct{})}
	w.join(members...)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/v1/watch", w.watch)
	mux.HandleFunc("PUT /api/v1/connectors/{name}", w.put)
	mux.HandleFunc("PUT /api/v1/connectors/{name}/state", w.setState)
	mux.HandleFunc("DELETE /api/v1/connectors/{name}", w.delete)
	w.server = httptest.NewServer(mux)
	t.Cleanup(w.stop)
	return w
}

func (w *fakeWorkers) stop() {
	w.server.CloseClientConnections()
	w.server.Close()
}

// change runs fn alone and has every stream look again.
func (w *fakeWorkers) change(fn func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	fn()
	close(w.changed)
	w.changed = make(chan struct{})
}

func (w *fakeWorkers) join(members ...string) {
	w.change(func() {
		w.members = nil
		for _, m := range members {
			w.members = append(w.members, restapi.Member{Worker: m, Version: "v0", Eligible: true})
		}
	})
}

func (w *fakeWorkers) get(name string) (restapi.Connector, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c, ok := w.connectors[name]; ok && !c.removed {
		return c.Connector, true
	}
	return restapi.Connector{}, false
}

func (w *fakeWorkers) counted() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.puts
}

func answer(rw http.ResponseWriter, v any) {
	rw.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(rw).Encode(v)
}

func refuse(rw http.ResponseWriter, status int, detail, field string) {
	rw.Header().Set("Content-Type", restapi.ProblemMediaType)
	rw.WriteHeader(status)
	_ = json.NewEncoder(rw).Encode(restapi.Problem{
		Title: http.StatusText(status), Status: status, Detail: detail, Errors: []restapi.FieldError{{Field: field, Detail: detail}},
	})
}

func (w *fakeWorkers) put(rw http.ResponseWriter, r *http.Request) {
	var c restapi.Connector
	if err := json.NewDecoder(r.Body).Decode(&c); err != nil {
		refuse(rw, http.StatusBadRequest, err.Error(), "")
		return
	}
	switch {
	case w.isBusy():
		refuse(rw, http.StatusConflict, "another change is under way", "")
		return
	case c.Class == "Unknown":
		refuse(
			rw,
			http.StatusUnprocessableEntity,
			"no connector class Unknown (password "+c.Config["sasl.password"]+"): try KafkaSource",
			"class",
		)
		return
	}
	w.change(func() {
		w.token = r.Header.Get("Authorization")
		w.puts++
		old, ok := w.connectors[c.Name]
		if ok {
			same := old.Connector
			same.Revision, same.Epoch = 0, 0
			if reflect.DeepEqual(same, c) && !old.removed {
				c = old.Connector
				return
			}
		}
		w.revision++
		c.Revision, c.Epoch = w.revision, w.revision
		w.connectors[c.Name] = &stored{Connector: c}
	})
	answer(rw, c)
}

func (w *fakeWorkers) isBusy() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.busy
}

func (w *fakeWorkers) setState(rw http.ResponseWriter, r *http.Request) {
	var req restapi.StateRequest
	_ = json.NewDecoder(r.Body).Decode(&req)
	var out *restapi.Connector
	w.change(func() {
		if c := w.connectors[r.PathValue("name")]; c != nil {
			w.revision++
			c.State, c.Revision = req.State, w.revision
			out = &c.Connector
		}
	})
	if out == nil {
		refuse(rw, http.StatusNotFound, "no such connector", "")
		return
	}
	answer(rw, out)
}

func (w *fakeWorkers) delete(rw http.ResponseWriter, r *http.Request) {
	found := false
	w.change(func() {
		c := w.connectors[r.PathValue("name")]
		found = c != nil && !c.removed
		switch {
		case found && w.slow:
			c.removed = true
		case found:
			delete(w.connectors, c.Name)
		}
	})
	if !found {
		refuse(rw, http.StatusNotFound, "no such connector", "")
		return
	}
	rw.WriteHeader(http.StatusNoContent)
}

// finish releases removed connectors.
func (w *fakeWorkers) finish() {
	w.change(func() {
		for name, c := range w.connectors {
			if c.removed {
				delete(w.connectors, name)
			}
		}
	})
}

// report needs w.mu.
func (w *fakeWorkers) report(c *stored) restapi.ConnectorStatus {
	s := restapi.ConnectorStatus{
		Name: c.Name, Class: c.Class, Kind: "Source", State: c.State, Desired: c.State, Worker: "worker-0",
		Epoch: c.Epoch, Revision: c.Revision, Topics: []string{"orders"},
	}
	if c.State == restapi.StateStopped {
		return s
	}
	for i := range c.MaxTasks {
		t := restapi.TaskStatus{ID: i, State: c.State, Worker: fmt.Sprintf("worker-%d", i%3), Generation: 1}
		if text := w.failing[c.Name]; text != "" && i == 0 {
			next := time.Now().Add(time.Minute)
			t.State, t.Error, t.Restarts, t.NextRestart = restapi.StateFailed, text, 1, &next
		}
		s.Tasks = append(s.Tasks, t)
	}
	return s
}

func (w *fakeWorkers) watch(rw http.ResponseWriter, r *http.Request) {
	out := json.NewEncoder(rw)
	send := func(ev restapi.WatchEvent) { _ = out.Encode(ev) }
	send(restapi.WatchEvent{Type: restapi.EventSnapshot})
	sent := map[string]restapi.ConnectorStatus{}
	ping := time.NewTicker(time.Second)
	defer ping.Stop()
	for first := true; ; first = false {
		w.mu.Lock()
		changed := w.changed
		send(restapi.WatchEvent{Type: restapi.EventCluster, Cluster: &restapi.Cluster{Members: w.members}})
		for name, c := range w.connectors {
			now := w.report(c)
			if old, ok := sent[name]; !ok || !sameReport(old, now) {
				send(restapi.WatchEvent{Type: restapi.EventConnector, Name: name, Connector: &now})
				sent[name] = now
			}
		}
		for name := range sent {
			if w.connectors[name] == nil {
				send(restapi.WatchEvent{Type: restapi.EventDeleted, Name: name})
				delete(sent, name)
			}
		}
		w.mu.Unlock()
		if first {
			send(restapi.WatchEvent{Type: restapi.EventSynced})
		}
		if err := http.NewResponseController(rw).Flush(); err != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-r.Context().Done():
				return
			case <-changed:
				waiting = false
			case <-ping.C:
				send(restapi.WatchEvent{Type: restapi.EventPing})
				_ = http.NewResponseController(rw).Flush()
			}
		}
	}
}

func sameReport(a, b restapi.ConnectorStatus) bool {
	for _, s := range []*restapi.ConnectorStatus{&a, &b} {
		s.Tasks = append([]restapi.TaskStatus(nil), s.Tasks...)
		for i := range s.Tasks {
			s.Tasks[i].NextRestart = nil
		}
	}
	return reflect.DeepEqual(a, b)
}
