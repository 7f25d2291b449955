package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/service"
)

// stopTimeout is how long the workers may take to stop cleanly at the end.
const stopTimeout = 5 * time.Second

// fleet is the worker processes.
type fleet struct {
	dir, nameServer string
	journal         *journal

	group     service.Group
	mu        sync.Mutex
	processes []*member
}

// member is one worker, running or not.
type member struct {
	id      string
	port    int
	child   *process.Child
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
	f := &fleet{dir: dir, nameServer: nameServer, journal: j}
	for i := range n {
		f.processes = append(f.processes, &member{id: fmt.Sprintf("worker-%d", i+1)})
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
	f.journal.add("%s was started, process %d", p.id, p.child.PID())
	return nil
}

func (f *fleet) launch(ctx context.Context, p *member) error {
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
	child, err := process.Launch(cmd)
	if err != nil {
		return err
	}
	p.child, p.stdin, p.done = child, stdin, make(chan struct{})
	p.running, p.killed, p.why, p.since = true, false, "", time.Now()
	f.group.Go(func() { f.await(p, child) })
	return nil
}

// configure writes the worker's connect.conf. A restarted worker keeps its id and its folder, as a restarted pod does.
func (f *fleet) configure(ctx context.Context, p *member) (path string, err error) {
	folder := filepath.Join(f.dir, p.id)
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", fmt.Errorf("making the store folder: %w", err)
	}
	if p.port, err = process.FreePort(ctx); err != nil {
		return "", err
	}
	path = filepath.Join(f.dir, p.id+".conf")
	return path, process.Conf{ID: p.id, ClusterID: "demo", NameServers: f.nameServer, StoreDir: folder, Port: p.port,
		More: fmt.Sprintf("httpHost=127.0.0.1\nadvertisedAddress=127.0.0.1:%d\ndrainTimeout=3s\n", p.port)}.Write(path)
}

func (f *fleet) logFile(p *member) string { return filepath.Join(f.dir, p.id+".log") }

func (f *fleet) await(p *member, child *process.Child) {
	<-child.Done()
	f.mu.Lock()
	defer f.mu.Unlock()
	p.running, p.since = false, time.Now()
	if child.ExitCode() != 0 && !p.killed {
		text := process.Tail(f.logFile(p))
		p.why = cmp.Or(text[strings.LastIndexByte(text, '\n')+1:], child.State().String())
		f.journal.add("%s ended: %s", p.id, p.why)
	}
	close(p.done)
}

// kill ends worker i at once by SIGKILL, as a crash does. It returns when the process is gone.
func (f *fleet) kill(i int) {
	f.mu.Lock()
	p := f.processes[i]
	if !p.running {
		f.mu.Unlock()
		return
	}
	p.killed = true
	child, done := p.child, p.done
	f.mu.Unlock()
	child.Kill()
	<-done
	f.journal.add("%s was killed (SIGKILL)", p.id)
}

// toggle kills a worker that runs, and starts one that does not.
func (f *fleet) toggle(ctx context.Context, i int) error {
	if f.list()[i].Running {
		f.kill(i)
		return nil
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
			s.PID = p.child.PID()
		}
		out = append(out, s)
	}
	return out
}

// stop has all workers leave cleanly, and kills those that take too long.
func (f *fleet) stop() {
	f.mu.Lock()
	running := slices.DeleteFunc(slices.Clone(f.processes), func(p *member) bool { return !p.running })
	for _, p := range running {
		_ = p.stdin.Close() // fails only when the process has gone, which is what is wanted
	}
	f.mu.Unlock()
	late := time.After(stopTimeout)
	for _, p := range running {
		select {
		case <-p.done:
		case <-late:
			for i := range f.processes {
				f.kill(i)
			}
		}
	}
	f.group.Wait()
}
