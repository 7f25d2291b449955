package book

import (
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/secret/reference"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
	"github.com/rocketmq-connect/operator/worker/states"
)

// Phase is what a worker does with a unit just now.
type Phase int

// The phases. Idle is neither running nor on its way to stop.
const (
	Idle Phase = iota
	Running
	Stopping
)

// Held is what a worker knows of a unit beyond the cluster log: the zero value is a unit that it never ran. One value
// holds it, for what a unit shows, when it is retried and which claims are its own change in the same transitions.
type Held struct {
	// Generation and Epoch are of the ownership that runs, or ran last.
	Generation, Epoch int64
	Phase             Phase
	// Owned says that the last view showed an ownership of this worker's.
	Owned bool
	// Granted is the highest generation that a claim of this worker got. An ownership beyond it is not to be used: its
	// claim is still under way, or was given up, and then the cluster gives the unit back.
	Granted int64
	// Given is the highest generation that was released, or lost, here: it never runs again.
	Given int64
	// Kept says that this worker claimed the unit in place of the session KeptFrom, which should have done so and did not.
	// The unit is not handed over to that one. 0 is a session like any other: that of the log's first join.
	Kept     bool
	KeptFrom int64
	// RestartID is the newest restart request that was carried out.
	RestartID string
	// Attempt counts the starts under one ownership; Started is when the newest one was.
	Attempt int64
	Started time.Time
	// Opened says that the attempt moves records. Finished says that the source has no more of them.
	Opened, Finished bool
	// Problem is why the unit failed, Warning what users should know while it runs. Neither has secrets in it.
	Problem, Warning string
	Retry            Retry

	// used is what its attempt has read by references, at read at the earliest; outdated says that it has to be restarted
	// for that.
	used     reference.Used
	read     time.Time
	outdated bool
	// want is what the last pass wanted of the unit.
	want want
	// refused gives the pauses after claims in a row that got nothing; the next one waits until claimAt.
	refused   backoff.Doubling
	claimAt   time.Time
	releasing bool
}

// State is the state of a unit as users see it.
func (h *Held) State(u Unit) states.Observed {
	switch {
	case h.Problem != "":
		return states.Failed
	case h.want.state == states.WantStopped || h.Finished:
		return states.Stopped
	case h.want.state == states.WantPaused && h.Phase == Idle:
		return states.Paused
	case u.Task == allocate.ConnectorTask || h.Opened:
		return states.Running
	}
	return states.Unassigned
}

// waits says that an idle unit must not be started yet: its back-off is not over, or it has finished.
func (h *Held) waits(now time.Time) bool { return h.Finished || now.Before(h.Retry.Next) }

// refresh notes what the log and the configs say of the unit now.
func (h *Held) refresh(w want, o fold.Owner, mine bool) {
	h.want = w
	h.Owned = mine && o.Generation > h.Given && o.Generation <= h.Granted
	if !h.Owned || h.Phase != Idle {
		return
	}
	if h.Generation != o.Generation || h.Epoch != o.Epoch {
		h.take(o, w)
	}
	if !w.run {
		h.Retry.Next, h.Problem = time.Time{}, "" // a pause ends the wait for a restart
	}
}

// unused says that nothing is known of the unit that somebody may need.
func (h *Held) unused() bool { return h.Phase == Idle && !h.Owned && !h.releasing }

// take notes a new ownership. Failures of another config say nothing about this one.
func (h *Held) take(o fold.Owner, w want) {
	if h.Epoch != o.Epoch {
		h.Retry, h.Problem = Retry{}, ""
	}
	h.Generation, h.Epoch, h.Attempt, h.Finished, h.RestartID = o.Generation, o.Epoch, 0, false, w.restart
}

// grant is the ownership that runs, or ran last.
func (h *Held) grant(u Unit) member.Grant {
	return member.Grant{Unit: u, Generation: h.Generation, Epoch: h.Epoch}
}

// begin notes a start.
func (h *Held) begin(now time.Time) {
	h.Attempt++
	h.Phase, h.Opened, h.Started, h.Warning = Running, false, now, ""
	h.used, h.outdated = nil, false
}

// end notes how an attempt ended.
func (h *Held) end(o Outcome, now time.Time, random float64) {
	killed := h.Phase == Stopping && o.Canceled
	h.Phase, h.Opened, h.Warning = Idle, false, ""
	switch {
	case o.Kind == Done, killed:
	case o.Kind == Finished:
		h.Finished, h.Problem, h.Retry.Next = true, "", time.Time{}
	case o.Kind == Lost:
		h.Given = max(h.Given, h.Generation) // only a new claim starts it again
	case o.Kind == LeaseOver: // the next attempt waits for the lease itself
	default:
		h.Problem = o.Problem
		h.Retry.failed(o.Temporary, now.Sub(h.Started), now, random)
	}
}

// forgive forgets earlier failures, so that the unit may be started at once.
func (h *Held) forgive() {
	h.Finished, h.Problem, h.Retry = false, "", Retry{}
}

const (
	firstClaimDelay   = 200 * time.Millisecond
	longestClaimDelay = 5 * time.Second
)

// claimed notes the outcome of a claim: generation is 0 when it was refused. A refused claim is a record in the log
// like any other, so the next one waits.
func (h *Held) claimed(generation int64, now time.Time) {
	if generation > 0 {
		h.Granted, h.claimAt = max(h.Granted, generation), time.Time{}
		h.refused.Reset()
		return
	}
	h.claimAt = now.Add(h.refused.Next(firstClaimDelay, longestClaimDelay))
}

const (
	firstDelay = time.Second
	// longestDelay bounds the wait for the next start of a failed task, longestReconnect that of one whose other system,
	// or RocketMQ, was not reachable: such outages are short more often than broken configs are.
	longestDelay     = time.Minute
	longestReconnect = 15 * time.Second
	// healthyAfter is how long an attempt has to run for its failure to count as the first one.
	healthyAfter = 10 * time.Minute
	delayJitter  = 0.2
)

// Retry is when a failed unit is started again: 1 s after the first failure, twice as long after each further one.
type Retry struct {
	// Restarts counts the failures under one config; Next is zero while the unit does not wait.
	Restarts int
	Next     time.Time

	delays backoff.Doubling // since an attempt was healthy
}

// failed notes a failure after the unit had run for so long; random is in [0, 1).
func (r *Retry) failed(temporary bool, ran time.Duration, now time.Time, random float64) {
	if ran >= healthyAfter {
		r.delays.Reset()
	}
	delay := r.delays.Next(firstDelay, longestDelay)
	if temporary {
		delay = min(delay, longestReconnect)
	}
	r.Restarts++
	r.Next = now.Add(time.Duration(float64(delay) * (1 - delayJitter + 2*delayJitter*random)))
}
