package track

import (
	"time"

	"github.com/rocketmq-connect/operator/worker/record"
)

// Puts is what a sink was given and has not said to be durable, and what may be stored of it. From the first call after
// a flush to the next flush that succeeds it is open, and lives under one lease. All times are the caller's.
type Puts struct {
	open    bool
	bytes   int
	flushed time.Time
	touched time.Time
	// put is up to where the sink has all records of a partition since the last flush; durable is up to where they are
	// safe.
	put, durable record.Positions
}

// NewPuts makes the Puts of a sink that was given nothing.
func NewPuts() *Puts { return &Puts{put: record.Positions{}, durable: record.Positions{}} }

// Begin notes when reading begins: the first flush is due an interval later.
func (p *Puts) Begin(now time.Time) { p.flushed = now }

// Open notes that the sink is about to be called with the lease still running. It reports whether the call takes a
// lease; any further one goes under the same.
//
// Invariant C2: what was put and is not durable yet lives under the lease that it was put with.
func (p *Puts) Open() (takes bool) {
	takes = !p.open
	p.open = true
	return takes
}

// Covered reports whether a lease lasts: the attempt ends when that does, for what the sink has is unknown then.
func (p *Puts) Covered() bool { return p.open }

// Back notes when a call of the sink came back, or when it was closed.
func (p *Puts) Back(now time.Time) { p.touched = now }

// Touched is the last time at which the sink may have delivered; zero before its first call.
func (p *Puts) Touched() time.Time { return p.touched }

// Reached notes that the sink has every record of a partition up to a place.
func (p *Puts) Reached(partition record.SourcePartition, upTo record.Position) {
	p.put[partition] = upTo
}

// Add notes how many bytes were put.
func (p *Puts) Add(bytes int) { p.bytes += bytes }

// Due reports whether it is time to flush: after an interval, or after most bytes.
func (p *Puts) Due(now time.Time, interval time.Duration, most int) bool {
	return p.bytes >= most || now.Sub(p.flushed) >= interval
}

// Deadline is when the next flush is due that has something to do; false if none has.
func (p *Puts) Deadline(interval time.Duration) (time.Time, bool) {
	return p.flushed.Add(interval), p.open || len(p.put) > 0
}

// Try notes that a flush is tried. It reports whether the sink has to be asked: what was read may have been left out
// entirely.
func (p *Puts) Try(now time.Time) (ask bool) {
	p.flushed = now
	return p.open
}

// Durable notes that the sink has just said that everything that was put is durable; its lease ends. It reports whether
// more may be stored than before.
//
// Invariant P2: only this moves what may be stored.
func (p *Puts) Durable() (moved bool) {
	moved = len(p.put) > 0
	for partition, upTo := range p.put {
		p.durable[partition] = upTo
	}
	clear(p.put)
	p.open, p.bytes = false, 0
	return moved
}

// Storable is what may be stored.
func (p *Puts) Storable() record.Positions { return p.durable.Clone() }
