package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// head begins a Connector; tests add its spec.
const head = "apiVersion: connect.rocketmq.io/v1alpha1\nkind: Connector\nmetadata: {name: orders}\n"

const sound = head + `spec:
  clusterRef: {name: sample}
  class: KafkaSource
  config: {kafka.bootstrap.server: "127.0.0.1:1", kafka.topics: orders}
`

// spec is a Connector of a sound source with one line of its spec more.
func spec(line string) string { return sound + "  " + line + "\n" }

// settings is a Connector of a KafkaSource with these settings.
func settings(list string) string {
	return head + "spec: {clusterRef: {name: sample}, class: KafkaSource, config: {" + list + "}}\n"
}

func file(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestValidate(t *testing.T) {
	cases := map[string]struct {
		text string
		// want are all lines, without the file's name; none: the text is valid.
		want []string
	}{
		"a sound connector":            {text: sound},
		"its status is not looked at":  {text: sound + "status: {state: [1]}\n"},
		"comments and empty documents": {text: "# a\n---\n---\n" + sound + "---\n# b\n"},
		"a cluster": {
			text: "apiVersion: connect.rocketmq.io/v1alpha1\nkind: ConnectCluster\nmetadata: {name: sample}\nspec: {rocketmq: " +
				"{nameServers: ['a:9876']}}\n",
		},
		"an object of another group": {
			text: sound + "---\napiVersion: v1\nkind: Secret\n",
			want: []string{"note: :2: Secret of v1 is not looked at"},
		},
		"a setting of the runtime": {text: settings(`kafka.bootstrap.server: "k:1", kafka.topics: x, errors.tolerance: all`)},
		"a setting that nobody knows": {
			text: settings(`kafka.bootstrap.server: "k:1", kafka.topics: x, kafka.topic: z`),
			want: []string{"note: :1: spec.config: kafka.topic is not a setting of KafkaSource and has no effect; did you mean kafka.topics?"},
		},
		"a mistyped setting of the runtime": {
			text: settings(`kafka.bootstrap.server: "k:1", kafka.topics: x, errors.tolerence: all`),
			want: []string{
				"note: :1: spec.config: errors.tolerence is not a setting of KafkaSource and has no effect; did you mean errors.tolerance?",
			},
		},
		"a setting of Java's runtime alone": {
			text: settings(`kafka.bootstrap.server: "k:1", kafka.topics: x, transforms: route`),
			want: []string{":1: spec.config.transforms: transforms: this worker cannot transform records yet"},
		},
		"a wrong setting of the runtime": {
			settings(`kafka.bootstrap.server: "k:1", kafka.topics: x, errors.tolerance: some`),
			[]string{`:1: spec.config.errors.tolerance: errors.tolerance must be none or all, not "some"`},
		},
		"an unknown field": {spec("klass: X"), []string{":1: spec.klass: there is no such field"}},
		"an unknown field of metadata": {
			strings.Replace(sound, "{name", "{labls: {}, name", 1),
			[]string{":1: metadata.labls: there is no such field"},
		},
		"metadata of the wrong type": {strings.Replace(sound, "{name: orders}", "{name: 3}", 1), []string{":1: metadata: "}},
		"no name": {
			strings.Replace(sound, "{name: orders}", "{labels: {}}", 1),
			[]string{":1: metadata.name: Required value"},
		},
		"no metadata": {
			strings.Replace(sound, "metadata: {name: orders}\n", "", 1),
			[]string{":1: metadata.name: Required value"},
		},
		"a name with a dot": {
			strings.Replace(sound, "name: orders", "name: a.b", 1),
			[]string{":1: Invalid value: metadata.name must be a DNS label"},
		},
		"a name in upper case": {
			strings.Replace(sound, "name: orders", "name: A", 1),
			[]string{`:1: metadata.name: Invalid value: "A"`},
		},
		"too many tasks": {
			spec("maxTasks: 1025"),
			[]string{":1: spec.maxTasks: Invalid value: 1025: should be less than or equal to 1024"},
		},
		"tasks that are no number": {
			spec("maxTasks: two"),
			[]string{`:1: spec.maxTasks: Invalid value: "string": must be of type integer`},
		},
		"an unknown state": {
			spec("state: Resting"),
			[]string{`:1: spec.state: Unsupported value: "Resting": supported values: "Running", "Paused", "Stopped"`},
		},
		"no spec": {head, []string{":1: spec: Required value"}},
		"a number among the settings": {
			settings("kafka.topics: x, a: 3"),
			[]string{`:1: spec.config.a: Invalid value: "integer": must be of type string: "integer"`},
		},
		"a reserved setting": {
			settings(`kafka.topics: x, "tasks.num": "3"`),
			[]string{":1: spec.config: Invalid value: the keys tasks.num and max.tasks are reserved: use spec.maxTasks"},
		},
		"a NUL in a setting": {
			settings(`kafka.topics: x, kafka.sasl.password: "123456\0"`),
			[]string{":1: spec.config: Invalid value: values must not have control characters"},
		},
		"a NUL in a setting's name": {
			settings(`kafka.topics: x, "a\0b": c`),
			[]string{":1: spec.config: Invalid value: keys must not have control characters"},
		},
		"a delete in a setting": {
			settings(`kafka.topics: x, kafka.client.id: "123456\x7f"`),
			[]string{":1: spec.config.kafka.client.id: kafka.client.id holds the control character U+007F at byte 6"},
		},
		"a certificate": {
			text: settings(
				`kafka.bootstrap.server: "k:1", kafka.topics: x, kafka.security.protocol: SSL, kafka.ssl.truststore.certificates: ` +
					`"-----BEGIN CERTIFICATE-----\r\nMII\n"`,
			),
		},
		"an internal setting": {
			settings(`kafka.topics: x, "connect.internal.x": "3"`),
			[]string{":1: spec.config: Invalid value: keys that start with connect.internal. are reserved"},
		},
		"a setting that is missing": {
			settings(`kafka.bootstrap.server: "k:1", kafka.topic: x`),
			[]string{
				"note: :1: spec.config: kafka.topic is not a setting of KafkaSource",
				":1: spec.config.kafka.topics: kafka.topics is required by KafkaSource",
			},
		},
		"a setting that only Validate knows": {settings(`kafka.topics: x`), []string{":1: spec.config: ", "kafka.bootstrap.server is required"}},
		"an unknown class": {
			strings.Replace(sound, "KafkaSource", "KafkaSoruce", 1),
			[]string{`:1: spec.class: connector.class "KafkaSoruce" is not known`},
		},
		"a secret is not shown": {
			settings(`kafka.bootstrap.server: "k:1", kafka.topics: x, kafka.sasl.password: 123456`),
			[]string{`:1: spec.config.kafka.sasl.password: Invalid value: "integer"`},
		},
		"a key twice": {sound + "kind: Connector\n", []string{`:1: this is not YAML: `, `key "kind" already set in map`}},
		"what is not YAML, and what follows": {
			"a: b: c\n---\n" + spec("klass: X"),
			[]string{":1: this is not YAML: ", ":2: spec.klass: there is no such field"},
		},
		"a list":  {"[1, 2]\n", []string{":1: this is no Kubernetes object"}},
		"no kind": {"apiVersion: v1\n", []string{":1: this is no Kubernetes object"}},
		"a kind that there is not": {
			"apiVersion: connect.rocketmq.io/v1alpha1\nkind: Connecter\n",
			[]string{`:1: kind: must be Connector or ConnectCluster, not "Connecter"`},
		},
		"another version": {
			strings.Replace(sound, "v1alpha1", "v1", 1),
			[]string{`:1: apiVersion: must be connect.rocketmq.io/v1alpha1, not "connect.rocketmq.io/v1"`},
		},
		"a name twice": {sound + "---\n" + sound, []string{`:2: metadata.name: Duplicate value: "orders": `}},
		"a cluster that workers refuse": {
			"apiVersion: connect.rocketmq.io/v1alpha1\nkind: ConnectCluster\nmetadata: {name: sample}\nspec: {rocketmq: {nameServers: " +
				"['a:9876']}, config: {sessionTimeout: 1s}}\n",
			[]string{":1: spec: ", "sessionTimeout"},
		},
		"nothing at all": {"# nothing\n", []string{"there is no Connector in the files"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			path := file(t, "c.yaml", tc.text)
			var out, errOut bytes.Buffer
			code := run([]string{"--validate", "-f", path}, nil, &out, &errOut)
			got := strings.ReplaceAll(errOut.String(), path, "")
			wantCode := 0
			for _, want := range tc.want {
				if !strings.Contains(got, want) {
					t.Errorf("no %q in\n%s", want, got)
				}
				if !strings.HasPrefix(want, "note:") {
					wantCode = exitInvalid
				}
			}
			if code != wantCode || tc.want == nil && got != "" || strings.Contains(got, "123456") {
				t.Errorf("exit code %d, want %d, standard error\n%s", code, wantCode, got)
			}
			if valid := strings.Contains(out.String(), "are valid"); valid != (code == 0) {
				t.Errorf("standard output %q with exit code %d", &out, code)
			}
		})
	}
}

func TestValidateTheSamples(t *testing.T) {
	samples, err := filepath.Glob("../../config/samples/*.yaml")
	if err != nil || len(samples) < 3 {
		t.Fatalf("samples %v (%v)", samples, err)
	}
	var out, errOut bytes.Buffer
	if code := run(append([]string{"-validate"}, samples...), nil, &out, &errOut); code != 0 || errOut.Len() > 0 {
		t.Errorf("exit code %d: %s", code, &errOut)
	}
	if want := fmt.Sprintf("%d documents are valid\n", len(samples)); out.String() != want {
		t.Errorf("standard output %q, want %q", &out, want)
	}
}

func TestRunBeforeTheWorkerStarts(t *testing.T) {
	sink := strings.ReplaceAll(sound, "orders}\nspec", "orders, namespace: b}\nspec")
	cases := map[string]struct {
		args     []string
		stdin    string
		wantCode int
		wantErr  string
	}{
		"help":                         {[]string{"-h"}, "", 0, "usage: standalone"},
		"an unknown flag":              {[]string{"-x"}, "", exitUsage, "-x"},
		"no file":                      {[]string{"-validate"}, "", exitUsage, "name a file"},
		"no name server":               {[]string{"-f", "-"}, sound, exitUsage, "-name-server"},
		"standard input twice":         {[]string{"-validate", "-", "-"}, sound, exitUsage, "only once"},
		"a file that is absent":        {[]string{"-validate", "/none"}, "", exitUsage, "/none"},
		"standard input":               {[]string{"-validate", "-"}, sound, 0, ""},
		"an error in standard input":   {[]string{"-validate", "-"}, spec("klass: X"), exitInvalid, "stdin:1: spec.klass"},
		"a name server without a port": {[]string{"-name-server", "a", "-"}, sound, exitUsage, "namesrvAddr must be host:port"},
		"an id that cannot be": {
			[]string{"-name-server", "a:1", "-cluster-id", "a b", "-"},
			sound,
			exitUsage,
			"connectClusterId may only have",
		},
		"only a cluster": {
			[]string{"-name-server", "a:1", "-"},
			"apiVersion: connect.rocketmq.io/v1alpha1\nkind: ConnectCluster\nmetadata: {name: sample}\nspec: {rocketmq: {nameServers: " +
				"['a:9876']}}\n",
			exitInvalid,
			"there is no Connector",
		},
		"one name in two namespaces": {
			[]string{"-name-server", "a:1", "-"},
			sound + "---\n" + sink,
			exitInvalid,
			"both cannot run on one worker",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("TMPDIR", t.TempDir())
			var out, errOut bytes.Buffer
			if code := run(
				tc.args,
				strings.NewReader(tc.stdin),
				&out,
				&errOut,
			); code != tc.wantCode ||
				!strings.Contains(errOut.String(), tc.wantErr) {
				t.Errorf("exit code %d, standard error %q", code, &errOut)
			}
			nothingLeft(t)
		})
	}
}

func nothingLeft(t *testing.T) {
	t.Helper()
	if left, err := filepath.Glob(filepath.Join(os.TempDir(), "*")); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, err)
	}
}

// output is what a run says, readable meanwhile.
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

// patience is how long something may take that takes far less on an idle machine.
const patience = 60 * time.Second

// during runs the YAML while fn looks on, and returns what the run said.
func during(t *testing.T, nameServer, yaml string, fn func(ctx context.Context, out *output)) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	docs, broken, err := readAll([]string{stdinName}, strings.NewReader(yaml))
	if err != nil {
		t.Fatal(err)
	}
	found, err := checkAll(ctx, docs, broken)
	if err != nil || len(found.errors) > 0 {
		t.Fatal(found.errors, err)
	}
	out := &output{}
	r, err := newRunner(ctx, options{nameServers: nameServer, clusterID: "alone"}, found.connectors, out)
	if err != nil {
		t.Fatal(err)
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- r.run(running) }()
	fn(ctx, out)
	stop()
	if err := <-done; err != nil {
		t.Errorf("running: %v", err)
	}
	if err := r.close(); err != nil {
		t.Error(err)
	}
	return out.String()
}

func (o *output) await(ctx context.Context, t *testing.T, text string) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(o.String(), text) {
		select {
		case <-ctx.Done():
			t.Errorf("waited in vain for %q in\n%s", text, o)
			return
		case <-tick.C:
		}
	}
}

func TestConnectorsRunAsTheyAre(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	rocketmq := rmqtest.Start(t)
	kafka, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.SeedTopics(2, "orders", "orders-copy"))
	if err != nil {
		t.Fatal(err)
	}
	defer kafka.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(kafka.ListenAddrs()[0]), kgo.DefaultProduceTopic("orders"), kgo.ConsumeTopics("orders-copy"),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const records = 500
	for i := range records {
		client.Produce(t.Context(), &kgo.Record{Value: fmt.Appendf(nil, "%d", i)}, nil)
	}
	if err := client.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	source := strings.NewReplacer("127.0.0.1:1", kafka.ListenAddrs()[0], "{name: orders}", "{name: there}").Replace(sound)
	sink := fmt.Sprintf(strings.Replace(head, "orders", "back", 1)+
		"spec: {clusterRef: {name: sample}, class: KafkaSink, config: {kafka.bootstrap.server: %q, topicNames: orders, "+
		"topic.rename.format: \"${topic}-copy\"}}\n", kafka.ListenAddrs()[0])
	during(t, rocketmq.NameServer(), source+"---\n"+sink, func(ctx context.Context, out *output) {
		out.await(ctx, t, "there: Running, 1 of 1 tasks run")
		out.await(ctx, t, "back/0: Running")
		seen := map[string]bool{}
		for len(seen) < records && ctx.Err() == nil {
			client.PollFetches(ctx).EachRecord(func(r *kgo.Record) { seen[string(r.Value)] = true })
		}
		if len(seen) != records {
			t.Errorf("%d of %d records came back:\n%s", len(seen), records, out)
		}
	})
	nothingLeft(t)
	paused := strings.Replace(source, "spec:\n", "spec:\n  state: Paused\n", 1)
	during(t, rocketmq.NameServer(), paused, func(ctx context.Context, out *output) {
		out.await(ctx, t, "back of an earlier run is not in the files: stopped")
		out.await(ctx, t, "there: Paused, 0 of 1 tasks run")
	})
}

func TestARunWaitsForRocketMQAndTellsWhy(t *testing.T) {
	rocketmq := rmqtest.Start(t)
	rocketmq.Stop()
	during(t, rocketmq.NameServer(), sound, func(ctx context.Context, out *output) {
		out.await(ctx, t, "RocketMQ cannot be reached")
		if err := rocketmq.Restart(); err != nil {
			t.Error(err)
		}
		out.await(ctx, t, "is ready on RocketMQ")
		out.await(ctx, t, "orders/0: ")
	})
}

func TestTLSIsPassedOn(t *testing.T) {
	var stderr strings.Builder
	o, err := parseFlags(
		strings.Fields("-name-server a:1 -tls -tls-ca /ca -tls-cert /cert -tls-key /key -tls-server-name b -f x.yaml"),
		&stderr,
	)
	if err != nil {
		t.Fatal(err)
	}
	want := config.Default()
	want.TLSEnable, want.TLSCA, want.TLSCert, want.TLSKey, want.TLSServerName = true, "/ca", "/cert", "/key", "b"
	got := workerConfig(o, 1)
	if got.TLSEnable != want.TLSEnable || got.TLSCA != want.TLSCA || got.TLSCert != want.TLSCert || got.TLSKey != want.TLSKey ||
		got.TLSServerName != want.TLSServerName {
		t.Errorf("got %s", got)
	}
}
