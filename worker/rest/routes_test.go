package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/store"
)

const validSource = `{"name":"n","class":"KafkaSource","maxTasks":3,"config":{"kafka.topics":"t","kafka.bootstrap.server":"h:1"}}`

func TestBadRequestsAreRefusedWithAProblemThatNamesTheFault(t *testing.T) {
	cases := map[string]struct {
		method, target, body string
		header               []string
		wantCode             int
		wantType             string
		wantDetail           string
		wantFields           string
	}{
		"an empty body":  {"POST", "/connectors", "", nil, 400, restapi.ProblemMalformed, "the body is empty", ""},
		"broken JSON":    {"POST", "/connectors", `{"name":}`, nil, 400, restapi.ProblemMalformed, "at byte 9", ""},
		"JSON that ends": {"POST", "/connectors", `{"name":"a"`, nil, 400, restapi.ProblemMalformed, "ends in the middle", ""},
		"two JSON values": {
			"POST",
			"/connectors",
			validSource + "{}",
			nil,
			400,
			restapi.ProblemMalformed,
			"more after its JSON value",
			"",
		},
		"an unknown field": {
			"POST",
			"/connectors",
			`{"title":"n"}`,
			nil,
			400,
			restapi.ProblemMalformed,
			`unknown field "title"`,
			"title",
		},
		"a wrong type": {
			"POST",
			"/connectors",
			`{"maxTasks":"3"}`,
			nil,
			400,
			restapi.ProblemMalformed,
			"maxTasks must be a whole number, not a string",
			"maxTasks",
		},
		"a config value that is a number": {
			"POST",
			"/connectors",
			`{"config":{"poll":5}}`,
			nil,
			400,
			restapi.ProblemMalformed,
			"each value of config must be a string, not a number",
			"config",
		},
		"another media type": {
			"POST",
			"/connectors",
			"a=b",
			[]string{"Content-Type: application/x-www-form-urlencoded"},
			415,
			restapi.ProblemMalformed,
			"application/json",
			"",
		},
		"a body too large": {
			"POST",
			"/connectors",
			`{"name":"` + strings.Repeat("x", maxBody) + `"}`,
			nil,
			413,
			restapi.ProblemTooLarge,
			"at most 1048576 bytes",
			"",
		},
		"no name and no class": {
			"POST",
			"/connectors",
			`{"config":{}}`,
			nil,
			422,
			restapi.ProblemInvalid,
			"name must not be empty",
			"name class",
		},
		"settings without a class": {
			"POST",
			"/connectors",
			`{"name":"n","config":{"poll":"1"}}`,
			nil,
			422,
			restapi.ProblemInvalid,
			"no connector class: set connector.class",
			"class",
		},
		"a name RocketMQ does not take": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"n"`, `"a b"`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"letters, digits",
			"name",
		},
		"an unknown class": {
			"POST",
			"/connectors",
			`{"name":"n","class":"Nope","config":{}}`,
			nil,
			422,
			restapi.ProblemInvalid,
			"it has KafkaSink, KafkaSource",
			"class",
		},
		"settings missing or wrong": {
			"POST",
			"/connectors",
			`{"name":"n","class":"KafkaSource","config":{"kafka.topics":"t","poll":"x","mode":"slow"}}`,
			nil,
			422,
			restapi.ProblemInvalid,
			"kafka.bootstrap.server is required by KafkaSource",
			"config.kafka.bootstrap.server config.poll config.mode",
		},
		"settings of the worker that are wrong": {
			"PUT",
			"/connectors/n",
			strings.Replace(
				validSource,
				`"config":{`,
				`"config":{"errors.tolerance":"some","errors.retry.timeout":"soon","errors.retry.delay.max.ms":"0",`+
					`"errors.deadletterqueue.topic.name":"a b","task.group.id":"a b",`,
				1,
			),
			nil,
			422,
			restapi.ProblemInvalid,
			`errors.tolerance must be none or all, not "some"`,
			"config.errors.tolerance config.errors.retry.timeout " +
				"config.errors.retry.delay.max.ms config.task.group.id config.errors.deadletterqueue.topic.name " +
				"config.errors.deadletterqueue.topic.name",
		},
		"what only the class can refuse": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"t"`, `"bad topic"`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"must not have blanks",
			"config.kafka.topics",
		},
		"a class that panics": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"t"`, `"panic"`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"panic: boom",
			"config",
		},
		"a state that cannot be asked for": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"maxTasks":3`, `"state":"Failed"`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"Running, Paused or Stopped",
			"state",
		},
		"too many tasks": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `3`, `2000`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"max.tasks must be",
			"maxTasks",
		},
		"class told twice": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"config":{`, `"config":{"connector.class":"X",`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"leave connector.class out",
			"class",
		},
		"an internal setting": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"config":{`, `"config":{"connect.internal.x":"1",`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"reserved",
			"config.connect.internal.x",
		},
		"a mask without a stored value": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"config":{`, `"config":{"login":"********",`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"send the value",
			"config.login",
		},
		"too much config": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"t"`, `"`+strings.Repeat("t", check.MaxConfigBytes)+`"`, 1),
			nil,
			422,
			restapi.ProblemInvalid,
			"at most 262144 bytes",
			"config",
		},
		"creating what exists": {
			"POST",
			"/connectors",
			strings.Replace(validSource, `"n"`, `"src"`, 1),
			nil,
			409,
			restapi.ProblemConflict,
			"revision 7",
			"",
		},
		"names that differ": {
			"PUT",
			"/connectors/other",
			validSource,
			nil,
			400,
			restapi.ProblemMalformed,
			"differs from that in the path",
			"",
		},
		"a revision that has passed": {
			"PUT",
			"/connectors/src",
			strings.Replace(validSource, `"n"`, `"src"`, 1),
			[]string{`If-Match: "6"`},
			412,
			restapi.ProblemPrecondition,
			"revision 7",
			"",
		},
		"only if there is none": {
			"PUT",
			"/connectors/src",
			strings.Replace(validSource, `"n"`, `"src"`, 1),
			[]string{`If-None-Match: *`},
			412,
			restapi.ProblemPrecondition,
			"revision 7",
			"",
		},
		"a revision of what is gone": {
			"PUT",
			"/connectors/n",
			validSource,
			[]string{`If-Match: "6"`},
			412,
			restapi.ProblemPrecondition,
			"does not exist",
			"",
		},
		"an ETag that is none": {
			"PUT",
			"/connectors/src",
			validSource,
			[]string{`If-Match: W/"6"`},
			400,
			restapi.ProblemMalformed,
			"If-Match must be",
			"",
		},
		"both conditions": {
			"PUT",
			"/connectors/src",
			validSource,
			[]string{`If-Match: "6"`, "If-None-Match: *"},
			400,
			restapi.ProblemMalformed,
			"not both",
			"",
		},
		"a connector that is not there": {"GET", "/connectors/nope", "", nil, 404, restapi.ProblemNotFound, `no connector "nope"`, ""},
		"the status of none":            {"GET", "/connectors/nope/status", "", nil, 404, restapi.ProblemNotFound, `no connector "nope"`, ""},
		"the tasks of none":             {"GET", "/connectors/nope/tasks", "", nil, 404, restapi.ProblemNotFound, `no connector "nope"`, ""},
		"pausing none":                  {"POST", "/connectors/nope/pause", "", nil, 404, restapi.ProblemNotFound, `no connector "nope"`, ""},
		"deleting none":                 {"DELETE", "/connectors/nope", "", nil, 404, restapi.ProblemNotFound, `no connector "nope"`, ""},
		"deleting at another revision": {
			"DELETE",
			"/connectors/src",
			"",
			[]string{`If-Match: "3"`},
			412,
			restapi.ProblemPrecondition,
			"revision 7",
			"",
		},
		"deleting with a wrong option": {
			"DELETE",
			"/connectors/src?positions=maybe",
			"",
			nil,
			400,
			restapi.ProblemMalformed,
			"keep or reset",
			"",
		},
		"a state misspelt": {
			"PUT",
			"/connectors/src/state",
			`{"state":"paused"}`,
			nil,
			422,
			restapi.ProblemInvalid,
			`not "paused"`,
			"state",
		},
		"a state with more": {
			"PUT",
			"/connectors/src/state",
			`{"state":"Paused","x":1}`,
			nil,
			400,
			restapi.ProblemMalformed,
			`unknown field "x"`,
			"x",
		},
		"restarting a task too many": {
			"POST",
			"/connectors/src/tasks/2/restart",
			"",
			nil,
			404,
			restapi.ProblemNotFound,
			"it has 2, from 0",
			"",
		},
		"restarting a task by name":      {"POST", "/connectors/src/tasks/x/restart", "", nil, 404, restapi.ProblemNotFound, `no task "x"`, ""},
		"restarting what is paused":      {"POST", "/connectors/off/restart", "", nil, 409, restapi.ProblemConflict, "is Paused", ""},
		"watching from no number":        {"GET", "/watch?from=x", "", nil, 400, restapi.ProblemMalformed, "revision of an event", ""},
		"watching from another's number": {"GET", "/watch?from=3", "", nil, 410, restapi.ProblemGone, "watch without from", ""},
		"a path that is none":            {"GET", "/nothing", "", nil, 404, restapi.ProblemNotFound, "there is no /api/v1/nothing", ""},
		"a method that is none":          {"PATCH", "/connectors/src", "", nil, 405, "about:blank", "GET", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("src")
			off := w.source("off")
			off.State = states.WantPaused
			w.configs.Set(off)
			rec := w.do(tc.method, restapi.Prefix+tc.target, tc.body, tc.header...)
			var p restapi.Problem
			if err := json.Unmarshal(rec.Body.Bytes(), &p); err != nil {
				t.Fatalf("%d %s: %v", rec.Code, rec.Body, err)
			}
			if rec.Code != tc.wantCode || p.Status != tc.wantCode || p.Type != tc.wantType || !strings.Contains(p.Detail, tc.wantDetail) {
				t.Errorf("got %d %+v", rec.Code, p)
			}
			if ct := rec.Header().Get("Content-Type"); ct != restapi.ProblemMediaType || p.RequestID == "" || p.Title == "" {
				t.Errorf("content type %q, %+v", ct, p)
			}
			var fields []string
			for _, f := range p.Errors {
				fields = append(fields, f.Field)
			}
			if diff := cmp.Diff(tc.wantFields, strings.Join(fields, " ")); diff != "" {
				t.Errorf("fields (-want +got):\n%s", diff)
			}
			if strings.Contains(rec.Body.String(), "hunter2") {
				t.Error("a secret is shown")
			}
		})
	}
}

func TestFailuresOfTheStoreBecomeProblems(t *testing.T) {
	cases := map[string]struct {
		err        error
		wantCode   int
		wantDetail string
	}{
		"not confirmed in time": {context.DeadlineExceeded, 504, "may have been stored"},
		"RocketMQ away":         {fmt.Errorf("append: %w", rmq.ErrUnreachable), 503, "unreachable"},
		"access refused":        {&rmq.BrokerError{Op: "append", Code: 16, Remark: "no"}, 503, "code 16"},
		"refused for ever":      {fmt.Errorf("%w: text is not UTF-8", store.ErrInvalid), 422, "not UTF-8"},
		"deleted meanwhile":     {store.ErrNotFound, 404, "does not exist"},
		"anything else":         {errors.New("secret inside"), 500, "worker's log"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.configs.Err = tc.err
			rec := w.do("POST", restapi.Prefix+"/connectors", validSource)
			if body := rec.Body.String(); rec.Code != tc.wantCode || !strings.Contains(body, tc.wantDetail) ||
				strings.Contains(body, "secret inside") {
				t.Errorf("got %d %s", rec.Code, body)
			}
		})
	}
}

func TestLifeOfAConnector(t *testing.T) {
	w := newWorld(t, nil)
	const path = restapi.Prefix + "/connectors/n"
	created := w.do(
		"POST",
		restapi.Prefix+"/connectors",
		strings.Replace(validSource, `"config":{`, `"config":{"login":"hunter2","kafka.client.x":"1","kafka.topic":"?",`, 1),
		"Idempotency-Key: k1",
	)
	wantBody := `{"name":"n","class":"KafkaSource","kind":"Source","state":"Running","config":{"kafka.bootstrap.server":"h:1",` +
		`"kafka.client.x":"********","kafka.topic":"********","kafka.topics":"t","login":"********"},"maxTasks":3,"epoch":11,` +
		`"revision":11,"warnings":["kafka.topic is not a setting of KafkaSource and has no effect; did you mean kafka.topics?",` +
		`"login: a secret in the clear is stored in RocketMQ and on the workers' disks: write a reference in its place, such as ` +
		`${secret:name:key}"]}`
	if got := strings.TrimSpace(
		created.Body.String(),
	); created.Code != 201 || got != wantBody || created.Header().Get("ETag") != `"11"` ||
		created.Header().Get("Location") != path {
		t.Fatalf("created: %d %v %s", created.Code, created.Header(), got)
	}
	if again := w.do("POST", restapi.Prefix+"/connectors", validSource, "Idempotency-Key: k1"); again.Code != 201 {
		t.Errorf("the same request again: %d %s", again.Code, again.Body)
	}
	if rec := w.do("GET", path, "", `If-None-Match: "11"`); rec.Code != 304 {
		t.Errorf("unchanged: %d", rec.Code)
	}

	// What GET showed can be sent back: the mask keeps the secret, and nothing changes.
	shown := w.get(path)
	if rec := w.do("PUT", path, shown, `If-Match: "11"`); rec.Code != 200 || rec.Header().Get("ETag") != `"11"` {
		t.Errorf("the same again: %d %s", rec.Code, rec.Body)
	}
	if rec := w.do(
		"PUT",
		path,
		strings.Replace(shown, `"kafka.topics":"t"`, `"kafka.topics":"t2"`, 1),
		`If-Match: "11"`,
	); rec.Code != 200 ||
		rec.Header().Get("ETag") != `"12"` {
		t.Errorf("changed: %d %s", rec.Code, rec.Body)
	}
	if c, _ := w.configs.Get(
		"n",
	); c.Config["login"] != "hunter2" || c.Config["kafka.topics"] != "t2" || c.Config["connector.class"] != "KafkaSource" ||
		c.Config["max.tasks"] != "3" {
		t.Errorf("stored %v", c.Config)
	}

	for _, step := range []struct {
		method, path, body, want string
	}{
		{"PUT", "/state", `{"state":"Paused"}`, "Paused"}, {"PUT", "/state", `{"state":"Paused"}`, "Paused"}, {"POST", "/resume", "", "Running"},
		{"POST", "/stop", "", "Stopped"}, {"POST", "/pause", "", "Paused"}, {"POST", "/resume", "", "Running"},
	} {
		rec := w.do(step.method, path+step.path, step.body)
		var c restapi.Connector
		if err := json.Unmarshal(rec.Body.Bytes(), &c); err != nil || rec.Code != 200 || c.State != step.want {
			t.Errorf("%s: %d %s", step.path, rec.Code, rec.Body)
		}
	}
	if rec := w.do("POST", path+"/restart", "", "Idempotency-Key: again"); rec.Code != 202 {
		t.Errorf("restart: %d %s", rec.Code, rec.Body)
	}
	if c, _ := w.configs.Get("n"); c.RestartOf(-1) != "again" {
		t.Errorf("restarts stored as %v", c.Restarts)
	}

	w.positions.Held["n"] = record.Positions{"t/0": "5"}
	if rec := w.do("DELETE", path, ""); rec.Code != 204 {
		t.Fatalf("deleted: %d %s", rec.Code, rec.Body)
	}
	if rec := w.do("GET", path, ""); rec.Code != 404 {
		t.Errorf("after the deletion: %d", rec.Code)
	}
	want := []string{fmt.Sprintf("n@%d", w.configs.Epoch("n"))}
	if diff := cmp.Diff([][]string{want, want}, [][]string{w.positions.Forgotten, w.offsets.Forgotten}); diff != "" {
		t.Errorf("positions and offsets reset (-want +got):\n%s", diff)
	}
}

func TestDeletionCanKeepPositionsAndIsFinishedByARepeat(t *testing.T) {
	w := newWorld(t, nil)
	w.source("a")
	w.source("b")
	w.positions.Held["a"], w.positions.Held["b"] = record.Positions{"x": "1"}, record.Positions{"x": "1"}
	if rec := w.do("DELETE", restapi.Prefix+"/connectors/a?positions=keep", ""); rec.Code != 204 || len(w.positions.Held["a"]) != 1 {
		t.Errorf("keep: %d %v", rec.Code, w.positions.Held)
	}
	w.positions.Err = rmq.ErrUnreachable
	if rec := w.do("DELETE", restapi.Prefix+"/connectors/b", ""); rec.Code != 503 {
		t.Errorf("positions not reset: %d", rec.Code)
	}
	w.positions.Err = nil
	if rec := w.do("DELETE", restapi.Prefix+"/connectors/b", ""); rec.Code != 204 || len(w.positions.Held["b"]) != 0 {
		t.Errorf("repeated: %d %v", rec.Code, w.positions.Held)
	}
	if rec := w.do("DELETE", restapi.Prefix+"/connectors/b", ""); rec.Code != 404 {
		t.Errorf("nothing left: %d", rec.Code)
	}
}

func TestStatusJoinsOwnersWithWhatTheySaid(t *testing.T) {
	cases := map[string]struct {
		arrange   func(*world)
		wantState string
		wantTask  restapi.TaskStatus
	}{
		"nobody owns it": {func(*world) {}, "Unassigned", restapi.TaskStatus{State: "Unassigned"}},
		"its owner runs it": {func(w *world) {
			w.own("src", allocate.ConnectorTask, 1, 3, 5, "Running")
			w.own("src", 0, 1, 4, 5, "Running")
		}, "Running", restapi.TaskStatus{State: "Running", Worker: "w1", Generation: 4}},
		"its owner has not spoken yet": {func(w *world) {
			w.own("src", 0, 1, 4, 5, "Running")
			w.own("src", 0, 1, 9, 5, "")
		}, "Unassigned", restapi.TaskStatus{State: "Unassigned", Worker: "w1", Generation: 9}},
		"a status of another epoch is history": {func(w *world) {
			w.own("src", 0, 1, 4, 5, "")
			w.statuses.Set(store.Status{Connector: "src", State: "Failed", Generation: 4, Epoch: 4})
		}, "Unassigned", restapi.TaskStatus{State: "Unassigned", Worker: "w1", Generation: 4}},
		"it failed": {func(w *world) {
			w.own("src", 0, 1, 4, 5, "")
			w.statuses.Set(store.Status{Connector: "src", State: "Failed", Generation: 4, Epoch: 5, Error: "no route", Restarts: 2})
		}, "Unassigned", restapi.TaskStatus{State: "Failed", Worker: "w1", Generation: 4, Error: "no route", Restarts: 2}},
		"it is stopped and one task has still to end": {func(w *world) {
			w.own("src", 0, 1, 4, 5, "Running")
			stopSource(w)
		}, "Stopped", restapi.TaskStatus{State: "Running", Worker: "w1", Generation: 4}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			w.source("src")
			tc.arrange(w)
			var got restapi.ConnectorStatus
			if err := json.Unmarshal([]byte(w.get(restapi.Prefix+"/connectors/src/status")), &got); err != nil {
				t.Fatal(err)
			}
			if got.State != tc.wantState || got.Kind != "Source" || len(got.Tasks) == 0 {
				t.Fatalf("got %+v", got)
			}
			if diff := cmp.Diff(tc.wantTask, got.Tasks[0]); diff != "" {
				t.Errorf("task 0 (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff([]string{"a", "b"}, got.Topics); diff != "" {
				t.Errorf("topics: %s", diff)
			}
		})
	}
}

func stopSource(w *world) {
	c, _ := w.configs.Get("src")
	c.State = states.WantStopped
	w.configs.Set(c)
}

func TestStoppedConnectorHasNoTasks(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	stopSource(w)
	var got restapi.ConnectorStatus
	if err := json.Unmarshal([]byte(w.get(restapi.Prefix+"/connectors/src/status")), &got); err != nil {
		t.Fatal(err)
	}
	if got.State != "Stopped" || len(got.Tasks) != 0 {
		t.Errorf("got %+v", got)
	}
}

func TestReads(t *testing.T) {
	w := newWorld(t, nil)
	w.source("src")
	w.own("src", 0, 1, 4, 5, "Running")
	for target, want := range map[string]string{
		"/cluster": `{"id":"c1","worker":"w1","joined":true,"members":[{"worker":"w1","session":1,` +
			`"address":"10.0.0.1:8082","eligible":true,"tasks":1}]}`,
		"/connectors": `[{"name":"src","class":"KafkaSource","kind":"Source","state":"Running",` +
			`"config":{"kafka.bootstrap.server":"h:1","kafka.client.password":"********","kafka.topics":"a,b","login":"********"},` +
			`"maxTasks":2,"epoch":5,"revision":7}]`,
		"/connectors/src/tasks": `[{"id":0,"state":"Running","worker":"w1","generation":4,"config":{"kafka.bootstrap.server":"h:1",` +
			`"kafka.client.password":"********","kafka.topics":"a,b","login":"********","partitions":"0","tasks.num":"2"}},{"id":1,` +
			`"state":"Unassigned","config":{"kafka.bootstrap.server":"h:1","kafka.client.password":"********","kafka.topics":"a,b",` +
			`"login":"********","partitions":"1","tasks.num":"2"}}]`,
		"/connectors/src/status": `{"name":"src","class":"KafkaSource","kind":"Source","state":"Unassigned","desired":"Running",` +
			`"epoch":5,"revision":7,"tasks":[{"id":0,"state":"Running","worker":"w1","generation":4},{"id":1,"state":"Unassigned"}],` +
			`"topics":["a","b"]}`,
	} {
		if diff := cmp.Diff(want, w.get(restapi.Prefix+target)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", target, diff)
		}
	}
	if got := w.get(
		restapi.Prefix + "/plugins",
	); !strings.Contains(
		got,
		`{"class":"KafkaSource","aliases":["java.KafkaSource"],"kind":"Source"`,
	) {
		t.Errorf("plugins: %s", got)
	}
	empty := newWorld(t, nil)
	if got := empty.get(restapi.Prefix + "/connectors"); got != "[]" {
		t.Errorf("no connectors: %s", got)
	}
}

func TestValidateStoresNothing(t *testing.T) {
	w := newWorld(t, nil)
	for body, want := range map[string]string{
		validSource: `{"valid":true}`,
		`{"name":"n","class":"Nope",` +
			`"config":{}}`: `{"valid":false,"errors":[{"field":"class","detail":"connector.class \"Nope\" is not known to this worker; ` +
			`it has KafkaSink, KafkaSource"}]}`,
	} {
		rec := w.do(http.MethodPut, restapi.Prefix+"/validate", body)
		if got := strings.TrimSpace(rec.Body.String()); rec.Code != 200 || got != want {
			t.Errorf("got %d %s", rec.Code, got)
		}
	}
	if len(w.configs.Held) != 0 {
		t.Error("something was stored")
	}
}
