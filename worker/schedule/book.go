package schedule

import (
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Book is what a worker knows of its units from one pass to the next. It has no goroutine, no lock and no clock, so what is
// simulated is what runs.
type Book struct {
	worker string
	// patience is for how long a free unit waits for its worker, at least; random spreads what many workers do.
	patience time.Duration
	random   func() float64

	held     map[Unit]*held
	free     map[Unit]freeSince
	claiming bool
	// renewing is the unit that was started anew last for a secret that has changed.
	renewing *held
	places   Places
	wishes   wishes
}

// freeSince is a unit that should run and that nobody owns: after patience anyone claims it.
type freeSince struct {
	since    time.Time
	patience time.Duration
}

// NewBook makes the book of a worker that runs nothing. A unit that stays free for one to two times the session time-out
// is claimed by any worker. random gives numbers in [0, 1).
func NewBook(worker string, session time.Duration, random func() float64) *Book {
	return &Book{worker: worker, patience: session, random: random, held: map[Unit]*held{}, free: map[Unit]freeSince{}}
}

// Work is what one pass asks for.
type Work struct {
	// Claims and Releases are to be asked for in one request each.
	Claims, Releases []Action
	// Acts are on single units.
	Acts []Action
}

// Pass brings the book in line with the view and the configs, and plans.
func (b *Book) Pass(view cluster.View, connectors []store.Connector, now time.Time) Work {
	in := Input{Worker: b.worker, View: view, Connectors: connectors, Held: make(map[Unit]Held, len(b.held)), Places: &b.places}
	in.wants = b.wishes.of(connectors)
	wants := in.wants
	in.Adopt = b.watchFree(in.View, wants, now)
	b.refresh(in, wants)
	for u, h := range b.held {
		in.Held[u] = h.view(now)
	}
	var out Work
	for _, a := range Plan(in) {
		switch a.Kind {
		case Claim:
			if h := b.held[a.Unit]; !b.claiming && (h == nil || !now.Before(h.claimAt)) {
				out.Claims = append(out.Claims, a)
			}
		case Release:
			if !b.held[a.Unit].releasing {
				out.Releases = append(out.Releases, a)
			}
		default:
			out.Acts = append(out.Acts, a)
		}
	}
	return out
}

// watchFree notes since when wanted units are free, and returns those that any worker may claim.
func (b *Book) watchFree(view cluster.View, wants map[Unit]want, now time.Time) map[Unit]bool {
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
func (b *Book) refresh(in Input, wants map[Unit]want) {
	states := map[string]store.State{}
	for _, c := range in.Connectors {
		states[c.Name] = c.State
	}
	for u, h := range b.held {
		w, isWanted := wants[u]
		if !isWanted {
			w = want{state: states[u.Connector]}
		}
		o, owned := in.View.Owners[u]
		mine := owned && in.View.Joined && o.Session == in.View.Self
		h.refresh(w, o, mine)
		if !b.claiming && h.unused() && !mine && (!isWanted || owned) { // what is given back is known until the log shows it
			delete(b.held, u)
		}
	}
}

// Claiming notes that claims are under way, and returns what to ask for. above gives the highest generation of a unit that
// the stores know. One request at a time: the log is one, so a second would only wait behind the first.
func (b *Book) Claiming(claims []Action, self int64, above func(Unit) int64) []cluster.ClaimRequest {
	b.claiming = len(claims) > 0
	reqs := make([]cluster.ClaimRequest, 0, len(claims))
	for _, a := range claims {
		h := b.held[a.Unit]
		if h == nil {
			h = &held{unit: a.Unit}
			b.held[a.Unit] = h
		}
		h.kept, h.keptFrom = a.For != self, a.For
		reqs = append(reqs, cluster.ClaimRequest{Unit: a.Unit, Epoch: a.Epoch, Above: max(above(a.Unit), h.given)})
	}
	return reqs
}

// Claimed takes the outcome of a request.
func (b *Book) Claimed(reqs []cluster.ClaimRequest, grants []cluster.Grant, now time.Time) {
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

// Releasing notes that units are being given back, and returns their grants. From here on none of them runs again under
// the same generation.
func (b *Book) Releasing(releases []Action) []cluster.Grant {
	var grants []cluster.Grant
	for _, a := range releases {
		h := b.held[a.Unit]
		h.releasing = true
		h.given = max(h.given, a.Generation)
		grants = append(grants, cluster.Grant{Unit: a.Unit, Generation: a.Generation, Epoch: a.Epoch})
	}
	return grants
}

// Released notes that the request for the grants has ended, whatever came of it.
func (b *Book) Released(grants []cluster.Grant) {
	for _, g := range grants {
		if h := b.held[g.Unit]; h != nil {
			h.releasing = false
		}
	}
}

// Abandon returns the grants of whatever the session in the view owns and does not run: none of it runs again.
func (b *Book) Abandon(view cluster.View) []cluster.Grant {
	var grants []cluster.Grant
	for _, u := range sortedUnits(view.Owners) {
		o, h := view.Owners[u], b.held[u]
		if o.Session != view.Self || h != nil && h.phase != Idle {
			continue
		}
		if h != nil {
			h.given = max(h.given, o.Generation)
		}
		grants = append(grants, cluster.Grant{Unit: u, Generation: o.Generation, Epoch: o.Epoch})
	}
	return grants
}

// Begin notes the start of a unit's next attempt.
func (b *Book) Begin(u Unit, now time.Time) (g cluster.Grant, attempt int64) {
	h := b.held[u]
	h.begin(now)
	return h.grant, h.attempt
}

// Stopping notes that a running unit was asked to stop.
func (b *Book) Stopping(u Unit) { b.held[u].phase = Stopping }

// Restart notes that a restart which was asked for is carried out: failures before it are forgotten.
func (b *Book) Restart(u Unit) {
	h := b.held[u]
	h.restartID = h.want.restart
	h.forgive()
}

// End notes how a unit's attempt ended; scrub takes the secrets out of err's text. It says whether the unit has failed.
func (b *Book) End(u Unit, err error, scrub func(string) string, now time.Time) (failed bool) {
	h := b.held[u]
	before := h.retry.restarts
	h.end(err, scrub, now, b.random())
	return h.retry.restarts > before
}

// Active are the units that run here or are on their way to stop.
func (b *Book) Active() []Unit {
	var out []Unit
	for _, u := range sortedUnits(b.held) {
		if b.held[u].phase != Idle {
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
		sooner(h.retry.next)
		sooner(h.claimAt)
	}
	for _, f := range b.free {
		sooner(f.since.Add(f.patience))
	}
	return next
}
