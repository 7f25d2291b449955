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
)

// keep follows the log until ctx ends or done reports true, starting over from a fresh fold when the log was truncated.
// After an error this worker's part is over, and nothing is delivered any more.
func (c *Cluster) keep(ctx context.Context, done func() bool) error {
	for {
		err := c.follow(ctx, done)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			return nil
		case errors.Is(err, member.ErrDigest):
		case !lostLog(err) && !errors.Is(err, fold.ErrGap) && !errors.Is(err, member.ErrOtherLog):
			c.shut()
			return fmt.Errorf("following the cluster log: %w", err)
		}
		how := member.FromSnapshot
		if errors.Is(err, member.ErrDigest) {
			how = c.rereads.Next(c.now())
		}
		if how == member.NoMore {
			c.shut()
			return fmt.Errorf("following the cluster log: it was read again from a snapshot and from its start, and %w; "+
				"run one version on all workers, and look for bad memory on this machine", err)
		}
		c.cfg.Log.Info("Reading the cluster log again and rejoining", "fromStart", how == member.FromStart, "error", err.Error())
		if err := c.startOver(ctx, err, how); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			c.shut()
			return err
		}
		c.mu.Lock()
		c.machine.Resumed(c.now())
		c.mu.Unlock()
		if service.Sleep(ctx, c.cfg.HeartbeatInterval) != nil {
			return nil
		}
	}
}

// lostLog reports that the log does not hold what was read of it, or is gone as a whole.
func lostLog(err error) bool {
	return errors.Is(err, rmq.ErrTruncated) || errors.Is(err, rmq.ErrTopicNotFound)
}

// startOver restarts on the log as it is now, and recreates the topic if it was deleted.
//
// Invariant C4: gates are shut before anything else, for the log can no longer tell who owns what.
//
// Invariant C2: reading it may take long, and nobody enforces leases meanwhile: nothing may run under the old session
// any more.
func (c *Cluster) startOver(ctx context.Context, why error, how member.Reread) error {
	c.mu.Lock()
	c.machine.GiveUp(c.now())
	c.publish()
	c.mu.Unlock()
	if errors.Is(why, rmq.ErrTopicNotFound) {
		log, err := c.openLog(ctx)
		if err != nil {
			return err
		}
		c.mu.Lock()
		c.log = log
		c.mu.Unlock()
	}
	return c.restart(ctx, how)
}

// shut ends every delivery for good. The session stays in the log until Stop's leave, or until it expires.
func (c *Cluster) shut() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.machine.Shut()
	c.publish()
}

// turn is one run of the loop: the goroutines around the machine and what they report.
type turn struct {
	c       *Cluster
	group   service.Group
	entries chan rmq.Entry
	tailed  chan error
	results chan result
	timer   *time.Timer
	failing bool // the newest append failed
}

type result struct {
	id  int64
	err error
}

// maxSteps bounds how many entries are folded before anything else is looked at.
const maxSteps = 256

func (c *Cluster) follow(ctx context.Context, done func() bool) error {
	ctx, cancel := context.WithCancel(ctx)
	t := &turn{
		c:       c,
		entries: make(chan rmq.Entry, maxSteps),
		tailed:  make(chan error, 1),
		results: make(chan result, 1),
		timer:   time.NewTimer(0),
	}
	c.mu.Lock()
	c.machine.Prove()
	c.mu.Unlock()
	c.setRunning(true)
	defer t.end(cancel)
	t.group.Go(func() { c.keepLease(ctx) })
	t.tail(ctx)
	for !done() {
		if err := t.send(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case e := <-t.entries:
			if err := t.step(e); err != nil {
				return err
			}
		case err := <-t.tailed:
			if err != nil {
				return err
			}
		case r := <-t.results:
			t.appended(r)
		case <-c.kick:
		case <-t.timer.C:
		}
	}
	return nil
}

// end stops the turn's goroutines. An append that was cut off counts as failed: it may be stored all the same.
func (t *turn) end(cancel context.CancelFunc) {
	cancel()
	t.timer.Stop()
	t.group.Wait()
	select {
	case r := <-t.results:
		t.appended(r)
	default:
	}
	t.c.setRunning(false)
}

// tail reads the log into entries from the last one that was folded on, which proves that it still is there, until ctx
// ends or retrying does not help.
func (t *turn) tail(ctx context.Context) {
	c := t.c
	c.mu.Lock()
	from := max(c.machine.Fold().Offset(), c.from)
	c.mu.Unlock()
	hand := func(e rmq.Entry) error {
		select {
		case t.entries <- e:
			from = max(from, e.Offset)
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	t.group.Go(func() {
		var lost error
		err := c.retry(ctx, "tailing the cluster log", func() error {
			err := c.log.Follow(ctx, from, from, hand)
			switch {
			case lostLog(err):
				lost = err
				return nil
			case err == nil:
				return errTailEnded
			}
			return err
		})
		t.tailed <- errors.Join(lost, err)
	})
}

var errTailEnded = errors.New("the tail of the log ended")

// step folds an entry and those that are there already, then shows what came of it.
func (t *turn) step(e rmq.Entry) error {
	c := t.c
	c.mu.Lock()
	defer c.mu.Unlock()
	defer c.publish()
	for steps := 0; ; steps++ {
		out, err := c.stepOne(e)
		c.report(out)
		if err != nil || steps == maxSteps {
			return err
		}
		select {
		case e = <-t.entries:
		default:
			return nil
		}
	}
}

// stepOne folds one entry. The caller holds mu.
func (c *Cluster) stepOne(e rmq.Entry) (fold.Outcome, error) {
	before, now := c.machine.Lease(), c.now()
	out, err := c.machine.Step(now, e)
	c.tellMismatch()
	after := c.machine.Lease()
	was, had := before.Sent()
	if is, has := after.Sent(); had && has && is != was {
		c.metrics.renewed.Observe((now.Boot - was.Boot).Seconds())
	}
	return out, err
}

// report counts and logs what an entry did.
func (c *Cluster) report(out fold.Outcome) {
	if out.Reason == fold.OtherLog {
		c.cfg.Log.Info("Ignoring a record that was written on entries which the cluster log does not hold", "kind", out.Record.Kind,
			"offset", out.Offset, "session", out.Record.Session, "asOf", out.Record.AsOf)
	}
	if out.Reason != fold.Accepted {
		c.metrics.ignored.WithLabelValues(string(out.Reason)).Inc()
		if out.Reason == fold.Malformed || out.Reason == fold.Foreign {
			if untold, ok := c.strays.Pass(time.Now()); ok {
				c.cfg.Log.Info(
					"Ignoring a record of the cluster log that no worker of this version writes",
					"reason",
					out.Reason,
					"offset",
					out.Offset,
					"untold",
					untold,
				)
			}
		}
	}
	for _, ev := range out.Events {
		switch ev.Kind {
		case fold.Joined, fold.Left, fold.Superseded:
			c.cfg.Log.Info("Following a change of the cluster", "what", ev.Kind, "worker", ev.Worker, "session", ev.Session)
		case fold.Expired:
			c.metrics.expired.Inc()
			c.cfg.Log.Info("Following a change of the cluster", "what", ev.Kind, "worker", ev.Worker, "session", ev.Session)
		default:
			c.cfg.Log.V(1).Info("Following a change of ownership", "what", ev.Kind, "connector", ev.Unit.Connector, "task", ev.Unit.Task,
				"session", ev.Session, "generation", ev.Generation, "epoch", ev.Epoch, "reason", ev.Reason)
		}
	}
}

// tellMismatch logs a heartbeat whose writer made something else of the log. The caller holds mu.
func (c *Cluster) tellMismatch() {
	count, d := c.machine.Mismatches()
	if count == c.mismatches {
		return
	}
	c.mismatches = count
	if untold, ok := c.dissents.Pass(time.Now()); ok {
		c.cfg.Log.Info("Counting a heartbeat whose writer made something else of the cluster log", "worker", d.Worker, "session", d.Session,
			"offset", d.Offset, "theirs", d.Theirs, "mine", d.Mine, "untold", untold)
	}
}

// strayPeriod is how often records are logged that no worker wrote: whoever writes them may write many.
const strayPeriod = 10 * time.Second

// send starts the append that is due, if any, and sets the timer for the next.
func (t *turn) send(ctx context.Context) error {
	c := t.c
	c.mu.Lock()
	now := c.now()
	batch, ok, err := c.machine.Ready(now)
	due, timed := c.machine.Due()
	c.mu.Unlock()
	if err != nil {
		return err
	}
	if ok {
		t.group.Go(func() { t.results <- result{batch.ID, c.append(ctx, batch.Entries)} })
	}
	// Not later than in an interval, for this timer stands still while the host sleeps.
	pause := c.cfg.HeartbeatInterval
	if timed {
		pause = min(pause, max(due-now.Boot, time.Millisecond))
	}
	t.timer.Reset(pause)
	return nil
}

func (t *turn) appended(r result) {
	c := t.c
	c.mu.Lock()
	c.machine.Appended(c.now(), r.id, r.err)
	c.mu.Unlock()
	label := "ok"
	if r.err != nil {
		label = "error"
	}
	c.metrics.appends.WithLabelValues(label).Inc()
	if errors.Is(r.err, context.Canceled) {
		return // cut off by this turn's end
	}
	if failing := r.err != nil; failing != t.failing {
		t.failing = failing
		if failing {
			c.cfg.Log.Info("Retrying, for the cluster log took no record", "error", r.err.Error())
		} else {
			c.cfg.Log.Info("Going on, for the cluster log takes records again")
		}
	}
}
