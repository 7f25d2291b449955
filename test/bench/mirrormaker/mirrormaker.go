// Package mirrormaker runs Kafka Connect's MirrorMaker 2 as a standalone worker, and speaks its REST interface.
package mirrormaker

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// flags are those of Kafka's own scripts (kafka-run-class.sh, connect-mirror-maker.sh), and warnings to standard error.
var flags = []string{
	"-Xms256M", "-Xmx2G", "-server", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20", "-XX:InitiatingHeapOccupancyPercent=35",
	"-XX:+ExplicitGCInvokesConcurrent", "-XX:MaxInlineLevel=15", "-Djava.awt.headless=true", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
}

// Worker is a standalone worker of Kafka Connect.
type Worker struct {
	ClassPath string
	Dir       string // for its files; it is there, and the worker's own
	Kafka     string // the bootstrap servers
	Alias     string // the name of that cluster to MirrorMaker
	Port      int    // of its REST interface, on the loopback address
}

// Target is the topic that the default replication policy writes for a source cluster's topic.
func Target(alias, from string) string { return alias + "." + from }

// Job is what a connector mirrors, both on the worker's Kafka. To is a Target of From.
type Job struct{ From, To string }

// SyncsTopic is what jobs leave behind on Kafka besides their targets.
func (w Worker) SyncsTopic() string { return "mm2-offset-syncs." + w.Alias + ".internal" }

// Command writes the worker's configuration and returns what starts it.
func (w Worker) Command() (*exec.Cmd, error) {
	path := filepath.Join(w.Dir, "worker.properties")
	if err := os.WriteFile(path, []byte(w.properties()), 0o600); err != nil {
		return nil, fmt.Errorf("writing MirrorMaker's configuration: %w", err)
	}
	args := append(slices.Clone(flags), "-cp", w.ClassPath, "org.apache.kafka.connect.cli.ConnectStandalone", path)
	return exec.Command("java", args...), nil
}

// properties leave everything as it is by default, but let the plugins be found by their service files, which starts
// sooner than the default's scan of all classes.
func (w Worker) properties() string {
	const bytesAsTheyAre = "org.apache.kafka.connect.converters.ByteArrayConverter"
	return fmt.Sprintf(`bootstrap.servers=%s
key.converter=%[2]s
value.converter=%[2]s
header.converter=%[2]s
offset.storage.file.filename=%[3]s
listeners=%[4]s
plugin.discovery=service_load
`, w.Kafka, bytesAsTheyAre, filepath.Join(w.Dir, "offsets"), w.address())
}

func (w Worker) address() string { return fmt.Sprintf("http://127.0.0.1:%d", w.Port) }

// config is a connector with one task. What has nothing to do with moving records is off: copying ACLs and topic
// configurations, and looking for new topics.
func (w Worker) config(j Job) map[string]string {
	return map[string]string{
		"connector.class":                       "org.apache.kafka.connect.mirror.MirrorSourceConnector",
		"tasks.max":                             "1",
		"topics":                                j.From,
		"source.cluster.alias":                  strings.TrimSuffix(j.To, Target("", j.From)),
		"target.cluster.alias":                  w.Alias,
		"source.cluster.bootstrap.servers":      w.Kafka,
		"target.cluster.bootstrap.servers":      w.Kafka,
		"replication.factor":                    "1",
		"offset-syncs.topic.replication.factor": "1",
		"sync.topic.acls.enabled":               "false",
		"sync.topic.configs.enabled":            "false",
		"refresh.topics.enabled":                "false",
	}
}

// Version asks the worker for its version; it has one once its REST interface is ready.
func (w Worker) Version(ctx context.Context) (string, error) {
	var root struct {
		Version string `json:"version"`
	}
	err := w.call(ctx, http.MethodGet, "/", nil, &root)
	return root.Version, err
}

// Create makes a connector. That its tasks run is seen from its records.
func (w Worker) Create(ctx context.Context, name string, j Job) error {
	body, err := json.Marshal(w.config(j))
	if err != nil {
		return fmt.Errorf("writing the connector's configuration: %w", err)
	}
	return w.call(ctx, http.MethodPut, "/connectors/"+name+"/config", body, nil)
}

// Delete removes a connector; its task stops soon after.
func (w Worker) Delete(ctx context.Context, name string) error {
	return w.call(ctx, http.MethodDelete, "/connectors/"+name, nil, nil)
}

// errNotThere is what the worker says of what it does not know, or does not know yet.
var errNotThere = errors.New("not there")

// Failure tells why the connector or its task failed, if one did.
func (w Worker) Failure(ctx context.Context, name string) error {
	var s status
	if err := w.call(ctx, http.MethodGet, "/connectors/"+name+"/status", nil, &s); errors.Is(err, errNotThere) {
		return nil // it was made a moment ago
	} else if err != nil {
		return err
	}
	return s.failure()
}

type state struct {
	State string `json:"state"`
	Trace string `json:"trace"`
}

type status struct {
	Connector state   `json:"connector"`
	Tasks     []state `json:"tasks"`
}

func (s status) failure() error {
	for _, part := range append([]state{s.Connector}, s.Tasks...) {
		if part.State == "FAILED" {
			return fmt.Errorf("MirrorMaker failed: %s", part.Trace)
		}
	}
	return nil
}

func (w Worker) call(ctx context.Context, method, path string, body []byte, answer any) error {
	req, err := http.NewRequestWithContext(ctx, method, w.address()+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking MirrorMaker: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking MirrorMaker: %w", err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return fmt.Errorf("reading MirrorMaker's answer: %w", err)
	case resp.StatusCode == http.StatusNotFound:
		return fmt.Errorf("asking MirrorMaker for %s: %w", path, errNotThere)
	case resp.StatusCode >= http.StatusBadRequest:
		return fmt.Errorf("asking MirrorMaker for %s: %s: %s", path, resp.Status, strings.TrimSpace(string(text)))
	case answer == nil:
		return nil
	}
	if err := json.Unmarshal(text, answer); err != nil {
		return fmt.Errorf("reading MirrorMaker's answer to %s: %w", path, err)
	}
	return nil
}
