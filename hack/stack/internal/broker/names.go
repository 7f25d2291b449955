package broker

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

var errName = errors.New("no such process")

// CheckNames refuses names of processes that the instance does not have.
func (s Set) CheckNames(names []string) error {
	for _, name := range names {
		if !slices.Contains(s.Names(), name) {
			return fmt.Errorf("%w: %q; this instance has %s", errName, name, strings.Join(s.Names(), ", "))
		}
	}
	return nil
}

// StartNames starts some of the processes, with the configuration that they had, and returns when they are ready.
func (s Set) StartNames(ctx context.Context, names []string) error {
	if err := s.CheckNames(names); err != nil {
		return err
	}
	nodes := slices.DeleteFunc(s.nodes(), func(n node) bool { return !slices.Contains(names, n.name) })
	work := []func(context.Context) error{func(ctx context.Context) error { return s.startNodes(ctx, nodes) }}
	if slices.Contains(names, Kafka) {
		work = append(work, s.StartKafka)
	}
	return step.All(ctx, work...)
}

// StopNames ends some of the processes cleanly. With wipe their data are removed; what does not run is no error.
func (s Set) StopNames(ctx context.Context, names []string, wipe bool) error {
	if err := s.CheckNames(names); err != nil {
		return err
	}
	var g step.Group
	for _, name := range names {
		g.Go(func() error {
			if _, running := s.Daemons.Running(name); running {
				s.Report.Say(name, "stopping")
			}
			if err := s.Daemons.Stop(ctx, name); err != nil {
				return err
			}
			if !wipe {
				return nil
			}
			s.Report.Say(name, "removing its data")
			for _, path := range s.data(name) {
				if err := os.RemoveAll(path); err != nil {
					return fmt.Errorf("removing the data of %s: %w", name, err)
				}
			}
			return nil
		})
	}
	return g.Wait()
}

// data lists the folders in which a process keeps what it must find again. Name servers write some settings below their
// home.
func (s Set) data(name string) []string {
	if name == Kafka {
		return []string{s.kafkaData()}
	}
	n, known := s.node(name)
	switch {
	case !known || n.program == proxyProgram:
		return nil
	case n.program == namesrvProgram:
		return []string{filepath.Join(s.home(n.folder), "namesrv"), s.store(n)}
	}
	return []string{s.store(n)}
}
