//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
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
		out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../../cmd/worker").CombinedOutput()
		if err != nil {
			t.Fatalf("building the worker: %v\n%s", err, out)
		}
	})
	if _, err := os.Stat(path); err != nil {
		t.Skip("the worker was not built")
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
	text := fmt.Sprintf(`workerId=%s  #本节点名称,各个worker之间必须唯一
storePathRootDir=%s #本地持久化文件路径,保存偏移量和config信息

# Http port for user to access REST API
httpPort=%d #rest地址

# Rocketmq namesrvAddr
namesrvAddr=%s  #sink端会从改nameSrv指定的rocketMQ集群上拉取消息,同时也会作为节点信息交换的媒介

# RocketMQ acl #账号需要有admin的权限
aclEnable=false
accessKey=rocketmq
secretKey=12345678

autoCreateGroupEnable=true #自动调用admin工具创建consumerGroup.如手工创建可设置为false

# 负载均衡策略
allocTaskStrategy=org.apache.rocketmq.connect.runtime.service.strategy.AllocateConnAndTaskStrategyByConsistentHash

connectClusterId=%[5]s
clusterStoreTopic=%[5]s-cluster
configStoreTopic=%[5]s-config
positionStoreTopic=%[5]s-position
offsetStoreTopic=%[5]s-offset
connectStatusTopic=%[5]s-status
%[6]s
`, id, storeDir, port, c.nameSrv, c.id, more)
	path := filepath.Join(c.t.TempDir(), "connect.conf")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

// freePort returns a port that nobody listens on just now.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// proc is a worker process.
type proc struct {
	t      *testing.T
	port   int
	cmd    *exec.Cmd
	out    *output
	errOut *output
	done   chan struct{}
}

// output is what a process wrote, while it writes.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start runs a worker; its log is shown when the test fails.
func start(t *testing.T, port int, conf string) *proc {
	t.Helper()
	p := &proc{t: t, port: port, out: &output{}, errOut: &output{}, done: make(chan struct{})}
	p.cmd = exec.Command(workerBinary(t), "-c", conf)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.errOut
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.done
		if t.Failed() {
			t.Logf("worker on port %d wrote:\n%s%s", p.port, p.out, tail(p.errOut.String(), 20_000))
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
		case <-p.done:
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
	case <-p.done:
	case <-time.After(patience):
		p.t.Fatal("the worker does not end")
	}
	return p.cmd.ProcessState.ExitCode()
}

// stop asks the worker to stop as Kubernetes does, and wants a clean end.
func (p *proc) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if code := p.exit(); code != 0 {
		p.t.Errorf("the worker ended with code %d", code)
	}
}

func (p *proc) url(path string) string { return fmt.Sprintf("http://127.0.0.1:%d%s", p.port, path) }

// get asks with Go's client; err is an answer other than 200, too.
func (p *proc) get(ctx context.Context, path string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.url(path), nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %d %s", path, resp.StatusCode, b)
	}
	return strings.TrimSpace(string(b)), err
}

// curl asks as the documents do: curl -g with the config in plain JSON.
func (p *proc) curl(path, want string) {
	p.t.Helper()
	out, err := exec.CommandContext(p.t.Context(), "curl", "-gsS", p.url(path)).CombinedOutput()
	if got := strings.TrimSpace(string(out)); err != nil || got != want {
		p.t.Fatalf("curl -g %s: %q, %v; want %q", path, got, err, want)
	}
}

// answers waits until the path is answered with want.
func (p *proc) answers(path, want string) {
	p.t.Helper()
	eventually(p.t, func(ctx context.Context) error {
		got, err := p.get(ctx, path)
		if err == nil && got != want {
			err = fmt.Errorf("%s answers %s, want %s", path, got, want)
		}
		return err
	})
}

// running returns the names of the tasks that the worker runs by getAllocatedTask.
func (p *proc) running(ctx context.Context) ([]string, error) {
	text, err := p.get(ctx, "/getAllocatedTask")
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
