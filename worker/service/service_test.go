package service

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// trace collects what happened, in order; the runner calls it from one goroutine at a time but for Run.
type trace struct{ lines chan string }

func (tr trace) service(name string, startErr error, run func(context.Context) error) Service {
	return Service{
		Name:  name,
		Start: func(context.Context) error { tr.lines <- "start " + name; return startErr },
		Run:   run,
		Stop:  func(context.Context) error { tr.lines <- "stop " + name; return nil },
	}
}

func (tr trace) all() []string {
	close(tr.lines)
	var out []string
	for l := range tr.lines {
		out = append(out, l)
	}
	return out
}

func forStop() (context.Context, context.CancelFunc) { return context.WithCancel(context.Background()) }

func TestRunStartsInOrderAndStopsInReverse(t *testing.T) {
	broken := errors.New("broken")
	untilDone := func(ctx context.Context) error { <-ctx.Done(); return nil }
	cases := map[string]struct {
		startErr error
		run      func(context.Context) error
		cancel   bool
		want     []string
		wantErr  string
	}{
		"context ends": {
			run: untilDone, cancel: true,
			want: []string{"start a", "start b", "stop b", "stop a"},
		},
		"a service fails": {
			run:     func(context.Context) error { return broken },
			want:    []string{"start a", "start b", "stop b", "stop a"},
			wantErr: "running b: broken",
		},
		"a service panics": {
			run:     func(context.Context) error { panic("at the disco") },
			want:    []string{"start a", "start b", "stop b", "stop a"},
			wantErr: "running b: panic: at the disco",
		},
		"a start fails": {
			startErr: broken, run: untilDone,
			want:    []string{"start a", "start b", "stop a"},
			wantErr: "starting b: broken",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			tr := trace{lines: make(chan string, 10)}
			run := tc.run
			if tc.cancel {
				run = func(ctx context.Context) error { cancel(); return tc.run(ctx) }
			}
			err := Run(ctx, forStop, tr.service("a", nil, untilDone), tr.service("b", tc.startErr, run))
			if got := message(err); !strings.HasPrefix(got, tc.wantErr) || (tc.wantErr == "") != (err == nil) {
				t.Errorf("error %q, want %q", got, tc.wantErr)
			}
			if d := cmp.Diff(tc.want, tr.all()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEarlierServicesRunUntilLaterOnesHaveStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	var below context.Context
	lower := Service{Name: "lower", Run: func(ctx context.Context) error { below = ctx; cancel(); <-ctx.Done(); return nil }}
	upper := Service{Name: "upper", Stop: func(context.Context) error {
		if below != nil && below.Err() != nil {
			t.Error("the lower service was told to end before the upper one had stopped")
		}
		return nil
	}}
	if err := Run(ctx, forStop, lower, upper); err != nil {
		t.Fatal(err)
	}
}

func message(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// What fails while another one is still starting ends the start: nothing else would notice it.
func TestAFailureEndsAStartThatWaits(t *testing.T) {
	broken := errors.New("broken")
	err := Run(t.Context(), forStop,
		Service{Name: "a", Run: func(context.Context) error { return broken }},
		Service{Name: "b", Start: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }})
	if !errors.Is(err, broken) || errors.Is(err, context.Canceled) || !strings.HasPrefix(err.Error(), "running a: broken") {
		t.Errorf("got %v", err)
	}
}
