package book

import (
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/secret/reference"
)

// renewing is the unit that was restarted last for a secret that has changed. The zero value is none.
type renewing struct {
	unit Unit
	held *Held
}

// Read notes what an attempt has read by references, or waits for, at that time at the earliest.
func (b *Book) Read(u Unit, used reference.Used, at time.Time) {
	if h := b.running(u); h != nil {
		h.used, h.read = used, at
	}
}

// Used is all that units have read, or waited for, without what it was.
func (b *Book) Used() reference.Used {
	out := reference.Used{}
	for _, h := range b.held {
		for ref := range h.used {
			out[ref] = reference.Digest{}
		}
	}
	return out
}

// Outdate notes which units have read what is another now, as a look says that began then, and returns them with what
// it is. Failed ones, and those that lacked something, need not wait for the end of their back-off any more; the others
// are restarted by the next passes, one after the other.
func (b *Book) Outdate(now reference.Used, begun time.Time) map[Unit][]reference.Reference {
	out := map[Unit][]reference.Reference{}
	for u, h := range b.held {
		changed := h.used.Changed(now)
		if len(changed) == 0 || !h.Owned || h.outdated || !h.read.Before(begun) {
			continue
		}
		switch {
		case h.Phase == Idle && h.Problem != "":
			h.forgive()
			h.used = nil // what it reads next is what counts
		case h.Phase == Running && u.Task != allocate.ConnectorTask:
			h.outdated = true
		default:
			continue
		}
		out[u] = changed
	}
	return out
}

// renew drains the next unit that runs with what has changed, if there is one. There is one at a time: it is done once
// it is open again, or has failed, or is not to run here any more.
func (b *Book) renew() (Step, bool) {
	if r := b.renewing; r.held != nil && b.held[r.unit] == r.held && r.held.Owned && r.held.want.run && !r.held.settled() {
		return Step{}, false
	}
	b.renewing = renewing{}
	for _, u := range sortedUnits(b.held) {
		if h := b.held[u]; h.outdated && h.Phase == Running && h.Owned {
			h.forgive()
			h.Phase = Stopping
			b.renewing = renewing{u, h}
			return Step{Kind: Drain, Unit: u, Grant: h.grant(u), Reason: "to be started with what its references stand for now"}, true
		}
	}
	return Step{}, false
}

// settled says that nothing more is to be expected of a unit that was to be restarted.
func (h *Held) settled() bool {
	switch {
	case h.Phase == Stopping:
		return false
	case h.Finished: // it does not start again
		return true
	}
	return !h.outdated && (h.Opened || h.Problem != "")
}
