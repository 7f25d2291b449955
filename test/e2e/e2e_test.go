//go:build e2e

// Package e2e drives the whole of it on a real Kubernetes as a user does: helm, kubectl, YAML. One test in order, since
// each step stands on what the one before left.
package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/kube"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

const (
	chart    = "../../charts/rocketmq-connect-operator"
	samples  = "../../config/samples"
	release  = "rocketmq-connect-operator"
	topic    = "e2e-orders"
	copied   = topic + "-copy"
	records  = 50_000
	patience = 3 * time.Minute
)

// suite is what the steps share.
type suite struct {
	kube      *kube.Kube
	bootstrap string
	kafka     *kgo.Client
	rmq       *rmq.Client
	ownership *kube.Ownership
	plan      flow.Plan
}

func TestEndToEnd(t *testing.T) {
	s := open(t)
	steps := []struct {
		name string
		run  func(t *testing.T)
	}{
		{"a connector waits for its cluster, which the chart's operator then makes", s.install},
		{"records go there and back while a worker is killed", s.carry},
		{"a paused connector keeps its tasks and moves nothing", s.pause},
		{"a stopped connector frees its tasks, running goes on where it was", s.stop},
		{"a wrong config is refused, the last good one runs on", s.reject},
		{"scaling moves only what it must", s.scale},
		{"a changed worker config rolls the pods one at a time", s.roll},
		{"helm upgrade leaves the workers alone", s.upgrade},
		{"everything that was produced arrived unchanged", s.compare},
		{"a deleted connector is gone from the workers", s.remove},
		{"the samples apply as they are", s.samples},
		{"helm uninstall leaves workers and custom resources", s.uninstall},
		{"no task ran on two workers at once", s.owners},
	}
	for _, step := range steps {
		if !t.Run(step.name, step.run) {
			s.explain(t)
			t.FailNow()
		}
	}
}

func open(t *testing.T) *suite {
	t.Helper()
	s := &suite{
		bootstrap: env("KAFKA_BOOTSTRAP", "127.0.0.1:9092"),
		plan:      flow.Plan{Records: records, Size: 512, Keys: 500, Seed: 3, Begin: time.Now()},
	}
	var err error
	if s.kube, err = kube.New(); err != nil {
		t.Fatal(err)
	}
	s.kube.Echo = func(line string) { t.Log(line) }
	if s.kafka, err = kgo.NewClient(kgo.SeedBrokers(s.bootstrap), kgo.MetadataMinAge(100*time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.kafka.Close)
	if s.rmq, err = rmq.Open(rmq.Config{NameServers: []string{env("RMQ_NAMESRV", "127.0.0.1:9876")}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.rmq.Close(); err != nil {
			t.Error(err)
		}
	})
	s.ownership = s.kube.WatchOwnership(context.Background(), kube.Namespace, kube.WorkerSelector, kube.WorkerContainer)
	t.Cleanup(s.ownership.Stop)
	return s
}

func env(name, or string) string {
	if v := os.Getenv(name); v != "" {
		return v
	}
	return or
}

// run runs a user's command and fails the test when it fails.
func (s *suite) run(t *testing.T, stdin, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out, err := s.kube.Run(ctx, stdin, name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (s *suite) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return s.run(t, "", "kubectl", append([]string{"-n", kube.Namespace}, args...)...)
}

// until waits for a field of an object to have a value.
func (s *suite) until(t *testing.T, object, jsonpath, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	err := kube.Until(ctx, fmt.Sprintf("%s %s to be %q", object, jsonpath, want), func(ctx context.Context) (bool, string) {
		out, err := (&kube.Kube{}).Kubectl(ctx, "get", "-n", kube.Namespace, object, "-o", "jsonpath="+jsonpath)
		if err != nil {
			return false, err.Error()
		}
		return out == want, out
	})
	if err != nil {
		t.Fatal(err)
	}
}

func condition(kind string) string { return `{.status.conditions[?(@.type=="` + kind + `")].status}` }
func reason(kind string) string    { return `{.status.conditions[?(@.type=="` + kind + `")].reason}` }

// holds waits until a topic holds that many records.
func (s *suite) holds(t *testing.T, count flow.Count, want int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if _, err := flow.Measure(ctx, count, want, func(n int64) { t.Logf("%d of %d", n, want) }); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) count(t *testing.T, count flow.Count) int64 {
	t.Helper()
	n, err := count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func (s *suite) createTopic(t *testing.T, name string) {
	t.Helper()
	resp, err := kadm.NewClient(s.kafka).CreateTopic(t.Context(), 6, 1, nil, name)
	if err == nil {
		err = resp.Err
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (s *suite) install(t *testing.T) {
	s.createTopic(t, topic)
	s.run(t, "", "helm", "install", release, chart, "--namespace", "rocketmq-connect", "--create-namespace", "--wait", "--timeout", "3m")
	s.run(t, "", "kubectl", "create", "namespace", kube.Namespace)
	s.run(t, kube.SourceYAML(topic), "kubectl", "apply", "-f", "-")
	s.until(t, "connector/"+topic+"-in", reason("Reconciling"), "ClusterNotFound")
	s.run(t, kube.ClusterYAML(3), "kubectl", "apply", "-f", "-")
	s.until(t, "connectcluster/"+kube.ClusterName, condition("Ready"), "True") // the operator has called the workers over TLS
	s.until(t, "connectcluster/"+kube.ClusterName, "{.status.endpoint}", "https://demo-api.demo.svc:8082")
	s.until(t, "connector/"+topic+"-in", condition("Ready"), "True")
	s.until(t, "connector/"+topic+"-in", "{.status.tasksReady}", "4/4")
}

func (s *suite) carry(t *testing.T) {
	s.run(t, kube.SinkYAML(topic), "kubectl", "apply", "-f", "-")
	half := s.plan
	half.Records /= 2
	if err := flow.Produce(t.Context(), s.bootstrap, topic, half, func(n int) { t.Logf("produced %d", n) }); err != nil {
		t.Fatal(err)
	}
	s.holds(t, flow.KafkaEnds(s.kafka, copied), int64(half.Records/2))
	s.kill(t)
	s.holds(t, flow.KafkaEnds(s.kafka, copied), int64(half.Records))
	s.until(t, "connectcluster/"+kube.ClusterName, condition("Ready"), "True")
	s.until(t, "connector/"+topic+"-out", "{.status.tasksReady}", "4/4")
}

// kill ends one worker's process with SIGKILL.
func (s *suite) kill(t *testing.T) {
	t.Helper()
	pods, err := s.kube.Pods(t.Context(), kube.Namespace, kube.WorkerSelector)
	if err != nil || len(pods) == 0 {
		t.Fatalf("no worker pods: %v", err)
	}
	process, err := kube.FindProcess(kube.WorkerBinary, pods[0].Name)
	if err != nil {
		t.Fatal(err)
	}
	at, err := process.Kill(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.ownership.Died(pods[0].Name, at)
}

func (s *suite) patch(t *testing.T, object, spec string) {
	t.Helper()
	s.kubectl(t, "patch", object, "--type=merge", "-p", `{"spec":`+spec+`}`)
}

func (s *suite) pause(t *testing.T) {
	source := "connector/" + topic + "-in"
	s.patch(t, source, `{"state":"Paused"}`)
	s.until(t, source, reason("Ready"), "Paused")
	s.until(t, source, "{.status.tasks.paused}", "4")
	before := s.count(t, flow.RocketMQEnds(s.rmq, topic))
	rest := s.plan // the whole plan again: its first half repeats what was sent
	if err := flow.Produce(t.Context(), s.bootstrap, topic, rest, func(int) {}); err != nil {
		t.Fatal(err)
	}
	if after := s.count(t, flow.RocketMQEnds(s.rmq, topic)); after != before {
		t.Errorf("a paused source went on: %d records, then %d", before, after)
	}
}

func (s *suite) stop(t *testing.T) {
	source := "connector/" + topic + "-in"
	s.patch(t, source, `{"state":"Stopped"}`)
	s.until(t, source, reason("Ready"), "Stopped")
	before := s.count(t, flow.RocketMQEnds(s.rmq, topic))
	s.patch(t, source, `{"state":"Running"}`)
	s.until(t, source, reason("Ready"), "Running")
	s.holds(t, flow.RocketMQEnds(s.rmq, topic), before+int64(s.plan.Records))
	s.holds(t, flow.KafkaEnds(s.kafka, copied), int64(s.plan.Records*3/2))
}

func (s *suite) reject(t *testing.T) {
	source := "connector/" + topic + "-in"
	s.patch(t, source, `{"class":"NoSuchClass"}`)
	s.until(t, source, reason("Stalled"), "ConfigRejected")
	if message := s.kubectl(
		t,
		"get",
		source,
		"-o",
		`jsonpath={.status.conditions[?(@.type=="Stalled")].message}`,
	); !strings.Contains(message, "NoSuchClass") ||
		!strings.Contains(message, "KafkaSource") {
		t.Errorf("the condition does not name the wrong class and those that exist: %q", message)
	}
	s.patch(t, source, `{"class":"KafkaSource"}`)
	s.until(t, source, reason("Ready"), "Running")
}

func (s *suite) scale(t *testing.T) {
	before := s.openIntervals()
	s.kubectl(t, "scale", "connectcluster/"+kube.ClusterName, "--replicas=4")
	s.until(t, "connectcluster/"+kube.ClusterName, condition("Ready"), "True")
	s.until(t, "connectcluster/"+kube.ClusterName, "{.status.readyReplicas}", "4")
	s.until(t, "connector/"+topic+"-in", "{.status.tasksReady}", "4/4")
	newcomer := kube.ClusterName + "-worker-3"
	for task, was := range before {
		now, ok := s.openIntervals()[task]
		if ok && now.Worker != was.Worker && now.Worker != newcomer {
			t.Errorf("task %s moved from %s to %s, which was there before", task, was.Worker, now.Worker)
		}
	}
	s.kubectl(t, "scale", "connectcluster/"+kube.ClusterName, "--replicas=3")
	s.until(t, "connectcluster/"+kube.ClusterName, "{.status.replicas}", "3")
	s.until(t, "connectcluster/"+kube.ClusterName, condition("Ready"), "True")
	s.until(t, "connector/"+topic+"-out", "{.status.tasksReady}", "4/4")
}

// openIntervals are the tasks that run now, by the audit lines.
func (s *suite) openIntervals() map[audit.Task]audit.Interval {
	out := map[audit.Task]audit.Interval{}
	for _, in := range s.ownership.Intervals() {
		if in.Open {
			out[in.Task] = in
		}
	}
	return out
}

func (s *suite) roll(t *testing.T) {
	revision := s.kubectl(t, "get", "statefulset/"+kube.ClusterName+"-worker", "-o", "jsonpath={.status.updateRevision}")
	s.patch(t, "connectcluster/"+kube.ClusterName, `{"config":{"logLevel":"debug"}}`)
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	err := kube.Until(ctx, "the roll to end", func(ctx context.Context) (bool, string) {
		out, err := (&kube.Kube{}).Kubectl(ctx, "get", "-n", kube.Namespace, "statefulset/"+kube.ClusterName+"-worker", "-o", "json")
		var set struct {
			Status struct {
				UpdateRevision, CurrentRevision          string
				Replicas, ReadyReplicas, UpdatedReplicas int
			}
		}
		if err == nil {
			err = json.Unmarshal([]byte(out), &set)
		}
		st := set.Status
		if err == nil && st.ReadyReplicas < 2 {
			t.Errorf("only %d of 3 workers were ready during the roll", st.ReadyReplicas)
		}
		done := err == nil && st.UpdateRevision != revision && st.CurrentRevision == st.UpdateRevision && st.ReadyReplicas == 3
		return done, fmt.Sprintf("%+v %v", st, err)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.until(t, "connectcluster/"+kube.ClusterName, condition("Ready"), "True")
	s.until(t, "connector/"+topic+"-in", "{.status.tasksReady}", "4/4")
}

func (s *suite) upgrade(t *testing.T) {
	before := s.workers(t)
	s.run(t, "", "helm", "upgrade", release, chart, "--namespace", "rocketmq-connect", "--set", "replicaCount=2", "--wait", "--timeout", "3m")
	s.until(t, "connectcluster/"+kube.ClusterName, condition("Ready"), "True")
	if after := s.workers(t); after != before {
		t.Errorf("the upgrade touched the workers: %s, then %s", before, after)
	}
}

// workers names the pods with their uids and restarts.
func (s *suite) workers(t *testing.T) string {
	t.Helper()
	return s.kubectl(t, "get", "pods", "-l", kube.WorkerSelector, "-o",
		`jsonpath={range .items[*]}{.metadata.name} {.metadata.uid} {.status.containerStatuses[0].restartCount};{end}`)
}

func (s *suite) compare(t *testing.T) {
	got, err := flow.Check(t.Context(), s.bootstrap, copied, s.plan, 30*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Log(got)
	// The plan was produced one and a half times, so its first half comes again, behind the second.
	if got.Missing != 0 || got.Corrupt != 0 || got.Foreign != 0 || got.OutOfOrder != 0 {
		t.Errorf("lost or changed: %v", got)
	}
}

func (s *suite) remove(t *testing.T) {
	s.kubectl(t, "delete", "connector/"+topic+"-in", "connector/"+topic+"-out", "--timeout=90s")
	s.until(t, "connectcluster/"+kube.ClusterName, condition("Ready"), "True")
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := kube.Until(ctx, "all tasks to end", func(context.Context) (bool, string) {
		left := s.openIntervals()
		return len(left) == 0, fmt.Sprint(left)
	}); err != nil {
		t.Fatal(err)
	}
}

func (s *suite) samples(t *testing.T) {
	s.createTopic(t, "connect-sample") // as the sample source asks for
	s.run(t, "", "kubectl", "apply", "-f", samples)
	s.run(t, "", "kubectl", "wait", "-f", samples, "--for=condition=Ready", "--timeout=150s")
	s.run(t, "", "kubectl", "delete", "-f", samples, "--timeout=120s")
}

func (s *suite) uninstall(t *testing.T) {
	before := s.workers(t)
	s.run(t, "", "helm", "uninstall", release, "--namespace", "rocketmq-connect", "--wait")
	if after := s.workers(t); after != before {
		t.Errorf("uninstalling the operator touched the workers: %s, then %s", before, after)
	}
	s.kubectl(t, "get", "connectcluster/"+kube.ClusterName)
	s.run(t, "", "helm", "install", release, chart, "--namespace", "rocketmq-connect", "--wait", "--timeout", "3m")
	s.kubectl(t, "delete", "connectcluster/"+kube.ClusterName, "--timeout=90s")
}

func (s *suite) owners(t *testing.T) {
	intervals := s.ownership.Intervals()
	if len(intervals) < 16 {
		t.Errorf("only %d audit intervals were read; the workers' logs were not followed", len(intervals))
	}
	for _, o := range audit.Overlaps(intervals) {
		t.Error(o)
	}
}

// explain logs what a person would look at first.
func (s *suite) explain(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, args := range [][]string{
		{"get", "pods,connectclusters,connectors", "-A", "-o", "wide"},
		{"describe", "connectclusters,connectors", "-n", kube.Namespace},
		{"logs", "-n", "rocketmq-connect", "-l", "app.kubernetes.io/name=" + release, "--tail=40"},
		{"logs", "-n", kube.Namespace, "-l", kube.WorkerSelector, "--tail=40"},
	} {
		if _, err := s.kube.Kubectl(ctx, args...); err != nil {
			t.Log(err)
		}
	}
}
