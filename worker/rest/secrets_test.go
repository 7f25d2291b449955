package rest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/go-logr/logr/funcr"

	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Every route that shows a config, of both dialects; {} is the connector's name.
var showing = []string{
	"/api/v1/connectors", "/api/v1/connectors/{}", "/api/v1/connectors/{}/tasks", "/api/v1/connectors/{}/status",
	"/getConfigInfo", "/getConnectorTask", "/getConnectorTask/{}", "/getConnectors", "/getConnectors/{}", "/getAllocatedTask",
}

func TestNoRouteShowsWhatMayBeSecret(t *testing.T) {
	const secret = "hunter2"
	cases := map[string]map[string]string{
		"a secret of the class":             {"kafka.topics": "t", "login": secret},
		"a name that says so":               {"kafka.topics": "t", "x.password": secret},
		"a setting that no class knows":     {"kafka.topics": "t", "pin": secret},
		"one that the class passes through": {"kafka.topics": "t", "kafka.client.pin": secret},
		"a URL with a password":             {"kafka.topics": "t", "kafka.bootstrap.server": "http://ann:" + secret + "@h:1"},
		"a broker with a password":          {"kafka.topics": "t", "kafka.bootstrap.server": "ann:" + secret + "@h:1"},
		"all of a class that is not known":  {"connector.class": "Other", "topicNames": secret, "topics": secret, "kafka.topics": secret},
		"all of a config without a class":   {"topicNames": secret},
	}
	for name, cfg := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(_ *Config, b *Backends) {
				b.Local = func() []compat.LocalTask { return []compat.LocalTask{{Connector: "src", Task: 0, State: "Running"}} }
			})
			w.configs.Set(
				store.Connector{Name: "src", Config: cfg, State: states.WantRunning, Epoch: 1, Revision: 1, Tasks: []map[string]string{cfg}},
			)
			for _, route := range showing {
				body := w.get(strings.Replace(route, "{}", "src", 1))
				if strings.Contains(body, secret) {
					t.Errorf("%s shows the secret: %s", route, body)
				}
				if !strings.HasSuffix(route, "/status") && !strings.Contains(body, restapi.Mask) {
					t.Errorf("%s shows no mask: %s", route, body)
				}
			}
		})
	}
}

// writing asks each route of both dialects that takes a config.
var writing = map[string]func(w *world, cfg map[string]string) *httptest.ResponseRecorder{
	"POST": func(w *world, cfg map[string]string) *httptest.ResponseRecorder {
		return w.put("POST", "/connectors", "n", cfg)
	},
	"PUT new": func(w *world, cfg map[string]string) *httptest.ResponseRecorder {
		return w.put("PUT", "/connectors/n", "n", cfg)
	},
	"PUT": func(w *world, cfg map[string]string) *httptest.ResponseRecorder {
		return w.put("PUT", "/connectors/src", "src", cfg)
	},
	"validate": func(w *world, cfg map[string]string) *httptest.ResponseRecorder {
		return w.put("PUT", "/validate", "src", cfg)
	},
	"create": func(w *world, cfg map[string]string) *httptest.ResponseRecorder {
		return w.query("/connectors/create/n", cfg)
	},
	"update": func(w *world, cfg map[string]string) *httptest.ResponseRecorder {
		return w.query("/connectors/update/src", cfg)
	},
}

func (w *world) put(method, path, name string, cfg map[string]string) *httptest.ResponseRecorder {
	body, err := json.Marshal(restapi.Connector{Name: name, Config: cfg})
	if err != nil {
		w.t.Fatal(err)
	}
	return w.do(method, restapi.Prefix+path, string(body))
}

func (w *world) query(path string, cfg map[string]string) *httptest.ResponseRecorder {
	body, err := json.Marshal(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.do("GET", path+"?config="+url.QueryEscape(string(body)), "")
}

// readable makes a world whose log can be read.
func readable(t *testing.T) (w *world, log *strings.Builder) {
	log = &strings.Builder{}
	w = newWorld(t, func(c *Config, _ *Backends) {
		c.Log = funcr.New(func(prefix, args string) { fmt.Fprintln(log, prefix, args) }, funcr.Options{Verbosity: 9})
	})
	w.source("src")
	return w, log
}

func TestRefusalsDoNotEchoSecrets(t *testing.T) {
	const secret = `hun"ter<2`
	cases := map[string]map[string]string{
		"a class that prints its config":        {"kafka.topics": "tell all"},
		"a class that prints it as JSON":        {"kafka.topics": "tell all as JSON"},
		"a class that panics with it":           {"kafka.topics": "panic with all"},
		"a class that is not known":             {"connector.class": "Other"},
		"a number that is none":                 {"poll": secret},
		"a value that is not allowed":           {"mode": secret},
		"a number of tasks that is none":        {"tasks.num": secret},
		"a setting of the worker":               {"errors.tolerance": secret},
		"a duration that is none":               {"errors.retry.timeout": secret},
		"a consumer group that is none":         {"task.group.id": secret},
		"a topic that is none":                  {"errors.deadletterqueue.topic.name": secret},
		"a reserved setting":                    {"connect.internal.x": secret},
		"a setting without a name":              {"": secret},
		"a URL in the wrong place":              {"mode": "http://ann:" + url.PathEscape(secret) + "@h"},
		"a URL as the class":                    {"connector.class": "http://ann:" + url.PathEscape(secret) + "@h"},
		"a broker with a password, told by all": {"kafka.topics": "tell all", "kafka.bootstrap.server": "ann:" + secret + "@h:1"},
		"a setting of no class, told by all":    {"kafka.topics": "tell all", "pin": secret},
		"a setting passed through, told by all": {"kafka.topics": "tell all", "kafka.client.pin": secret},
		"a JAAS line, told by all": {
			"kafka.topics":     "tell all",
			"sasl.jaas.config": `x required username="ann" password="` + strings.ReplaceAll(secret, `"`, `\"`) + `";`,
		},
		"a worker's setting without an own form": {"topic.rename.format": secret, "kafka.topics": "tell all"},
	}
	forms := []string{secret, `hun\"ter<2`, `hun\"ter\u003c2`, `hun\\\"ter\u003c2`, url.PathEscape(secret), "hun%22ter"}
	for name, change := range cases {
		for route, ask := range writing {
			t.Run(name+"/"+route, func(t *testing.T) {
				w, log := readable(t)
				cfg := map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1", "login": secret, "x.password": secret}
				maps.Copy(cfg, change)
				rec := ask(w, cfg)
				body := rec.Body.String()
				if refused := rec.Code == 422 || strings.Contains(body, `"valid":false`); !refused {
					t.Errorf("not refused: %d %s", rec.Code, body)
				}
				for _, form := range forms {
					if strings.Contains(body, form) || strings.Contains(log.String(), form) {
						t.Errorf("the secret is shown: %s\n%s", body, log)
					}
				}
			})
		}
	}
}

func TestRequestsThatCannotBeReadAreNotEchoed(t *testing.T) {
	const one = restapi.Prefix + "/connectors/src"
	type request struct{ method, target, body, header string }
	cases := map[string]request{
		"JSON that breaks off":                {"POST", restapi.Prefix + "/connectors", `{"config":{"login":"hunter2"`, ""},
		"a secret without quotes":             {"POST", restapi.Prefix + "/connectors", `{"config":{"login":hunter2}}`, ""},
		"a secret that is a number":           {"POST", restapi.Prefix + "/connectors", `{"config":{"login":4711471147114711}}`, ""},
		"a secret in an object":               {"PUT", one, `{"config":{"login":{"hunter2":"hunter2"}}}`, ""},
		"a config that is text":               {"PUT", one, `{"config":"hunter2"}`, ""},
		"a secret beside config":              {"PUT", one, `{"login":"hunter2"}`, ""},
		"a URL as a field":                    {"PUT", one, `{"http://ann:hunter2@h":1}`, ""},
		"more than one value":                 {"PUT", one, `{} "hunter2"`, ""},
		"an older config that breaks off":     {"GET", `/connectors/create/n?config={"login":"hunter2"`, "", ""},
		"an older config without quotes":      {"GET", `/connectors/create/n?config={"login":hunter2}`, "", ""},
		"an older config of objects":          {"GET", `/connectors/update/src?config={"login":{"hunter2":"hunter2"}}`, "", ""},
		"an older config of lists":            {"GET", `/connectors/update/src?config={"login":["hunter2"]}`, "", ""},
		"a URL as an older setting":           {"GET", `/connectors/update/src?config={"http://ann:hunter2@h":[]}`, "", ""},
		"a URL as a name":                     {"GET", restapi.Prefix + "/connectors/http:%2F%2Fann:hunter2@h/status", "", ""},
		"a URL as a name of the older routes": {"GET", "/getConnectors/http:%2F%2Fann:hunter2@h", "", ""},
		"a URL as a path":                     {"GET", "/x/http:%2F%2Fann:hunter2@h", "", ""},
		"a URL as a path of the resource API": {"GET", restapi.Prefix + "/http:%2F%2Fann:hunter2@h", "", ""},
		"a URL as a name to be created": {
			"POST",
			restapi.Prefix + "/connectors",
			`{"name":"http://ann:hunter2@h","config":{"kafka.topics":"t"}}`,
			"",
		},
		"a URL as another name":      {"PUT", one, `{"name":"http://ann:hunter2@h"}`, ""},
		"a URL as a name in config":  {"PUT", one, `{"config":{"name":"http://ann:hunter2@h"}}`, ""},
		"a URL as a state":           {"PUT", one + "/state", `{"state":"http://ann:hunter2@h"}`, ""},
		"a URL as a class":           {"PUT", one, `{"class":"http://ann:hunter2@h","config":{}}`, ""},
		"a URL as a task":            {"POST", one + "/tasks/http:%2F%2Fann:hunter2@h/restart", "", ""},
		"a URL as an option":         {"DELETE", one + "?positions=http://ann:hunter2@h", "", ""},
		"a URL as a revision":        {"GET", restapi.Prefix + "/watch?from=http://ann:hunter2@h", "", ""},
		"a URL as an ETag":           {"PUT", one, `{}`, "If-Match: http://ann:hunter2@h"},
		"a URL as a media type":      {"PUT", one, `{}`, "Content-Type: http://ann:hunter2@h"},
		"a URL as a number of tasks": {"GET", "/connectors/taskNum/src/http:%2F%2Fann:hunter2@h", "", ""},
		"a URL as a verb":            {"GET", "/connectors/single/src/http:%2F%2Fann:hunter2@h", "", ""},
		"a URL as a verb for all":    {"GET", "/connectors/all/http:%2F%2Fann:hunter2@h", "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w, log := readable(t)
			path, query, _ := strings.Cut(tc.target, "?")
			r := httptest.NewRequestWithContext(t.Context(), tc.method, path, strings.NewReader(tc.body))
			r.URL.RawQuery = query
			if header, value, ok := strings.Cut(tc.header, ": "); ok {
				r.Header.Set(header, value)
			}
			rec := httptest.NewRecorder()
			w.server.Handler().ServeHTTP(rec, r)
			if rec.Code < 400 || rec.Code > 499 {
				t.Errorf("got %d %s", rec.Code, rec.Body)
			}
			for _, secret := range []string{"hunter2", "4711"} {
				if strings.Contains(rec.Body.String(), secret) || strings.Contains(log.String(), secret) {
					t.Errorf("the secret is shown: %s\n%s", rec.Body, log)
				}
			}
		})
	}
}

// Invariant S1: whoever may change a connector was never shown its password, and must not have it sent elsewhere.
func TestAStoredSecretGoesOnlyWhereItWentBefore(t *testing.T) {
	const elsewhere = "evil:1"
	mask := func(change ...string) map[string]string {
		cfg := map[string]string{
			"kafka.topics":           "a,b",
			"kafka.bootstrap.server": "h:1",
			"login":                  restapi.Mask,
			"kafka.client.password":  restapi.Mask,
		}
		for i := 0; i < len(change); i += 2 {
			cfg[change[i]] = change[i+1]
		}
		return cfg
	}
	const moved = "login must be sent again: kafka.bootstrap.server changed"
	cases := map[string]struct {
		cfg      map[string]string // in the resource API, a whole config; in the older routes, what is put over the stored one
		wantText string            // of the refusal; empty: accepted
	}{
		"nothing but the topics changes":      {mask("kafka.topics", "c"), ""},
		"the server changes":                  {mask("kafka.bootstrap.server", elsewhere), moved},
		"the server and all secrets are sent": {mask("kafka.bootstrap.server", "other:1", "login", "l", "kafka.client.password", "p"), ""},
		"one of two secrets is sent":          {mask("kafka.bootstrap.server", elsewhere, "kafka.client.password", "p"), moved},
		"the class passes something through": {
			mask("kafka.client.bootstrap", elsewhere),
			"login must be sent again: kafka.client.bootstrap changed",
		},
		"another class": {
			mask("connector.class", "KafkaSink", "topicNames", "t"),
			"login must be sent again: connector.class changed",
		},
		"the same class by another name":           {mask("connector.class", "java.KafkaSource"), ""},
		"a secret is taken away with the server":   {mask("kafka.bootstrap.server", "other:1", "login", "", "kafka.client.password", ""), ""},
		"another secret in the place of the first": {mask("login", "mine"), ""},
	}
	for name, tc := range cases {
		for _, route := range []string{"PUT", "validate", "update"} {
			t.Run(name+"/"+route, func(t *testing.T) {
				w := newWorld(t, nil)
				before := w.source("src")
				rec := writing[route](w, tc.cfg)
				body := rec.Body.String()
				if ok := rec.Code == 200 &&
					!strings.Contains(body, `"valid":false`); ok != (tc.wantText == "") ||
					!strings.Contains(body, tc.wantText) {
					t.Errorf("got %d %s, want %q", rec.Code, body, tc.wantText)
				}
				if tc.wantText != "" && route != "validate" && rec.Code != 422 {
					t.Errorf("got %d, want 422", rec.Code)
				}
				after, _ := w.configs.Get("src")
				if tc.wantText != "" && !maps.Equal(after.Config, before.Config) || after.Config["kafka.bootstrap.server"] == elsewhere {
					t.Errorf("stored %v", after.Config)
				}
			})
		}
	}
}
