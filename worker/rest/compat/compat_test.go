package compat_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/go-logr/logr"
	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest"
	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/resttest"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a server over fakes, as callers of the older routes meet it.
type world struct {
	t         *testing.T
	configs   *resttest.Configs
	members   *resttest.Members
	positions *resttest.Progress
	server    *rest.Server
}

func newWorld(t *testing.T, change func(*rest.Config, *rest.Backends)) *world {
	t.Helper()
	w := &world{t: t, configs: resttest.NewConfigs(), members: &resttest.Members{}, positions: resttest.NewProgress()}
	w.members.Change(func(v *cluster.View) {
		*v = cluster.View{Joined: true, Self: 1, Members: []cluster.Member{{Session: 1, Worker: "w1"}}}
	})
	registry, ready := prometheus.NewRegistry(), func() error { return nil }
	cfg := rest.Config{
		ClusterID:    "c1",
		WorkerID:     "w1",
		Listen:       "127.0.0.1:0",
		CompatRoutes: true,
		Compat:       "old",
		Log:          logr.Discard(),
		Connections: limit.Limits{
			All:        512,
			PerAddress: 64,
		},
		Streams:    limit.Limits{All: 128, PerAddress: 16},
		Registerer: registry,
		Gatherer:   registry,
	}
	b := rest.Backends{
		Configs:       w.configs,
		Positions:     w.positions,
		Offsets:       resttest.NewProgress(),
		Statuses:      &resttest.Statuses{},
		Members:       w.members,
		Catalog:       resttest.Kafka(),
		CheckSettings: task.CheckSettings(config.Default().Topics.Internal),
		Ready:         ready,
		Leased:        ready,
	}
	if change != nil {
		change(&cfg, &b)
	}
	var err error
	if w.server, err = rest.New(cfg, b); err != nil {
		t.Fatal(err)
	}
	return w
}

// source stores a running KafkaSource with two tasks.
func (w *world) source(name string) store.Connector {
	c := store.Connector{
		Name: name,
		Config: map[string]string{
			"tasks.num":              "2",
			"kafka.topics":           "a,b",
			"kafka.bootstrap.server": "h:1",
			"login":                  "hunter2",
			"kafka.client.password":  "pw",
		},
		State:    states.WantRunning,
		Epoch:    5,
		Revision: 7,
		Tasks:    []map[string]string{{"partitions": "0", "login": "hunter2"}, {"partitions": "1"}},
	}
	w.configs.Set(c)
	return c
}

func (w *world) do(method, target string) *httptest.ResponseRecorder {
	w.t.Helper()
	r := httptest.NewRequestWithContext(w.t.Context(), method, "/", http.NoBody)
	path, query, _ := strings.Cut(target, "?")
	r.URL.Path, r.URL.RawQuery, r.Host = path, query, "localhost:8082"
	rec := httptest.NewRecorder()
	w.server.Handler().ServeHTTP(rec, r)
	return rec
}

// get is do for a body that is wanted with status 200.
func (w *world) get(target string) string {
	w.t.Helper()
	rec := w.do(http.MethodGet, target)
	if rec.Code != http.StatusOK {
		w.t.Fatalf("GET %s: %d %s", target, rec.Code, rec.Body)
	}
	return strings.TrimSpace(rec.Body.String())
}

func TestOlderRoutesThatRead(t *testing.T) {
	const src = `{"properties":{"kafka.bootstrap.server":"h:1","kafka.client.password":"********","kafka.topics":"a,b",` +
		`"login":"********","tasks.num":"2"}}`
	const tasks = `[{"properties":{"kafka.bootstrap.server":"h:1","kafka.client.password":"********","kafka.topics":"a,b",` +
		`"login":"********","partitions":"0","tasks.num":"2"}},{"properties":{"kafka.bootstrap.server":"h:1",` +
		`"kafka.client.password":"********","kafka.topics":"a,b","login":"********","partitions":"1","tasks.num":"2"}}]`
	w := newWorld(t, func(_ *rest.Config, b *rest.Backends) {
		b.Local = func() []compat.LocalTask {
			return []compat.LocalTask{
				{Connector: "src", Task: 0, State: "Running"},
				{Connector: "src", Task: 1, State: "Running", Stopping: true},
				{Connector: "gone", Task: 0, State: "Failed"},
				{Connector: "gone", Task: 1, State: "Paused"},
				{Connector: "gone", Task: 2, State: "Unassigned"},
			}
		}
	})
	w.source("src")
	off := w.source("off")
	off.State, off.Tasks = states.WantStopped, nil
	w.configs.Set(off)
	w.configs.Set(store.Connector{Name: "was", Epoch: 3, Deleted: true})
	w.members.Change(func(v *cluster.View) {
		v.Members = append(v.Members, cluster.Member{Session: 2, Worker: "192.168.1.115@34915"})
	})
	offProps := src // the same config
	all := `{"connectorConfigs":{"off":` + offProps + `,"src":` + src + `},"taskConfigs":{"off":[],"src":` + tasks + `}}`
	cases := map[string]string{
		"/getClusterInfo":          `["192.168.1.115@34915","w1"]`,
		"/getClusterInfo/":         `["192.168.1.115@34915","w1"]`,
		"/getConfigInfo":           all,
		"/getConnectorTask":        all,
		"/getConnectorTask/src":    "ConnectorConfigs:" + src + "\nTaskConfigs:" + tasks,
		"/getConnectors":           `{"off":` + offProps + `,"src":` + src + `}`,
		"/getConnectors/src":       src,
		"/getConnectorsStatus/src": "enabled",
		"/getConnectorsStatus/off": "disabled",
		"/getConnectorsStatus/was": "removed",
		"/plugin/reload":           "success; nothing was reloaded: connectors are built into this worker, and it loads none from pluginPaths",
		"/getAllocatedTask": `{"pendingTasks":[{"connectorName":"gone","taskId":2,"configs":"{}","state":"UNASSIGNED"}],` +
			`"runningTasks":[{"connectorName":"src","taskId":0,"configs":"{\"kafka.bootstrap.server\":\"h:1\",` +
			`\"kafka.client.password\":\"********\",\"kafka.topics\":\"a,b\",\"login\":\"********\",\"partitions\":\"0\",` +
			`\"tasks.num\":\"2\"}","state":"RUNNING"}],"stoppingTasks":[{"connectorName":"src","taskId":1,` +
			`"configs":"{\"kafka.bootstrap.server\":\"h:1\",\"kafka.client.password\":\"********\",\"kafka.topics\":\"a,b\",` +
			`\"login\":\"********\",\"partitions\":\"1\",\"tasks.num\":\"2\"}","state":"RUNNING"}],` +
			`"stoppedTasks":[{"connectorName":"gone","taskId":1,"configs":"{}","state":"PAUSED"}],` +
			`"errorTasks":[{"connectorName":"gone","taskId":0,"configs":"{}","state":"FAILED"}]}`,
	}
	for target, want := range cases {
		if diff := cmp.Diff(want, w.get(target)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

func TestClusterInfoInTheNewerRuntimesEnvelope(t *testing.T) {
	w := newWorld(t, func(c *rest.Config, _ *rest.Backends) { c.Compat = "new" })
	if got := w.get("/getClusterInfo"); got != `{"body":["w1"],"status":200}` {
		t.Errorf("got %s", got)
	}
}

func TestOlderRoutesThatChange(t *testing.T) {
	const sink = `{"topicNames":"kafkaconnect","tasks.num":"2","kafka.bootstrap.server":"127.0.0.1:9092"}`
	type stored = map[string]string
	cases := map[string]struct {
		target     string
		wantCode   int
		wantBody   string
		wantConfig stored // of the connector "src", or of "n" when it was created; nil: not looked at
		wantState  states.Wanted
	}{
		"create with the documents' source, plain": {
			`/connectors/create/n?config={"tasks.num":"4","kafka.topics":"kafkaconnect","kafka.bootstrap.server":"127.0.0.1:9092"}`,
			200,
			"success",
			stored{"tasks.num": "4", "kafka.topics": "kafkaconnect", "kafka.bootstrap.server": "127.0.0.1:9092"},
			"Running",
		},
		"create with the documents' sink, percent-encoded": {
			"/connectors/create/n?config=%7B%22topicNames%22:%22kafkaconnect%22,%22tasks.num%22:%222%22," +
				"%22kafka.bootstrap.server%22:%22127.0.0.1:9092%22%7D",
			200,
			"success",
			stored{"topicNames": "kafkaconnect", "tasks.num": "2", "kafka.bootstrap.server": "127.0.0.1:9092"},
			"Running",
		},
		"numbers and booleans become strings": {
			`/connectors/create/n?config={"tasks.num":4,"kafka.topics":"t","kafka.bootstrap.server":"h","x":true}`,
			200,
			"success; x is not a setting of KafkaSource and has no effect",
			stored{"tasks.num": "4", "kafka.topics": "t", "kafka.bootstrap.server": "h", "x": "true"},
			"Running",
		},
		"creating the same again": {
			"/connectors/create/src?config=%7B%22tasks.num%22:%222%22,%22kafka.topics%22:%22a,b%22," +
				"%22kafka.bootstrap.server%22:%22h:1%22,%22login%22:%22hunter2%22,%22kafka.client.password%22:%22pw%22%7D",
			200,
			"success",
			nil,
			"",
		},
		"creating another of the name": {
			"/connectors/create/src?config=" + sink,
			409,
			`failed! connector "src" exists already: change it with /connectors/update/src?config={…}`,
			nil,
			"",
		},
		"creating without config": {
			"/connectors/create/n",
			400,
			`failed! the query parameter config is required: ?config={"key":"value"}`,
			nil,
			"",
		},
		"creating with broken config": {"/connectors/create/n?config={x", 400, "failed! config must be a JSON object", nil, ""},
		"creating with a nested config": {
			`/connectors/create/n?config={"a":{}}`,
			400,
			"failed! config: a must be a string, a number or a boolean",
			nil,
			"",
		},
		"creating without a class": {
			`/connectors/create/n?config={"tasks.num":"4"}`,
			422,
			"failed! no connector class: set connector.class, or kafka.topics",
			nil,
			"",
		},
		"creating with an unknown class": {
			`/connectors/create/n?config={"connector.class":"x"}`,
			422,
			`failed! connector.class "x" is not known to this worker; it has KafkaSink, KafkaSource`,
			nil,
			"",
		},
		"creating with settings missing": {
			`/connectors/create/n?config={"kafka.topics":"t"}`,
			422,
			"failed! kafka.bootstrap.server is required by KafkaSource: host:port of the brokers",
			nil,
			"",
		},
		"creating with a wrong number": {
			`/connectors/create/n?config={"kafka.topics":"t","kafka.bootstrap.server":"h","tasks.num":"many"}`,
			422,
			`failed! tasks.num must be a whole number`,
			nil,
			"",
		},
		"creating with a bad name": {"/connectors/create/a%20b?config=" + sink, 422, "failed! name may only have letters", nil, ""},
		"updating merges": {
			`/connectors/update/src?config={"kafka.topics":"c","login":"********"}`,
			200,
			"success",
			stored{
				"tasks.num":              "2",
				"kafka.topics":           "c",
				"kafka.bootstrap.server": "h:1",
				"login":                  "hunter2",
				"kafka.client.password":  "pw",
			},
			"Running",
		},
		"updating to nothing new":       {`/connectors/update/src?config={"kafka.topics":"a,b"}`, 200, "success", nil, ""},
		"updating with a wrong setting": {`/connectors/update/src?config={"poll":"x"}`, 422, "failed! poll must be a whole number", nil, ""},
		"updating none":                 {`/connectors/update/nope?config={"a":"b"}`, 404, `failed! there is no connector "nope"`, nil, ""},
		"another number of tasks": {
			"/connectors/taskNum/src/5",
			200,
			"success",
			stored{
				"tasks.num":              "5",
				"kafka.topics":           "a,b",
				"kafka.bootstrap.server": "h:1",
				"login":                  "hunter2",
				"kafka.client.password":  "pw",
			},
			"Running",
		},
		"a wrong number of tasks": {"/connectors/taskNum/src/0", 400, "failed! the number of tasks must be from 1 to 1024", nil, ""},
		"disabling one":           {"/connectors/single/src/disable", 200, "success", nil, "Stopped"},
		"enabling one that is":    {"/connectors/single/src/enable", 200, "success", nil, "Running"},
		"removing one":            {"/connectors/single/src/remove", 200, "success", nil, ""},
		"removing none":           {"/connectors/single/nope/remove", 404, `failed! there is no connector "nope"`, nil, ""},
		"an unknown verb": {
			"/connectors/single/src/explode",
			404,
			`failed! there is no "explode": use enable, disable or remove`,
			nil,
			"",
		},
		"disabling all":           {"/connectors/all/disable", 200, "success", nil, "Stopped"},
		"an unknown verb for all": {"/connectors/all/explode", 404, `failed! there is no "explode"`, nil, ""},
		"a route that is none":    {"/connectors/nothing", 404, "Not found: /connectors/nothing", nil, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("src")
			target := strings.Replace(tc.target, "%20", " ", 1)
			rec := w.do(http.MethodGet, target)
			body := strings.TrimSpace(rec.Body.String())
			if rec.Code != tc.wantCode || !strings.HasPrefix(body, tc.wantBody) || strings.Contains(body, "\n") {
				t.Fatalf("got %d %s", rec.Code, body)
			}
			c, ok := w.configs.Get("n")
			if !ok {
				c, _ = w.configs.Get("src")
			}
			if tc.wantState != "" && c.State != tc.wantState {
				t.Errorf("state %q", c.State)
			}
			if tc.wantConfig != nil {
				if diff := cmp.Diff(tc.wantConfig, c.Config); diff != "" {
					t.Errorf("config (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestOlderRoutesRefuseWrongSettingsOfTheWorker(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	for _, target := range []string{
		`/connectors/create/n?config={"kafka.topics":"t","kafka.bootstrap.server":"h:1","errors.tolerance":"some"}`,
		`/connectors/update/src?config={"errors.tolerance":"some"}`,
	} {
		rec := w.do("GET", target)
		if rec.Code < 400 || rec.Code > 499 || !strings.Contains(rec.Body.String(), "errors.tolerance must be none or all") {
			t.Errorf("GET %s: %d %s", target, rec.Code, rec.Body)
		}
	}
}

func TestRemovingAllForgetsPositions(t *testing.T) {
	w := newWorld(t, nil)
	w.source("a")
	w.source("b")
	w.positions.Held["a"] = record.Positions{"x": "1"}
	if got := w.get("/connectors/all/remove"); got != "success" || len(w.configs.All()) != 0 || len(w.positions.Held) != 0 {
		t.Errorf("got %s, left %v %v", got, w.configs.All(), w.positions.Held)
	}
}

func TestHeadChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	if rec := w.do(http.MethodHead, "/connectors/single/src/remove"); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d", rec.Code)
	}
	if rec := w.do(http.MethodPost, "/connectors/single/src/remove"); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d", rec.Code)
	}
	if _, ok := w.configs.Get("src"); !ok {
		t.Error("removed")
	}
}

func TestOlderRoutesCanBeSwitchedOff(t *testing.T) {
	w := newWorld(t, func(c *rest.Config, _ *rest.Backends) { c.CompatRoutes = false })
	if rec := w.do(http.MethodGet, "/getClusterInfo"); rec.Code != 404 || !strings.Contains(rec.Body.String(), "compatRoutes=false") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	w.get(restapi.Prefix + "/cluster")
}

func TestTheOlderUpdateKeepsASecretOnlyForTheSamePlace(t *testing.T) {
	cases := map[string]struct {
		target   string
		wantCode int
		wantBody string
	}{
		"a secret that is not named": {
			`/connectors/update/src?config={"kafka.bootstrap.server":"evil:1"}`,
			422,
			"failed! kafka.client.password must be sent again: kafka.bootstrap.server changed, and a stored secret goes only where it " +
				"went before; login must",
		},
		"no secret is stored": {`/connectors/update/open?config={"kafka.bootstrap.server":"other:1"}`, 200, "success"},
		"a mask in a new connector": {
			`/connectors/create/n?config={"kafka.topics":"t","kafka.bootstrap.server":"h:1","login":"********"}`,
			400,
			"failed! login is the mask of a secret, but no value is stored: send the value",
		},
		"a mask of what is not there": {
			`/connectors/update/open?config={"login":"********"}`,
			400,
			"failed! login is the mask of a secret, but no value is stored: send the value",
		},
		"another number of tasks": {"/connectors/taskNum/src/7", 200, "success"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("src")
			w.configs.Set(store.Connector{Name: "open", State: states.WantRunning, Epoch: 1, Revision: 2,
				Config: map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1", "source-record-converter": "x"}})
			rec := w.do("GET", tc.target)
			if rec.Code != tc.wantCode || !strings.HasPrefix(rec.Body.String(), tc.wantBody) {
				t.Errorf("got %d %s, want %d %s", rec.Code, rec.Body, tc.wantCode, tc.wantBody)
			}
		})
	}
}

// A connector that was stored before its settings were refused can be mended by the older routes, too.
func TestWhatIsIgnoredCanBeTakenBack(t *testing.T) {
	w := newWorld(t, nil)
	c := w.source("src")
	c.Config["transforms"] = "mask"
	w.configs.Set(c)
	if rec := w.do("GET", "/connectors/taskNum/src/5"); rec.Code != 422 || !strings.Contains(rec.Body.String(), "cannot transform") {
		t.Errorf("another number of tasks: %d %s", rec.Code, rec.Body)
	}
	for _, step := range []string{`/connectors/update/src?config={"transforms":""}`, "/connectors/taskNum/src/5"} {
		if rec := w.do("GET", step); rec.Code != 200 {
			t.Errorf("%s: %d %s", step, rec.Code, rec.Body)
		}
	}
}
