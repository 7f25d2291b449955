//go:build linux

package main

import (
	"context"
	"errors"
	"os"
)

func (s *stack) down(ctx context.Context) error {
	return s.locked(ctx, func(ctx context.Context) error {
		var errs []error
		for _, name := range s.brokers().Names() {
			if _, ok := s.daemons.Running(name); ok {
				s.report.Say(name, "stopping")
			}
			errs = append(errs, s.daemons.Stop(ctx, name))
		}
		if err := errors.Join(errs...); err != nil {
			return err
		}
		return os.RemoveAll(s.layout.State())
	})
}
