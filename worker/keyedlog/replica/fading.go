package replica

import (
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// place is where the newest value of a key lies in the log.
type place struct {
	offset int64
	at     time.Time // by the broker's clock
	tried  time.Time // when it was last found to be fading
}

// fading says whether a value must be published again, lest the topic drops it: after a third of the retention by its
// owner, after half of it by anybody. A value below the first offset was dropped already. Clocks that are far apart let
// a value seem older than it is; that costs a repeat every sixth of the retention.
func (p place) fading(now time.Time, first int64, keeps time.Duration, owner bool) bool {
	if p.offset < first {
		return true
	}
	limit := keeps / 2
	if owner {
		limit = keeps / 3
	}
	return now.Sub(p.at) >= limit && (p.tried.IsZero() || now.Sub(p.tried) >= keeps/6)
}

// found notes that the newest value of the record's key lies there.
func (r *Replica) found(e rmq.Entry) {
	delete(r.shadows, e.Key)
	r.places[e.Key] = place{offset: e.Offset, at: e.StoredAt, tried: r.places[e.Key].tried}
}

// Fade makes the values due that a topic which begins at first, and keeps its records for so long, would drop.
func (r *Replica) Fade(now time.Time, first int64, keeps time.Duration) {
	places := make(map[string]place, len(r.places))
	for _, key := range slices.Sorted(slices.Values(r.opts.Fold.Keys())) {
		p, ok := r.places[key]
		if !ok {
			continue
		}
		if p.fading(now, first, keeps, r.opts.Owns(key)) {
			p.tried = now
			r.shade(now, key)
		}
		places[key] = p
	}
	r.places = places
}
