// Package process runs workers as processes of this machine, for tests that start, stop and kill them.
package process

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
)

// Build compiles the worker of the module in folder root to path.
func Build(ctx context.Context, root, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "./cmd/worker")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building the worker: %w\n%s", err, out)
	}
	return nil
}

// FreePort returns a port that nobody listens on just now.
func FreePort(ctx context.Context) (int, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

// Output is what a process wrote, while it writes.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write adds to it.
func (o *Output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

// String is all of it so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// Worker is a worker process that was started.
type Worker struct {
	// Port is that of its REST API.
	Port int
	cmd  *exec.Cmd
	done chan struct{}
}

// Start runs a worker with a configuration file.
func Start(binary, conf string, port int, stdout, stderr io.Writer) (*Worker, error) {
	w := &Worker{Port: port, cmd: exec.Command(binary, "-c", conf), done: make(chan struct{})}
	w.cmd.Stdout, w.cmd.Stderr = stdout, stderr
	if err := w.cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting a worker: %w", err)
	}
	go func() {
		defer close(w.done)
		_ = w.cmd.Wait() // ExitCode tells
	}()
	return w, nil
}

// Done is closed once the process has ended.
func (w *Worker) Done() <-chan struct{} { return w.done }

// Ended says whether the process has.
func (w *Worker) Ended() bool {
	select {
	case <-w.done:
		return true
	default:
		return false
	}
}

// PID is the process's id.
func (w *Worker) PID() int { return w.cmd.Process.Pid }

// ExitCode is that of a process that has ended.
func (w *Worker) ExitCode() int { return w.cmd.ProcessState.ExitCode() }

// Signal sends a signal.
func (w *Worker) Signal(s os.Signal) error {
	if err := w.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signalling a worker: %w", err)
	}
	return nil
}

// Kill ends the process at once, a stopped one too, and waits for its end.
func (w *Worker) Kill() {
	_ = w.cmd.Process.Signal(syscall.SIGKILL) // one that has ended needs none
	<-w.done
}

// URL is the address of a path of its REST API.
func (w *Worker) URL(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", w.Port, path) }

// Get asks its REST API; err is an answer other than 200, too.
func (w *Worker) Get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, w.URL(path), nil)
	if err != nil {
		return "", fmt.Errorf("asking a worker: %w", err)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", fmt.Errorf("asking a worker: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return "", fmt.Errorf("reading a worker's answer: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if resp.StatusCode != http.StatusOK {
		return text, fmt.Errorf("asking a worker: GET %s: %d %s", path, resp.StatusCode, text)
	}
	return text, nil
}
