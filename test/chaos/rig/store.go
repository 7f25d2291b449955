package rig

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
)

// Snapshot copies the store of a broker that runs. The process is frozen meanwhile, so that all files are of one
// moment: the copy is what a kill at that moment leaves behind.
func (s *Stack) Snapshot(ctx context.Context, b Broker, store, to string) error {
	wake, err := s.Freeze(ctx, b.Process)
	if err != nil {
		return err
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", "--sparse=always", store, to).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("copying the store: %w\n%s", err, out)
	}
	return errors.Join(err, wake())
}

// Store is the folder in which a broker that runs keeps everything, by its configuration.
func (s *Stack) Store(ctx context.Context, b Broker) (string, error) {
	args, err := s.commandLine(ctx, b.Process)
	if err != nil {
		return "", err
	}
	i := slices.Index(args, "-c") + 1
	if i == 0 || i == len(args) {
		return "", fmt.Errorf("%w: no configuration in %q", errProcess, args)
	}
	conf, err := os.ReadFile(args[i])
	if err != nil {
		return "", fmt.Errorf("reading the broker's configuration: %w", err)
	}
	for line := range strings.Lines(string(conf)) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "storePathRootDir="); ok {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: no storePathRootDir in %s", errProcess, args[i])
}
