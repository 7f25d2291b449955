package cluster

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// start locks the store directory, opens the log, and joins.
func (c *Cluster) start(ctx context.Context) (err error) {
	if c.store, err = lockStore(c.cfg.StoreDir); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.store.close())
		}
	}()
	log, err := c.openLog(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.log = log
	c.machine = c.newMachine(c.store.proof)
	c.mu.Unlock()
	if err := c.restart(ctx, member.FromSnapshot); err != nil {
		return err
	}
	c.cfg.Log.Info("Joining the cluster", "worker", c.cfg.WorkerID, "provesRestart", c.store.proof != nil)
	joined := func() bool { return c.view.Load().Joined }
	if err := c.keep(ctx, joined); err != nil {
		return err
	}
	if !joined() {
		return fmt.Errorf("joining the cluster: %w", context.Cause(ctx))
	}
	return nil
}

// run keeps the session until ctx ends.
func (c *Cluster) run(ctx context.Context) error {
	return c.keep(ctx, func() bool { return false })
}

// stop ends the session. Nothing may run under its grants any more: everything becomes free at once.
func (c *Cluster) stop(ctx context.Context) error {
	c.mu.Lock()
	lease := c.machine.Lease()
	leave, ok, err := c.machine.Leave()
	c.publish()
	c.mu.Unlock()
	if ok && err == nil {
		c.cfg.Log.Info("Leaving the cluster", "worker", c.cfg.WorkerID)
		c.leave(ctx, leave, lease)
	}
	return errors.Join(err, c.store.close())
}

// lastWord is how long a worker whose lease is over tries to leave.
const lastWord = time.Second

// leave repeats the record until it is stored; a repeated one does nothing. It goes on for as long as the lease runs:
// after that the others expire the session without it.
func (c *Cluster) leave(ctx context.Context, e rmq.Entry, lease member.Lease) {
	ctx, cancel := context.WithTimeout(ctx, max(lease.Left(c.now()), lastWord))
	defer cancel()
	for {
		err := c.write(ctx, []rmq.Entry{e})
		if err == nil {
			return
		}
		if lease.Left(c.now()) == 0 || service.Sleep(ctx, c.cfg.HeartbeatInterval) != nil {
			c.cfg.Log.Info(
				"Going without having left, for the cluster log takes no record: the other workers take over once the session has expired",
				"sessionTimeout",
				c.cfg.SessionTimeout.String(),
				"error",
				err.Error(),
			)
			return
		}
	}
}

// append appends within the send time-out: a newer heartbeat is worth more than the answer to an old one.
func (c *Cluster) append(ctx context.Context, entries []rmq.Entry) error {
	ctx, cancel := context.WithTimeout(ctx, c.cfg.SendTimeout)
	defer cancel()
	began := time.Now()
	err := c.write(ctx, entries)
	switch {
	case err == nil:
		c.appending.Worked()
	case !errors.Is(err, context.Canceled):
		c.appending.Failed(began, err)
	}
	return err
}

// write appends. What the broker stored and no slave confirmed is in the log as everybody reads it, and C4 is for the
// case that it is lost.
func (c *Cluster) write(ctx context.Context, entries []rmq.Entry) error {
	_, err := c.log.Append(ctx, entries...)
	if errors.Is(err, rmq.ErrUnconfirmed) {
		return nil
	}
	return err
}

const (
	// firstRetry is the pause before the first retry of what does not work at the moment: often a connection that was just
	// lost, while all tasks wait.
	firstRetry = 50 * time.Millisecond
	// lastRetry is the longest one.
	lastRetry = time.Second
)

// openLog opens the log, and retries for as long as that may help.
func (c *Cluster) openLog(ctx context.Context) (Log, error) {
	var log Log
	err := c.retry(ctx, "opening the cluster log", c.noted(func() (err error) {
		log, err = c.open(ctx)
		return err
	}))
	return log, err
}

// noted is fn whose failures Trouble tells.
func (c *Cluster) noted(fn func() error) func() error {
	return func() error {
		began := time.Now()
		err := fn()
		if err != nil {
			c.opening.Failed(began, err)
		} else {
			c.opening.Worked()
		}
		return err
	}
}

// retry calls fn until it succeeds, ctx ends, or the error is one that only a person can cure. What recurs is logged
// once.
func (c *Cluster) retry(ctx context.Context, what string, fn func() error) error {
	last := ""
	var pause backoff.Doubling
	for {
		err := fn()
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case isPermanent(err):
			return fmt.Errorf("%s: %w", what, err)
		}
		if err.Error() != last {
			last = err.Error()
			c.cfg.Log.Info("Waiting to retry", "what", what, "error", last)
		}
		if err := service.Sleep(ctx, pause.Next(firstRetry, lastRetry)); err != nil {
			return err
		}
	}
}

// isPermanent does not hold for a refusal of access: somebody may grant it meanwhile.
func isPermanent(err error) bool {
	return errors.Is(err, rmq.ErrTopicShape) || errors.Is(err, rmq.ErrClosed)
}

// restart gives up what is held and makes the fold again from the log.
func (c *Cluster) restart(ctx context.Context, how member.Reread) error {
	var f *fold.Fold
	left := silence{patience: c.cfg.SessionTimeout}
	err := c.retry(ctx, "reading the cluster log", c.noted(func() (err error) {
		f, c.from, err = bootstrap(ctx, c.log, c.cfg.WorkerID, how, func(a ancients) bool { return left.over(c.now().Boot, a) })
		return err
	}))
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machine.Restart(c.now(), f)
	c.publish()
	return nil
}

// firstWindow is how many entries before the end are searched for a snapshot at first: a few snapshots' worth.
const firstWindow = 4096

// errNoSnapshot means that workers are alive of which the log does not tell any more what they own.
var errNoSnapshot = errors.New("the first records have aged out, and no snapshot is there yet: waiting for the oldest worker to write one")

// ancients is what a log says of sessions whose join has aged out: newest is the offset of their newest record, -1
// without any, timeout the longest session time-out among them.
type ancients struct {
	newest  int64
	timeout time.Duration
}

// add notes a record of a log that begins at first.
func (a *ancients) add(e rmq.Entry, first int64) {
	r, err := fold.Decode(e)
	if err != nil || r.Kind == fold.Join || r.Kind == fold.Expire || r.Session >= first {
		return
	}
	a.newest = e.Offset
	if r.Terms != nil {
		a.timeout = max(a.timeout, r.Terms.Timeout())
	}
}

// silence is for how long the ancients have written nothing, by this worker's clock.
type silence struct {
	patience time.Duration
	newest   int64
	since    time.Duration
}

// over reports whether there are none, or none has written for longer than its session may last.
func (s *silence) over(now time.Duration, a ancients) bool {
	if a.newest < 0 {
		return true
	}
	if s.since == 0 || s.newest != a.newest {
		s.newest, s.since = a.newest, now
	}
	return now-s.since > max(s.patience, a.timeout)
}

// bootstrap returns the fold of the newest complete snapshot, or the empty fold, and the offset to read on from. Where
// the log's start has aged out, FromStart is FromSnapshot; where no snapshot is there then, ended says whether those
// who wrote what is left are gone.
//
// Invariant C1: nobody folds from the middle of a log that others have folded from its start.
func bootstrap(ctx context.Context, log Log, worker string, how member.Reread, ended func(ancients) bool) (*fold.Fold, int64, error) {
	first, end, err := log.Bounds(ctx)
	if err != nil {
		return nil, 0, err
	}
	if how == member.FromStart && first == 0 {
		return fold.New(), 0, nil
	}
	for window := int64(firstWindow); ; window *= 4 {
		from := max(first, end-window)
		var found fold.Snapshots
		left := ancients{newest: -1}
		_, err := log.Read(ctx, from, func(e rmq.Entry) error {
			found.Add(e)
			left.add(e, first)
			return nil
		})
		if err != nil {
			return nil, 0, err
		}
		// A snapshot whose next entry has aged out leads nowhere.
		if f := found.Newest(worker); f != nil && f.Offset()+1 >= first {
			return f, max(f.Offset(), first), nil
		}
		if from > first {
			continue
		}
		if f := found.Unconfirmed(); first > 0 && f != nil && f.Offset()+1 >= first {
			return f, max(f.Offset(), first), nil
		}
		if !ended(left) {
			return nil, 0, errNoSnapshot
		}
		return fold.New(), first, nil
	}
}
