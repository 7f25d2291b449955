package task

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
)

// answering is a gate whose Wait fails with an error.
type answering struct {
	fakeGate
	err error
}

func (g *answering) Wait(context.Context, time.Duration) error { return g.err }

func TestWaitingTellsALossFromAStop(t *testing.T) {
	gone, stopped := errors.New("unit is not owned any more"), errors.New("stopped")
	ended := func(cause error) context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(cause)
		return ctx
	}
	cases := map[string]struct {
		ctx      context.Context
		err      error
		wantLost bool
	}{
		"the task is lost":                    {context.Background(), gone, true},
		"the task is stopped":                 {ended(stopped), stopped, false},
		"the task is lost while it stops":     {ended(stopped), gone, true},
		"the context ended for the same loss": {ended(gone), gone, false},
		"the gate is open":                    {context.Background(), nil, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := (&Runner{}).wait(tc.ctx, &answering{err: tc.err}, time.Second)
			if errors.Is(err, ErrLost) != tc.wantLost || !errors.Is(err, tc.err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWarningsOfATaskAndItsConnectorGoTogether(t *testing.T) {
	var told []string
	w := &warnings{warn: func(text string) { told = append(told, text) }}
	w.set(ofConnector, "")
	w.set(ofConnector, "topic b is missing")
	w.set(ofTask, "broker a is away")
	w.set(ofTask, "broker a is away")
	w.set(ofConnector, "")
	w.set(ofTask, "")
	want := []string{"topic b is missing", "broker a is away; topic b is missing", "broker a is away", ""}
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestTheLogOfAnAttemptHasNoSecrets(t *testing.T) {
	h := newHarness(t)
	var lines []string
	h.runner.cfg.Log = funcr.New(func(_, line string) { lines = append(lines, line) }, funcr.Options{})
	a := h.attempt(connector.Config{})
	a.Scrub = func(text string) string { return strings.ReplaceAll(text, "hunter2", "***") }
	env := h.runner.env(a, settings{}, h.runner.logger(a), nil, &warnings{})
	env.Log.Info("dialing with hunter2", "password", "hunter2", "config", map[string]string{"password": "hunter2"})
	got := strings.Join(lines, "\n")
	if strings.Contains(got, "hunter2") || !strings.Contains(got, `"msg"="dialing with ***" "connector"="c"`) {
		t.Errorf("log: %s", got)
	}
}
