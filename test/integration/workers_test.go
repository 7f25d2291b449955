//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
)

// patience is how long something may take that takes far less on an idle machine.
const patience = 90 * time.Second

func kafkaBootstrap() string {
	if s := os.Getenv("KAFKA_BOOTSTRAP"); s != "" {
		return s
	}
	return "127.0.0.1:9092"
}

// eventually asks until check is content, and fails with its last complaint.
func eventually(t *testing.T, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := check(ctx)
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %s: %v", patience, err)
		case <-tick.C:
		}
	}
}

var buildOnce sync.Once

// workerBinary builds the worker once for all tests of the process.
func workerBinary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(os.TempDir(), fmt.Sprintf("connect-worker-%d", os.Getpid()))
	buildOnce.Do(func() {
		if err := process.Build(t.Context(), "../..", path); err != nil {
			t.Fatal(err)
		}
	})
	if _, err := os.Stat(path); err != nil {
		t.Fatal("the worker was not built: see the first test that failed")
	}
	return path
}

// TestMain removes the binary at the end.
func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("connect-worker-%d", os.Getpid())))
	os.Exit(code)
}

// testCluster is a set of workers of one test, apart from all others by its internal topics.
type testCluster struct {
	t       *testing.T
	id      string
	nameSrv string
}

func newTestCluster(t *testing.T) *testCluster {
	return &testCluster{t: t, id: fmt.Sprintf("it-%d", time.Now().UnixNano()), nameSrv: strings.Join(nameServers(), ";")}
}

// conf writes a connect.conf in the form of the user's documents, trailing comments included.
func (c *testCluster) conf(id string, port int, storeDir, more string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "connect.conf")
	conf := process.Conf{ID: id, ClusterID: c.id, NameServers: c.nameSrv, StoreDir: storeDir, Port: port, More: more}
	if err := conf.Write(path); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// freePort returns a port that nobody listens on just now.
func freePort(t *testing.T) int {
	t.Helper()
	port, err := process.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// proc is a worker process.
type proc struct {
	*process.Worker
	t           *testing.T
	out, errOut *process.Output
}

// start runs a worker; its log is shown when the test fails.
func start(t *testing.T, port int, conf string) *proc {
	t.Helper()
	p := &proc{t: t, out: &process.Output{}, errOut: &process.Output{}}
	var err error
	if p.Worker, err = process.Start(workerBinary(t), conf, port, p.out, p.errOut); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("worker on port %d wrote:\n%s%s", p.Port, p.out, tail(p.errOut.String(), 20_000))
		}
	})
	return p
}

func tail(s string, n int) string { return s[max(0, len(s)-n):] }

// booted waits for the line of the documents.
func (p *proc) booted(id string) {
	p.t.Helper()
	want := fmt.Sprintf("The worker [%s] boot success.\n", id)
	eventually(p.t, func(context.Context) error {
		if p.out.String() == want {
			return nil
		}
		select {
		case <-p.Done():
			p.t.Fatalf("the worker ended: %s", p.errOut)
		default:
		}
		return fmt.Errorf("standard output is %q, want %q", p.out, want)
	})
}

// exit waits for the process to end and returns its code.
func (p *proc) exit() int {
	p.t.Helper()
	select {
	case <-p.Done():
	case <-time.After(patience):
		p.t.Fatal("the worker does not end")
	}
	return p.ExitCode()
}

// stop asks the worker to stop as Kubernetes does, and wants a clean end.
func (p *proc) stop() {
	p.t.Helper()
	if err := p.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if code := p.exit(); code != 0 {
		p.t.Errorf("the worker ended with code %d", code)
	}
}

// curl asks as the documents do: curl -g with the config in plain JSON.
func (p *proc) curl(path, want string) {
	p.t.Helper()
	out, err := exec.CommandContext(p.t.Context(), "curl", "-gsS", p.URL(path)).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		p.t.Fatalf("curl -g %s: %q, %v; want %q", path, got, err, want)
	}
}

// answers waits until the path is answered with want.
func (p *proc) answers(path, want string) {
	p.t.Helper()
	eventually(p.t, func(ctx context.Context) error {
		got, err := p.Get(ctx, path)
		if err == nil && got != want {
			err = fmt.Errorf("%s answers %s, want %s", path, got, want)
		}
		return err
	})
}

// ready waits until the worker is ready, whatever it warns about.
func (p *proc) ready() {
	p.t.Helper()
	eventually(p.t, func(ctx context.Context) error {
		text, err := p.Get(ctx, "/readyz")
		if first, _, _ := strings.Cut(text, "\n"); err == nil && first != "ok" {
			err = fmt.Errorf("/readyz answers %s, want ok", text)
		}
		return err
	})
}

// running returns the names of the tasks that the worker runs by getAllocatedTask.
func (p *proc) running(ctx context.Context) ([]string, error) {
	text, err := p.Get(ctx, "/getAllocatedTask")
	if err != nil {
		return nil, err
	}
	var lists map[string][]struct {
		ConnectorName string `json:"connectorName"`
		TaskID        int    `json:"taskId"`
		State         string `json:"state"`
	}
	if err := json.Unmarshal([]byte(text), &lists); err != nil {
		return nil, err
	}
	var out []string
	for _, task := range lists["runningTasks"] {
		out = append(out, fmt.Sprintf("%s-%d", task.ConnectorName, task.TaskID))
	}
	for list, tasks := range lists {
		if list != "runningTasks" && len(tasks) > 0 {
			return out, fmt.Errorf("%s: %v", list, tasks)
		}
	}
	return out, nil
}

// runs waits until the workers together run exactly these tasks, each once.
func runs(t *testing.T, want map[string]int, workers ...*proc) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		got := map[string]int{}
		var errs []error
		for _, w := range workers {
			tasks, err := w.running(ctx)
			errs = append(errs, err)
			for _, name := range tasks {
				got[name[:strings.LastIndexByte(name, '-')]]++
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			errs = append(errs, fmt.Errorf("running tasks are %v, want %v", got, want))
		}
		return errors.Join(errs...)
	})
}
