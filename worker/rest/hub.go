package rest

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"maps"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	// kept is how many events can be resumed from.
	kept = 4096
	// settle is how long changes are gathered before they are sent: a rebalance is many. Where reading the state takes
	// long, they are gathered for restFactor times that, at most longestSettle.
	settle        = 50 * time.Millisecond
	restFactor    = 9
	longestSettle = 500 * time.Millisecond
	// healthInterval is how often the health of the stores and topics is looked at.
	healthInterval = time.Second
)

// hub turns the changes of stores and view into numbered events. Numbers begin at a random place for each process, so
// that a revision of another worker is known as such.
type hub struct {
	views *views

	mu         sync.Mutex
	revision   int64 // of the newest event
	events     []restapi.WatchEvent
	connectors map[string]restapi.ConnectorStatus
	cluster    restapi.Cluster
	ready      bool          // the state was read at least once
	changed    chan struct{} // closed and replaced at each change
}

func newHub(v *views) *hub {
	var b [4]byte
	_, _ = rand.Read(b[:])
	// 22 random bits above 30 for the count keep it below 2^53: every JSON reader holds it exactly.
	start := int64(binary.BigEndian.Uint32(b[:])>>10+1) << 30
	return &hub{views: v, revision: start, connectors: map[string]restapi.ConnectorStatus{}, changed: make(chan struct{})}
}

// run follows the stores until ctx ends.
func (h *hub) run(ctx context.Context) {
	b := h.views.backends
	configs, stopConfigs := b.Configs.Watch()
	defer stopConfigs()
	statuses, stopStatuses := b.Statuses.Watch()
	defer stopStatuses()
	members, stopMembers := b.Members.Watch()
	defer stopMembers()
	// Readiness has no channel of its own: it is looked at until it is reached. Nor has the health of the stores.
	poll := time.NewTicker(settle)
	defer poll.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-configs:
		case <-statuses:
		case <-members:
		case <-poll.C:
			if h.isReady() {
				poll.Reset(healthInterval)
				if !h.healthChanged() {
					continue
				}
			}
		}
		begun := time.Now()
		if b.Ready() == nil || h.isReady() {
			h.refresh()
		}
		if service.Sleep(ctx, min(max(settle, restFactor*time.Since(begun)), longestSettle)) != nil {
			return
		}
	}
}

func (h *hub) isReady() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.ready
}

// healthChanged reports whether the stores, the cluster log or the internal topics are in another state than the newest
// event says.
func (h *hub) healthChanged() bool {
	unstored, disputed, warnings := "", "", h.views.backends.warnings()
	if err := h.views.backends.stored(); err != nil {
		unstored = err.Error()
	}
	if err := h.views.backends.disputed(); err != nil {
		disputed = err.Error()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return unstored != h.cluster.StoresNotWritten || disputed != h.cluster.LogDisputed || !slices.Equal(warnings, h.cluster.Warnings)
}

// refresh reads the state and makes an event of each difference.
func (h *hub) refresh() {
	view := h.views.backends.Members.View()
	names := workerNames(view)
	clusterNow := h.views.cluster(view)
	now := map[string]restapi.ConnectorStatus{}
	for _, c := range h.views.backends.Configs.All() {
		now[c.Name] = h.views.status(c, view, names)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for unit := range view.Owners { // a deleted connector is gone when none of its tasks runs any more
		if old, shown := h.connectors[unit.Connector]; shown && now[unit.Connector].Name == "" {
			now[unit.Connector] = old
		}
	}
	if !view.Joined && h.ready { // who is out of the cluster does not know who owns what: the last state stands
		now = h.connectors
	}
	before := h.revision
	if !reflect.DeepEqual(h.cluster, clusterNow) {
		h.cluster = clusterNow
		h.add(restapi.WatchEvent{Type: restapi.EventCluster, Cluster: &clusterNow})
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		status := now[name]
		if old, ok := h.connectors[name]; !ok || !reflect.DeepEqual(old, status) {
			h.add(restapi.WatchEvent{Type: restapi.EventConnector, Name: name, Connector: &status})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(h.connectors)) {
		if _, ok := now[name]; !ok {
			h.add(restapi.WatchEvent{Type: restapi.EventDeleted, Name: name})
		}
	}
	h.connectors = now
	if h.revision != before || !h.ready {
		h.ready = true
		close(h.changed)
		h.changed = make(chan struct{})
	}
}

func (h *hub) add(ev restapi.WatchEvent) {
	h.revision++
	ev.Revision = h.revision
	if len(h.events) == kept {
		h.events = slices.Delete(h.events, 0, kept/4)
	}
	h.events = append(h.events, ev)
}

// snapshot returns the whole state as events, and a channel that is closed at the next change. Not ok before the state
// was read.
func (h *hub) snapshot() (events []restapi.WatchEvent, revision int64, changed <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.ready {
		return nil, 0, h.changed, false
	}
	c := h.cluster
	events = append(events, restapi.WatchEvent{Type: restapi.EventSnapshot}, restapi.WatchEvent{Type: restapi.EventCluster, Cluster: &c})
	for _, name := range slices.Sorted(maps.Keys(h.connectors)) {
		status := h.connectors[name]
		events = append(events, restapi.WatchEvent{Type: restapi.EventConnector, Name: name, Connector: &status})
	}
	for i := range events {
		events[i].Revision = h.revision
	}
	return events, h.revision, h.changed, true
}

// since returns the events after the revision; not ok when it is not one that can be resumed from.
func (h *hub) since(revision int64) (events []restapi.WatchEvent, newest int64, changed <-chan struct{}, ok bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	oldest := h.revision - int64(len(h.events))
	if revision < oldest || revision > h.revision {
		return nil, h.revision, h.changed, false
	}
	return slices.Clone(h.events[revision-oldest:]), h.revision, h.changed, true
}
