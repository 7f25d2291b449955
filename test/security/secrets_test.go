package security

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// The values that a connector's config hides, in each form that it can.
var hidden = []string{"hunter2-password", "hunter2-jaas", "hunter2-unknown", "hunter2-url"}

func secretive(kafka string) restapi.Connector {
	return restapi.Connector{Name: "secretive", Class: "KafkaSource", MaxTasks: 1, Config: map[string]string{
		"kafka.topics":            "orders",
		"kafka.bootstrap.server":  kafka,
		"kafka.security.protocol": "SASL_PLAINTEXT",
		"kafka.sasl.username":     "user",
		"kafka.sasl.password":     hidden[0],
		"note":                    `org.apache.kafka.common.security.plain.PlainLoginModule required username="u" password="` + hidden[1] + `";`,
		"some.api.key":            hidden[2],
		"mirror":                  "https://user:" + hidden[3] + "@example.com/x",
	}}
}

// Invariant S1 against a worker that runs and logs all that it can: after a connector with secrets was stored, refused,
// failed, changed and shown by each route, they are in the config topic and the file that restores it, and nowhere
// else.
func TestSecretsAreInTheConfigTopicAndNowhereElse(t *testing.T) {
	w := newWorld(t, 1)
	r := w.workers[0]
	c := secretive(w.kafka)
	w.eventually("it is stored", func(ctx context.Context) error {
		_, err := r.client().Put(ctx, c, -1)
		return err
	})
	var seen strings.Builder
	w.eventually("its task has failed", func(ctx context.Context) error { // nobody lets it in
		status, err := r.client().Status(ctx, c.Name)
		if err != nil {
			return err
		}
		text := fmt.Sprint(status)
		seen.WriteString(text)
		if !strings.Contains(text, "credentials") && !strings.Contains(text, "Kafka") {
			return fmt.Errorf("%w: %s", errNotYet, text)
		}
		return nil
	})
	bad := secretive(w.kafka)
	bad.Config["kafka.security.protocol"] = hidden[0]
	_, err := r.client().Put(t.Context(), bad, -1)
	if err == nil {
		t.Error("a protocol that is none was stored")
	}
	fmt.Fprintln(&seen, err)
	for _, path := range []string{
		"/api/v1/cluster", "/api/v1/connectors", "/api/v1/connectors/secretive", "/api/v1/connectors/secretive/status",
		"/api/v1/connectors/secretive/tasks", "/api/v1/plugins", "/metrics", "/readyz", "/healthz", "/getClusterInfo",
		"/getConfigInfo", "/getConnectorTask", "/getConnectorTask/secretive", "/getConnectors", "/getConnectors/secretive",
		"/getConnectorsStatus/secretive", "/getAllocatedTask", "/connectors/single/secretive/disable",
	} {
		seen.WriteString(r.get(t, path))
	}
	topics := config.Default().Topics
	for _, topic := range []string{topics.Cluster, topics.Position, topics.Offset, topics.Status} {
		seen.WriteString(w.contents(topic))
	}
	found := map[string]string{"what was answered, and the other topics": seen.String(), "the log": r.log.String()}
	for path, text := range r.files(t) {
		if !strings.HasPrefix(filepath.Base(path), "connector") {
			found[path] = text
		}
	}
	for where, text := range found {
		for _, secret := range hidden {
			if i := strings.Index(text, secret); i >= 0 {
				t.Errorf("%s: %q in …%.200s", where, secret, text[max(0, i-100):])
			}
		}
	}
	stored := w.contents(topics.Config)
	for _, secret := range hidden {
		if !strings.Contains(stored, secret) {
			t.Errorf("%q is not in the config topic: the test looks for what is not there", secret)
		}
	}
}

var errNotYet = fmt.Errorf("not yet")

func (r *running) get(t *testing.T, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+r.address+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Close = true
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// contents is all that a log's records hold.
func (w *world) contents(topic string) string {
	w.t.Helper()
	queues, err := w.rocket.Route(w.t.Context(), topic)
	if err != nil {
		w.t.Fatal(err)
	}
	var out strings.Builder
	_, err = w.rocket.Log(queues[0]).Read(w.t.Context(), 0, func(e rmq.Entry) error {
		out.WriteString(e.Key + "=" + string(e.Value) + "\n")
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return out.String()
}

// files are the worker's own, by their paths. Whoever is not its user reads none of them.
func (r *running) files(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(r.store, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Mode().Perm()&0o077 != 0 && strings.Contains(path, "config") {
			t.Errorf("others may read %s: %s", path, info.Mode())
		}
		text, err := os.ReadFile(path)
		out[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
