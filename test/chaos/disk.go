package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"

	"github.com/rocketmq-connect/operator/worker/cluster"
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
	if err := fill(path); err != nil {
		return err
	}
	return errors.Join(pause(ctx, d), os.Remove(path))
}

// fill writes until nothing more fits.
func fill(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("filling a disk: %w", err)
	}
	defer f.Close()
	for block := make([]byte, 4096); ; {
		if _, err := f.Write(block); errors.Is(err, syscall.ENOSPC) {
			return nil
		} else if err != nil {
			return fmt.Errorf("filling a disk: %w", err)
		}
	}
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

// window is the records that a fault may have lost: those from From to To-1, by their numbers.
type window struct{ From, To int }

// restoreBroker gives RocketMQ a copy of its store that is some seconds old: it loses records of all topics, the workers'
// own included, that it had confirmed. What had come out before the copy was made cannot be lost, nor can what was sent
// after the kill.
func restoreBroker(ctx context.Context, s *strike) error {
	age, away := s.seconds(1, 6), s.seconds(0, 3)
	s.say("SIGKILL to %s, started %s later with its store of %s before", rocketMQ, away, age)
	store, err := s.brokers.store(ctx)
	if err != nil {
		return err
	}
	older := store + "-older"
	defer os.RemoveAll(older)
	from := s.flow.prefix()
	if err := s.brokers.snapshot(ctx, store, older); err != nil {
		return err
	}
	if err := pause(ctx, age); err != nil {
		return err
	}
	m := s.from(brokerRestored)
	if err := s.brokers.kill(ctx, rocketMQ); err != nil {
		return err
	}
	s.window = window{from, int(s.flow.sent.Load())}
	s.flow.mayLose(s.window)
	if err := errors.Join(os.RemoveAll(store), os.Rename(older, store)); err != nil {
		return fmt.Errorf("replacing the store: %w", err)
	}
	err = errors.Join(pause(ctx, away), s.brokers.up(ctx))
	if err == nil {
		err = s.brokers.registered(ctx, s.topic)
	}
	m.Origin = cluster.Now()
	return err
}
