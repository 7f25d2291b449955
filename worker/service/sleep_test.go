package service

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestSleepLastsUntilItsTimeOrTheEndOfItsContext(t *testing.T) {
	stopped := errors.New("stopped")
	cases := map[string]struct {
		sleep time.Duration
		end   time.Duration // of the context; -1: before the sleep begins
		want  error
		wantD time.Duration
	}{
		"its time is over":                   {sleep: time.Second, end: time.Minute, wantD: time.Second},
		"the context ends":                   {sleep: time.Minute, end: time.Second, want: stopped, wantD: time.Second},
		"the context has ended":              {sleep: time.Minute, end: -1, want: stopped},
		"no time":                            {sleep: 0, end: time.Minute},
		"less than no time":                  {sleep: -time.Second, end: time.Minute},
		"no time, and the context has ended": {sleep: 0, end: -1, want: stopped},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, end := context.WithCancelCause(t.Context())
				if tc.end < 0 {
					end(stopped)
				} else {
					defer time.AfterFunc(tc.end, func() { end(stopped) }).Stop()
				}
				begun := time.Now()
				if err := Sleep(ctx, tc.sleep); !errors.Is(err, tc.want) || time.Since(begun) != tc.wantD {
					t.Errorf("got %v after %s, want %v after %s", err, time.Since(begun), tc.want, tc.wantD)
				}
			})
		})
	}
}
