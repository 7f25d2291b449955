//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

func (s *stack) status(context.Context) error {
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tPID\tSINCE\tLOG")
	for _, name := range s.names() {
		state, pid, since := "stopped", "-", "-"
		if r, ok := s.daemons.Running(name); ok {
			state, pid, since = "running", fmt.Sprint(r.PID), time.Since(r.Since).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, state, pid, since, s.daemons.Log(name))
	}
	return w.Flush()
}

func (s *stack) names() []string { return s.brokers().Names() }

// logs prints a process's output, and with follow goes on until it is interrupted.
func (s *stack) logs(ctx context.Context, name string, follow bool) error {
	f, err := os.Open(s.daemons.Log(name))
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no log of %q: \"status\" lists the names, and \"up\" starts them", name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := io.Copy(s.out, f); err != nil {
			return fmt.Errorf("reading the log of %s: %w", name, err)
		}
		if !follow || step.Pause(ctx, 200*time.Millisecond) != nil {
			return nil
		}
	}
}
