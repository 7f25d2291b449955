package connector

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// accepted is the last call that the workers accepted for an object.
type accepted struct {
	uid      types.UID
	sum      string
	revision int64
	// session is the feed's at the time of the call, reported whether the workers have shown the connector since.
	session  int
	reported bool
}

// memory holds what was accepted, so that objects which are as they should be cost no call. It may be lost: then each
// object costs one call that changes nothing.
type memory struct {
	mu   sync.Mutex
	last map[types.NamespacedName]accepted
}

func newMemory() *memory { return &memory{last: map[types.NamespacedName]accepted{}} }

func (m *memory) remember(key types.NamespacedName, a accepted) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last[key] = a
}

func (m *memory) forget(key types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.last, key)
}

type comparison int

const (
	differs comparison = iota
	inSync
	// notReported means that the workers accepted it and their report does not show it yet.
	notReported
)

// compare says whether the workers hold what the object asks for. A report of another session may come from a worker,
// or a log, that knows nothing of what was accepted before.
func (m *memory) compare(key types.NamespacedName, uid types.UID, sum string, view feed.ConnectorView) comparison {
	m.mu.Lock()
	defer m.mu.Unlock()
	a, ok := m.last[key]
	if !ok || a.uid != uid || a.sum != sum {
		return differs
	}
	switch {
	case view.Status != nil && view.Status.Revision == a.revision:
		a.reported, a.session = true, view.Session
		m.last[key] = a
		return inSync
	case view.Session != a.session, a.reported, view.Status != nil && view.Status.Revision > a.revision:
		return differs
	}
	return notReported
}

// hash is a digest of class, tasks and config, not of the state.
func hash(c restapi.Connector) string {
	h := sha256.New()
	fmt.Fprintf(h, "%q %d", c.Class, c.MaxTasks)
	for _, key := range slices.Sorted(maps.Keys(c.Config)) {
		fmt.Fprintf(h, " %q=%q", key, c.Config[key])
	}
	return hex.EncodeToString(h.Sum(nil)[:8])
}
