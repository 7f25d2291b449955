// Package wait is how chaos and benchmarks wait until something holds.
package wait

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// final is an error that no further asking makes better.
type final struct{ error }

func (f final) Unwrap() error { return f.error }

// Final marks an error as one that Until must not wait over.
func Final(err error) error { return final{err} }

// Until asks until check is content, or fails for good; when ctx ends, its error is the last complaint of before.
func Until(ctx context.Context, every time.Duration, check func(context.Context) error) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	var last error
	for {
		err := check(ctx)
		var forGood final
		if err == nil || errors.As(err, &forGood) {
			return err
		}
		if ctx.Err() != nil && last != nil {
			err = last // it was cut short: that says nothing
		}
		last = err
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting: %w (%w)", err, context.Cause(ctx))
		case <-tick.C:
		}
	}
}
