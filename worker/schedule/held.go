package schedule

import (
	"context"
	"errors"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// held is what this worker has of one unit. The Scheduler's lock guards it.
type held struct {
	unit  Unit
	phase Phase
	// grant is the ownership that runs, or ran last; owned says that the last view showed one for this worker.
	grant cluster.Grant
	owned bool
	// want is what the last pass wanted of the unit.
	want want
	// stop asks the attempt to drain, kill ends it.
	stop, kill context.CancelFunc
	attempt    int64
	opened     bool
	started    time.Time
	// finished says that the source has no more records.
	finished bool
	problem  string // why it failed, without secrets
	warning  string // what users should know while it runs, without secrets
	retry    retry
	// used is what its attempt has read by references, at read at the earliest; outdated says that it has to be started anew for that.
	used     secret.Used
	read     time.Time
	outdated bool
	granted  int64
	given    int64
	// refused counts claims in a row that got nothing; the next one waits until claimAt.
	refused    int
	claimAt    time.Time
	releasing  bool
	kept       bool // for lack of a claim by the session keptFrom
	keptFrom   int64
	restartID  string
	lastStatus store.Status
}

// The states of a unit, as store.Status has them.
const (
	stateRunning    = "Running"
	statePaused     = "Paused"
	stateStopped    = "Stopped"
	stateFailed     = "Failed"
	stateUnassigned = "Unassigned"
)

// state is the unit's state as users see it.
func (h *held) state() string {
	switch {
	case h.problem != "":
		return stateFailed
	case h.want.state == store.Stopped || h.finished:
		return stateStopped
	case h.want.state == store.Paused && h.phase == Idle:
		return statePaused
	case h.unit.Task == allocate.ConnectorTask || h.opened:
		return stateRunning
	}
	return stateUnassigned
}

// view is the unit as Plan sees it.
func (h *held) view(now time.Time) Held {
	return Held{Generation: h.grant.Generation, Phase: h.phase, Waiting: h.finished || now.Before(h.retry.next),
		Granted: h.granted, Given: h.given, Kept: h.kept, KeptFrom: h.keptFrom, RestartID: h.restartID}
}

// refresh notes what the log and the configs say of the unit now.
func (h *held) refresh(w want, o cluster.Owner, mine bool) {
	h.want = w
	h.owned = mine && o.Generation > h.given && o.Generation <= h.granted
	if !h.owned || h.phase != Idle {
		return
	}
	if g := (cluster.Grant{Unit: h.unit, Generation: o.Generation, Epoch: o.Epoch}); h.grant != g {
		h.take(g, w)
	}
	if !w.run {
		h.retry.next, h.problem = time.Time{}, "" // a pause ends the wait for a restart
	}
}

// unused says that nothing is known of the unit that somebody may need.
func (h *held) unused() bool { return h.phase == Idle && !h.owned && !h.releasing }

// take notes a new ownership. Failures of another config say nothing about this one.
func (h *held) take(g cluster.Grant, w want) {
	if h.grant.Epoch != g.Epoch {
		h.retry, h.problem = retry{}, ""
	}
	h.grant, h.attempt, h.finished, h.restartID = g, 0, false, w.restart
}

// begin notes a start.
func (h *held) begin(now time.Time) {
	h.attempt++
	h.phase, h.opened, h.started, h.warning = Running, false, now, ""
	h.used, h.outdated = nil, false
}

// end notes how an attempt ended.
func (h *held) end(err error, scrub func(string) string, now time.Time, random float64) {
	killed := h.phase == Stopping && errors.Is(err, context.Canceled)
	h.phase, h.opened, h.warning = Idle, false, ""
	h.stop, h.kill = nil, nil
	switch {
	case err == nil, killed:
	case errors.Is(err, connector.ErrEndOfSource):
		h.finished, h.problem, h.retry.next = true, "", time.Time{}
	case errors.Is(err, task.ErrLost), errors.Is(err, store.ErrFenced):
		h.given = max(h.given, h.grant.Generation) // only a new claim starts it again
	case errors.Is(err, task.ErrLeaseOver): // the next attempt waits for the lease itself
	default:
		h.problem = scrub(err.Error())
		h.retry.failed(err, now.Sub(h.started), now, random)
	}
}

// forgive forgets earlier failures, so that the unit may be started at once.
func (h *held) forgive() {
	h.finished, h.problem, h.retry = false, "", retry{}
}

const (
	firstClaimDelay   = 200 * time.Millisecond
	longestClaimDelay = 5 * time.Second
)

// claimed notes the outcome of a claim: generation is 0 when it was refused. A refused claim is a record in the log like any
// other, so the next one waits.
func (h *held) claimed(generation int64, now time.Time) {
	if generation > 0 {
		h.granted, h.refused, h.claimAt = max(h.granted, generation), 0, time.Time{}
		return
	}
	h.claimAt = now.Add(min(firstClaimDelay<<min(h.refused, 8), longestClaimDelay))
	h.refused++
}

const (
	firstDelay = time.Second
	// longestDelay bounds the wait for the next start of a failed task, longestReconnect that of one whose other system, or
	// RocketMQ, was not reachable: such outages are short more often than broken configs are.
	longestDelay     = time.Minute
	longestReconnect = 15 * time.Second
	// healthyAfter is how long an attempt has to run for its failure to count as the first one.
	healthyAfter = 10 * time.Minute
	delayJitter  = 0.2
)

// retry is when a failed unit is started again: 1 s after the first failure, twice as long after each further one.
type retry struct {
	failures int
	restarts int
	next     time.Time
}

// failed notes a failure after the unit had run for so long; random is in [0, 1).
func (r *retry) failed(err error, ran time.Duration, now time.Time, random float64) {
	if ran >= healthyAfter {
		r.failures = 0
	}
	longest := longestDelay
	if task.Temporary(err) {
		longest = longestReconnect
	}
	delay := min(firstDelay<<min(r.failures, 16), longest)
	r.failures++
	r.restarts++
	r.next = now.Add(time.Duration(float64(delay) * (1 - delayJitter + 2*delayJitter*random)))
}
