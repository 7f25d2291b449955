package lane

import (
	"context"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/service/backoff"
)

// How long a lane waits before it retries a batch, and one that the broker has stored and that it will store once more.
const (
	firstRetry       = 5 * time.Millisecond
	lastRetry        = time.Second
	firstUnconfirmed = time.Second
	lastUnconfirmed  = 10 * time.Second
)

// deliver sends a batch until it is stored, or never will be, or its records were taken.
func (l *Lane) deliver(ctx context.Context, b *Batch) {
	var retry, repeat backoff.Doubling
	for begun, told := time.Now(), false; b.good > 0; {
		a := l.cfg.Connection.Send(ctx, b, l.late)
		switch {
		case a.Err == nil:
			l.cfg.Owner.Confirmed()
			l.finish(b, a.First, nil)
			return
		case ctx.Err() != nil:
			l.finish(b, 0, context.Cause(ctx))
			return
		case a.Kind == TooLarge && b.good > 1:
			l.oneByOne(ctx, b)
			return
		case a.Kind == TooLarge || a.Kind == Never:
			l.finish(b, 0, a.Err)
			return
		case a.Kind == Gone:
			if err := l.cfg.Owner.QueueGone(b, a.Err); err != nil {
				l.finish(b, 0, err)
				return
			}
			if b.good == 0 {
				continue
			}
		}
		told = l.log(a.Err, b, time.Since(begun), told)
		l.failedWith(a.Err)
		if l.cfg.Owner.BrokerAway(b, a.Err); b.good == 0 {
			continue
		}
		var wait time.Duration
		if a.Repeats {
			wait = repeat.Next(firstUnconfirmed, lastUnconfirmed)
		} else {
			wait = retry.Next(firstRetry, lastRetry)
		}
		if err := service.Sleep(ctx, wait); err != nil {
			l.finish(b, 0, err)
			return
		}
	}
	l.finish(b, 0, nil)
}

// tellAfter is how long a batch is tried quietly: a busy broker is nothing to tell of.
const tellAfter = 10 * time.Second

// log tells of a batch that has to be retried: once, when it takes long. It says whether it told.
func (l *Lane) log(err error, b *Batch, trying time.Duration, told bool) bool {
	log := l.cfg.Log.V(1)
	if !told && trying > tellAfter {
		log, told = l.cfg.Log, true
	}
	log.Info("Retrying a batch", "records", b.good, "for", trying.String(), "err", err.Error())
	return told
}

// oneByOne sends each record of a refused batch by itself, so that only the one that is to blame fails.
func (l *Lane) oneByOne(ctx context.Context, b *Batch) {
	from := 0
	for i := range b.records {
		single := &Batch{born: b.born}
		member := b.wire[from:b.records[i].end]
		from = b.records[i].end
		single.add(member, b.records[i])
		l.deliver(ctx, single)
	}
}

// finish answers all records of a batch, in order: those without an error of their own are at first, first+1, …, or
// failed with err.
func (l *Lane) finish(b *Batch, first int64, err error) {
	size := 0
	for i := range b.records {
		r := &b.records[i]
		size += r.Size
		switch {
		case r.err != nil:
			r.Done(0, r.err)
		case err != nil:
			r.Done(0, err)
		default:
			r.Done(first, nil)
			first++
		}
	}
	l.cfg.Part.Give(size)
	for i := range b.records {
		b.records[i].Wave.Leave()
	}
}
