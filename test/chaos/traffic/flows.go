package traffic

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/rocketmq-connect/operator/test/flow"
)

// Flows run side by side.
type Flows []*Flow

// Close ends all of them.
func (fs Flows) Close() {
	for _, f := range fs {
		f.Close()
	}
}

// Tally is what came out of one flow until a moment.
type Tally struct {
	flow.Result
	// Name is the way's.
	Name string
	// Peak is the most that came out within a second since the tally before.
	Sent, Peak int
	// Missing are the records that had to come out, and did not.
	Missing int
	Failed  error
}

// Tallies are those of all flows.
type Tallies []Tally

// Mark returns the state, and starts again to look for the peaks.
func (fs Flows) Mark() Tallies {
	var out Tallies
	for _, f := range fs {
		out = append(out, f.mark())
	}
	return out
}

func (f *Flow) mark() Tally {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := Tally{Result: f.checker.Result(), Name: f.way.Name, Sent: int(f.sent.Load()), Peak: f.peak, Failed: f.failed,
		Missing: f.checker.Unseen(f.checker.Prefix(), f.want)}
	f.peak = 0
	return t
}

// Sum adds them up; its peak is the highest of any.
func (ts Tallies) Sum() Tally {
	var sum Tally
	for _, t := range ts {
		sum.Sent, sum.Peak, sum.Missing = sum.Sent+t.Sent, max(sum.Peak, t.Peak), sum.Missing+t.Missing
		sum.Distinct, sum.Duplicates, sum.Lost, sum.Late = sum.Distinct+t.Distinct, sum.Duplicates+t.Duplicates, sum.Lost+t.Lost, sum.Late+t.Late
		sum.Corrupt, sum.Foreign = sum.Corrupt+t.Corrupt, sum.Foreign+t.Foreign
		sum.OutOfOrder, sum.Overtaken = sum.OutOfOrder+t.OutOfOrder, sum.Overtaken+t.Overtaken
	}
	return sum
}

// Drained waits until all that was sent until now has come out of all of them, but for what may be lost.
func (fs Flows) Drained(ctx context.Context) error {
	var group errgroup.Group
	for _, f := range fs {
		group.Go(func() error { return f.drained(ctx) })
	}
	return group.Wait()
}

// window is the records from to to-1, by their numbers.
type window struct{ from, to int }

// with is the smallest window that holds both.
func (w window) with(other window) window {
	if w.to == 0 {
		return other
	}
	return window{min(w.from, other.from), max(w.to, other.to)}
}

// Exposed are the records that a fault may lose for good: what had come out before it began cannot be lost, nor can
// what is sent once it is over.
type Exposed struct {
	flows Flows
	from  []int
}

// Expose begins a time in which records may be lost.
func (fs Flows) Expose() Exposed {
	e := Exposed{flows: fs}
	for _, f := range fs {
		f.mu.Lock()
		e.from = append(e.from, f.checker.Prefix())
		f.mu.Unlock()
	}
	return e
}

// End lets the records of that time be missing, once everything that was sent after it has come out, and says how many
// they are. The time may be ended again, later: then it was longer.
func (e Exposed) End() (records int) {
	for i, f := range e.flows {
		w := window{e.from[i], int(f.sent.Load())}
		f.mu.Lock()
		f.losable = f.losable.with(w)
		f.mu.Unlock()
		records += w.to - w.from
	}
	return records
}
