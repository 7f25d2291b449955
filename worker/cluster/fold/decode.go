package fold

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

var (
	errForeign   = errors.New("foreign record")
	errMalformed = errors.New("malformed record")
)

// The bounds of what a record may say. No worker comes near them; one record that another program wrote must not cost
// all workers their memory, nor use up the numbers that they count with.
const (
	maxText     = 512 // bytes of a name, an address or an id
	maxHex      = 64  // bytes of a digest
	maxTask     = 1 << 16
	maxUnits    = 1 << 16 // of one claim or release
	maxTimeout  = 10 * time.Minute
	maxInterval = time.Minute
	maxAway     = time.Hour
	maxPoints   = 10_000 // a worker's on the ring
	maxFactor   = 100
	maxSessions = 4096
)

// Decode returns the record that an entry holds, or an error that says why it is none.
func Decode(e rmq.Entry) (*Record, error) {
	var r Record
	if err := json.Unmarshal(e.Value, &r); err != nil {
		return nil, fmt.Errorf("%w: %w", errMalformed, err)
	}
	if r.Version != recordVersion {
		return nil, fmt.Errorf("%w: version %d", errForeign, r.Version)
	}
	if r.AsOf < -1 || !inRange(r.AsOf+1) || len(r.Log) > maxHex || len(r.Digest) > maxHex {
		return nil, fmt.Errorf("%w: %s as of %d", errMalformed, r.Kind, r.AsOf)
	}
	if err := r.check(e.Counts); err != nil {
		return nil, err
	}
	return &r, nil
}

// largest bounds offsets, so that sums stay in range.
const largest = 1 << 61

func inRange(n int64) bool { return n >= 0 && n < largest }

// check looks at form only; whether the record is accepted depends on the fold.
func (r *Record) check(counts func(int64) bool) error {
	ok := false
	switch r.Kind {
	case Join:
		return malformedUnless(r.Join.valid(counts) && r.Terms.valid(), r.Kind)
	case Expire:
		return malformedUnless(r.Expire != nil && inRange(r.Expire.Session) && inRange(r.Expire.Heartbeat), r.Kind)
	case Heartbeat:
		ok = r.Terms.valid()
	case Leave:
		ok = true
	case Claim:
		ok = r.Claim.valid(counts)
	case Release:
		ok = validHeld(r.Release, counts)
	case Snapshot:
		ok = r.Part.valid()
	default:
		return fmt.Errorf("%w: kind %q", errForeign, clip(string(r.Kind)))
	}
	return malformedUnless(ok && r.Sequence > 0 && counts(r.Sequence) && inRange(r.Session), r.Kind)
}

func malformedUnless(ok bool, kind Kind) error {
	if ok {
		return nil
	}
	return fmt.Errorf("%w: %s", errMalformed, kind)
}

// clip shortens what somebody else wrote, for an error.
func clip(text string) string { return text[:min(len(text), maxHex)] }

func short(most int, texts ...string) bool {
	for _, text := range texts {
		if len(text) > most {
			return false
		}
	}
	return true
}

func (j *Joining) valid(counts func(int64) bool) bool {
	return j != nil && j.Worker != "" && j.Incarnation != "" && j.Proof.valid(counts) &&
		short(maxText, j.Worker, j.Incarnation, j.Address, j.Version, j.Cluster) && len(j.Stores) <= 8*maxText
}

func (p *Proof) valid(counts func(int64) bool) bool {
	return p == nil || short(maxText, p.Store, p.Boot) && counts(p.Start) && counts(p.Attempt)
}

func (t *Terms) valid() bool {
	return t != nil && t.Fold >= 0 && t.Fold <= 1<<20 && t.Allocation.VirtualNodes >= 0 && t.Allocation.VirtualNodes <= maxPoints &&
		t.Allocation.MaxLoadFactor >= 0 && t.Allocation.MaxLoadFactor <= maxFactor && short(maxText, t.Allocation.Strategy) &&
		upTo(t.IntervalMS, maxInterval) && upTo(t.TimeoutMS, maxTimeout) && (t.RebalanceDelayMS == 0 || upTo(t.RebalanceDelayMS, maxAway))
}

func upTo(ms int64, most time.Duration) bool { return ms > 0 && ms <= most.Milliseconds() }

func (c *Claims) valid(counts func(int64) bool) bool {
	if c == nil || len(c.Units) == 0 || len(c.Units) > maxUnits || !counts(c.Request) {
		return false
	}
	for _, u := range c.Units {
		if !validUnit(u.Unit()) || !counts(u.Epoch) || !counts(u.Above) {
			return false
		}
	}
	return true
}

func validHeld(held []Held, counts func(int64) bool) bool {
	for _, h := range held {
		if !validUnit(h.Unit()) || !counts(h.Generation) {
			return false
		}
	}
	return len(held) > 0 && len(held) <= maxUnits
}

func validUnit(u Unit) bool {
	return u.Connector != "" && len(u.Connector) <= maxText && u.Task >= allocate.ConnectorTask && u.Task < maxTask
}

func (p *Part) valid() bool {
	return p != nil && p.Total > 0 && p.Total <= maxParts && p.Index >= 0 && p.Index < p.Total && len(p.Data) <= partSize &&
		short(maxHex, p.Form, p.Sum)
}
