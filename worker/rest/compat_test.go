package rest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

func TestOlderRoutesThatRead(t *testing.T) {
	const src = `{"properties":{"kafka.bootstrap.server":"h:1","kafka.client.password":"********","kafka.topics":"a,b","login":"********","tasks.num":"2"}}`
	const tasks = `[{"properties":{"kafka.bootstrap.server":"h:1","kafka.client.password":"********","kafka.topics":"a,b","login":"********","partitions":"0","tasks.num":"2"}},{"properties":{"kafka.bootstrap.server":"h:1","kafka.client.password":"********","kafka.topics":"a,b","login":"********","partitions":"1","tasks.num":"2"}}]`
	w := newWorld(t, func(_ *Config, b *Backends) {
		b.Local = func() []LocalTask {
			return []LocalTask{
				{Connector: "src", Task: 0, State: "Running"}, {Connector: "src", Task: 1, State: "Running", Stopping: true},
				{Connector: "gone", Task: 0, State: "Failed"}, {Connector: "gone", Task: 1, State: "Paused"}, {Connector: "gone", Task: 2, State: "Unassigned"},
			}
		}
	})
	w.source("src")
	off := w.source("off")
	off.State, off.Tasks = states.WantStopped, nil
	w.configs.set(off)
	w.configs.set(store.Connector{Name: "was", Epoch: 3, Deleted: true})
	w.members.view.Members = append(w.members.view.Members, cluster.Member{Session: 2, Worker: "192.168.1.115@34915"})
	offProps := src // the same config
	cases := map[string]string{
		"/getClusterInfo":          `["192.168.1.115@34915","w1"]`,
		"/getClusterInfo/":         `["192.168.1.115@34915","w1"]`,
		"/getConfigInfo":           `{"connectorConfigs":{"off":` + offProps + `,"src":` + src + `},"taskConfigs":{"off":[],"src":` + tasks + `}}`,
		"/getConnectorTask":        `{"connectorConfigs":{"off":` + offProps + `,"src":` + src + `},"taskConfigs":{"off":[],"src":` + tasks + `}}`,
		"/getConnectorTask/src":    "ConnectorConfigs:" + src + "\nTaskConfigs:" + tasks,
		"/getConnectors":           `{"off":` + offProps + `,"src":` + src + `}`,
		"/getConnectors/src":       src,
		"/getConnectorsStatus/src": "enabled",
		"/getConnectorsStatus/off": "disabled",
		"/getConnectorsStatus/was": "removed",
		"/plugin/reload":           "success; nothing was reloaded: connectors are built into this worker, and it loads none from pluginPaths",
		"/getAllocatedTask":        `{"pendingTasks":[{"connectorName":"gone","taskId":2,"configs":"{}","state":"UNASSIGNED"}],"runningTasks":[{"connectorName":"src","taskId":0,"configs":"{\"kafka.bootstrap.server\":\"h:1\",\"kafka.client.password\":\"********\",\"kafka.topics\":\"a,b\",\"login\":\"********\",\"partitions\":\"0\",\"tasks.num\":\"2\"}","state":"RUNNING"}],"stoppingTasks":[{"connectorName":"src","taskId":1,"configs":"{\"kafka.bootstrap.server\":\"h:1\",\"kafka.client.password\":\"********\",\"kafka.topics\":\"a,b\",\"login\":\"********\",\"partitions\":\"1\",\"tasks.num\":\"2\"}","state":"RUNNING"}],"stoppedTasks":[{"connectorName":"gone","taskId":1,"configs":"{}","state":"PAUSED"}],"errorTasks":[{"connectorName":"gone","taskId":0,"configs":"{}","state":"FAILED"}]}`,
	}
	for target, want := range cases {
		if diff := cmp.Diff(want, w.get(target)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
}

func TestClusterInfoInTheNewerRuntimesEnvelope(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *Backends) { c.Compat = "new" })
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
		"create with the documents' source, plain": {`/connectors/create/n?config={"tasks.num":"4","kafka.topics":"kafkaconnect","kafka.bootstrap.server":"127.0.0.1:9092"}`, 200, "success",
			stored{"tasks.num": "4", "kafka.topics": "kafkaconnect", "kafka.bootstrap.server": "127.0.0.1:9092"}, "Running"},
		"create with the documents' sink, percent-encoded": {"/connectors/create/n?config=%7B%22topicNames%22:%22kafkaconnect%22,%22tasks.num%22:%222%22,%22kafka.bootstrap.server%22:%22127.0.0.1:9092%22%7D", 200, "success",
			stored{"topicNames": "kafkaconnect", "tasks.num": "2", "kafka.bootstrap.server": "127.0.0.1:9092"}, "Running"},
		"numbers and booleans become strings": {`/connectors/create/n?config={"tasks.num":4,"kafka.topics":"t","kafka.bootstrap.server":"h","x":true}`, 200, "success; x is not a setting of KafkaSource and has no effect",
			stored{"tasks.num": "4", "kafka.topics": "t", "kafka.bootstrap.server": "h", "x": "true"}, "Running"},
		"creating the same again":        {"/connectors/create/src?config=%7B%22tasks.num%22:%222%22,%22kafka.topics%22:%22a,b%22,%22kafka.bootstrap.server%22:%22h:1%22,%22login%22:%22hunter2%22,%22kafka.client.password%22:%22pw%22%7D", 200, "success", nil, ""},
		"creating another of the name":   {"/connectors/create/src?config=" + sink, 409, `failed! connector "src" exists already: change it with /connectors/update/src?config={…}`, nil, ""},
		"creating without config":        {"/connectors/create/n", 400, `failed! the query parameter config is required: ?config={"key":"value"}`, nil, ""},
		"creating with broken config":    {"/connectors/create/n?config={x", 400, "failed! config must be a JSON object", nil, ""},
		"creating with a nested config":  {`/connectors/create/n?config={"a":{}}`, 400, "failed! config: a must be a string, a number or a boolean", nil, ""},
		"creating without a class":       {`/connectors/create/n?config={"tasks.num":"4"}`, 422, "failed! no connector class: set connector.class, or kafka.topics", nil, ""},
		"creating with an unknown class": {`/connectors/create/n?config={"connector.class":"x"}`, 422, `failed! connector.class "x" is not known to this worker; it has KafkaSink, KafkaSource`, nil, ""},
		"creating with settings missing": {`/connectors/create/n?config={"kafka.topics":"t"}`, 422, "failed! kafka.bootstrap.server is required by KafkaSource: host:port of the brokers", nil, ""},
		"creating with a wrong number":   {`/connectors/create/n?config={"kafka.topics":"t","kafka.bootstrap.server":"h","tasks.num":"many"}`, 422, `failed! tasks.num must be a whole number`, nil, ""},
		"creating with a bad name":       {"/connectors/create/a%20b?config=" + sink, 422, "failed! name may only have letters", nil, ""},
		"updating merges": {`/connectors/update/src?config={"kafka.topics":"c","login":"********"}`, 200, "success",
			stored{"tasks.num": "2", "kafka.topics": "c", "kafka.bootstrap.server": "h:1", "login": "hunter2", "kafka.client.password": "pw"}, "Running"},
		"updating to nothing new":       {`/connectors/update/src?config={"kafka.topics":"a,b"}`, 200, "success", nil, ""},
		"updating with a wrong setting": {`/connectors/update/src?config={"poll":"x"}`, 422, "failed! poll must be a whole number", nil, ""},
		"updating none":                 {`/connectors/update/nope?config={"a":"b"}`, 404, `failed! there is no connector "nope"`, nil, ""},
		"another number of tasks": {"/connectors/taskNum/src/5", 200, "success",
			stored{"tasks.num": "5", "kafka.topics": "a,b", "kafka.bootstrap.server": "h:1", "login": "hunter2", "kafka.client.password": "pw"}, "Running"},
		"a wrong number of tasks": {"/connectors/taskNum/src/0", 400, "failed! the number of tasks must be from 1 to 1024", nil, ""},
		"disabling one":           {"/connectors/single/src/disable", 200, "success", nil, "Stopped"},
		"enabling one that is":    {"/connectors/single/src/enable", 200, "success", nil, "Running"},
		"removing one":            {"/connectors/single/src/remove", 200, "success", nil, ""},
		"removing none":           {"/connectors/single/nope/remove", 404, `failed! there is no connector "nope"`, nil, ""},
		"an unknown verb":         {"/connectors/single/src/explode", 404, `failed! there is no "explode": use enable, disable or remove`, nil, ""},
		"disabling all":           {"/connectors/all/disable", 200, "success", nil, "Stopped"},
		"an unknown verb for all": {"/connectors/all/explode", 404, `failed! there is no "explode"`, nil, ""},
		"a route that is none":    {"/connectors/nothing", 404, "Not found: /connectors/nothing", nil, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("src")
			target := strings.Replace(tc.target, "%20", " ", 1)
			rec := w.do(http.MethodGet, target, "")
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
		rec := w.do("GET", target, "")
		if rec.Code < 400 || rec.Code > 499 || !strings.Contains(rec.Body.String(), "errors.tolerance must be none or all") {
			t.Errorf("GET %s: %d %s", target, rec.Code, rec.Body)
		}
	}
}

func TestRemovingAllForgetsPositions(t *testing.T) {
	w := newWorld(t, nil)
	w.source("a")
	w.source("b")
	w.positions.held["a"] = record.Positions{"x": "1"}
	if got := w.get("/connectors/all/remove"); got != "success" || len(w.configs.All()) != 0 || len(w.positions.held) != 0 {
		t.Errorf("got %s, left %v %v", got, w.configs.All(), w.positions.held)
	}
}

func TestHeadChangesNothing(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	if rec := w.do(http.MethodHead, "/connectors/single/src/remove", ""); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d", rec.Code)
	}
	if rec := w.do(http.MethodPost, "/connectors/single/src/remove", ""); rec.Code != http.StatusMethodNotAllowed {
		t.Errorf("got %d", rec.Code)
	}
	if _, ok := w.configs.Get("src"); !ok {
		t.Error("removed")
	}
}

func TestOlderRoutesCanBeSwitchedOff(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *Backends) { c.CompatRoutes = false })
	if rec := w.do(http.MethodGet, "/getClusterInfo", ""); rec.Code != 404 || !strings.Contains(rec.Body.String(), "compatRoutes=false") {
		t.Errorf("got %d %s", rec.Code, rec.Body)
	}
	w.get(restapi.Prefix + "/cluster")
}
