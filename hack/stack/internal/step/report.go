// Package step runs the steps of longer work, side by side where they do not wait for each other, and says how they go.
package step

import (
	"context"
	"fmt"
	"io"
	"sync"
	"time"
)

// A running step says after firstWord, and then every nextWord, that it still runs; what is quick needs no closing
// line.
const (
	firstWord = 10 * time.Second
	nextWord  = 30 * time.Second
	quick     = 2 * time.Second
)

// Reporter writes one line for each thing that happens, with the seconds since it was made. It is safe for concurrent
// use.
type Reporter struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

// NewReporter writes to out; the clock starts now.
func NewReporter(out io.Writer) *Reporter { return &Reporter{out: out, start: time.Now()} }

// Say writes a line about a part of the stack.
func (r *Reporter) Say(part, format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, "%7.1fs  %-23s %s\n", time.Since(r.start).Seconds(), part, fmt.Sprintf(format, args...))
}

// Do runs fn, says what it does, says now and then that it still runs, and how long it took if that was long.
func (r *Reporter) Do(ctx context.Context, part, what string, fn func(context.Context) error) error {
	r.Say(part, "%s", what)
	began := time.Now()
	done := make(chan struct{})
	var ticks Group
	ticks.Go(func() error { r.tick(part, what, began, done); return nil })
	err := fn(ctx)
	close(done)
	if waitErr := ticks.Wait(); err == nil {
		err = waitErr
	}
	if took := time.Since(began); err == nil && took > quick {
		r.Say(part, "%s: done in %.0f s", what, took.Seconds())
	}
	return err
}

func (r *Reporter) tick(part, what string, began time.Time, done <-chan struct{}) {
	t := time.NewTimer(firstWord)
	defer t.Stop()
	for {
		select {
		case <-done:
			return
		case <-t.C:
			r.Say(part, "%s: still at it after %.0f s", what, time.Since(began).Seconds())
			t.Reset(nextWord)
		}
	}
}
