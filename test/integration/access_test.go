//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Requests of an administrator to a 5.x broker.
const (
	createUser = 3001
	createACL  = 3006
	updateACL  = 3007
)

const password = "of-the-worker"

// grantee is a user of the broker's, with the permissions that it was granted so far.
type grantee struct {
	t      *testing.T
	pool   *remoting.Pool
	broker string
	name   string
	may    map[string][]string // actions by resource
	plain  string              // the file of a 4.9 broker's users; "": it has policies
	before string              // what was in the file
}

func newGrantee(t *testing.T, name string) *grantee {
	t.Helper()
	cfg := clusterConfig()
	if cfg.AccessKey == "" {
		t.Skip("RMQ_ACCESS_KEY is not set: the broker has no access control")
	}
	c, err := rmq.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	brokers, err := c.Brokers(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	g := &grantee{t: t, broker: brokers[0].Addr, name: name, may: map[string][]string{}}
	g.pool = remoting.NewPool(dialer(t), 5*time.Second, remoting.Credentials{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey})
	t.Cleanup(g.pool.Close)
	if answer := g.ask(
		createUser,
		map[string]string{"username": name, "password": password, "userType": "Normal"},
		remoting.Field{Name: "username", Value: name},
	); answer.Code == remoting.CodeNotSupported {
		g.inFile(os.Getenv("RMQ_PLAIN_ACL"))
	}
	return g
}

// inFile has the user in the file of a 4.9 broker for as long as the test runs.
func (g *grantee) inFile(path string) {
	if g.plain = path; path == "" {
		g.t.Skip("the broker is older than 5.3, and RMQ_PLAIN_ACL does not name the file with its users")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		g.t.Fatal(err)
	}
	g.before = string(text)
	g.t.Cleanup(func() { g.write(g.before) })
	g.write(g.before + g.account())
}

func (g *grantee) write(text string) {
	g.t.Helper()
	if err := os.WriteFile(g.plain, []byte(text), 0o644); err != nil {
		g.t.Fatal(err)
	}
}

// account is the user in a 4.9 broker's file.
func (g *grantee) account() string {
	text := fmt.Sprintf(
		"- accessKey: %s\n  secretKey: %s\n  admin: false\n  defaultTopicPerm: DENY\n  defaultGroupPerm: DENY\n",
		g.name,
		password,
	)
	for _, kind := range []string{"topic", "group"} {
		var perms string
		for _, resource := range slices.Sorted(maps.Keys(g.may)) {
			if name, ok := strings.CutPrefix(resource, kind+":"); ok {
				perms += fmt.Sprintf("  - %s=%s\n", name, strings.Join(slices.Sorted(slices.Values(g.may[resource])), "|"))
			}
		}
		if perms != "" {
			text += fmt.Sprintf("  %sPerms:\n%s", kind, perms)
		}
	}
	return text
}

func (g *grantee) ask(code int, body any, fields ...remoting.Field) *remoting.Command {
	g.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		g.t.Fatal(err)
	}
	resp, err := g.pool.Call(g.t.Context(), g.broker, "admin", &remoting.Command{Code: code, Fields: fields, Body: text})
	if err != nil {
		g.t.Fatal(err)
	}
	if resp.Code != remoting.Success && resp.Code != remoting.CodeNotSupported {
		g.t.Fatalf("request %d is answered %d %s", code, resp.Code, resp.Remark)
	}
	return resp
}

// grant adds a permission.
func (g *grantee) grant(action, resource string) {
	g.t.Helper()
	code := updateACL
	if len(g.may) == 0 {
		code = createACL
	}
	if slices.Contains(g.may[resource], action) {
		return // its text is of before
	}
	g.t.Logf("granting %s on %s", action, resource)
	g.may[resource] = append(g.may[resource], action)
	if g.plain != "" {
		g.write(g.before + g.account())
		return
	}
	type entry struct {
		Resource string   `json:"resource"`
		Actions  []string `json:"actions"`
		Decision string   `json:"decision"`
	}
	var entries []entry
	for _, resource := range slices.Sorted(maps.Keys(g.may)) {
		entries = append(entries, entry{resource, g.may[resource], "Allow"})
	}
	subject := "User:" + g.name
	g.ask(code, map[string]any{"subject": subject, "policies": []any{map[string]any{"policyType": "Custom", "entries": entries}}},
		remoting.Field{Name: "subject", Value: subject})
}

var needed = regexp.MustCompile(`accessKey needs the permission (\w+) on (?:((?:Topic|Group|Cluster):\S+) from|(topic|group) (\S+) \()`)

// A worker whose user may nothing says what it needs, one after the other, and goes on once that is granted. What was
// granted by then is the smallest set that does: docs/operations.md, "Access control".
func TestAWorkerNamesThePermissionsThatItNeeds(t *testing.T) {
	c := newTestCluster(t)
	g := newGrantee(t, "u"+c.id)
	root, err := rmq.Open(clusterConfig())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	line4 := g.plain != ""
	if line4 { // only administrators may create topics
		for _, topic := range process.InternalTopics(c.id) {
			if _, err := root.EnsureLogTopic(t.Context(), topic, rmq.LogPlace{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	id, port := "worker", freePort(t)
	w := start(t, port, c.signed(id, port, g.name, password))
	grant := func(action, resource string) { // the five topics of the cluster are granted at once
		switch {
		case strings.HasPrefix(resource, "Topic:"+c.id+"-"):
			g.grant(action, "Topic:"+c.id+"-*")
		case strings.HasPrefix(resource, "topic:"+c.id+"-"):
			for _, topic := range process.InternalTopics(c.id) {
				g.grant(action, "topic:"+topic)
			}
		default:
			g.grant(action, resource)
		}
	}
	await := func(path string, done func(text string) bool) {
		t.Helper()
		eventually(t, func(ctx context.Context) error {
			text, err := w.Get(ctx, path)
			if err == nil && done(text) {
				return nil
			}
			if err != nil {
				text = err.Error()
			}
			for _, m := range needed.FindAllStringSubmatch(text, -1) {
				resource := m[2]
				if resource == "" {
					resource = m[3] + ":" + m[4]
				}
				grant(m[1], resource)
			}
			return fmt.Errorf("%s answers %s", path, text)
		})
	}
	await("/readyz", func(text string) bool { return strings.HasPrefix(text, "ok") })
	worker := map[string][]string{"Topic:" + c.id + "-*": {"Create", "Get", "Sub", "Pub"}, "Group:TOOLS_CONSUMER": {"Sub"}}
	if line4 {
		worker = map[string][]string{"group:TOOLS_CONSUMER": {"SUB"}}
		for _, topic := range process.InternalTopics(c.id) {
			worker["topic:"+topic] = []string{"PUB", "SUB"}
		}
	}
	if diff := cmp.Diff(worker, g.may, sorted()); diff != "" {
		t.Errorf("a worker needs (-want +got):\n%s", diff)
	}

	of := func(begin map[string][]string) map[string][]string { // what was granted besides
		more := map[string][]string{}
		for resource, actions := range g.may {
			if _, before := begin[resource]; !before {
				more[resource] = actions
			}
		}
		return more
	}

	in := newRealKafka(t, 1, nil)
	in.produce(t, &kgo.Record{Topic: in.topic, Value: []byte("one")}) // a 4.9 broker does not look at who sends batches
	source, wantSource := "source-"+c.id, map[string][]string{"Topic:" + in.topic: {"Create", "Pub"}}
	if line4 {
		sendTo(t, root, in.topic, 0)
		wantSource = map[string][]string{"topic:" + in.topic: {"PUB"}}
	}
	w.curl(
		`/connectors/create/`+source+`?config={"connector.class":"KafkaSource","tasks.num":"1",`+
			`"kafka.topics":"`+in.topic+`","kafka.bootstrap.server":"`+kafkaAddr()+`"}`,
		"success",
	)
	await("/api/v1/connectors/"+source+"/status", func(string) bool { return stored(t, root, in.topic) == 1 })
	if diff := cmp.Diff(wantSource, of(worker), sorted()); diff != "" {
		t.Errorf("a source needs (-want +got):\n%s", diff)
	}

	before, out := maps.Clone(g.may), newRealKafka(t, 1, nil)
	sent := sendTo(t, root, out.topic, 10)
	sink := "sink-" + c.id
	w.curl(
		`/connectors/create/`+sink+`?config={"connector.class":"KafkaSink","tasks.num":"1",`+
			`"topicNames":"`+out.topic+`","kafka.bootstrap.server":"`+kafkaAddr()+`"}`,
		"success",
	)
	await("/api/v1/connectors/"+sink+"/status", func(string) bool {
		ends, err := out.admin.ListEndOffsets(t.Context(), out.topic)
		if err != nil {
			t.Fatal(err)
		}
		end, _ := ends.Lookup(out.topic, 0)
		return end.Offset == 10
	})
	group := "connect-" + c.id + "-" + sink
	wantSink := map[string][]string{"Topic:" + out.topic: {"Get", "Sub"}, "Group:" + group: {"Sub"}}
	if line4 {
		wantSink = map[string][]string{"topic:" + out.topic: {"SUB"}, "group:" + group: {"SUB"}}
	}
	if diff := cmp.Diff(wantSink, of(before), sorted()); diff != "" {
		t.Errorf("a sink needs (-want +got):\n%s", diff)
	}
	if line4 {
		return
	}

	// The broker takes the name of the group for that of a topic, where offsets are to be shown to RocketMQ's own tools.
	g.grant("Sub", "Topic:"+group)
	eventually(t, func(ctx context.Context) error {
		sendTo(t, root, out.topic, 1)
		offset, _, err := root.Committed(ctx, group, sent)
		if err == nil && offset < 11 {
			err = fmt.Errorf("the group's offset is %d", offset)
		}
		return err
	})
}

// stored is how many records the topic has.
func stored(t *testing.T, c *rmq.Client, topic string) (n int64) {
	t.Helper()
	queues, err := c.Route(t.Context(), topic)
	if errors.Is(err, rmq.ErrTopicNotFound) {
		return 0
	}
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		_, end, err := c.Offsets(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		n += end
	}
	return n
}

// sendTo makes a topic of one queue if there is none, and sends records to it.
func sendTo(t *testing.T, c *rmq.Client, topic string, n int) rmq.Queue {
	t.Helper()
	queues, err := c.EnsureTopic(t.Context(), topic, rmq.TopicSpec{Queues: 1})
	if err != nil {
		t.Fatal(err)
	}
	s := c.NewSender(rmq.SenderConfig{})
	defer s.Close()
	for i := range n {
		err := s.Send(t.Context(), rmq.Message{Topic: topic, Body: fmt.Append(nil, i)}, func(_ int64, err error) {
			if err != nil {
				t.Error(err)
			}
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	return queues[0]
}

// signed writes a connect.conf of a worker that signs what it asks.
func (c *testCluster) signed(id string, port int, accessKey, secretKey string) string {
	c.t.Helper()
	path := filepath.Join(c.t.TempDir(), "connect.conf")
	text := fmt.Sprintf(
		"workerId=%s\nconnectClusterId=%s\nhttpPort=%d\nnamesrvAddr=%s\nstorePathRootDir=%s\naclEnable=true\naccessKey=%s\nsecretKey=%s\n",
		id,
		c.id,
		port,
		c.nameSrv,
		c.t.TempDir(),
		accessKey,
		secretKey,
	)
	for _, kind := range []string{"cluster", "config", "position", "offset", "status"} {
		text += fmt.Sprintf("%sStoreTopic=%s-%[1]s\n", kind, c.id)
	}
	if f := tlsFiles(); f != nil {
		text += fmt.Sprintf("tlsEnable=true\ntlsCA=%s\ntlsCert=%s\ntlsKey=%s\n", f.CA, f.Cert, f.Key)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		c.t.Fatal(err)
	}
	return path
}

func sorted() cmp.Option {
	return cmp.Transformer("sorted", func(s []string) string { return strings.Join(slices.Sorted(slices.Values(s)), " ") })
}
