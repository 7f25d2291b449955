// Package record holds the values that travel through a worker: records, their headers, and where in a source they came
// from. It has no behaviour beyond copying and comparing.
package record

import (
	"strings"
	"time"
)

// Header is one named value of a record. Names may repeat and the order is kept; a nil Value is a null, an empty one is
// an empty value.
type Header struct {
	Name  string
	Value []byte
}

// SourcePartition names one ordered stream of a source or a sink (a Kafka partition, a table, a file, a RocketMQ queue)
// in the connector's own form, for example "orders/3". It is unique within a connector and stable over restarts.
type SourcePartition string

// InternalPrefix begins the names of entries that the worker itself stores beside the positions of a source. Connectors
// and users never see them.
const InternalPrefix = "@"

// Internal says that the worker itself stores the entry.
func (p SourcePartition) Internal() bool { return strings.HasPrefix(string(p), InternalPrefix) }

// Position is how far a SourcePartition was read, in the connector's own form, for example "1042": a task that is
// opened with it goes on with the record after the last one it names. The zero value means "nothing read yet".
//
// It may carry a note behind it: more that the connector wants to read back, and that a worker of an older version,
// which does not know notes, can do without.
type Position string

// noteMark parts a position from its note.
const noteMark = "\x00"

// Noted is the position with a note behind it; an empty one is none.
func (p Position) Noted(note string) Position {
	if note == "" {
		return p
	}
	return p + noteMark + Position(note)
}

// Split takes a position and its note apart. Noted puts them together again, whatever the position holds.
func (p Position) Split() (bare Position, note string) {
	first, rest, _ := strings.Cut(string(p), noteMark)
	if rest == "" {
		return p, ""
	}
	return Position(first), rest
}

// Positions maps each known partition to the position to go on from.
type Positions map[SourcePartition]Position

// Clone returns an independent copy; the clone of nil is an empty map.
func (p Positions) Clone() Positions {
	out := make(Positions, len(p))
	for k, v := range p {
		out[k] = v
	}
	return out
}

// Record is one message on its way. The bytes belong to the record from the moment it is handed over: nobody writes to
// them afterwards.
type Record struct {
	// Topic is the RocketMQ topic: the target of a source record, the origin of a sink record.
	Topic string
	// Queue is an index over all queues that were ever seen of the topic. A source sets it to ask for queue
	// Queue mod len(queues), or leaves QueueAny; a sink reads the index that the record came from, by (broker, queue id).
	Queue int
	// Key is nil when the record has none. Value is nil for a null (a tombstone).
	Key, Value []byte
	Headers    []Header
	// Timestamp is when the record was born; the zero time means unknown.
	Timestamp time.Time
	// Path is the topics in which the record has been, that in which a connector found it included.
	Path Path
	// Partition and Position say where the record lies in its source: after it is delivered, Position is what may be
	// stored for Partition. For a sink record they name the RocketMQ queue and the offset after the record.
	Partition SourcePartition
	Position  Position
}

// QueueAny lets the sender choose the queue: by key when there is one, else in turn.
const QueueAny = -1
