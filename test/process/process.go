// Package process runs workers on this machine, as processes or in this one, for tests and for programs to try workers
// out.
package process

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"os/exec"
	"slices"
	"strings"
	"sync"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
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
	*Child
}

// Start runs a worker with a configuration file.
func Start(binary, conf string, port int, stdout, stderr io.Writer) (*Worker, error) {
	cmd := exec.Command(binary, "-c", conf)
	cmd.Stdout, cmd.Stderr = stdout, stderr
	child, err := Launch(cmd)
	if err != nil {
		return nil, err
	}
	return &Worker{Port: port, Child: child}, nil
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

// Client calls its resource API, with a token if that is not empty.
func (w *Worker) Client(token string) *restclient.Client {
	return restclient.New(w.URL(""), token, nil)
}

// ErrNotWhole means that workers do not see each other yet, or that tasks do not run.
var ErrNotWhole = errors.New("the cluster is not whole")

// Whole looks whether these workers see each other and no others, and whether the connectors of the names have so many
// tasks each, all of which run. It returns ErrNotWhole with what is missing, or why a worker does not answer.
func Whole(ctx context.Context, workers []*restclient.Client, tasks map[string]int) error {
	for _, w := range workers {
		view, err := w.Cluster(ctx)
		if err != nil {
			return err
		}
		if !view.Joined || len(view.Members) != len(workers) {
			return fmt.Errorf(
				"%w: %s is joined: %t, and sees %d members of %d",
				ErrNotWhole,
				view.Worker,
				view.Joined,
				len(view.Members),
				len(workers),
			)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(tasks)) {
		status, err := workers[0].Status(ctx, name)
		if err != nil {
			return err
		}
		if status.State != restapi.StateRunning || len(status.Tasks) != tasks[name] {
			return fmt.Errorf("%w: %s is %s with %d tasks %s", ErrNotWhole, name, status.State, len(status.Tasks), status.Error)
		}
		for _, t := range status.Tasks {
			if t.State != restapi.StateRunning {
				return fmt.Errorf("%w: %s-%d is %s on %q %s", ErrNotWhole, name, t.ID, t.State, t.Worker, t.Error)
			}
		}
	}
	return nil
}
