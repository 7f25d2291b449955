package rest

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/keyedlog/logtest"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/resource"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store"
)

const connectorsPath = restapi.Prefix + "/connectors"

// topics are the internal topics that the workers of a cluster share.
type topics struct {
	mu   sync.Mutex
	logs map[string]*logtest.Log
}

func (c *topics) log(topic string) *logtest.Log {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.logs == nil {
		c.logs = map[string]*logtest.Log{}
	}
	if c.logs[topic] == nil {
		c.logs[topic] = logtest.New()
	}
	return c.logs[topic]
}

// peer is a server over the real stores of one worker, in a synctest bubble.
type peer struct {
	*world
	topics *topics
	stores *store.Stores
	mu     sync.Mutex
	held   chan struct{} // nil: it reads on
}

func (c *topics) peer(t *testing.T) *peer {
	t.Helper()
	p := &peer{topics: c}
	var err error
	p.stores, err = store.Open(store.Options{ClusterID: "c1", Log: logr.Discard(),
		Topics: store.Topics{Config: "config", Position: "position", Offset: "offset", Status: "status"}}, p)
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		done <- service.Run(ctx, func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(context.Background(), time.Minute)
		}, p.stores.Services()...)
	}()
	t.Cleanup(func() {
		p.release()
		end()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	p.world = newWorld(t, func(_ *Config, b *Backends) {
		b.Configs, b.Positions, b.Offsets = p.stores.Configs(), p.stores.Positions(), p.stores.Offsets()
	})
	synctest.Wait()
	return p
}

// OpenLog gives a topic as this worker reads it.
func (p *peer) OpenLog(_ context.Context, topic, _ string) (keyedlog.Log, error) {
	return peerLog{Log: p.topics.log(topic), peer: p}, nil
}

// hold keeps the worker from reading on until release.
func (p *peer) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

func (p *peer) release() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held != nil {
		close(p.held)
		p.held = nil
	}
}

// await returns when the worker may read on.
func (p *peer) await(ctx context.Context) error {
	p.mu.Lock()
	held := p.held
	p.mu.Unlock()
	if held == nil {
		return nil
	}
	select {
	case <-held:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

type peerLog struct {
	*logtest.Log
	peer *peer
}

// Follow hands records on while the worker is not held.
func (l peerLog) Follow(ctx context.Context, from, known int64, fn func(rmq.Entry) error) error {
	return l.Log.Follow(ctx, from, known, func(e rmq.Entry) error {
		if err := l.peer.await(ctx); err != nil {
			return err
		}
		return fn(e)
	})
}

// want sends a request and checks the status of the answer.
func (p *peer) want(code int, method, target, body string) {
	p.t.Helper()
	if rec := p.do(method, target, body); rec.Code != code {
		p.t.Errorf("%s %s: %d %s, want %d", method, target, rec.Code, rec.Body, code)
	}
}

func TestWhatADeletedConnectorsTasksStoreLateIsForgotten(t *testing.T) {
	const one = connectorsPath + "/n"
	kinds := map[string]struct {
		body     string
		progress func(*store.Stores) *store.Progress
	}{
		"of a source": {validSource, (*store.Stores).Positions},
		"of a sink":   {`{"name":"n","class":"KafkaSink","config":{"topicNames":"t","kafka.bootstrap.server":"h:1"}}`, (*store.Stores).Offsets},
	}
	last := record.Positions{"t/0": "100"}
	cases := map[string]struct {
		remove     func(p *peer, drain func())
		wantFenced bool
		want       record.Positions
	}{
		"nothing was stored before the deletion": {func(p *peer, _ func()) {
			p.want(http.StatusNoContent, "DELETE", one, "")
		}, true, record.Positions{}},
		"something was stored before": {func(p *peer, drain func()) {
			drain()
			p.want(http.StatusNoContent, "DELETE", one, "")
		}, true, record.Positions{}},
		"something is stored between the two steps of the deletion": {func(p *peer, drain func()) {
			if _, err := p.stores.Configs().Put(p.t.Context(), store.Write{Name: "n", Delete: true, IfRevision: resource.AnyRevision}); err != nil {
				p.t.Error(err)
			}
			drain()
			p.want(http.StatusNoContent, "DELETE", one, "")
		}, true, record.Positions{}},
		"the deletion broke off between its steps and is sent again": {func(p *peer, _ func()) {
			p.topics.log("position").SetDown(true)
			p.want(http.StatusGatewayTimeout, "DELETE", one, "")
			p.topics.log("position").SetDown(false)
			p.want(http.StatusNotFound, "DELETE", one, "")
		}, true, record.Positions{}},
		"positions are kept": {func(p *peer, _ func()) {
			p.want(http.StatusNoContent, "DELETE", one+"?positions=keep", "")
		}, false, last},
		"positions are kept and then not": {func(p *peer, _ func()) {
			p.want(http.StatusNoContent, "DELETE", one+"?positions=keep", "")
			p.want(http.StatusNotFound, "DELETE", one, "")
		}, true, record.Positions{}},
	}
	for kind, k := range kinds {
		for name, tc := range cases {
			t.Run(name+", "+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					p := new(topics).peer(t)
					p.want(http.StatusCreated, "POST", connectorsPath, k.body)
					progress := k.progress(p.stores)
					writer, err := progress.Fence(t.Context(), store.Fence{Connector: "n", Generation: 1, Epoch: 1, Attempt: 1})
					if err != nil {
						t.Fatal(err)
					}
					tc.remove(p, func() {
						if err := writer.Write(t.Context(), record.Positions{"t/0": "50", "t/1": "7"}); err != nil {
							t.Error(err)
						}
					})
					err = writer.Write(t.Context(), last)
					if fenced := errors.Is(err, store.ErrFenced); fenced != tc.wantFenced || !fenced && err != nil {
						t.Errorf("the last positions: %v, want them to be refused: %t", err, tc.wantFenced)
					}
					p.want(http.StatusCreated, "POST", connectorsPath, k.body)
					if diff := cmp.Diff(tc.want, progress.Read("n")); diff != "" {
						t.Errorf("the new connector begins at (-want +got):\n%s", diff)
					}
				})
			})
		}
	}
}

func TestADeletionThatARecreationOvertakesIsAConflict(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	w.positions.Err = store.ErrFenced
	if rec := w.do("DELETE", connectorsPath+"/src", ""); rec.Code != http.StatusConflict {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
}

func TestADeletionThatAnotherWorkerBrokeOffIsFinishedByOneThatLags(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := new(topics)
		ahead, behind := shared.peer(t), shared.peer(t)
		ahead.want(http.StatusCreated, "POST", connectorsPath, validSource)
		writer, err := ahead.stores.Positions().Fence(t.Context(), store.Fence{Connector: "n", Generation: 1, Epoch: 1, Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		behind.hold()
		shared.log("position").SetDown(true)
		ahead.want(http.StatusGatewayTimeout, "DELETE", connectorsPath+"/n", "")
		shared.log("position").SetDown(false)
		if rec := behind.late("DELETE", connectorsPath+"/n", ""); rec.Code != http.StatusNotFound {
			t.Errorf("got %d %s", rec.Code, rec.Body)
		}
		if err := writer.Write(t.Context(), record.Positions{"t/0": "100"}); !errors.Is(err, store.ErrFenced) {
			t.Errorf("the last positions: %v, want them to be refused", err)
		}
	})
}
