package cluster

import (
	"context"
	"errors"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
)

var (
	// ErrNotOwner means the grant was released, or lost with its session.
	ErrNotOwner = errors.New("unit is not owned any more")
	// ErrLeaseOver means no heartbeat came back in time. It may again: Wait for it.
	ErrLeaseOver = errors.New("lease is over")
)

// Gate lets deliveries of one grant start, and ends them.
//
// Invariant C2: nothing is delivered for a unit but through its gate.
type Gate struct {
	cluster *Cluster
	grant   Grant
}

// Gate returns the gate of a grant. It may be asked for before, while and after the grant holds.
func (c *Cluster) Gate(g Grant) *Gate { return &Gate{cluster: c, grant: g} }

// Wait returns nil once a delivery that takes up to need may start. It blocks while the lease is shut for that long,
// and fails with ErrNotOwner when it never will be open again, or with ctx's cause. A need of nine tenths of the
// session timeout or more is never met.
func (g *Gate) Wait(ctx context.Context, need time.Duration) error {
	c := g.cluster
	for {
		c.mu.Lock()
		left, owned := c.machine.Open(c.now(), g.grant)
		signal := c.signal
		c.mu.Unlock()
		switch {
		case !owned:
			return ErrNotOwner
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case left > need:
			return nil
		}
		select {
		case <-signal:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Context returns a context for a delivery. It ends with the cause ErrLeaseOver when the lease does (each heartbeat
// that comes back moves that on), or ErrNotOwner when the grant is lost or given back. The CancelFunc must be called
// when the delivery has ended; one that ends so late that another worker may have begun is counted as an overrun.
func (g *Gate) Context(parent context.Context) (context.Context, context.CancelFunc) {
	c := g.cluster
	ctx, cancel := context.WithCancelCause(parent)
	d := &delivery{grant: g.grant, cancel: cancel}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.deliveries[d] = struct{}{}
	lease := c.machine.Lease()
	d.deadline = lease.Deadline()
	c.enforceOne(d)
	return leased{ctx, g}, func() {
		cancel(context.Canceled)
		c.ended(d)
	}
}

// Until is the end, by CLOCK_BOOTTIME, of the newest lease under which the gate was open; it stays when the grant is
// lost.
//
// Invariant C2: no delivery starts after it.
func (g *Gate) Until() time.Duration {
	c := g.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Until(g.grant)
}

// leased is a delivery's context that reads the clock: a process that was frozen finds it ended on waking, however late
// the timer runs that ends it.
type leased struct {
	context.Context
	gate *Gate
}

// Err is nil while the delivery may go on.
func (l leased) Err() error {
	if err := l.Context.Err(); err != nil {
		return err
	}
	c := l.gate.cluster
	c.mu.Lock()
	defer c.mu.Unlock()
	if left, owned := c.machine.Open(c.now(), l.gate.grant); owned && left > 0 {
		return nil
	}
	c.enforce()
	return l.Context.Err()
}

// delivery is one context that a Gate gave out. The cluster's mu guards it.
type delivery struct {
	grant  Grant
	cancel context.CancelCauseFunc
	// deadline is when another may take over, by the newest lease under which this ran.
	deadline time.Duration
	over     bool
}

// enforce ends deliveries that may not go on. The caller holds mu.
func (c *Cluster) enforce() {
	for d := range c.deliveries {
		c.enforceOne(d)
	}
}

func (c *Cluster) enforceOne(d *delivery) {
	if d.over {
		return
	}
	left, owned := c.machine.Open(c.now(), d.grant)
	switch {
	case !owned:
		d.over = true
		d.cancel(ErrNotOwner)
	case left == 0:
		d.over = true
		d.cancel(ErrLeaseOver)
		c.metrics.shut.Inc()
	default:
		lease := c.machine.Lease()
		d.deadline = lease.Deadline()
	}
}

// ended forgets a delivery, and counts it when it outlived its lease.
func (c *Cluster) ended(d *delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.deliveries[d]; !ok {
		return
	}
	delete(c.deliveries, d)
	lease := c.machine.Lease()
	deadline := d.deadline
	if !d.over {
		deadline = max(deadline, lease.Deadline())
	}
	if late := c.now().Boot - deadline; late > 0 {
		c.metrics.overrun.Inc()
		c.cfg.Log.Info("Counting a delivery that outlived its lease", "connector", d.grant.Unit.Connector, "task", d.grant.Unit.Task,
			"generation", d.grant.Generation, "late", late.String())
	}
}

// leaseTick bounds how late the end of a lease is seen when timers stand still (a host that slept) or clocks part.
const leaseTick = 100 * time.Millisecond

// keepLease ends deliveries when the lease does, until ctx ends.
func (c *Cluster) keepLease(ctx context.Context) {
	for next := leaseTick; service.Sleep(ctx, next) == nil; {
		c.mu.Lock()
		c.enforce()
		lease := c.machine.Lease()
		left := lease.Left(c.now())
		c.mu.Unlock()
		if next = min(left, leaseTick); next == 0 {
			next = leaseTick
		}
	}
}
