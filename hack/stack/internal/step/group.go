package step

import (
	"context"
	"errors"
	"sync"
	"time"
)

// Group runs functions side by side; it is the only place of this module that starts goroutines. The zero value is
// ready.
type Group struct {
	wg   sync.WaitGroup
	mu   sync.Mutex
	errs []error
}

// Go runs fn beside the caller.
func (g *Group) Go(fn func() error) {
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		if err := fn(); err != nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			g.errs = append(g.errs, err)
		}
	}()
}

// Wait returns when all have returned, with all their errors.
func (g *Group) Wait() error {
	g.wg.Wait()
	g.mu.Lock()
	defer g.mu.Unlock()
	return errors.Join(g.errs...)
}

// All runs the functions side by side. The first that fails ends the context of the others; their ends for that reason
// are no errors of their own.
func All(ctx context.Context, fns ...func(context.Context) error) error {
	inner, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var g Group
	for _, fn := range fns {
		g.Go(func() error {
			err := fn(inner)
			if err != nil && inner.Err() != nil {
				return nil // the first failure, which ended inner, is what there is to tell
			}
			if err != nil {
				cancel(err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if inner.Err() != nil {
		return context.Cause(inner)
	}
	return nil
}

// Pause waits for d or the end of ctx, whose error it returns.
func Pause(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// Until asks every 100 ms until ok answers true, fails, or ctx ends. The error then carries what ok last said was
// missing.
func Until(ctx context.Context, ok func(context.Context) (done bool, missing error)) error {
	for {
		done, missing := ok(ctx)
		if done {
			return nil
		}
		if fatal := (*FatalError)(nil); errors.As(missing, &fatal) {
			return fatal.Err
		}
		if err := Pause(ctx, 100*time.Millisecond); err != nil {
			return errors.Join(err, missing)
		}
	}
}

// FatalError ends Until at once.
type FatalError struct{ Err error }

// Error is the error inside.
func (e *FatalError) Error() string { return e.Err.Error() }

// Unwrap gives the error inside.
func (e *FatalError) Unwrap() error { return e.Err }
