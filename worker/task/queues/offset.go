package queues

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Partition is the name under which a queue's offset is stored.
func Partition(q rmq.Queue) record.SourcePartition { return record.SourcePartition(q.String()) }

// ParsePartition reads a queue back from its stored name.
func ParsePartition(p record.SourcePartition) (rmq.Queue, bool) {
	parts := strings.Split(string(p), "/")
	if len(parts) != 3 || p.Internal() {
		return rmq.Queue{}, false
	}
	id, err := strconv.Atoi(parts[2])
	return rmq.Queue{Topic: parts[0], Broker: parts[1], ID: id}, err == nil
}

// Offset is how far a sink is in a queue: where reading goes on, and marks of what was read, by which a queue that lost
// its end is noticed.
type Offset struct {
	Next  int64
	Trail rmq.Trail
}

// Stored is the stored form, with the newest mark first: "700 699@1795282502586 640@1795282501033".
func (o Offset) Stored() record.Position {
	b := strconv.AppendInt(nil, o.Next, 10)
	for _, m := range slices.Backward(o.Trail) {
		b = strconv.AppendInt(append(b, ' '), m.Offset, 10)
		b = strconv.AppendInt(append(b, '@'), m.StoredAt, 10)
	}
	return record.Position(b)
}

// ErrOffset means that a stored position is no offset in a queue.
var ErrOffset = errors.New("not an offset, or not one with marks")

// ParseOffset reads the stored form. Its error matches ErrOffset.
func ParseOffset(pos record.Position) (Offset, error) {
	first, rest, _ := strings.Cut(string(pos), " ")
	next, err := strconv.ParseInt(first, 10, 64)
	if err != nil {
		return Offset{}, fmt.Errorf("%w: %w", ErrOffset, err)
	}
	o := Offset{Next: next}
	for field := range strings.FieldsSeq(rest) {
		at, stored, _ := strings.Cut(field, "@")
		var m rmq.Mark
		var failed error
		m.Offset, err = strconv.ParseInt(at, 10, 64)
		m.StoredAt, failed = strconv.ParseInt(stored, 10, 64)
		if err = errors.Join(err, failed); err != nil {
			return Offset{}, fmt.Errorf("%w: %w", ErrOffset, err)
		}
		o.Trail = append(o.Trail, m)
	}
	slices.Reverse(o.Trail)
	return o, nil
}

// Held says where a queue is read from that holds the records from low up to high: at the offset, or at the first
// record if it does not hold that. With marks, the reader finds out how much of its end a queue lost.
func (o Offset) Held(low, high int64) (from int64, held bool) {
	if o.Next < low || o.Next > high && len(o.Trail) == 0 {
		return low, false
	}
	return o.Next, true
}

// Before is the record before the offset; false if a queue that holds the records from low up to high does not hold it.
func (o Offset) Before(low, high int64) (before int64, ok bool) {
	return o.Next - 1, o.Next > low && o.Next <= high
}
