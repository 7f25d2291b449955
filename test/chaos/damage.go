package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"

	"github.com/rocketmq-connect/operator/test/chaos/disk"
	"github.com/rocketmq-connect/operator/test/chaos/wait"
)

// fillDisk leaves a member no room in its store for a time.
func fillDisk(ctx context.Context, s *strike) error {
	if len(s.mounted) == 0 {
		s.skipped = "only root can make small file systems"
		return nil
	}
	v, d := s.victim(), s.seconds(2, 10)
	s.say("No room left in the store of %s for %s", v.id, d)
	s.lost(diskFull, v)
	path := filepath.Join(v.store, "filler")
	if err := disk.Fill(path); err != nil {
		return err
	}
	return errors.Join(wait.Pause(ctx, d), os.Remove(path))
}

// damage kills a member, changes some of its files, and starts it again on them.
func damage(kind string, change func(*rand.Rand, []byte) []byte) func(ctx context.Context, s *strike) error {
	return func(_ context.Context, s *strike) error {
		v := s.victim()
		s.lost(kind, v)
		s.kill(v)
		changed := 0
		err := filepath.WalkDir(v.store, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || s.rng.IntN(3) == 0 {
				return err
			}
			b, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			changed++
			return os.WriteFile(path, change(s.rng, b), 0o600)
		})
		if err != nil {
			return fmt.Errorf("damaging a store: %w", err)
		}
		s.say("SIGKILL to %s, %d files of its store damaged, started again", v.id, changed)
		return s.start(v)
	}
}

func truncated(rng *rand.Rand, b []byte) []byte { return b[:rng.IntN(len(b)+1)] }

func corrupted(rng *rand.Rand, b []byte) []byte {
	for range min(len(b), 8) {
		b[rng.IntN(len(b))] = byte(rng.Uint32())
	}
	return b
}
