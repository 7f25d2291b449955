package worker

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/sasl/plain"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// The users of the Kafka, by generation of the secret. No text of the test has any of these words but where the secret
// is meant.
var logins = []struct{ user, password string }{{"ursula-1", "pw-hunter2-1"}, {"ursula-2", `pw-hunter2-2`}}

// secretCluster is two workers, a RocketMQ and a Kafka that asks for a password, which is in a file.
type secretCluster struct {
	t       *testing.T
	workers []*run
	broker  *rmqtest.Broker
	client  *rmq.Client
	kafka   *kgo.Client
	address string
	secrets string
}

func newSecretCluster(t *testing.T) *secretCluster {
	c := &secretCluster{t: t, broker: rmqtest.Start(t), secrets: t.TempDir()}
	opts := []kfake.Opt{kfake.NumBrokers(1), kfake.EnableSASL(), kfake.SeedTopics(2, "orders", "invoices", "late")}
	for _, login := range logins {
		opts = append(opts, kfake.Superuser("PLAIN", login.user, login.password))
	}
	kafka, err := kfake.NewCluster(opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(kafka.Close)
	c.address = kafka.ListenAddrs()[0]
	c.kafka, err = kgo.NewClient(
		kgo.SeedBrokers(c.address),
		kgo.DisableClientMetrics(),
		kgo.SASL(plain.Auth{User: logins[0].user, Pass: logins[0].password}.AsMechanism()),
	)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.kafka.Close)
	c.client, err = rmq.Open(rmq.Config{NameServers: []string{c.broker.NameServer()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.client.Close() })
	for _, id := range []string{"w1", "w2"} {
		cfg := configFor(t, c.broker.NameServer())
		cfg.WorkerID, cfg.SecretsDir = id, c.secrets
		c.workers = append(c.workers, startLogging(t, cfg, 9))
	}
	for _, w := range c.workers {
		w.answers("/getClusterInfo", 200, `["w1","w2"]`)
	}
	return c
}

// mount is a secret as Kubernetes mounts it, or updates it.
func (c *secretCluster) mount(name string, generation int) {
	c.t.Helper()
	dir, version := filepath.Join(c.secrets, name), fmt.Sprint("..", generation)
	must := func(err error) {
		c.t.Helper()
		if err != nil {
			c.t.Fatal(err)
		}
	}
	must(os.MkdirAll(filepath.Join(dir, version), 0o700))
	for key, value := range map[string]string{"user": logins[generation].user, "password": logins[generation].password} {
		must(os.WriteFile(filepath.Join(dir, version, key), []byte(value), 0o600))
		if _, err := os.Lstat(filepath.Join(dir, key)); err != nil {
			must(os.Symlink("..data/"+key, filepath.Join(dir, key)))
		}
	}
	must(os.Symlink(version, filepath.Join(dir, "..next")))
	must(os.Rename(filepath.Join(dir, "..next"), filepath.Join(dir, "..data")))
}

// source makes a connector of two tasks that reads the topic of its name with the secret.
func (c *secretCluster) source(name, secret string) {
	c.t.Helper()
	body := fmt.Sprintf(
		`{"class":"KafkaSource","maxTasks":2,"config":{"kafka.topics":%q,"kafka.bootstrap.server":%q,"kafka.security.protocol":"SASL_PLAINTEXT",`+
			`"kafka.sasl.jaas.config":"x.Plain required username=\"${secret:%s:user}\" password=\"${secret:%s:password}\";"}}`,
		name,
		c.address,
		secret,
		secret,
	)
	if code, answer := c.workers[0].put(name, body); code != 201 {
		c.t.Fatalf("making %s: %d %s", name, code, answer)
	}
}

func (c *secretCluster) produce(topic, value string) {
	c.t.Helper()
	for p := range int32(2) {
		if err := c.kafka.ProduceSync(c.t.Context(), &kgo.Record{Topic: topic, Partition: p, Value: []byte(value)}).FirstErr(); err != nil {
			c.t.Fatal(err)
		}
	}
}

// read returns all that a topic holds: properties, keys and bodies.
func (c *secretCluster) read(topic string) string {
	c.t.Helper()
	queues, err := c.client.Route(c.t.Context(), topic)
	if err != nil {
		return ""
	}
	reader := c.client.NewReader(rmq.ReaderConfig{Group: "secrets-test"})
	defer func() { _ = reader.Close() }()
	from, left := map[rmq.Queue]int64{}, int64(0)
	for _, q := range queues {
		low, high, err := c.client.Offsets(c.t.Context(), q)
		if err != nil {
			c.t.Fatal(err)
		}
		from[q], left = low, left+high-low
	}
	reader.Assign(from)
	var out strings.Builder
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for left > 0 {
		batch, err := reader.Poll(ctx, 1000)
		if err != nil {
			c.t.Fatalf("reading %s: %v", topic, err)
		}
		for _, m := range batch {
			fmt.Fprintf(&out, "%v %s\n", m.Properties, m.Body)
		}
		left -= int64(len(batch))
	}
	return out.String()
}

func (c *secretCluster) eventually(what string, ok func() bool) {
	c.t.Helper()
	c.workers[0].eventually(what, ok)
}

// restarted lists the tasks of a connector that were restarted for a changed secret, on all workers, and how often.
func (c *secretCluster) restarted(connector string) map[string]int {
	out := map[string]int{}
	for _, w := range c.workers {
		for line := range strings.Lines(w.log.String()) {
			if strings.Contains(line, `"msg"="Starting a unit again,`) && strings.Contains(line, fmt.Sprintf(`"connector"=%q`, connector)) {
				_, task, _ := strings.Cut(line, `"task"=`)
				task, _, _ = strings.Cut(task, " ")
				out[task]++
			}
		}
	}
	return out
}

// everything is all that leaves the workers: topics, answers, logs, files.
func (c *secretCluster) everything() map[string]string {
	c.t.Helper()
	out := map[string]string{}
	for _, topic := range append(config.Default().Topics.All(), "orders", "invoices", "late") {
		out["topic "+topic] = c.read(topic)
	}
	for _, w := range c.workers {
		id := w.cfg.WorkerID
		out["log of "+id], out["output of "+id] = w.log.String(), w.out.String()
		routes := []string{
			"/readyz",
			"/metrics",
			"/getConfigInfo",
			"/getConnectors",
			"/getAllocatedTask",
			"/api/v1/connectors",
			"/api/v1/cluster",
			"/api/v1/plugins",
		}
		for _, name := range []string{"orders", "invoices", "late"} {
			for _, path := range []string{"/api/v1/connectors/%s",
				"/api/v1/connectors/%s/status", "/api/v1/connectors/%s/tasks", "/getConnectors/%s", "/getConnectorTask/%s"} {
				routes = append(routes, fmt.Sprintf(path, name))
			}
		}
		for _, route := range routes {
			_, body, err := w.get(route)
			if err != nil {
				c.t.Fatal(err)
			}
			out[route+" of "+id] = body
		}
		err := filepath.WalkDir(w.cfg.StoreDir, func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			b, err := os.ReadFile(path)
			out["file "+path] = string(b)
			return err
		})
		if err != nil {
			c.t.Fatal(err)
		}
	}
	return out
}

// Invariant S1: what a reference stands for reaches the other system, and nothing else.
func TestASecretByReferenceReachesKafkaAndNothingElse(t *testing.T) {
	c := newSecretCluster(t)
	c.mount("kafka", 0)
	c.mount("other", 0)
	c.source("orders", "kafka")
	c.source("invoices", "other")
	c.source("late", "missing")
	c.produce("orders", "first")
	c.produce("invoices", "first")
	for _, topic := range []string{"orders", "invoices"} {
		c.eventually("records of "+topic, func() bool { return strings.Count(c.read(topic), "first") == 2 })
	}
	// What refers to a secret that is missing fails with its name, and goes on once it is there.
	c.workers[1].answers(
		"/api/v1/connectors/late/status",
		200,
		"Failed",
		"connector late: kafka.sasl.jaas.config refers to ${secret:missing:password}: the file does not "+
			"exist: make "+c.secrets+"/missing/password",
	)
	c.mount("missing", 0)
	c.produce("late", "first")
	c.eventually("records of late", func() bool { return strings.Count(c.read("late"), "first") == 2 })
	// A change restarts the tasks that use it, and no others.
	before := map[string]map[string]int{"invoices": c.restarted("invoices"), "late": c.restarted("late")}
	if got := c.restarted("orders"); len(got) != 0 {
		t.Errorf("tasks of orders were restarted before the change: %v", got)
	}
	c.mount("kafka", 1)
	both := map[string]int{"0": 1, "1": 1}
	c.eventually("both tasks are restarted", func() bool { return maps.Equal(c.restarted("orders"), both) })
	c.produce("orders", "second")
	c.eventually("records with the new password", func() bool { return strings.Count(c.read("orders"), "second") == 2 })
	after := map[string]map[string]int{"invoices": c.restarted("invoices"), "late": c.restarted("late")}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("other tasks were restarted (-before +after):\n%s", diff)
	}
	all := c.everything()
	for _, where := range []string{"topic connector-config-topic",
		"/api/v1/connectors/orders of w1", "/getConnectors/orders of w2", "/api/v1/connectors/orders/tasks of w2", "log of w1"} {
		if !strings.Contains(all[where], "${secret:kafka:password}") {
			t.Errorf("%s does not show the reference: the test may look in the wrong place", where)
		}
	}
	for where, text := range all {
		for _, login := range logins {
			if strings.Contains(text, login.password) || strings.Contains(text, login.user) {
				t.Errorf("%s has the secret", where)
			}
		}
	}
}

func TestWorkersThatTakeReferencesOnly(t *testing.T) {
	broker := rmqtest.Start(t)
	cfg := configFor(t, broker.NameServer())
	cfg.SecretsDir = t.TempDir()
	const clear = `{"class":"KafkaSource","state":"Stopped","config":{"kafka.topics":"orders",` +
		`"kafka.bootstrap.server":"127.0.0.1:1","kafka.security.protocol":"SASL_PLAINTEXT",` +
		`"kafka.sasl.username":"ann","kafka.sasl.password":"hunter2"}}`
	// Stored while any secret may be: a warning says what is better.
	first := start(t, cfg)
	first.answers("/readyz", 200, "ok")
	if code, body := first.put(
		"old",
		clear,
	); code != 201 ||
		!strings.Contains(body, `"warnings":["kafka.sasl.password: a secret in the clear is stored`) {
		t.Errorf("any secret: %d %s", code, body)
	}
	first.stop()
	if err := first.ended(); err != nil {
		t.Fatal(err)
	}
	cfg.ConfigSecrets = config.SecretsReferenceOnly
	second := start(t, cfg)
	second.answers("/readyz", 200, "ok")
	if code, body := second.put(
		"new",
		clear,
	); code != 422 || !strings.Contains(body, "kafka.sasl.password: a secret in the clear is refused") ||
		strings.Contains(body, "hunter2") {
		t.Errorf("a new one: %d %s", code, body)
	}
	second.answers("/connectors/single/old/enable", 200, "success")
	second.answers(
		"/api/v1/connectors/old/status",
		200,
		"Failed",
		"connector old: kafka.sasl.password: a secret in the clear is refused by workers with config.secrets=reference-only",
	)
	if got := second.log.String(); strings.Contains(got, "hunter2") {
		t.Errorf("log: %s", got)
	}
}
