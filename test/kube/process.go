package kube

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rocketmq-connect/operator/worker/service"
)

// Process is a pod's main process, seen from the machine that runs it.
type Process struct {
	PID int
	pod string
}

// FindProcess finds the process of a pod by its executable and the HOSTNAME in its environment.
func FindProcess(executable, pod string) (Process, error) {
	links, err := filepath.Glob("/proc/[0-9]*/exe")
	if err != nil {
		return Process{}, fmt.Errorf("listing processes: %w", err)
	}
	for _, link := range links {
		target, err := os.Readlink(link)
		if err != nil || filepath.Base(target) != executable {
			continue
		}
		dir := filepath.Dir(link)
		env, err := os.ReadFile(filepath.Join(dir, "environ"))
		if err != nil || !strings.Contains("\x00"+string(env), "\x00HOSTNAME="+pod+"\x00") {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue
		}
		return Process{PID: pid, pod: pod}, nil
	}
	return Process{}, fmt.Errorf("finding %s of pod %s: %w", executable, pod, errNoProcess)
}

// Kill sends SIGKILL and returns the boot time at which the process was seen to be gone.
func (p Process) Kill(ctx context.Context) (time.Duration, error) {
	if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
		return 0, fmt.Errorf("killing process %d of pod %s: %w", p.PID, p.pod, err)
	}
	for ctx.Err() == nil {
		if state, err := p.status("State"); err != nil || strings.HasPrefix(state, "Z") {
			return BootTime(), nil
		}
		_ = service.Sleep(ctx, time.Millisecond)
	}
	return 0, ctx.Err()
}

// Memory returns the resident set size now and at its highest, in MiB.
func (p Process) Memory() (now, peak int, err error) {
	for field, to := range map[string]*int{"VmRSS": &now, "VmHWM": &peak} {
		text, err := p.status(field)
		if err != nil {
			return 0, 0, err
		}
		kib, err := strconv.Atoi(strings.TrimSuffix(text, " kB"))
		if err != nil {
			return 0, 0, fmt.Errorf("reading %s of process %d: %w", field, p.PID, err)
		}
		*to = kib / 1024
	}
	return now, peak, nil
}

func (p Process) status(field string) (string, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.PID))
	if err != nil {
		return "", fmt.Errorf("reading process %d of pod %s: %w", p.PID, p.pod, err)
	}
	for line := range strings.Lines(string(raw)) {
		if rest, ok := strings.CutPrefix(line, field+":"); ok {
			return strings.TrimSpace(rest), nil
		}
	}
	return "", fmt.Errorf("reading %s of process %d: %w", field, p.PID, errNoProcess)
}

// BootTime is CLOCK_BOOTTIME, the clock of the workers' audit lines.
func BootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
