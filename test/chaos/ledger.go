package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
)

// auditLog reads the audit lines of a log that grows.
type auditLog struct {
	path string
	read int64
	// exact says that stop lines tell when deliveries had ended, however late they are written.
	exact bool
}

// next returns the events of the lines that were written since the call before.
func (l *auditLog) next() ([]audit.Event, error) {
	b, err := os.ReadFile(l.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a worker's log: %w", err)
	}
	b = b[min(l.read, int64(len(b))):]
	whole := b[:bytes.LastIndexByte(b, '\n')+1]
	l.read += int64(len(whole))
	var out []audit.Event
	for line := range bytes.Lines(whole) {
		if e, ok := audit.Parse(string(line)); ok {
			out = append(out, e)
			l.exact = l.exact || bytes.Contains(line, []byte(`"ended_ns"`))
		}
	}
	return out, nil
}

// shut is a time in which a worker could not renew its lease: it was frozen, or cut off.
type shut struct {
	Worker   string
	From, To time.Duration
}

// ownership is who ran what, as far as the workers said.
type ownership struct {
	events []audit.Event
	deaths []audit.Death
	shuts  []shut
	exact  bool
}

// intervals are all attempts until now. A worker that was shut out writes its stop only once it is back. If its lines
// do not tell when its deliveries had ended, and another one ran the task before, the attempt counts until its lease
// must have ended.
func (o *ownership) intervals(now time.Duration) []audit.Interval {
	out := audit.Intervals(o.events, o.deaths, now)
	if o.exact {
		return out
	}
	for i := range out {
		for _, f := range o.shuts {
			a := &out[i]
			lease := f.From + leaseTime
			if a.Worker == f.Worker && a.From < f.From && a.To > lease && f.To > lease && taken(*a, out[i+1:]) {
				a.To = lease
			}
		}
	}
	return out
}

// taken says whether one of the later intervals began before a ended.
func taken(a audit.Interval, later []audit.Interval) bool {
	for _, b := range later {
		if b.Task != a.Task {
			return false
		}
		if b.From < a.To {
			return true
		}
	}
	return false
}

// mark is a moment from which tasks that lose their owner do so because of a kind of fault.
type mark struct {
	Kind string
	// Worker is whom it was done to; empty is all. What moves between others meanwhile is a kind of its own.
	Worker string
	Since  time.Duration
	// Origin is from when a task counts as unowned: 0 is from its own last moment on a worker. A fault that owners outlive
	// for a while has its begin here; one that nobody can run in has its end.
	Origin time.Duration
}

// unowned is how long one task ran nowhere, and why.
type unowned struct {
	Kind string
	Gap  audit.Gap
	Took time.Duration
}

// charge gives each gap that began after the first mark to the newest mark before it. One that was over before its
// mark's origin is left out: between it and the origin the task ran, or tried to.
func charge(gaps []audit.Gap, marks []*mark) []unowned {
	var out []unowned
	for _, g := range gaps {
		var by *mark
		for i := range marks {
			if marks[i].Since <= g.From {
				by = marks[i]
			}
		}
		if by == nil || g.To <= g.From || g.To <= by.Origin {
			continue
		}
		took := g.To - g.From
		if by.Worker != "" && by.Worker != g.OldWorker {
			out = append(out, unowned{moved, g, took})
			continue
		}
		if by.Origin > 0 {
			took = g.To - by.Origin
		}
		out = append(out, unowned{by.Kind, g, took})
	}
	return out
}

// since keeps the intervals that had not ended at a moment.
func since(sorted []audit.Interval, from time.Duration) []audit.Interval {
	var out []audit.Interval
	for _, in := range sorted {
		if in.To >= from {
			out = append(out, in)
		}
	}
	return out
}

// The worker's defaults, by which repeats are bounded.
const (
	flushInterval = time.Second
	sendTimeout   = 2 * time.Second
)

// A sink reads on from a mark below what its queue lost: at most goneBack times as far back, and goneBackMore records.
const (
	goneBack     = 2
	goneBackMore = 64
)

// bound is how many records a round may have brought out twice.
type bound struct {
	rate, peak int // records/s that are sent of one flow, and the most of one that came out within a second
	// resent is how often a batch may have been stored without its answer coming through: requests are retried.
	resent int
	// gone are the records that may have been lost for good, and queues how many there are.
	gone, queues int
	// share is the part of a flow that one task may have: its queues may all be of the one broker that was away.
	share float64
}

// moving is how many records one task moves in a time, at a rate of the whole flow.
func (b bound) moving(rate int, d time.Duration) int {
	return int(float64(rate)*d.Seconds()*b.share) + 1
}

// repeats adds up what the attempts repeat that the fault ended, and what those sources repeat that lived through it.
// An attempt that ends without having stored its progress leaves at most one flush interval of it, and the batch in
// flight, which is what gathers in a send time-out. Before the fault is over nothing can have piled up behind a task;
// after it, tasks go as fast as the peak shows.
func (b bound) repeats(intervals []audit.Interval, marks []*mark) int {
	if len(marks) == 0 {
		return 0
	}
	first, over := marks[0], end(marks)
	sum := 0
	if b.gone > 0 {
		sum = goneBack*b.gone + goneBackMore*b.queues
	}
	for _, in := range intervals {
		if first.Worker != "" && in.Worker != first.Worker {
			continue // stopped cleanly, if at all: it moved
		}
		if isSource(in.Connector) && in.From <= first.Since && in.To > first.Since {
			sum += b.resent * b.moving(b.rate, sendTimeout)
		}
		if in.Open || in.To < first.Since {
			continue
		}
		rate := b.rate
		if in.To > over {
			rate = max(b.rate, b.peak)
		}
		sum += b.moving(rate, flushInterval+sendTimeout)
	}
	return sum
}

// end is when the fault was over: what was away came back.
func end(marks []*mark) time.Duration {
	if len(marks) > 1 {
		return marks[1].Since
	}
	return max(marks[0].Since+time.Second, marks[0].Origin)
}
