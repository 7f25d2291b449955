package wait

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

var errNot = errors.New("not yet")

func TestUntilAsksAgainUnlessAnErrorIsFinal(t *testing.T) {
	cases := map[string]struct {
		answers []error // the last one for ever
		want    error
		took    time.Duration
	}{
		"content at once":           {answers: []error{nil}},
		"content the third time":    {answers: []error{errNot, errNot, nil}, took: 2 * time.Second},
		"final the second time":     {answers: []error{errNot, fmt.Errorf("asking: %w", Final(errNot))}, want: errNot, took: time.Second},
		"never content: time is up": {answers: []error{errNot}, want: context.DeadlineExceeded, took: 10 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				begun, asked := time.Now(), 0
				err := Until(ctx, time.Second, func(context.Context) error {
					asked++
					return tc.answers[min(asked, len(tc.answers))-1]
				})
				if !errors.Is(err, tc.want) || time.Since(begun) != tc.took {
					t.Errorf("got %v after %s, want %v after %s", err, time.Since(begun), tc.want, tc.took)
				}
			})
		})
	}
}

func TestTheComplaintOfAnAttemptThatWasCutShortIsNotTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		first := true
		err := Until(ctx, time.Second, func(ctx context.Context) error {
			if first {
				first = false
				return errNot
			}
			<-ctx.Done()
			return ctx.Err()
		})
		if !errors.Is(err, errNot) {
			t.Errorf("got %v, want the complaint of before", err)
		}
	})
}
