//go:build topology

// Package topology holds tests on RocketMQs of several brokers that hack/stack has brought up. RMQ_TOPOLOGY names the
// topology, RMQ_NAMESRV its name servers, RMQ_PORT_BASE the stack's --port-base; tests of another topology are skipped.
package topology

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// patience is how long something may take that takes far less on an idle machine.
const patience = 2 * time.Minute

// needs skips the test on every other topology.
func needs(t *testing.T, topology string) {
	t.Helper()
	if got := os.Getenv("RMQ_TOPOLOGY"); got != topology {
		t.Skipf("RMQ_TOPOLOGY is %q, this test is for %q", got, topology)
	}
}

func nameServers() string { return os.Getenv("RMQ_NAMESRV") }

// eventually asks until check is content, and fails with its last complaint.
func eventually(t *testing.T, check func(ctx context.Context) error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for last := error(nil); ; {
		err := check(ctx)
		if err == nil {
			return
		}
		if ctx.Err() == nil { // else it may only say that there was no time left
			last = err
		}
		select {
		case <-ctx.Done():
			t.Fatalf("after %s: %v", patience, last)
		case <-tick.C:
		}
	}
}

// stack runs a command of the stack tool and gives what it prints.
func stack(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "-C", "../../hack/stack", "."}, args...)...)
	if base := os.Getenv("RMQ_PORT_BASE"); base != "" {
		cmd.Args = append(cmd.Args, "--port-base", base)
	}
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s", err, exit.Stderr)
		}
		t.Fatalf("stack %q: %v", args, err)
	}
	return string(out)
}

// pidOf finds a process of the stack that runs.
func pidOf(t *testing.T, name string) int {
	t.Helper()
	status := stack(t, "status", "--only", "rocketmq")
	for line := range strings.Lines(status) {
		if fields := strings.Fields(line); len(fields) > 2 && fields[0] == name {
			if pid, err := strconv.Atoi(fields[2]); err == nil {
				return pid
			}
		}
	}
	t.Fatalf("%s does not run:\n%s", name, status)
	return 0
}

// signal sends a signal to a process of the stack.
func signal(t *testing.T, name string, s syscall.Signal) {
	t.Helper()
	if err := syscall.Kill(pidOf(t, name), s); err != nil {
		t.Fatalf("sending %s to %s: %v", s, name, err)
	}
}

// open gives a client of the brokers, by their name servers or a proxy.
func open(t *testing.T, servers string) *rmq.Client {
	t.Helper()
	c, err := rmq.Open(rmq.Config{NameServers: strings.Split(servers, ";")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// admin asks brokers and name servers what the client does not.
type admin struct{ pool *remoting.Pool }

func newAdmin(t *testing.T) admin {
	t.Helper()
	a := admin{pool: remoting.NewPool((&net.Dialer{}).DialContext, 5*time.Second, remoting.Credentials{})}
	t.Cleanup(a.pool.Close)
	return a
}

// replicas gives the addresses of a broker name by broker id; "0" is the master.
func (a admin) replicas(ctx context.Context, broker string) (map[string]string, error) {
	var failed error
	for _, addr := range strings.Split(nameServers(), ";") {
		resp, err := a.pool.Call(ctx, addr, "test", &remoting.Command{Code: remoting.ClusterInfo})
		if err != nil {
			failed = errors.Join(failed, err)
			continue
		}
		var body struct {
			BrokerAddrTable map[string]struct {
				BrokerAddrs map[string]string `json:"brokerAddrs"`
			} `json:"brokerAddrTable"`
		}
		if err := remoting.UnmarshalBody(resp.Body, &body); err != nil {
			return nil, err
		}
		return body.BrokerAddrTable[broker].BrokerAddrs, nil
	}
	return nil, failed
}

// lacks gives the topics that the broker at an address does not have.
func (a admin) lacks(ctx context.Context, addr string, topics []string) ([]string, error) {
	var out []string
	for _, topic := range topics {
		resp, err := a.pool.Call(
			ctx,
			addr,
			"test",
			&remoting.Command{Code: remoting.TopicConfig, Fields: []remoting.Field{{Name: "topic", Value: topic}}},
		)
		switch {
		case err != nil:
			return nil, err
		case resp.Code == remoting.TopicNotExist:
			out = append(out, topic)
		case resp.Code != remoting.Success:
			return nil, fmt.Errorf("asking %s for topic %s: code %d: %s", addr, topic, resp.Code, resp.Remark)
		}
	}
	return out, nil
}

// pair is a broker name of two replicas.
type pair struct {
	admin
	broker string
}

// whole gives the master's address once both replicas are registered and have the topics.
func (p pair) whole(t *testing.T, topics []string) (master string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		addrs, err := p.replicas(ctx, p.broker)
		if err != nil {
			return err
		}
		if master = addrs["0"]; len(addrs) != 2 || master == "" {
			return fmt.Errorf("the replicas of %s are %v, want a master and a slave", p.broker, addrs)
		}
		for _, addr := range addrs {
			if lacking, err := p.lacks(ctx, addr, topics); err != nil || len(lacking) > 0 {
				return errors.Join(err, fmt.Errorf("%s lacks %q", addr, lacking))
			}
		}
		return nil
	})
	return master
}

// processOf names the stack's process behind an address of the pair: the first has the lower port.
func (p pair) processOf(t *testing.T, addr string) string {
	t.Helper()
	addrs, err := p.replicas(t.Context(), p.broker)
	if err != nil {
		t.Fatal(err)
	}
	sorted := slices.SortedFunc(maps.Values(addrs), func(a, b string) int { return port(a) - port(b) })
	return fmt.Sprintf("rocketmq-%s-%d", p.broker, slices.Index(sorted, addr)+1)
}

func port(addr string) int {
	_, s, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(s)
	return n
}

// failOver kills the master, waits for another one, and starts the one that was killed again.
func (p pair) failOver(t *testing.T, master string) {
	t.Helper()
	name := p.processOf(t, master)
	signal(t, name, syscall.SIGKILL)
	eventually(t, func(ctx context.Context) error {
		addrs, err := p.replicas(ctx, p.broker)
		if err == nil && (addrs["0"] == "" || addrs["0"] == master) {
			err = fmt.Errorf("no other replica is the master: %v", addrs)
		}
		return err
	})
	stack(t, "start", name)
}

var binary = sync.OnceValues(func() (string, error) {
	path := filepath.Join(os.TempDir(), fmt.Sprintf("connect-worker-%d", os.Getpid()))
	return path, process.Build(context.Background(), "../..", path)
})

// TestMain removes the binary at the end.
func TestMain(m *testing.M) {
	code := m.Run()
	_ = os.Remove(filepath.Join(os.TempDir(), fmt.Sprintf("connect-worker-%d", os.Getpid())))
	os.Exit(code)
}

// running is a worker with what it has logged.
type running struct {
	*process.Worker
	log *process.Output
}

// worker starts a worker of a cluster; its log is shown when the test fails.
func worker(t *testing.T, clusterID, id string) running {
	t.Helper()
	return workerOf(t, process.Conf{ID: id, ClusterID: clusterID})
}

// workerOf starts a worker by its settings; what every worker here has alike is filled in.
func workerOf(t *testing.T, conf process.Conf) running {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	port, err := process.FreePort(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	conf.NameServers, conf.StoreDir, conf.Port = nameServers(), t.TempDir(), port
	file := filepath.Join(t.TempDir(), "connect.conf")
	if err := conf.Write(file); err != nil {
		t.Fatal(err)
	}
	log := &process.Output{}
	w, err := process.Start(path, file, port, &process.Output{}, log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Kill()
		if text := log.String(); t.Failed() {
			t.Logf("worker %s wrote:\n%s", conf.ID, text[max(0, len(text)-20_000):])
		}
	})
	return running{w, log}
}

// answers waits until the worker's answer holds a text.
func answers(t *testing.T, w running, path, want string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		body, err := w.Get(ctx, path)
		if err == nil && !strings.Contains(body, want) {
			err = fmt.Errorf("%s answers %s, want %q", path, body, want)
		}
		return err
	})
}

// says waits until the worker's answer, of whatever status, holds all texts.
func says(t *testing.T, w running, path string, want ...string) {
	t.Helper()
	eventually(t, func(ctx context.Context) error {
		body, err := w.Get(ctx, path)
		for _, text := range want {
			if !strings.Contains(body, text) {
				return errors.Join(err, fmt.Errorf("%s answers %s, want %q", path, body, text))
			}
		}
		return nil
	})
}
