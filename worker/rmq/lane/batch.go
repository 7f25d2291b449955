package lane

import (
	"iter"
	"slices"
	"sync"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
)

// Record is a message on its way through a lane. Its bytes are in the batch.
type Record struct {
	// Done is called exactly once: with the stored offset, or with why it was not stored.
	Done func(offset int64, err error)
	// Size is what the record takes of the room, in bytes.
	Size int
	// Bound and Movable are for the lane's owner: where the record may go.
	Bound, Movable bool
	// Wave is left once the record was answered and has given its room back.
	Wave *Wave

	end int // of its member in the batch
	err error
}

// Batch is encoded records of one queue. Those with an error of their own have no bytes.
type Batch struct {
	wire    []byte
	records []Record
	good    int   // records without an error
	born    int64 // of the first, ms since 1970; 0: not told
}

func (b *Batch) add(member []byte, r Record) {
	b.wire = append(b.wire, member...)
	r.end = len(b.wire)
	if r.err == nil {
		b.good++
	}
	b.records = append(b.records, r)
}

// Encoded is what is to be stored: members in wire form, how many there are, and when the first of them was born, in
// ms since 1970 (0: not told). The bytes are the lane's.
func (b *Batch) Encoded() (members []byte, n int, born int64) { return b.wire, b.good, b.born }

// All gives the records that are to be stored, in their order.
func (b *Batch) All() iter.Seq[Record] {
	return func(yield func(Record) bool) {
		for i := range b.records {
			if b.records[i].err == nil && !yield(b.records[i]) {
				return
			}
		}
	}
}

// Take hands on the records that are to be stored, in their order. The batch keeps those of which hand says false.
func (b *Batch) Take(hand func(member []byte, r Record) bool) {
	kept := Batch{records: b.records[:0]}
	for i, from := 0, 0; i < len(b.records); i++ {
		r := b.records[i]
		member := b.wire[from:r.end]
		from = r.end
		if r.err == nil && hand(member, r) {
			continue
		}
		kept.add(member, r)
	}
	clear(b.records[len(kept.records):])
	b.wire, b.records, b.good = append(b.wire[:0], kept.wire...), kept.records, kept.good
}

// Terms are what lanes have in common: how large a batch may become, and the buffers of batches that are over. They
// must not be copied.
type Terms struct {
	// MaxRecords and MaxBytes bound a batch. A larger single record travels alone.
	MaxRecords, MaxBytes int
	// IDs give each record an id of its own.
	IDs *encode.IDs

	spare sync.Pool
}

// fresh is an empty batch with room for so many bytes: growing by appending copies a batch twice over.
func (t *Terms) fresh(bytes int) *Batch {
	b, ok := t.spare.Get().(*Batch)
	if !ok {
		b = new(Batch)
	}
	b.wire = slices.Grow(b.wire, bytes)
	return b
}

// full says whether a batch takes no record of so many bytes any more.
func (t *Terms) full(b *Batch, bytes int) bool {
	return len(b.records) >= t.MaxRecords || len(b.wire)+bytes > t.MaxBytes
}

// maxKept bounds the buffers that are kept for later batches.
const maxKept = 4 << 20

func (t *Terms) recycle(b *Batch) {
	if cap(b.wire) > maxKept {
		return
	}
	clear(b.records)
	*b = Batch{wire: b.wire[:0], records: b.records[:0]}
	t.spare.Put(b)
}
