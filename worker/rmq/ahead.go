package rmq

import (
	"context"

	"github.com/rocketmq-connect/operator/worker/service"
)

// pullsAhead is how many pulls of one Read are under way: brokers give few records at once (32 by default), so what a read
// takes is the way there and back.
const pullsAhead = 8

// ahead is a Read's pulls: those at the places where it will most likely go on are under way before it gets there.
type ahead struct {
	pull  func(ctx context.Context, offset int64) (pulled, error)
	end   int64
	step  int64 // how far the last pull that gave something reached; 0 before
	group service.Group
	// flights are under way, at rising offsets.
	flights []flight
}

type flight struct {
	offset int64
	answer chan answer
}

type answer struct {
	pulled
	err error
}

// next gives what the broker has at an offset, which never goes back. A pull that was under way may have begun before it.
func (a *ahead) next(ctx context.Context, offset int64) (pulled, error) {
	if len(a.flights) == 0 || a.flights[0].offset > offset {
		p, err := a.pull(ctx, offset)
		a.learn(offset, p)
		a.launch(ctx, offset)
		return p, err
	}
	f := a.flights[0]
	a.flights = a.flights[1:]
	a.launch(ctx, f.offset)
	got := <-f.answer
	a.learn(f.offset, got.pulled)
	return got.pulled, got.err
}

func (a *ahead) learn(offset int64, p pulled) {
	if n := len(p.messages); n > 0 {
		a.step = p.messages[n-1].NextOffset - offset
	}
}

// launch keeps as many pulls under way behind an offset as there may be.
func (a *ahead) launch(ctx context.Context, offset int64) {
	if n := len(a.flights); n > 0 {
		offset = a.flights[n-1].offset
	}
	for offset += a.step; a.step > 0 && len(a.flights) < pullsAhead && offset < a.end; offset += a.step {
		f := flight{offset: offset, answer: make(chan answer, 1)}
		a.flights = append(a.flights, f)
		a.group.Go(func() {
			p, err := a.pull(ctx, f.offset)
			f.answer <- answer{p, err}
		})
	}
}
