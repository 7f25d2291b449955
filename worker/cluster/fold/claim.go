package fold

import (
	"github.com/rocketmq-connect/operator/worker/allocate"
)

var compareUnits = allocate.Compare

// claim judges each unit by itself, in the record's order.
func (f *Fold) claim(offset, session int64, units []Asked) []Event {
	events := make([]Event, 0, len(units))
	for _, a := range units {
		u := a.Unit()
		e := Event{Kind: Refused, Session: session, Unit: u, Epoch: a.Epoch, Reason: f.judge(a)}
		if e.Reason == Accepted {
			// A generation never goes back, even when the log was recreated and offsets start at 0 again.
			e.Kind, e.Generation = Granted, max(offset, a.Above+1, f.tops[u]+1)
			f.grant(u, Owner{Session: session, Generation: e.Generation, Epoch: a.Epoch})
		}
		events = append(events, e)
	}
	return events
}

// Invariant C3: nothing of a connector is granted below its floor, or beside units of it that are owned at another
// epoch.
func (f *Fold) judge(a Asked) Reason {
	u := a.Unit()
	if _, owned := f.owners[u]; owned {
		f.ask(a)
		return Owned
	}
	if a.Epoch < f.floors[a.Connector] {
		return OldEpoch
	}
	// All that is owned of a connector is owned at its floor, for a grant raises it.
	if f.held[a.Connector] > 0 && a.Epoch != f.floors[a.Connector] {
		f.ask(a)
		return OtherEpoch
	}
	return Accepted
}

// ask remembers that a newer epoch waits, which tells the owners to drain.
func (f *Fold) ask(a Asked) {
	if a.Epoch > f.floors[a.Connector] && a.Epoch > f.asked[a.Connector] {
		f.asked[a.Connector] = a.Epoch
	}
}

func (f *Fold) grant(u Unit, o Owner) {
	f.owners[u] = o
	f.held[u.Connector]++
	f.floors[u.Connector] = o.Epoch
	if f.asked[u.Connector] <= o.Epoch {
		delete(f.asked, u.Connector)
	}
	delete(f.tops, u)
}

// release frees what the session owns in exactly the generation that it names, so a late one frees nothing else.
func (f *Fold) release(session int64, units []Held) (Reason, []Event) {
	reason := OtherOwnership
	var events []Event
	for _, h := range units {
		u := h.Unit()
		if o, ok := f.owners[u]; ok && o.Session == session && o.Generation == h.Generation {
			events = append(events, f.free(u))
			reason = Accepted
		}
	}
	return reason, events
}

func (f *Fold) free(u Unit) Event {
	o := f.owners[u]
	delete(f.owners, u)
	f.held[u.Connector]--
	if f.held[u.Connector] == 0 {
		delete(f.held, u.Connector)
	}
	if o.Generation > f.offset {
		f.tops[u] = o.Generation
	}
	return Event{Kind: Freed, Session: o.Session, Unit: u, Generation: o.Generation, Epoch: o.Epoch}
}

// forgetTops drops what the offset alone keeps from going back by now.
func (f *Fold) forgetTops() {
	for u, top := range f.tops {
		if top < f.offset {
			delete(f.tops, u)
		}
	}
}

// Owner returns who owns a unit.
func (f *Fold) Owner(u Unit) (Owner, bool) {
	o, ok := f.owners[u]
	return o, ok
}

// Owners calls fn for each owned unit, in no order.
func (f *Fold) Owners(fn func(Unit, Owner)) {
	for u, o := range f.owners {
		fn(u, o)
	}
}

// Floors calls fn for each connector's highest accepted epoch, in no order.
func (f *Fold) Floors(fn func(connector string, epoch int64)) {
	for c, e := range f.floors {
		fn(c, e)
	}
}

// Asked calls fn for each connector of which a newer epoch was claimed while units of an older one are owned.
func (f *Fold) Asked(fn func(connector string, epoch int64)) {
	for c, e := range f.asked {
		fn(c, e)
	}
}
