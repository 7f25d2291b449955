package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Child is a process that this program started.
type Child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// Launch starts a command.
func Launch(cmd *exec.Cmd) (*Child, error) {
	c := &Child{cmd: cmd, done: make(chan struct{})}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Path, err)
	}
	go func() {
		defer close(c.done)
		_ = cmd.Wait() // State tells
	}()
	return c, nil
}

// Done is closed once the process has ended.
func (c *Child) Done() <-chan struct{} { return c.done }

// Ended says whether the process has.
func (c *Child) Ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// PID is the process's id.
func (c *Child) PID() int { return c.cmd.Process.Pid }

// State is how a process ended that has.
func (c *Child) State() *os.ProcessState { return c.cmd.ProcessState }

// ExitCode is that of a process that has ended.
func (c *Child) ExitCode() int { return c.State().ExitCode() }

// Signal sends a signal.
func (c *Child) Signal(s os.Signal) error {
	if err := c.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signalling process %d: %w", c.PID(), err)
	}
	return nil
}

// Kill ends the process at once, a stopped one too, and waits for its end.
func (c *Child) Kill() {
	_ = c.cmd.Process.Signal(syscall.SIGKILL) // one that has ended needs none
	<-c.done
}

// Stop asks the process to end, and waits for that as Await does.
func (c *Child) Stop(within time.Duration) error {
	_ = c.cmd.Process.Signal(syscall.SIGTERM) // one that has ended needs none
	return c.Await(within)
}

// Await waits for the end of a process that was asked to. It kills one that takes longer, which is an error.
func (c *Child) Await(within time.Duration) error {
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-c.done:
		return nil
	case <-late.C:
		c.Kill()
		return fmt.Errorf("process %d did not end within %s of being asked to", c.PID(), within)
	}
}

var errNoField = errors.New("there is no such field")

// Memory is a figure of a running process in bytes, by its name in /proc: what it has resident now ("VmRSS") or had at
// most ("VmHWM"). There is none but on Linux.
func Memory(pid int, field string) (int64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading a process's memory: %w", err)
	}
	n, err := parseMemory(string(status), field)
	if err != nil {
		return 0, fmt.Errorf("reading %s of process %d: %w", field, pid, err)
	}
	return n, nil
}

func parseMemory(status, field string) (int64, error) {
	for line := range strings.Lines(status) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == field+":" {
			kib, err := strconv.ParseInt(f[1], 10, 64)
			return kib << 10, err
		}
	}
	return 0, errNoField
}

// Tail is the end of a process's log, or why there is none to be read.
func Tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	return strings.TrimSpace(string(b[max(0, len(b)-2000):]))
}
