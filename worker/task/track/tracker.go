// Package track is what a task may store at any time: of a source, the positions up to which the broker confirmed every
// record; of a sink, the offsets below which the sink said that everything is durable. Plain values: no lock, no clock.
package track

import "github.com/rocketmq-connect/operator/worker/record"

// Tracker knows, per source partition, up to which position every record was delivered, whatever order the answers come
// in.
type Tracker struct {
	streams map[record.SourcePartition]*stream
	// inFlight counts records that were added and not settled.
	inFlight int
}

// stream is the records of one partition from the first unsettled one on.
type stream struct {
	base    uint64 // the number of entries[0]
	entries []entry
	// open counts those that are not settled.
	open int
	// upTo is the position of the last record of the settled prefix; moved says that there is one.
	upTo  record.Position
	moved bool
}

type entry struct {
	pos     record.Position
	settled bool
}

// Ticket names one added record.
type Ticket struct {
	stream *stream
	seq    uint64
}

// New makes a Tracker of nothing.
func New() *Tracker { return &Tracker{streams: map[record.SourcePartition]*stream{}} }

// Add notes a record that is about to be sent. Records of one partition are added in their order.
func (t *Tracker) Add(p record.SourcePartition, pos record.Position) Ticket {
	s := t.streams[p]
	if s == nil {
		s = &stream{}
		t.streams[p] = s
	}
	s.entries = append(s.entries, entry{pos: pos})
	t.inFlight++
	s.open++
	return Ticket{stream: s, seq: s.base + uint64(len(s.entries)) - 1}
}

// Settle notes that the record was confirmed by the broker, or skipped as errors.tolerance allows. Settling a record
// again changes nothing.
func (t *Tracker) Settle(k Ticket) {
	s := k.stream
	if k.seq < s.base || s.entries[k.seq-s.base].settled {
		return
	}
	s.entries[k.seq-s.base].settled = true
	t.inFlight--
	s.open--
	n := 0
	// Invariant P1: only the contiguous prefix of settled records moves the position.
	for n < len(s.entries) && s.entries[n].settled {
		n++
	}
	if n == 0 {
		return
	}
	s.upTo, s.moved = s.entries[n-1].pos, true
	clear(s.entries[:n])
	s.entries, s.base = s.entries[n:], s.base+uint64(n)
}

// Open is how many records of a partition are not settled.
func (t *Tracker) Open(p record.SourcePartition) int {
	if s := t.streams[p]; s != nil {
		return s.open
	}
	return 0
}

// Positions returns, for each partition that moved at all, the position that may be stored.
func (t *Tracker) Positions() record.Positions {
	out := make(record.Positions, len(t.streams))
	for p, s := range t.streams {
		if s.moved {
			out[p] = s.upTo
		}
	}
	return out
}
