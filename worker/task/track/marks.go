package track

import "github.com/rocketmq-connect/operator/worker/record"

// Marks knows, per source partition, up to which place a sink has all records, and up to which they are durable.
type Marks struct {
	put, durable record.Positions
}

// NewMarks makes Marks of nothing.
func NewMarks() *Marks { return &Marks{put: record.Positions{}, durable: record.Positions{}} }

// Put notes that the sink has every record of a partition up to a place.
func (m *Marks) Put(p record.SourcePartition, upTo record.Position) { m.put[p] = upTo }

// Pending reports whether something was put since the last flush.
func (m *Marks) Pending() bool { return len(m.put) > 0 }

// Flushed notes that the sink has just said that everything that was put is durable. It reports whether that was anything.
//
// Invariant P2: only a flush moves what may be stored.
func (m *Marks) Flushed() bool {
	moved := len(m.put) > 0
	for p, upTo := range m.put {
		m.durable[p] = upTo
	}
	clear(m.put)
	return moved
}

// Positions returns what may be stored.
func (m *Marks) Positions() record.Positions { return m.durable.Clone() }
