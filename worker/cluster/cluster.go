// Package cluster tells a worker who is alive and who owns what, through one ordered log. The decisions are made by a
// pure fold over that log (package fold) and by a machine without goroutines (package member); here is the loop around
// them.
package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

var (
	// ErrStopped means the cluster's service does not run (any more).
	ErrStopped = errors.New("cluster service is not running")
	// ErrSessionLost means this worker's session ended while the call waited. A new one is being joined.
	ErrSessionLost = member.ErrSessionLost
	// ErrDuplicate means another live worker has this worker's id.
	ErrDuplicate = member.ErrDuplicate
	// ErrDigest means most other workers made something else of the log than this one, also after it read it again.
	ErrDigest = member.ErrDigest
)

// Cluster is a worker's part in the cluster. Make one with New; it works while its Service runs.
//
// One value holds it all, because its parts are one member.Machine under one mutex: what is read steps it, what it
// decides is sent, and every question that others ask is answered from the same step. What decides is in fold and
// member.
type Cluster struct {
	cfg     Config
	open    func(ctx context.Context) (Log, error)
	metrics *metrics
	view    atomic.Pointer[View]
	kick    chan struct{} // wakes the loop to send what was asked for

	// Set by Start, before anything else runs; the log again under mu when its topic was deleted.
	store *storeLock
	log   Log
	from  int64 // where the log begins when the fold is empty

	mu         sync.Mutex
	machine    *member.Machine
	running    bool
	signal     chan struct{} // closed and replaced when what waiters look at may have changed
	revision   int64
	viewed     *fold.Fold // the fold that revision is of
	silent     []int64    // those who were silent in that view
	rereads    member.Rereads
	mismatches int64 // those that were told
	watchers   map[chan struct{}]struct{}
	deliveries map[*delivery]struct{}

	strays, dissents   service.Seldom // records that no worker wrote; heartbeats with another digest
	opening, appending rmq.Failing    // opening and reading the log from its start; appending to it
}

// New checks cfg. open opens the log once Start runs, and again until it succeeds.
func New(cfg Config, open func(ctx context.Context) (Log, error)) (*Cluster, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	c := &Cluster{
		cfg: cfg, open: open, kick: make(chan struct{}, 1), signal: make(chan struct{}), watchers: map[chan struct{}]struct{}{},
		deliveries: map[*delivery]struct{}{}, strays: service.Seldom{Every: strayPeriod}, dissents: service.Seldom{Every: strayPeriod},
	}
	c.machine = c.newMachine(nil)
	c.view.Store(c.machine.View())
	c.metrics = newMetrics(cfg.Registerer, c)
	return c, nil
}

func (c *Cluster) newMachine(proof *fold.Proof) *member.Machine {
	m := member.New(member.Config{
		Cluster:     c.cfg.ClusterID,
		Stores:      c.cfg.Stores,
		Worker:      c.cfg.WorkerID,
		Address:     c.cfg.Address,
		Version:     c.cfg.Version,
		Incarnation: randomID(),
		Proof:       proof,
		Terms:       c.cfg.terms(),
	})
	m.Restart(c.now(), fold.New())
	return m
}

// Service joins the cluster (Start waits while an older session has the same worker id), keeps the session and the view
// (Run), and leaves (Stop). Whatever was granted must have ended and been released before Stop.
func (c *Cluster) Service() service.Service {
	return service.Service{Name: "cluster", Start: c.start, Run: c.run, Stop: c.stop}
}

// Claim asks for units and returns what the log granted, which may be nothing, once its record was read back. It fails
// with ErrSessionLost, ErrStopped, or ctx's error; what is granted after that is released by itself.
func (c *Cluster) Claim(ctx context.Context, reqs []ClaimRequest) ([]Grant, error) {
	if len(reqs) == 0 {
		return nil, nil
	}
	c.mu.Lock()
	request := c.machine.Claim(reqs)
	c.mu.Unlock()
	c.wake()
	var granted []Grant
	err := c.await(ctx, func() (bool, error) {
		var done bool
		var err error
		granted, done, err = c.machine.Claimed(request)
		return done, err
	})
	if err != nil {
		c.mu.Lock()
		c.machine.Abandon(request)
		c.mu.Unlock()
		c.wake()
		return nil, fmt.Errorf("claiming %d units: %w", len(reqs), err)
	}
	return granted, nil
}

// Release gives grants back and returns once the log shows it. Their gates are shut from here on, and the records are
// repeated until read back also after ctx has ended.
func (c *Cluster) Release(ctx context.Context, grants []Grant) error {
	c.mu.Lock()
	c.machine.Release(grants)
	c.publish()
	c.mu.Unlock()
	c.wake()
	err := c.await(ctx, func() (bool, error) {
		for _, g := range grants {
			if c.machine.Releasing(g) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("releasing %d units: %w", len(grants), err)
	}
	return nil
}

// await calls done, holding mu, until it reports true or fails.
func (c *Cluster) await(ctx context.Context, done func() (bool, error)) error {
	for {
		c.mu.Lock()
		ok, err := done()
		running, signal := c.running, c.signal
		c.mu.Unlock()
		switch {
		case ok || err != nil:
			return err
		case !running:
			return ErrStopped
		}
		select {
		case <-signal:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// wake makes the loop look for something to send.
func (c *Cluster) wake() { service.Signal(c.kick) }

func (c *Cluster) setRunning(running bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.running = running
	c.publish()
}

// Lapsed reports whether the lease is over, and if so when the newest heartbeat was sent that has come back: what the
// view says may be out of date, and nothing is delivered, until one comes back again. The time is zero without any.
func (c *Cluster) Lapsed() (since time.Time, lapsed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	lease := c.machine.Lease()
	if lease.Left(c.now()) > 0 {
		return time.Time{}, false
	}
	if sent, ok := lease.Sent(); ok {
		since = time.Unix(0, int64(sent.Wall))
	}
	return since, true
}

// Trouble says what keeps this worker from writing or reading the cluster log, if anything does.
func (c *Cluster) Trouble() (rmq.Trouble, bool) {
	for _, f := range []*rmq.Failing{&c.opening, &c.appending} {
		if t, _, ok := f.Trouble(); ok {
			return t, true
		}
	}
	c.mu.Lock()
	log, ok := c.log.(interface{ Unread() (rmq.Trouble, bool) })
	c.mu.Unlock()
	if !ok {
		return rmq.Trouble{}, false
	}
	return log.Unread()
}

// Disputed returns a heartbeat of those who contradict this worker's fold of the cluster log, while as many do as agree
// with it: nobody can tell who is wrong, and no unit is claimed until most workers agree.
func (c *Cluster) Disputed() (fold.Dissent, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.machine.Disputed()
}

// leaseTimes is the age of the lease and what is left of it.
func (c *Cluster) leaseTimes() (age, left time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, lease := c.now(), c.machine.Lease()
	if sent, ok := lease.Sent(); ok {
		age = now.Boot - sent.Boot
	}
	return age, lease.Left(now)
}
