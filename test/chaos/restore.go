package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"

	"github.com/rocketmq-connect/operator/worker/cluster"
)

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

// snapshot copies the store of a broker that runs. The process is stopped meanwhile, so that all files are of one moment:
// the copy is what a kill at that moment leaves behind.
func (b *brokers) snapshot(ctx context.Context, store, to string) error {
	pid, err := b.pid(ctx, rocketMQ)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping the broker: %w", err)
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", "--sparse=always", store, to).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("copying the store: %w\n%s", err, out)
	}
	if failed := syscall.Kill(pid, syscall.SIGCONT); failed != nil {
		err = errors.Join(err, fmt.Errorf("waking the broker: %w", failed))
	}
	return err
}

// store is the folder in which the broker that runs keeps everything, by its configuration.
func (b *brokers) store(ctx context.Context) (string, error) {
	pid, err := b.pid(ctx, rocketMQ)
	if err != nil {
		return "", err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return "", fmt.Errorf("reading the broker's command line: %w", err)
	}
	args := strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	for i, arg := range args {
		if arg != "-c" || i+1 == len(args) {
			continue
		}
		conf, err := os.ReadFile(args[i+1])
		if err != nil {
			return "", fmt.Errorf("reading the broker's configuration: %w", err)
		}
		for line := range strings.Lines(string(conf)) {
			if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "storePathRootDir="); ok {
				return dir, nil
			}
		}
	}
	return "", fmt.Errorf("%w: no storePathRootDir in the configuration of process %d", errProcess, pid)
}
