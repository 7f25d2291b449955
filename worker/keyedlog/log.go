// Package keyedlog keeps the latest value of each key of one ordered topic. What "latest" means is up to a pure Fold
// that the user of the package plugs in: workers that read the same records hold the same values.
package keyedlog

import (
	"context"
	"errors"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Log is what the package needs of an ordered topic; *rmq.Log is one.
type Log interface {
	// Append stores the entries as one batch and gives the offset of the first. An error may mean "stored all the same".
	Append(ctx context.Context, entries ...rmq.Entry) (first int64, err error)
	// Bounds gives the first offset that is there and the one after the last.
	Bounds(ctx context.Context) (first, end int64, err error)
	// Read calls fn with the records from an offset to the end as it is at the call.
	Read(ctx context.Context, from int64, fn func(rmq.Entry) error) (next int64, err error)
	// Follow calls fn with the records from an offset on, for ever. It survives lost connections; after one it hands the
	// last records on again as the log holds them by then. It fails with rmq.ErrTruncated when the log ends before known,
	// up to which it was read before.
	Follow(ctx context.Context, from, known int64, fn func(rmq.Entry) error) error
}

// Retainer is a Log whose records age out; one that is no Retainer keeps them for ever.
type Retainer interface {
	// Retention is how long records stay at least; 0 is for ever.
	Retention(ctx context.Context) (time.Duration, error)
}

// Record is one key with its whole value.
type Record = replica.Record

// Fold is the pure part. A Table calls it under its lock.
type Fold = replica.Fold

// ErrStopped means that the Table was stopped before the records came back; they may be stored all the same.
var ErrStopped = errors.New("store is stopped")

// ErrLogLost means that the topic lost records that it had confirmed: whether the caller's are stored is unknown.
var ErrLogLost = errors.New("topic lost records")
