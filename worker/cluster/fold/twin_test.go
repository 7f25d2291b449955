package fold

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// twin is the fold as a slow, obvious thing: it remembers every fact that was ever accepted, and answers each question
// by going through all of them again.
type twin struct {
	records []Record // accepted in form and by session; at their offsets
	offsets []int64
	facts   []fact
	next    int64
}

type fact struct {
	Event
	at      int64
	timeout int64 // of the session, for expired
	delay   int64 // for left
}

func (w *twin) sessions() []int64 {
	var out []int64
	for _, f := range w.facts {
		switch f.Kind {
		case Joined:
			out = append(out, f.Session)
		case Left, Expired, Superseded:
			out = slices.DeleteFunc(out, func(s int64) bool { return s == f.Session })
		}
	}
	return out
}

func (w *twin) record(offset int64) Record { return w.records[slices.Index(w.offsets, offset)] }

// newest is the session's highest sequence, the offset of its newest heartbeat, and its terms.
func (w *twin) newest(session int64) (sequence, heartbeat int64, terms Terms) {
	heartbeat, terms = session, *w.record(session).Terms
	for i, r := range w.records {
		if !hasSession(r) || r.Session != session || w.offsets[i] < session {
			continue
		}
		sequence = max(sequence, r.Sequence)
		if r.Kind == Heartbeat {
			heartbeat, terms = w.offsets[i], *r.Terms
		}
	}
	return sequence, heartbeat, terms
}

func hasSession(r Record) bool { return r.Kind != Join && r.Kind != Expire }

func (w *twin) owned() map[Unit]Owner {
	out := map[Unit]Owner{}
	for _, f := range w.facts {
		switch f.Kind {
		case Granted:
			out[f.Unit] = Owner{f.Session, f.Generation, f.Epoch}
		case Freed:
			delete(out, f.Unit)
		}
	}
	return out
}

func (w *twin) floor(connector string) (epoch int64) {
	for _, f := range w.facts {
		if f.Kind == Granted && f.Unit.Connector == connector {
			epoch = max(epoch, f.Epoch)
		}
	}
	return epoch
}

func (w *twin) top(u Unit) int64 {
	top := int64(-1)
	for _, f := range w.facts {
		if f.Kind == Granted && f.Unit == u {
			top = max(top, f.Generation)
		}
	}
	return top
}

func (w *twin) add(facts ...fact) (out []Event) {
	for _, f := range facts {
		f.at = w.next
		w.facts = append(w.facts, f)
		out = append(out, f.Event)
	}
	return out
}

func (w *twin) end(session int64, how EventKind) []Event {
	_, _, terms := w.newest(session)
	worker := w.record(session).Join.Worker
	events := w.add(fact{Event: Event{Kind: how, Session: session, Worker: worker}, timeout: terms.TimeoutMS, delay: terms.RebalanceDelayMS})
	var lost []Event
	for u, o := range w.owned() {
		if o.Session == session {
			lost = append(lost, Event{Kind: Freed, Session: session, Unit: u, Generation: o.Generation, Epoch: o.Epoch})
		}
	}
	slices.SortFunc(lost, func(a, b Event) int { return compareUnits(a.Unit, b.Unit) })
	for _, ev := range lost {
		events = append(events, w.add(fact{Event: ev})...)
	}
	return events
}

// step is what the record at the next offset does.
func (w *twin) step(r Record) (reason Reason, events []Event) {
	defer func() { w.next++ }()
	keep := func() {
		w.records, w.offsets = append(w.records, r), append(w.offsets, w.next)
	}
	live := w.sessions()
	switch r.Kind {
	case Join:
		for _, s := range live {
			older := w.record(s).Join
			if older.Worker != r.Join.Worker {
				continue
			}
			if older.Incarnation == r.Join.Incarnation || !r.Join.Proof.supersedes(older.Proof) {
				return WorkerAlive, nil
			}
			events = w.end(s, Superseded)
		}
		keep()
		return "", append(events, w.add(fact{Event: Event{Kind: Joined, Session: w.next, Worker: r.Join.Worker}})...)
	case Expire:
		if !slices.Contains(live, r.Expire.Session) {
			return NotLive, nil
		}
		if _, heartbeat, _ := w.newest(r.Expire.Session); heartbeat != r.Expire.Heartbeat {
			return Alive, nil
		}
		return "", w.end(r.Expire.Session, Expired)
	}
	if !slices.Contains(live, r.Session) {
		return NotLive, nil
	}
	if sequence, _, _ := w.newest(r.Session); r.Sequence <= sequence {
		return OldSequence, nil
	}
	keep()
	switch r.Kind {
	case Leave:
		return "", w.end(r.Session, Left)
	case Claim:
		return "", w.claim(r)
	case Release:
		return w.release(r)
	}
	return "", nil
}

func (w *twin) claim(r Record) (events []Event) {
	for _, a := range r.Claim.Units {
		ev := Event{Kind: Refused, Session: r.Session, Unit: a.Unit(), Epoch: a.Epoch}
		others := w.owned()
		_, taken := others[a.Unit()]
		mixed := false
		for u, o := range others {
			mixed = mixed || u.Connector == a.Connector && o.Epoch != a.Epoch
		}
		switch {
		case taken:
			ev.Reason = Owned
		case a.Epoch < w.floor(a.Connector):
			ev.Reason = OldEpoch
		case mixed:
			ev.Reason = OtherEpoch
		default:
			ev.Kind, ev.Generation = Granted, max(w.next, a.Above+1, w.top(a.Unit())+1)
		}
		events = append(events, w.add(fact{Event: ev})...)
	}
	return events
}

func (w *twin) release(r Record) (Reason, []Event) {
	var events []Event
	for _, h := range r.Release {
		if o, ok := w.owned()[h.Unit()]; ok && o.Session == r.Session && o.Generation == h.Generation {
			events = append(
				events,
				w.add(fact{Event: Event{Kind: Freed, Session: o.Session, Unit: h.Unit(), Generation: o.Generation, Epoch: o.Epoch}})...)
		}
	}
	if events == nil {
		return OtherOwnership, nil
	}
	return "", events
}

// left is how much of a time that began at the fact is left by the heartbeats of whoever was the oldest at each.
func (w *twin) left(f fact, total int64) int64 {
	for i, r := range w.records {
		if r.Kind == Heartbeat && w.offsets[i] > f.at && w.oldestAt(w.offsets[i]) == r.Session {
			total -= r.Terms.IntervalMS
		}
	}
	return max(0, total)
}

func (w *twin) oldestAt(offset int64) int64 {
	past := twin{}
	for _, f := range w.facts {
		if f.at < offset {
			past.facts = append(past.facts, f)
		}
	}
	return past.sessions()[0]
}

// marks are the worker ids that flap and those that are away.
func (w *twin) marks() string {
	flapping, away := map[string]bool{}, map[string]bool{}
	for _, f := range w.facts {
		switch f.Kind {
		case Expired:
			flapping[f.Worker] = w.left(f, 3*f.timeout) > 0
		case Left:
			away[f.Worker] = w.left(f, f.delay) > 0
		case Joined:
			away[f.Worker] = false
		}
	}
	return fmt.Sprint(flapping, away)
}

// marksOf gives the fold's marks in the twin's form, for the same worker ids.
func marksOf(f *Fold, w *twin) string {
	flapping, away := map[string]bool{}, map[string]bool{}
	for _, fa := range w.facts {
		switch fa.Kind {
		case Expired:
			flapping[fa.Worker] = f.marks[fa.Worker].Flapping > 0
		case Left, Joined:
			away[fa.Worker] = f.marks[fa.Worker].Away > 0
		}
	}
	return fmt.Sprint(flapping, away)
}

func TestFoldAgreesWithItsTwin(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 11))
		f, w := New(), &twin{}
		for range 70 {
			r := randomRecord(rng, f)
			if r.Terms != nil {
				own := *r.Terms
				own.TimeoutMS, own.RebalanceDelayMS = int64(500+rng.IntN(1500)), int64(rng.IntN(3)*700)
				r.Terms = &own
			}
			if r.Kind == Join && rng.IntN(2) == 0 {
				r.Join.Proof = proofOf(int64(rng.IntN(4)), int64(rng.IntN(2)))
			}
			if hasSession(r) && rng.IntN(6) == 0 {
				r.Sequence = max(1, r.Sequence-int64(rng.IntN(4)))
			}
			reason, events := w.step(r)
			want := []string{}
			if reason != "" {
				want = append(want, string(reason))
			}
			for _, ev := range events {
				want = append(want, ev.String())
			}
			got := foldAll(t, f, r)[0]
			if diff := cmp.Diff(strings.Join(want, "; "), got); diff != "" {
				t.Fatalf("seed %d, offset %d, %+v (-twin +fold):\n%s", seed, f.Offset(), r, diff)
			}
			if diff := cmp.Diff(w.owned(), f.owners); diff != "" {
				t.Fatalf("seed %d, offset %d: owners (-twin +fold):\n%s", seed, f.Offset(), diff)
			}
			if diff := cmp.Diff(w.marks(), marksOf(f, w)); diff != "" {
				t.Fatalf("seed %d, offset %d: marks (-twin +fold):\n%s", seed, f.Offset(), diff)
			}
		}
	}
}
