package connectortest

import (
	"cmp"
	"context"
	"errors"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/service"
)

// patience is how long a test waits for something that has to come. Nothing is judged by it but that.
const patience = 30 * time.Second

// calls makes the calls of a test: bounded, so that one that hangs fails the test instead of holding it up, and
// guarded, so that a panic names its method.
type calls struct{ patience time.Duration }

func callsWithin(given time.Duration) calls { return calls{cmp.Or(given, patience)} }

// waiting is the context of calls that end by themselves.
func (c calls) waiting(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	t.Cleanup(cancel)
	return ctx
}

// do makes one call and returns its error. It gives a call as long again to return once its context may have ended.
func (c calls) do(t testing.TB, method string, call func() error) error {
	t.Helper()
	returned := make(chan error, 1)
	var calling service.Group
	calling.Go(func() { returned <- service.Guard(call) })
	timer := time.NewTimer(2 * c.patience)
	defer timer.Stop()
	select {
	case err := <-returned:
		if panicked := (*service.PanicError)(nil); errors.As(err, &panicked) {
			t.Fatalf("%s panics: %v\n%s", method, panicked.Value, panicked.Stack)
		}
		return err
	case <-timer.C:
		t.Fatalf("%s does not return, though its context has ended", method)
		return nil
	}
}

// until waits for something that has to come; it fails the test, with what is missing, if it does not.
func (c calls) until(t testing.TB, missing string, here func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.patience)
	defer cancel()
	for !here() {
		if ctx.Err() != nil {
			t.Fatal(missing)
		}
		pause(ctx)
	}
}

// pause passes a little time before something is looked at again.
func pause(ctx context.Context) {
	timer := time.NewTimer(10 * time.Millisecond)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// leavesNothing has the test fail if a goroutine is left of it at its very end, when all is closed. It comes first in a
// test.
func leavesNothing(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		if err := goleak.Find(before); err != nil {
			t.Errorf("goroutines are left when all is closed: %v", err)
		}
	})
}
