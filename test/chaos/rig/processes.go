package rig

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/test/wait"
)

// Kill ends one process by SIGKILL, a frozen one too, and waits for its end.
func (s *Stack) Kill(ctx context.Context, process string) error {
	pid, err := s.pid(ctx, process)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", process, err)
	}
	return wait.Until(ctx, 20*time.Millisecond, func(context.Context) error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		return fmt.Errorf("killing %s: process %d is still there", process, pid)
	})
}

// Freeze stops a process by SIGSTOP; wake lets it go on, once: further calls do nothing.
func (s *Stack) Freeze(ctx context.Context, process string) (wake func() error, err error) {
	pid, err := s.pid(ctx, process)
	if err != nil {
		return nil, err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return nil, fmt.Errorf("freezing %s: %w", process, err)
	}
	woken := false
	return func() error {
		if woken {
			return nil
		}
		woken = true
		if err := syscall.Kill(pid, syscall.SIGCONT); err != nil {
			return fmt.Errorf("waking %s: %w", process, err)
		}
		return nil
	}, nil
}

// pid finds a process in the table NAME STATE PID … of the stack.
func (s *Stack) pid(ctx context.Context, process string) (int, error) {
	out, err := s.run(ctx, "status", "--only", "rocketmq,kafka")
	if err != nil {
		return 0, err
	}
	if pid, ok := pidIn(out, process); ok {
		return pid, nil
	}
	return 0, fmt.Errorf("%w: %s in\n%s", errProcess, process, out)
}

func pidIn(table, process string) (int, bool) {
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == process && f[1] == "running" {
			if pid, err := strconv.Atoi(f[2]); err == nil {
				return pid, true
			}
		}
	}
	return 0, false
}

// Version is a process's program and version, as its class path has them.
func (s *Stack) Version(ctx context.Context, process string) string {
	args, err := s.commandLine(ctx, process)
	if err != nil {
		return process
	}
	for _, arg := range args {
		if found := regexp.MustCompile(`(rocketmq|kafka)-\d[\d.]*\d`).FindString(arg); found != "" {
			return found
		}
	}
	return process
}

func (s *Stack) commandLine(ctx context.Context, process string) ([]string, error) {
	pid, err := s.pid(ctx, process)
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, fmt.Errorf("reading the command line of %s: %w", process, err)
	}
	return strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), nil
}
