package main

import (
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
)

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
	rate, peak int // records/s that are sent, and the most that came out within a second
	// resent is how often a batch may have been stored without its answer coming through: requests are tried again.
	resent int
	window window
}

// moving is how many records one task moves in a time, at a rate of the whole flow.
func moving(rate int, d time.Duration) int {
	return int(float64(rate)*d.Seconds()/tasksEach) + 1
}

// repeats adds up what the attempts repeat that the fault ended, and what those sources repeat that lived through it. An
// attempt that ends without having stored its progress leaves at most one flush interval of it, and the batch in flight,
// which is what gathers in a send time-out. Before the fault is over nothing can have piled up behind a task; after it, tasks
// go as fast as the peak shows.
func (b bound) repeats(intervals []audit.Interval, marks []*mark) int {
	if len(marks) == 0 {
		return 0
	}
	first, over := marks[0], end(marks)
	sum := 0
	if lost := b.window.To - b.window.From; lost > 0 {
		sum = goneBack*lost + goneBackMore*partitions
	}
	for _, in := range intervals {
		if first.Worker != "" && in.Worker != first.Worker {
			continue // stopped cleanly, if at all: it moved
		}
		if in.Connector == sourceName && in.From <= first.Since && in.To > first.Since {
			sum += b.resent * moving(b.rate, sendTimeout)
		}
		if in.Open || in.To < first.Since {
			continue
		}
		rate := b.rate
		if in.To > over {
			rate = max(b.rate, b.peak)
		}
		sum += moving(rate, flushInterval+sendTimeout)
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
