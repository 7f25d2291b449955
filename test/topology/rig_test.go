//go:build topology

package topology

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// rig is a client of brokers that hack/stack has brought up, and the processes behind them. Its names are new in each run.
type rig struct {
	*testing.T
	c      *rmq.Client
	suffix string
}

// newRig skips the test on every topology but one: RMQ_TOPOLOGY names the one that is up.
func newRig(t *testing.T, topology, nameServers string) *rig {
	t.Helper()
	if got := os.Getenv("RMQ_TOPOLOGY"); got != topology {
		t.Skipf("RMQ_TOPOLOGY is %q, this test is for %q", got, topology)
	}
	c, err := rmq.Open(rmq.Config{NameServers: strings.Split(nameServers, ";")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return &rig{T: t, c: c, suffix: "-" + strconv.FormatInt(time.Now().UnixMilli(), 36)}
}

func (r *rig) tool(args ...string) string {
	r.Helper()
	cmd := exec.Command("go", append([]string{"run", "-C", "../../hack/stack", "."}, args...)...)
	if base := os.Getenv("RMQ_PORT_BASE"); base != "" {
		cmd.Args = append(cmd.Args, "--port-base", base)
	}
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.Fatalf("stack %q: %v: %s", args, err, out)
	}
	return string(out)
}

// masterPID finds which of the two brokers of a controller is the master, by the port that the name server shows.
func (r *rig) masterPID(broker string) int {
	r.Helper()
	brokers, err := r.c.Brokers(r.Context())
	if err != nil {
		r.Fatal(err)
	}
	for _, b := range brokers {
		if b.Name != broker {
			continue
		}
		_, port, err := net.SplitHostPort(b.Addr)
		if err != nil {
			r.Fatal(err)
		}
		if port == "10911" || port == strconv.Itoa(portBase()+11) {
			return r.pidOf("rocketmq-broker-a-1")
		}
		return r.pidOf("rocketmq-broker-a-2")
	}
	r.Fatalf("no master of %s among %v", broker, brokers)
	return 0
}

// portBase is the stack's --port-base.
func portBase() int {
	n, err := strconv.Atoi(os.Getenv("RMQ_PORT_BASE"))
	if err != nil {
		return 0
	}
	return n
}

func (r *rig) pidOf(name string) int {
	r.Helper()
	status := r.tool("status", "--only", "rocketmq")
	for line := range strings.Lines(status) {
		fields := strings.Fields(line)
		if len(fields) < 3 || fields[0] != name {
			continue
		}
		if pid, err := strconv.Atoi(fields[2]); err == nil {
			return pid
		}
	}
	r.Fatalf("%s does not run:\n%s", name, status)
	return 0
}

func (r *rig) signal(pid int, s syscall.Signal) {
	r.Helper()
	if err := syscall.Kill(pid, s); err != nil {
		r.Fatalf("sending %s to %d: %v", s, pid, err)
	}
}

// numbered sends records with rising numbers to one queue, and notes which were confirmed.
type numbered struct {
	mu        sync.Mutex
	confirmed map[int]bool
}

func (n *numbered) send(ctx context.Context, s *rmq.Sender, topic string, i int) error {
	return s.Send(ctx, rmq.Message{Topic: topic, Body: fmt.Append(nil, i)}, func(_ int64, err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.confirmed[i] = err == nil
	})
}

// copies reads a queue from its start to its end, and counts how often it holds each record. Records must rise, repeats left out.
func (r *rig) copies(q rmq.Queue) map[int]int {
	r.Helper()
	_, end, err := r.c.Offsets(r.Context(), q)
	if err != nil {
		r.Fatal(err)
	}
	reader := r.c.NewReader(rmq.ReaderConfig{Group: "topology"})
	defer reader.Close()
	reader.Assign(map[rmq.Queue]int64{q: 0})
	out, highest := map[int]int{}, -1
	for offset := int64(0); offset < end; {
		got, err := reader.Poll(r.Context(), 1000)
		if err != nil {
			r.Fatal(err)
		}
		for _, m := range got {
			i, err := strconv.Atoi(string(m.Body))
			if err != nil {
				r.Fatal(err)
			}
			if out[i] == 0 && i < highest {
				r.Errorf("record %d first comes after record %d", i, highest)
			}
			out[i]++
			highest, offset = max(highest, i), m.NextOffset
		}
	}
	return out
}
