//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/rocketmq-connect/operator/test/process"
)

// The cores: what is measured has the first to itself, everything else shares the second.
const (
	measuredCore = 0
	otherCore    = 1
)

// canPin says whether there are two cores to part the processes by.
func canPin() bool { return runtime.NumCPU() > 1 }

// pinProcess puts all threads of a process on the cores of the set; threads made later inherit it.
func pinProcess(pid int, set *unix.CPUSet) error {
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return fmt.Errorf("listing the threads of process %d: %w", pid, err)
	}
	for _, task := range tasks {
		tid, err := strconv.Atoi(filepath.Base(task))
		if err != nil {
			continue
		}
		if err := unix.SchedSetaffinity(tid, set); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("pinning process %d: %w", pid, err)
		}
	}
	return nil
}

func core(n int) *unix.CPUSet {
	var set unix.CPUSet
	set.Set(n)
	return &set
}

// pinned is a child whose use of the machine is measured.
type pinned struct {
	*process.Child
	errOut bytes.Buffer // to be read after its end
}

// startPinned starts the command on the measured core, so that its runtime sees one core only.
func startPinned(cmd *exec.Cmd) (*pinned, error) {
	p := &pinned{}
	cmd.Stderr = &p.errOut
	started := make(chan error, 1)
	go func() {
		// The child inherits the mask of the thread that forks it. The thread is not unlocked: it ends with the goroutine.
		runtime.LockOSThread()
		if canPin() {
			if err := unix.SchedSetaffinity(0, core(measuredCore)); err != nil {
				started <- fmt.Errorf("pinning %s: %w", cmd.Path, err)
				return
			}
		}
		var err error
		p.Child, err = process.Launch(cmd)
		started <- err
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	return p, nil
}

// stop asks the process to end, and ends it when it does not.
func (p *pinned) stop() error {
	if err := p.Stop(30 * time.Second); err != nil {
		return err
	}
	if code := p.ExitCode(); code != 0 && code != javaTerminated {
		return p.ended()
	}
	return nil
}

// javaTerminated is how a JVM ends when it was asked to, after its shutdown hooks.
const javaTerminated = 128 + int(syscall.SIGTERM)

// lastWords is the end of what an ended process wrote to its standard error.
func (p *pinned) lastWords() string {
	b := p.errOut.Bytes()
	return string(b[max(0, len(b)-2000):])
}

// ended returns an error when the process has ended.
func (p *pinned) ended() error {
	if !p.Ended() {
		return nil
	}
	return fmt.Errorf("process ended with %s: %s", p.State(), p.lastWords())
}

// cpu is how long the process and its threads have run so far, in user and kernel mode.
func (p *pinned) cpu() (time.Duration, error) {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("reading the process's CPU time: %w", err)
	}
	return parseStat(string(stat))
}

// clockTick is the unit of the times in /proc/PID/stat: USER_HZ, which is 100 on every Linux that Go runs on.
const clockTick = 10 * time.Millisecond

// parseStat reads utime and stime, the 14th and 15th field. The second is the command in parentheses, which may hold
// anything.
func parseStat(stat string) (time.Duration, error) {
	fields := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	if len(fields) < 13 {
		return 0, fmt.Errorf("reading a process's CPU time: %q has too few fields", stat)
	}
	user, userErr := strconv.ParseInt(fields[11], 10, 64)
	system, systemErr := strconv.ParseInt(fields[12], 10, 64)
	if err := errors.Join(userErr, systemErr); err != nil {
		return 0, fmt.Errorf("reading a process's CPU time: %w", err)
	}
	return time.Duration(user+system) * clockTick, nil
}
