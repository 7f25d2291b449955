package replica

import (
	"slices"
	"time"
)

const (
	// followers re-publish what no owner has after so many times the owner's wait.
	followerFactor = 10
	maxRepublish   = 4096 // keys a round
	// MaxBackOff bounds the wait between two attempts to publish a value again.
	MaxBackOff = time.Minute
)

// shadow stands for a key whose last record in the log is not its newest value: compaction would keep the wrong one.
type shadow struct {
	since    time.Time // of the refusal, or of the last attempt
	attempts int
	jitter   float64 // 0 to 1: followers do not all come at once
}

// shade notes that a key's newest value must be published again.
//
// Invariant P3: a refused write never costs the newest value its place.
func (r *Replica) shade(now time.Time, key string) {
	if r.shadows[key] != nil {
		return
	}
	if _, ok := r.opts.Fold.Current(key); ok {
		r.shadows[key] = &shadow{since: now, jitter: r.opts.Random()}
	}
}

// shadeHidden has what a record of another key has changed published again: the log still shows what it was.
func (r *Replica) shadeHidden(now time.Time) {
	if f, ok := r.opts.Fold.(Hider); ok {
		for _, key := range f.Hidden() {
			r.shade(now, key)
		}
	}
}

// Due gives the values that are to be published again now, by key. Reading them back ends that; what does not come back
// stays due.
func (r *Replica) Due(now time.Time) []Record {
	var keys []string
	for key, s := range r.shadows {
		if now.Sub(s.since) >= r.patience(key, s) {
			keys = append(keys, key)
		}
	}
	slices.Sort(keys)
	var out []Record
	for _, key := range keys[:min(len(keys), maxRepublish)] {
		value, ok := r.opts.Fold.Current(key)
		if !ok {
			delete(r.shadows, key)
			continue
		}
		s := r.shadows[key]
		s.since, s.attempts = now, s.attempts+1
		out = append(out, Record{Key: key, Value: value})
	}
	return out
}

func (r *Replica) patience(key string, s *shadow) time.Duration {
	wait := r.opts.Settle
	if !r.opts.Owns(key) {
		wait = time.Duration(float64(followerFactor*wait) * (1 + s.jitter))
	}
	return min(wait<<min(s.attempts, 16), max(MaxBackOff, wait))
}
