package cluster

import (
	"slices"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Unit is a connector or one of its tasks.
type Unit = allocate.Unit

// Owner is who owns a unit: a session, never a worker id.
type Owner = fold.Owner

// ClaimRequest asks for a unit at an epoch of its connector; Above is the highest generation of it that is known.
type ClaimRequest = member.ClaimRequest

// Grant is one ownership of a unit.
type Grant = member.Grant

// Member is a live session.
type Member = member.Member

// View is what the log says up to an offset. It is immutable: callers must not modify its maps and slices.
type View = member.View

// View returns the newest view.
func (c *Cluster) View() View { return *c.view.Load() }

// Watch returns a channel that holds a notification after the view has changed, one however often it did. The first is
// there at once. stop ends it.
func (c *Cluster) Watch() (changed <-chan struct{}, stop func()) {
	ch := make(chan struct{}, 1)
	ch <- struct{}{}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.watchers[ch] = struct{}{}
	return ch, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, ch)
	}
}

// publish makes what the machine has folded visible, ends deliveries that may not go on, and wakes who waits. The
// caller holds mu.
func (c *Cluster) publish() {
	session, joined := c.machine.Session()
	old := c.view.Load()
	revision := c.machine.Fold().Revision()
	silent := c.machine.Silent()
	if revision != c.revision || c.machine.Fold() != c.viewed || joined != old.Joined || session != old.Self ||
		!slices.Equal(silent, c.silent) {
		c.revision, c.viewed, c.silent = revision, c.machine.Fold(), silent
		c.view.Store(c.machine.View())
		for ch := range c.watchers {
			service.Signal(ch)
		}
	} else if offset := c.machine.Fold().Offset(); offset != old.Offset {
		v := *old
		v.Offset = offset
		c.view.Store(&v)
	}
	c.enforce()
	close(c.signal)
	c.signal = make(chan struct{})
}
