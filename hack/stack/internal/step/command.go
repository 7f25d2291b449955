package step

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// tailLines is how much of a log an error shows.
const tailLines = 12

// Command is a program that ends by itself. Its output goes to Log, which is overwritten.
type Command struct {
	Dir  string
	Env  []string // added to the stack's own environment
	Log  string
	Nice bool // run at a lower priority
	Args []string
}

// Run runs the command. When ctx ends, the command and its children get SIGTERM. An error carries the end of the log.
func (c Command) Run(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(c.Log), 0o755); err != nil {
		return fmt.Errorf("making the log's folder: %w", err)
	}
	log, err := os.Create(c.Log)
	if err != nil {
		return fmt.Errorf("making the log: %w", err)
	}
	defer log.Close()
	args := c.Args
	if c.Nice {
		args = append([]string{"nice", "-n", "10"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env = c.Dir, append(os.Environ(), c.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	endGroup(cmd)
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return fmt.Errorf("running %s: %w", strings.Join(c.Args, " "), ctx.Err())
		}
		return fmt.Errorf("running %s: %w; the end of %s:\n%s", strings.Join(c.Args, " "), err, c.Log, Tail(c.Log))
	}
	return nil
}

// endGroup makes the command a process group of its own, which is ended as a whole.
func endGroup(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
			return os.ErrProcessDone
		}
		return nil
	}
	cmd.WaitDelay = 5 * time.Second
}

// Output runs a short command and returns what it wrote to its standard output. An error carries its standard error.
func Output(ctx context.Context, name string, args ...string) (string, error) {
	return OutputOf(ctx, "", name, args...)
}

// OutputOf is Output with a standard input.
func OutputOf(ctx context.Context, input, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin = strings.NewReader(input)
	endGroup(cmd)
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return string(out), fmt.Errorf("running %s %s: %w: %s", filepath.Base(name), strings.Join(args, " "), err,
			strings.TrimSpace(string(exit.Stderr)))
	}
	if err != nil {
		return "", fmt.Errorf("running %s: %w", name, err)
	}
	return string(out), nil
}

// Tail is the last lines of a file, or a note that they could not be read.
func Tail(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	if len(lines) > tailLines {
		lines = lines[len(lines)-tailLines:]
	}
	return "  " + strings.Join(lines, "\n  ")
}
