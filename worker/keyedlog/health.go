package keyedlog

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// stale is how long a failure counts when nobody retries: whoever waited for it has left, and the topic may be well.
const stale = 10 * time.Second

// health is what goes wrong with a Table's topic.
type health struct {
	loading, appending, tailing rmq.Failing
	sending                     atomic.Bool // somebody waits for an append
}

// ErrNotReadBack means that records which the broker confirmed have not come back.
var ErrNotReadBack = errors.New("records that the broker has confirmed cannot be read back")

// Trouble says what has kept the Table for the longest time from reading its topic or from storing records in it; not
// ok if nothing does, or if nothing is known, for nobody stores anything.
func (t *Table) Trouble() (rmq.Trouble, bool) {
	now := time.Now()
	var worst rmq.Trouble
	add := func(found rmq.Trouble) {
		if worst.Err == nil || found.Since.Before(worst.Since) {
			worst = found
		}
	}
	if found, _, ok := t.health.loading.Trouble(); ok {
		add(found)
	}
	if found, newest, ok := t.health.appending.Trouble(); ok {
		switch sending := t.health.sending.Load(); {
		case sending || now.Sub(newest) < stale:
			add(found)
		default:
			t.health.appending.Worked()
		}
	}
	if found, newest, ok := t.health.tailing.Trouble(); ok && now.Sub(newest) < stale {
		add(found)
	}
	if log, ok := t.current().(interface{ Unread() (rmq.Trouble, bool) }); ok {
		if found, ok := log.Unread(); ok {
			add(found)
		}
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for _, w := range t.waiters {
		if worst.Err == nil || w.since.Before(worst.Since) {
			worst = rmq.Trouble{Since: w.since, Alike: w.since, Err: ErrNotReadBack}
		}
	}
	return worst, worst.Err != nil
}
