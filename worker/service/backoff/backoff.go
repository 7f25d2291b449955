// Package backoff says how long to pause between tries of what fails. It is pure: whoever tries waits.
package backoff

import "time"

// Doubling gives pauses each of which is twice as long as the one before. The zero value is before the first pause.
type Doubling struct{ last time.Duration }

// Next gives the pause to make now: first at first, then twice the last one, but no shorter than first and no longer
// than longest. Both may differ from call to call.
func (d *Doubling) Next(first, longest time.Duration) time.Duration {
	if d.last == 0 {
		d.last = first
	} else {
		d.last = min(max(first, 2*d.last), longest)
	}
	return d.last
}

// Reset makes the next pause the first again: what failed works.
func (d *Doubling) Reset() { d.last = 0 }
