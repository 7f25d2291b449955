package worker

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

// put stores a connector and returns the answer's code.
func (r *run) put(name, body string) (int, string) {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodPut,
		fmt.Sprintf("http://127.0.0.1:%d/api/v1/connectors/%s", r.cfg.HTTPPort, name), strings.NewReader(body))
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := r.http.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	var b bytes.Buffer
	if _, err := b.ReadFrom(resp.Body); err != nil {
		r.t.Fatal(err)
	}
	return resp.StatusCode, b.String()
}

// large is the size of records far above any that workers write.
const large = 3 << 20

// The records that somebody else, or a later version, may have put into an internal topic. A store knows its own by the
// key and then by the value, the cluster log by the value.
func strayStoreRecords(kind string) []rmq.Entry {
	return []rmq.Entry{
		{Key: kind + "/stray/0", Value: []byte("not JSON")},                                          // malformed
		{Key: kind + "/stray/0", Value: []byte(`{"v":1}`)},                                           // malformed: fields are missing
		{Key: kind + "/stray/0", Value: []byte(`{"v":1,"connector":["of","another","type"]}`)},       // malformed
		{Key: kind + "/stray/0", Value: bytes.Repeat([]byte("x"), large)},                            // malformed
		{Key: kind + "/stray/0", Value: []byte(`{"v":99,"connector":"stray","what":{"is":"this"}}`)}, // foreign
		{Key: "orders/42", Value: []byte(`{"v":1,"amount":3}`)},                                      // foreign
		{Value: []byte("no key at all")},                                                             // foreign
		{Key: "orders/43", Value: bytes.Repeat([]byte{0xff, 0}, large/2)},                            // foreign
	}
}

func strayClusterRecords() []rmq.Entry {
	return []rmq.Entry{
		{Value: []byte("not JSON")},                                               // malformed
		{Value: []byte(`{"v":1,"kind":"join"}`)},                                  // malformed
		{Value: []byte(`{"v":1,"kind":"heartbeat","session":"of another type"}`)}, // malformed
		{Value: bytes.Repeat([]byte("x"), large)},                                 // malformed
		{Value: []byte(`{"v":99,"kind":"join","join":{"worker":"w1"}}`)},          // foreign
		{Value: []byte(`{"v":1,"kind":"elect","leader":"me"}`)},                   // foreign
		{Key: "orders/42", Value: []byte(`{"amount":3}`)},                         // foreign
		{Value: []byte(`{"v":99,"kind":"` + strings.Repeat("x", large) + `"}`)},   // foreign
	}
}

// strays are the stray records of each internal topic: four are malformed, four foreign.
func strays(topics config.Topics) map[string][]rmq.Entry {
	return map[string][]rmq.Entry{
		topics.Cluster: strayClusterRecords(), topics.Config: strayStoreRecords("connector"), topics.Position: strayStoreRecords("position"),
		topics.Offset: strayStoreRecords("position"), topics.Status: strayStoreRecords("status"),
	}
}

func TestStrayRecordsOnInternalTopicsAreIgnoredAndCounted(t *testing.T) {
	broker := rmqtest.Start(t)
	client, err := rmq.Open(rmq.Config{NameServers: []string{broker.NameServer()}})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = client.Close() }()
	first, second := configFor(t, broker.NameServer()), configFor(t, broker.NameServer())
	first.WorkerID, second.WorkerID = "w1", "w2"
	stray := func() {
		for topic, entries := range strays(first.Topics) {
			// Not compacting, as on brokers that know no compaction: those that do refuse records without a key.
			q, err := client.EnsureLogTopic(t.Context(), topic, rmq.LogPlace{})
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range entries { // one by one: a foreign producer sends no batches of ours
				if _, err := client.Log(q).Append(t.Context(), e); err != nil {
					t.Fatalf("appending %d bytes to %s: %v", len(e.Value), topic, err)
				}
			}
		}
	}
	counted := func(r *run, n int) {
		t.Helper()
		for _, reason := range []string{"foreign", "malformed"} {
			want := []string{fmt.Sprintf("connect_worker_cluster_records_ignored_total{reason=%q} %d\n", reason, n)}
			for _, store := range []string{"config", "position", "offset", "status"} {
				want = append(want, fmt.Sprintf("connect_worker_store_refused_records_total{reason=%q,store=%q} %d\n", reason, store, n))
			}
			r.answers("/metrics", 200, want...)
		}
	}

	stray() // before anybody reads
	r1 := start(t, first)
	r1.answers("/readyz", 200, "ok")
	counted(r1, 4)
	const source = `{"class":"KafkaSource","state":"Stopped","config":{"kafka.topics":"t","kafka.bootstrap.server":"127.0.0.1:1"}}`
	if code, body := r1.put("before", source); code != http.StatusCreated {
		t.Fatalf("PUT: %d %s", code, body)
	}
	stray() // while it runs
	counted(r1, 8)
	if code, body := r1.put("after", source); code != http.StatusCreated {
		t.Fatalf("PUT: %d %s", code, body)
	}
	r2 := start(t, second)
	r2.answers("/readyz", 200, "ok")
	for _, r := range []*run{r1, r2} {
		r.answers("/getClusterInfo", 200, `["w1","w2"]`)
		r.answers("/api/v1/connectors/before", 200, `"class":"KafkaSource"`)
		r.answers("/api/v1/connectors/after", 200, `"class":"KafkaSource"`)
		if _, body, err := r.get("/api/v1/connectors"); err != nil || strings.Contains(body, "stray") {
			t.Errorf("connectors: %s, %v", body, err)
		}
	}
	for _, r := range []*run{r2, r1} {
		r.stop()
		if err := r.ended(); err != nil {
			t.Error(err)
		}
	}
}

func TestPluginFoldersAreSaidToBeIgnored(t *testing.T) {
	cfg := configFor(t, rmqtest.Start(t).NameServer())
	cfg.PluginPaths, cfg.CompatRoutes = []string{"/plugins/java"}, true
	r := start(t, cfg)
	r.answers("/readyz", 200, "ok")
	log := r.log.String()
	for _, want := range []string{"Ignoring pluginPaths: connectors are built into this worker", "/plugins/java", "KafkaSource", "KafkaSink"} {
		if !strings.Contains(log, want) {
			t.Errorf("the log does not say %q: %s", want, log)
		}
	}
	r.answers("/plugin/reload", 200, "success; nothing was reloaded", "pluginPaths")
}

func TestAWrongSettingOfTheWorkerIsRefusedAtPut(t *testing.T) {
	broker := rmqtest.Start(t)
	r := start(t, configFor(t, broker.NameServer()))
	r.answers("/readyz", 200, "ok")
	for body, want := range map[string]string{
		`{"class":"KafkaSource","config":{"kafka.topics":"t","kafka.bootstrap.server":"127.0.0.1:1",` +
			`"errors.tolerance":"some"}}`: "errors.tolerance must be none or all",
		`{"class":"KafkaSource","config":{"kafka.topics":"t","kafka.bootstrap.server":"127.0.0.1:1",` +
			`"transforms":"mask"}}`: "transforms: this worker cannot transform records yet",
		`{"class":"KafkaSink","config":{"topicNames":"t","topics":"t,u",` +
			`"kafka.bootstrap.server":"127.0.0.1:1"}}`: "topics names other topics than topicNames: set one of them",
	} {
		code, answer := r.put("n", body)
		if code != http.StatusUnprocessableEntity || !strings.Contains(answer, want) {
			t.Errorf("PUT: %d %s, want 422 with %q", code, answer, want)
		}
		r.answers("/api/v1/connectors/n", 404)
	}
}
