//go:build topology

package topology

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/disk"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// The broker of the cluster log answers that its disk is full: a worker that runs and one that joins say which broker
// answers what, and since when. One that is stopped meanwhile ends: it runs nothing any more (invariant C2), and waits
// for no answer.
func TestAFullDiskIsTold(t *testing.T) {
	needs(t, "masters")
	if !disk.Possible() {
		t.Skip("only root can make small file systems")
	}
	id := fmt.Sprintf("full-%d", time.Now().UnixNano())
	if _, err := open(
		t,
		nameServers(),
	).EnsureLogTopic(
		t.Context(),
		process.InternalTopics(id)[0],
		rmq.LogPlace{Broker: "broker-a"},
	); err != nil {
		t.Fatal(err)
	}
	a := newAdmin(t)
	addr := a.masterOf(t, "broker-a")
	stays, ends := worker(t, id, "w1"), worker(t, id, "w2")
	answers(t, stays, "/readyz", "ok")
	answers(t, ends, "/readyz", "ok")

	room := a.fill(t, addr)
	refusal := "topic " + id + "-cluster: broker broker-a at " + addr + " answers since "
	says(t, stays, "/readyz", "RocketMQ has not brought back a heartbeat sent after ", refusal, "code 14", "disk is full")
	joins := worker(t, id, "w3")
	says(t, joins, "/readyz", "joining the cluster: ", "broker broker-a at "+addr+" answers since ", "code 14", "disk is full")
	ends.endsInPeace(t)
	room()
	answers(t, stays, "/readyz", "ok")
	answers(t, joins, "/readyz", "ok")
}

// The master of the cluster log is gone, and its slave is there: what runs and what starts say that, and since when.
func TestASlaveAloneIsTold(t *testing.T) {
	needs(t, "replicated")
	id := fmt.Sprintf("alone-%d", time.Now().UnixNano())
	runs := worker(t, id, "w1")
	answers(t, runs, "/readyz", "ok")
	stack(t, "stop", "rocketmq-broker-a")
	alone := "broker broker-a unreachable: its master is not registered with the name server, only a slave is"
	says(t, runs, "/readyz", "RocketMQ has not brought back a heartbeat sent after ", alone, "since ")
	starts := worker(t, id, "w2")
	says(t, starts, "/readyz", alone, "since ")
	stack(t, "start", "rocketmq-broker-a")
	answers(t, runs, "/readyz", "ok")
	answers(t, starts, "/readyz", "ok")
}

// The broker of the internal topics is lost for good, and the cluster is given another one by clusterTopicBroker, as
// docs/operations.md says. A worker that is told to stop meanwhile ends.
func TestAClusterMovesToAnotherBroker(t *testing.T) {
	needs(t, "masters")
	id := fmt.Sprintf("moved-%d", time.Now().UnixNano())
	w := workerOf(t, process.Conf{ID: "w1", ClusterID: id, More: "clusterTopicBroker=broker-b"})
	answers(t, w, "/readyz", "ok")
	stack(t, "stop", "rocketmq-broker-b", "--wipe")
	says(t, w, "/readyz", "RocketMQ has not brought back a heartbeat sent after ", "broker-b")
	w.endsInPeace(t)

	moved := workerOf(t, process.Conf{ID: "w1", ClusterID: id, More: "clusterTopicBroker=broker-a"})
	answers(t, moved, "/readyz", "ok")
	stack(t, "start", "rocketmq-broker-b")
	client := open(t, nameServers())
	for _, topic := range process.InternalTopics(id) {
		eventually(t, func(ctx context.Context) error {
			route, err := client.Route(ctx, topic)
			if err == nil && (len(route) != 1 || route[0].Broker != "broker-a") {
				err = fmt.Errorf("topic %s is written on %v, want broker-a", topic, route)
			}
			return err
		})
	}
	answers(t, moved, "/readyz", "ok")
}

// endsInPeace stops a worker that cannot reach its log.
func (w running) endsInPeace(t *testing.T) {
	t.Helper()
	begun := time.Now()
	if err := w.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case <-w.Done():
	case <-time.After(patience):
		t.Fatalf("a worker without its log runs %s after it was stopped", patience)
	}
	t.Logf("a worker without its log ended %s after it was stopped", time.Since(begun).Round(time.Millisecond))
	if code := w.ExitCode(); code != 0 {
		t.Errorf("a worker that was stopped ended with %d", code)
	}
	if text := w.log.String(); strings.Contains(text, "disk does not answer") {
		t.Errorf("a worker without its log blames its disk:\n%s", text)
	}
}

func (a admin) masterOf(t *testing.T, broker string) string {
	t.Helper()
	addrs, err := a.replicas(t.Context(), broker)
	if err != nil || addrs["0"] == "" {
		t.Fatalf("the addresses of %s: %v, %v", broker, addrs, err)
	}
	return addrs["0"]
}

// updateBrokerConfig changes settings of a broker that runs; the body has a line key=value for each.
const updateBrokerConfig = 25

// fill has a broker look for room on a file system that has none, until it refuses what it is sent or the test ends.
func (a admin) fill(t *testing.T, addr string) (room func()) {
	t.Helper()
	const key = "storePathCommitLog"
	resp, err := a.call(t.Context(), addr, &remoting.Command{Code: remoting.BrokerConfig})
	if err != nil {
		t.Fatal(err)
	}
	var before string
	for line := range strings.Lines(string(resp.Body)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+"="); ok {
			before = v
		}
	}
	if before == "" {
		t.Fatalf("the broker at %s does not say its %s", addr, key)
	}
	small := t.TempDir()
	if err := disk.Mount(small, "2m"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := disk.Unmount(small); err != nil {
			t.Error(err)
		}
	})
	if err := disk.Fill(filepath.Join(small, "filler")); err != nil {
		t.Fatal(err)
	}
	look := func(ctx context.Context, at string) error {
		_, err := a.call(ctx, addr, &remoting.Command{Code: updateBrokerConfig, Body: []byte(key + "=" + at + "\n")})
		return err
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := look(ctx, before); err != nil {
			t.Error(err)
		}
	})
	if err := look(t.Context(), small); err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := look(t.Context(), before); err != nil {
			t.Fatal(err)
		}
	}
}

// call fails for every answer but success.
func (a admin) call(ctx context.Context, addr string, req *remoting.Command) (*remoting.Command, error) {
	resp, err := a.pool.Call(ctx, addr, "test", req)
	if err == nil && resp.Code != remoting.Success {
		err = errors.Join(err, fmt.Errorf("%s answers code %d: %s", addr, resp.Code, resp.Remark))
	}
	return resp, err
}
