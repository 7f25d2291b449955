// Package daemon starts processes that outlive the stack's command, and ends them later, and only them.
package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// Spec is a process to run.
type Spec struct {
	Name  string
	Path  string
	Args  []string
	Env   []string      // added to the stack's own environment
	Files []string      // configuration files: the process is restarted when they have changed
	Grace time.Duration // from SIGTERM to SIGKILL
	Ports []Port        // what it takes

	Ready func(context.Context) error // nil once it is ready; no function: it is ready at once
	Limit time.Duration               // for becoming ready
}

// Record is a process that was started.
type Record struct {
	Name        string        `json:"name"`
	PID         int           `json:"pid"`
	Fingerprint string        `json:"fingerprint"`
	Grace       time.Duration `json:"grace"`
	Since       time.Time     `json:"since"`
	identity
}

// Folder holds the records and logs of an instance's processes.
type Folder struct{ Records, Logs string }

// Log is the path of a process's output.
func (f Folder) Log(name string) string { return filepath.Join(f.Logs, name+".log") }

func (f Folder) record(name string) string { return filepath.Join(f.Records, name+".json") }

// Running finds the process that was started under a name, if it still runs.
func (f Folder) Running(name string) (Record, bool) {
	b, err := os.ReadFile(f.record(name))
	if err != nil {
		return Record{}, false
	}
	var r Record
	if err := json.Unmarshal(b, &r); err != nil {
		return Record{}, false
	}
	now, err := identify(r.PID)
	return r, err == nil && now == r.identity
}

// CheckPorts fails if a port that one of the processes needs is taken, except by the process itself. Ports of addresses
// that do not exist yet pass.
func (f Folder) CheckPorts(ctx context.Context, names []string, portsOf func(name string) []Port) error {
	var wanted []Port
	for _, name := range names {
		if _, running := f.Running(name); !running {
			if err := f.awaitEnd(ctx, name); err != nil {
				return err
			}
			wanted = append(wanted, portsOf(name)...)
		}
	}
	return CheckPorts(wanted)
}

// endLimit is how long the kernel may take to clear away a killed process.
const endLimit = 20 * time.Second

// awaitEnd waits for the threads of a process that was killed: they hold its ports and locks until the last has ended.
func (f Folder) awaitEnd(ctx context.Context, name string) error {
	r, _ := f.Running(name) // the record is filled although the process does not run
	inner, cancel := context.WithTimeout(ctx, endLimit)
	defer cancel()
	return step.Until(inner, func(context.Context) (bool, error) {
		return !ending(r.PID, r.identity), fmt.Errorf("%s (pid %d) was killed, and still has threads", name, r.PID)
	})
}

// Outcome is what Start did.
type Outcome int

// The outcomes of Start.
const (
	Failed Outcome = iota
	Kept           // it ran already, as wanted
	Started
	Restarted // it ran with another configuration
)

// Start runs the process in a session of its own, unless it runs already with the same arguments and files.
func (f Folder) Start(ctx context.Context, s Spec) (Outcome, error) {
	fingerprint, err := s.fingerprint()
	if err != nil {
		return Failed, err
	}
	outcome := Started
	if r, ok := f.Running(s.Name); ok {
		if r.Fingerprint == fingerprint {
			return Kept, nil
		}
		if err := f.Stop(ctx, s.Name); err != nil {
			return Failed, err
		}
		outcome = Restarted
	}
	if err := ctx.Err(); err != nil {
		return Failed, err
	}
	if err := f.launch(s, fingerprint); err != nil {
		return Failed, fmt.Errorf("starting %s: %w", s.Name, err)
	}
	return outcome, nil
}

func (f Folder) launch(s Spec, fingerprint string) error {
	if err := errors.Join(os.MkdirAll(f.Records, 0o755), os.MkdirAll(f.Logs, 0o755)); err != nil {
		return err
	}
	// What the process before it said last is kept: it tells why there is a new one.
	if err := os.Rename(f.Log(s.Name), f.Log(s.Name+".previous")); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	log, err := os.Create(f.Log(s.Name))
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(s.Path, s.Args...)
	cmd.Env = append(os.Environ(), s.Env...)
	cmd.Dir = "/"
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	id, err := identify(cmd.Process.Pid)
	if err != nil {
		return fmt.Errorf("it ended at once: %w; the end of %s:\n%s", err, f.Log(s.Name), step.Tail(f.Log(s.Name)))
	}
	err = writeRecord(f.record(s.Name), Record{Name: s.Name, PID: cmd.Process.Pid, Fingerprint: fingerprint, Grace: s.Grace,
		Since: time.Now(), identity: id})
	if err != nil { // a process that nobody could end later must not stay
		return errors.Join(err, cmd.Process.Kill())
	}
	return nil
}

func writeRecord(path string, r Record) error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	next := path + ".next"
	if err := os.WriteFile(next, b, 0o644); err != nil {
		return err
	}
	return os.Rename(next, path)
}

// Stop ends the process with SIGTERM, and with SIGKILL after its grace. It is nil if the process does not run.
func (f Folder) Stop(ctx context.Context, name string) error {
	return f.StopWithin(ctx, name, maxGrace)
}

// maxGrace is more than any process's own grace.
const maxGrace = time.Hour

// StopWithin is Stop with a grace of at most limit, for a process whose data are not needed any more.
func (f Folder) StopWithin(ctx context.Context, name string, limit time.Duration) error {
	r, ok := f.Running(name)
	if ok {
		r.Grace = min(r.Grace, limit)
		if err := end(ctx, r); err != nil {
			return fmt.Errorf("stopping %s (pid %d): %w", name, r.PID, err)
		}
	}
	if err := os.Remove(f.record(name)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the record of %s: %w", name, err)
	}
	return nil
}

func end(ctx context.Context, r Record) error {
	gone := func(context.Context) (bool, error) {
		now, err := identify(r.PID)
		if err == nil && now == r.identity {
			return false, errors.New("it still runs")
		}
		return true, nil
	}
	signal := func(sig syscall.Signal, wait time.Duration) error {
		p, err := os.FindProcess(r.PID) // holds a pidfd: the id cannot come to mean another process
		if err != nil {
			return err
		}
		defer p.Release() //nolint:errcheck // nothing is left to do if it fails
		if done, _ := gone(ctx); done {
			return nil
		}
		if err := p.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		inner, cancel := context.WithTimeout(ctx, wait)
		defer cancel()
		return step.Until(inner, gone)
	}
	err := signal(syscall.SIGTERM, r.Grace)
	if err != nil && ctx.Err() == nil {
		err = signal(syscall.SIGKILL, 10*time.Second)
	}
	return err
}

// Up starts the process unless it runs already as wanted, and returns when it is ready. The error of a process that
// ends meanwhile, or takes too long, shows the end of its log.
func (f Folder) Up(ctx context.Context, s Spec, report *step.Reporter) error {
	if _, running := f.Running(s.Name); !running {
		if err := f.awaitEnd(ctx, s.Name); err != nil {
			return err
		}
		if err := CheckPorts(s.Ports); err != nil {
			return err
		}
	}
	outcome, err := f.Start(ctx, s)
	if err != nil {
		return err
	}
	if outcome == Restarted {
		report.Say(s.Name, "restarted: its configuration has changed")
	}
	if err := f.waitReady(ctx, s); err != nil {
		return fmt.Errorf("waiting for %s: %w; the end of %s:\n%s", s.Name, err, f.Log(s.Name), step.Tail(f.Log(s.Name)))
	}
	if outcome == Kept {
		report.Say(s.Name, "runs already")
		return nil
	}
	report.Say(s.Name, "ready")
	return nil
}

func (f Folder) waitReady(ctx context.Context, s Spec) error {
	if s.Ready == nil {
		return nil
	}
	inner, cancel := context.WithTimeout(ctx, s.Limit)
	defer cancel()
	return step.Until(inner, func(ctx context.Context) (bool, error) {
		if _, ok := f.Running(s.Name); !ok {
			return false, &step.FatalError{Err: errors.New("it has ended")}
		}
		err := s.Ready(ctx)
		return err == nil, err
	})
}

// fingerprint tells whether a running process was started as the spec says.
func (s Spec) fingerprint() (string, error) {
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00%s\x00", s.Path, strings.Join(s.Args, "\x00"), strings.Join(s.Env, "\x00"))
	for _, path := range s.Files {
		b, err := os.ReadFile(path)
		if err != nil {
			return "", fmt.Errorf("reading a configuration of %s: %w", s.Name, err)
		}
		fmt.Fprintf(h, "%s\x00%x\x00", path, sha256.Sum256(b))
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
