package backoff

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheWaitDoublesUpToTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := Backoff{First: 5 * time.Second, Last: 30 * time.Second}
		var got []time.Duration
		for i := range 6 {
			if i == 5 {
				b.Reset()
			}
			begun := time.Now()
			if err := b.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			got = append(got, time.Since(begun))
		}
		if diff := cmp.Diff([]time.Duration{5e9, 10e9, 20e9, 30e9, 30e9, 5e9}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

func TestAWaitEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		why := errors.New("closed")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(why) })
		begun := time.Now()
		b := Backoff{First: time.Minute, Last: time.Minute}
		if err := b.Wait(ctx); !errors.Is(err, why) || time.Since(begun) != time.Second {
			t.Errorf("%v after %s", err, time.Since(begun))
		}
	})
}
