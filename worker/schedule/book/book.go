// Package book decides what a worker does with the units of connectors: what it claims, starts, stops and gives back,
// and what their users see. It has no goroutine, no lock, no clock and no IO, so what is simulated is what runs.
package book

import (
	"iter"
	"maps"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// Book is what a worker knows of its units from one pass to the next. Make one with New; it is not safe for use by
// several goroutines.
type Book struct {
	worker string
	// patience is for how long a free unit waits for its worker, at least; random spreads what many workers do.
	patience time.Duration
	random   func() float64

	held     map[Unit]*Held
	free     map[Unit]freeSince
	claiming bool
	renewing renewing
	places   Places
	wishes   wishes
}

// freeSince is a unit that should run and that nobody owns: after patience anyone claims it.
type freeSince struct {
	since    time.Time
	patience time.Duration
}

// New makes the book of a worker that runs nothing. A unit that stays free for one to two times the session time-out is
// claimed by any worker. random gives numbers in [0, 1).
func New(worker string, session time.Duration, random func() float64) *Book {
	return &Book{worker: worker, patience: session, random: random, held: map[Unit]*Held{}, free: map[Unit]freeSince{}}
}

// Work is what one pass asks for. The book has noted all of it: it is to be carried out, and its end to be reported.
type Work struct {
	// Claims are to be asked for in one request, whose outcome goes to Claimed. One request is under way at a time: the
	// log is one, so a second would only wait behind the first.
	Claims []member.ClaimRequest
	// Releases are to be given back in one request, whose end goes to Released. None of them runs again under the same
	// generation.
	Releases []Release
	// Steps are on single units, one for each at most.
	Steps []Step
}

// Release is an ownership that is given back, and why.
type Release struct {
	Grant  member.Grant
	Reason string
}

// Kind is what is to be done with a unit.
type Kind int

// The kinds of steps.
const (
	// Start begins the attempt of the step; its end goes to End.
	Start Kind = iota
	// Drain asks the attempt to deliver what it has read, and to end.
	Drain
	// Kill ends the attempt at once, without storing anything. It comes again until the attempt has ended.
	Kill
	// Again asks for another pass at once.
	Again
)

// Step is one step for one unit.
type Step struct {
	Kind  Kind
	Unit  Unit
	Grant member.Grant
	// Attempt numbers a start under its grant.
	Attempt int64
	// Reason is why a unit is drained. Restart is the request that it is restarted for; empty for none.
	Reason, Restart string
	// Ran says, of a Kill, that the unit ran undisturbed until now.
	Ran bool
}

// Pass brings the book in line with the view and the configs, plans, and notes what is to be carried out. above gives
// the highest generation of a unit that the stores know.
func (b *Book) Pass(view member.View, connectors []storefold.Connector, above func(Unit) int64, now time.Time) Work {
	in := Input{Worker: b.worker, View: view, Connectors: connectors, Held: b.held, Places: &b.places, Now: now}
	in.wants = b.wishes.of(connectors)
	in.Adopt = b.watchFree(in.View, in.wants, now)
	b.refresh(in)
	var out Work
	var claims []Action
	for _, a := range Plan(in) {
		h := b.held[a.Unit]
		switch a.Kind {
		case ActClaim:
			if !b.claiming && (h == nil || !now.Before(h.claimAt)) {
				claims = append(claims, a)
			}
		case ActRelease:
			if !h.releasing {
				out.Releases = append(out.Releases, b.release(h, a))
			}
		default:
			out.Steps = append(out.Steps, b.step(h, a, now))
		}
	}
	if s, ok := b.renew(); ok {
		out.Steps = append(out.Steps, s)
	}
	out.Claims = b.claim(claims, view.Self, above)
	return out
}

// watchFree notes since when wanted units are free, and returns those that any worker may claim.
func (b *Book) watchFree(view member.View, wants map[Unit]want, now time.Time) map[Unit]bool {
	adopt := map[Unit]bool{}
	for u := range b.free {
		_, wanted := wants[u]
		if _, owned := view.Owners[u]; owned || !wanted || !view.Joined {
			delete(b.free, u)
		}
	}
	for _, u := range sortedUnits(wants) {
		if _, owned := view.Owners[u]; owned || !view.Joined {
			continue
		}
		f, ok := b.free[u]
		if !ok {
			f = freeSince{since: now, patience: time.Duration(float64(b.patience) * (1 + b.random()))}
			b.free[u] = f
		}
		adopt[u] = now.Sub(f.since) >= f.patience
	}
	return adopt
}

// refresh brings what is held in line with the view and the configs, and forgets what is neither owned nor wanted here.
func (b *Book) refresh(in Input) {
	wanted := map[string]states.Wanted{}
	for _, c := range in.Connectors {
		wanted[c.Name] = c.State
	}
	for u, h := range b.held {
		w, isWanted := in.wants[u]
		if !isWanted {
			w = want{state: wanted[u.Connector]}
		}
		o, owned := in.View.Owners[u]
		mine := owned && in.View.Joined && o.Session == in.View.Self
		h.refresh(w, o, mine)
		if !b.claiming && h.unused() && !mine && (!isWanted || owned) { // what is given back is known until the log shows it
			delete(b.held, u)
		}
	}
}

// claim notes that claims are under way, and returns what to ask for.
func (b *Book) claim(claims []Action, self int64, above func(Unit) int64) []member.ClaimRequest {
	if len(claims) == 0 {
		return nil
	}
	b.claiming = true
	reqs := make([]member.ClaimRequest, 0, len(claims))
	for _, a := range claims {
		h := b.held[a.Unit]
		if h == nil {
			h = &Held{}
			b.held[a.Unit] = h
		}
		h.Kept, h.KeptFrom = a.For != self, a.For
		reqs = append(reqs, member.ClaimRequest{Unit: a.Unit, Epoch: a.Epoch, Above: max(above(a.Unit), h.Given)})
	}
	return reqs
}

// Claimed takes the outcome of a request.
func (b *Book) Claimed(reqs []member.ClaimRequest, grants []member.Grant, now time.Time) {
	got := map[Unit]int64{}
	for _, g := range grants {
		got[g.Unit] = g.Generation
	}
	b.claiming = false
	for _, r := range reqs {
		if h := b.held[r.Unit]; h != nil {
			h.claimed(got[r.Unit], now)
		}
	}
}

// release notes that a unit is being given back.
func (b *Book) release(h *Held, a Action) Release {
	h.releasing = true
	h.Given = max(h.Given, a.Generation)
	return Release{member.Grant{Unit: a.Unit, Generation: a.Generation, Epoch: a.Epoch}, a.Reason}
}

// Released notes that the request for the grants has ended, whatever came of it.
func (b *Book) Released(grants []member.Grant) {
	for _, g := range grants {
		if h := b.held[g.Unit]; h != nil {
			h.releasing = false
		}
	}
}

// step notes what is to be done with a unit.
func (b *Book) step(h *Held, a Action, now time.Time) Step {
	s := Step{Unit: a.Unit, Reason: a.Reason}
	switch a.Kind {
	case ActStart:
		h.begin(now)
		s.Kind, s.Attempt = Start, h.Attempt
	case ActKill:
		s.Kind, s.Ran = Kill, h.Phase == Running
		h.Phase = Stopping
	case ActRestart:
		h.RestartID = h.want.restart
		h.forgive()
		s.Kind, s.Restart = Again, h.want.restart
		if h.Phase == Running {
			s.Kind, h.Phase = Drain, Stopping
		}
	default:
		s.Kind, h.Phase = Drain, Stopping
	}
	s.Grant = h.grant(a.Unit)
	return s
}

// Leave notes that all units that run are to be drained, sorted.
func (b *Book) Leave() []Unit { return b.stop(func(p Phase) bool { return p == Running }) }

// KillAll notes that all units that have not ended yet are to be ended at once, sorted.
func (b *Book) KillAll() []Unit { return b.stop(func(p Phase) bool { return p != Idle }) }

func (b *Book) stop(which func(Phase) bool) []Unit {
	var out []Unit
	for _, u := range sortedUnits(b.held) {
		if h := b.held[u]; which(h.Phase) {
			h.Phase = Stopping
			out = append(out, u)
		}
	}
	return out
}

// Abandon returns the grants of whatever the session in the view owns and does not run: none of it runs again.
func (b *Book) Abandon(view member.View) []member.Grant {
	var grants []member.Grant
	for _, u := range sortedUnits(view.Owners) {
		o, h := view.Owners[u], b.held[u]
		if o.Session != view.Self || h != nil && h.Phase != Idle {
			continue
		}
		if h != nil {
			h.Given = max(h.Given, o.Generation)
		}
		grants = append(grants, grantOf(u, o))
	}
	return grants
}

func grantOf(u Unit, o fold.Owner) member.Grant {
	return member.Grant{Unit: u, Generation: o.Generation, Epoch: o.Epoch}
}

// Waiting notes why the connector of an attempt cannot be opened yet, without secrets: users see the unit failed
// meanwhile, and that it is retried. It returns false if a reason is known already.
func (b *Book) Waiting(u Unit, problem string, now time.Time) (first bool) {
	h := b.running(u)
	if h == nil {
		return false
	}
	first = h.Problem == ""
	h.Problem = problem
	if h.Retry.Next.IsZero() {
		h.Retry.Next = now.Add(firstDelay)
	}
	return first
}

// Opened notes that the connector of an attempt is open: from here on the unit counts as running.
func (b *Book) Opened(u Unit) {
	if h := b.running(u); h != nil {
		h.Opened, h.Problem, h.Retry.Next = true, "", time.Time{}
	}
}

// Warned notes what users should know of an attempt that goes on, without secrets; "" takes it back.
func (b *Book) Warned(u Unit, text string) {
	if h := b.running(u); h != nil {
		h.Warning = text
	}
}

// running is a unit of which an attempt has not ended; nil for none: what comes late of one that has says nothing.
func (b *Book) running(u Unit) *Held {
	if h := b.held[u]; h != nil && h.Phase != Idle {
		return h
	}
	return nil
}

// OutcomeKind is how an attempt ended.
type OutcomeKind int

// The outcomes.
const (
	// Done is a good end, as it was asked for.
	Done OutcomeKind = iota
	// Finished is the end of the source.
	Finished
	// Lost is the end of the ownership, by the log or by a fence.
	Lost
	// LeaseOver is the end of the lease, after which the same ownership may go on.
	LeaseOver
	// Failed is anything else.
	Failed
)

// Outcome is how an attempt ended.
type Outcome struct {
	Kind OutcomeKind
	// Canceled says that the attempt was ended from outside: of one that was asked to stop that is no failure, whatever
	// Kind is.
	Canceled bool
	// Problem is what users see of a failure, without secrets. Temporary says that the other system, or RocketMQ, was not
	// reachable.
	Problem   string
	Temporary bool
}

// End notes how a unit's attempt ended. It says whether the unit has failed.
func (b *Book) End(u Unit, o Outcome, now time.Time) (failed bool) {
	h := b.held[u]
	before := h.Retry.Restarts
	h.end(o, now, b.random())
	return h.Retry.Restarts > before
}

// Units are the units of which the worker knows something, in no order. What is given must not be changed.
func (b *Book) Units() iter.Seq2[Unit, *Held] { return maps.All(b.held) }

// Unit is what the worker knows of a unit; nil for nothing. It must not be changed.
func (b *Book) Unit(u Unit) *Held { return b.held[u] }

// Active are the units that run here or are on their way to stop, sorted.
func (b *Book) Active() []Unit {
	var out []Unit
	for _, u := range sortedUnits(b.held) {
		if b.held[u].Phase != Idle {
			out = append(out, u)
		}
	}
	return out
}

// Due is when the next back-off or patience ends, or latest.
func (b *Book) Due(now, latest time.Time) time.Time {
	next := latest
	sooner := func(at time.Time) {
		if at.After(now) && at.Before(next) {
			next = at
		}
	}
	for _, h := range b.held {
		sooner(h.Retry.Next)
		sooner(h.claimAt)
	}
	for _, f := range b.free {
		sooner(f.since.Add(f.patience))
	}
	return next
}
