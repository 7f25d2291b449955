package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/service"
)

// stopTimeout is how long the workers may take to stop cleanly at the end.
const stopTimeout = 5 * time.Second

// fleet is the worker processes.
type fleet struct {
	dir     string
	conf    string // what the workers' configurations share
	journal *journal

	group     service.Group
	mu        sync.Mutex
	processes []*process
}

// process is one worker, running or not.
type process struct {
	id      string
	port    int
	cmd     *exec.Cmd
	stdin   io.Closer
	done    chan struct{} // closed when the process has ended
	running bool
	killed  bool // by us
	since   time.Time
	why     string // it ended, if that was not our doing
}

// workerState is what the view shows of a process.
type workerState struct {
	ID      string
	Running bool
	PID     int
	Since   time.Time
	Killed  bool
	Why     string
	port    int
}

func newFleet(dir, nameServer string, n int, j *journal) *fleet {
	f := &fleet{dir: dir, journal: j, conf: "connectClusterId=demo\nnamesrvAddr=" + nameServer + "\nhttpHost=127.0.0.1\ndrainTimeout=3s\n"}
	for i := range n {
		f.processes = append(f.processes, &process{id: fmt.Sprintf("worker-%d", i+1)})
	}
	return f
}

// start starts worker i, unless it runs.
func (f *fleet) start(ctx context.Context, i int) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	p := f.processes[i]
	if p.running {
		return nil
	}
	if err := f.launch(ctx, p); err != nil {
		return fmt.Errorf("starting %s: %w", p.id, err)
	}
	f.journal.add("%s was started, process %d", p.id, p.cmd.Process.Pid)
	return nil
}

func (f *fleet) launch(ctx context.Context, p *process) error {
	conf, err := f.configure(ctx, p)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	log, err := os.OpenFile(f.logFile(p), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer log.Close() // the process has its own
	cmd := exec.Command(self, childArg, conf)
	cmd.Stderr = log
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return fmt.Errorf("making standard input: %w", err)
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting the process: %w", err)
	}
	p.cmd, p.stdin, p.done = cmd, stdin, make(chan struct{})
	p.running, p.killed, p.why, p.since = true, false, "", time.Now()
	f.group.Go(func() { f.await(p, cmd) })
	return nil
}

// configure writes the worker's connect.conf. A restarted worker keeps its id and its folder, as a restarted pod does.
func (f *fleet) configure(ctx context.Context, p *process) (path string, err error) {
	folder := filepath.Join(f.dir, p.id)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("making the store folder: %w", err)
	}
	if p.port, err = freePort(ctx); err != nil {
		return "", err
	}
	address := fmt.Sprintf("127.0.0.1:%d", p.port)
	text := f.conf + fmt.Sprintf("workerId=%s\nhttpPort=%d\nadvertisedAddress=%s\nstorePathRootDir=%s\n", p.id, p.port, address, folder)
	path = filepath.Join(f.dir, p.id+".conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return "", fmt.Errorf("writing the configuration: %w", err)
	}
	return path, nil
}

func freePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("finding a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (f *fleet) logFile(p *process) string { return filepath.Join(f.dir, p.id+".log") }

func (f *fleet) await(p *process, cmd *exec.Cmd) {
	err := cmd.Wait()
	f.mu.Lock()
	defer f.mu.Unlock()
	p.running, p.since = false, time.Now()
	if err != nil && !p.killed {
		p.why = lastLine(f.logFile(p), err)
		f.journal.add("%s ended: %s", p.id, p.why)
	}
	close(p.done)
}

// lastLine is the end of a log, or err.
func lastLine(path string, err error) string {
	text, readErr := os.ReadFile(path)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if last := lines[len(lines)-1]; readErr == nil && last != "" {
		return last
	}
	return err.Error()
}

// kill ends worker i at once by SIGKILL, as a crash does. It returns when the process is gone.
func (f *fleet) kill(i int) error {
	f.mu.Lock()
	p := f.processes[i]
	if !p.running {
		f.mu.Unlock()
		return nil
	}
	p.killed = true
	err, done := p.cmd.Process.Kill(), p.done
	f.mu.Unlock()
	if err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("killing %s: %w", p.id, err)
	}
	<-done
	f.journal.add("%s was killed (SIGKILL)", p.id)
	return nil
}

// toggle kills a worker that runs, and starts one that does not.
func (f *fleet) toggle(ctx context.Context, i int) error {
	if f.list()[i].Running {
		return f.kill(i)
	}
	return f.start(ctx, i)
}

func (f *fleet) list() []workerState {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []workerState
	for _, p := range f.processes {
		s := workerState{ID: p.id, Running: p.running, Since: p.since, Killed: p.killed, Why: p.why, port: p.port}
		if p.running {
			s.PID = p.cmd.Process.Pid
		}
		out = append(out, s)
	}
	return out
}

// stop has all workers leave cleanly, and kills those that take too long.
func (f *fleet) stop() error {
	f.mu.Lock()
	running := slices.DeleteFunc(slices.Clone(f.processes), func(p *process) bool { return !p.running })
	for _, p := range running {
		_ = p.stdin.Close() // fails only when the process has gone, which is what is wanted
	}
	f.mu.Unlock()
	late := time.After(stopTimeout)
	var errs []error
	for _, p := range running {
		select {
		case <-p.done:
			continue
		case <-late:
		}
		for i := range f.processes {
			errs = append(errs, f.kill(i))
		}
	}
	f.group.Wait()
	return errors.Join(errs...)
}
