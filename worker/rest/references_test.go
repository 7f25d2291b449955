package rest

import (
	"maps"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/store"
)

// referring makes a world whose secret kafka has the keys password (hunter2) and number (3).
func referring(t *testing.T, only bool) *world {
	dir := t.TempDir()
	for key, value := range map[string]string{"password": "hunter2", "number": "3", "mode": "hunter2"} {
		if err := os.MkdirAll(filepath.Join(dir, "kafka"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "kafka", key), []byte(value+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return newWorld(t, func(c *Config, b *Backends) {
		b.Secrets, c.ReferencesOnly = secret.New(secret.Config{Mounted: dir}), only
		b.Local = func() []compat.LocalTask { return []compat.LocalTask{{Connector: "src", Task: 0, State: "Running"}} }
	})
}

func ok(rec *httptest.ResponseRecorder) bool {
	return rec.Code/100 == 2 && !strings.Contains(rec.Body.String(), `"valid":false`)
}

func TestReferencesInConfigs(t *testing.T) {
	const ref = "${secret:kafka:password}"
	cases := map[string]struct {
		change  map[string]string
		want    string // of the refusal; empty: accepted
		warning string
	}{
		"a secret":                         {map[string]string{"login": ref}, "", ""},
		"a number, which the class checks": {map[string]string{"poll": "${secret:kafka:number}"}, "", ""},
		"a number that is none":            {map[string]string{"poll": ref}, "poll must be a whole number, not ", ""},
		"a value that is not allowed":      {map[string]string{"mode": "${secret:kafka:mode}"}, "mode must be one of fast, safe, not ", ""},
		"one that the class tells": {
			map[string]string{"kafka.topics": "tell all", "login": ref},
			"kafka.topics cannot be read by ",
			"",
		},
		"one that is told in a panic": {map[string]string{"kafka.topics": "panic with all", "login": ref}, "panic: ", ""},
		"one that is not there yet": {
			map[string]string{"login": "${secret:kafka:later}"},
			"",
			"login refers to ${secret:kafka:later}: the file does not exist",
		},
		"a number that is not there yet": {
			map[string]string{"poll": "${secret:kafka:later}"},
			"",
			"poll refers to ${secret:kafka:later}: the file does not exist",
		},
		"and a number that is none beside it": {
			map[string]string{"poll": "x", "login": "${secret:kafka:later}"},
			"poll must be a whole number",
			"",
		},
		"what the class needs of a value": {map[string]string{"kafka.topics": "needs a name", "login": ref}, "login must have name=", ""},
		"and of one that is not there yet": {
			map[string]string{"kafka.topics": "needs a name", "login": "${secret:kafka:later}"},
			"",
			"login refers to ${secret:kafka:later}: the file does not exist",
		},
		"a form that is none": {
			map[string]string{"login": "${secret:kafka}"},
			"login refers to ${secret:kafka}: write ${secret:name:key}",
			"",
		},
		"what leads up": {
			map[string]string{"login": "${secret:..:x}"},
			"login refers to ${secret:..:x}: write ${secret:name:key}",
			"",
		},
		"a folder that is not allowed": {
			map[string]string{"login": "${file:/etc/passwd:root}"},
			"login refers to ${file:/etc/passwd:root}: this worker reads secrets in ",
			"",
		},
		"a variable that is not allowed": {
			map[string]string{"login": "${env:HOME}"},
			"login refers to ${env:HOME}: this worker gives connectors no such variable: add HOME to secretEnv",
			"",
		},
		"a topic": {
			map[string]string{"kafka.topics": "a", "topics": ref},
			"topics refers to " + ref + ": workers store and show what it says",
			"",
		},
		"what the worker obeys": {
			map[string]string{"errors.tolerance": ref},
			"errors.tolerance refers to " + ref + ": workers store and show what it says",
			"",
		},
		"a secret in the clear": {map[string]string{"login": "hunter2"}, "", "login: a secret in the clear is stored in RocketMQ"},
		"what nobody resolves": {
			map[string]string{"login": "${vault:a:b}"},
			"",
			"login: a secret in the clear is stored in RocketMQ",
		},
		"the placeholder of topics": {map[string]string{"topic.rename.format": "x-${topic}"}, "", ""},
	}
	for name, tc := range cases {
		for route, ask := range writing {
			t.Run(name+"/"+route, func(t *testing.T) {
				w := referring(t, false)
				w.configs.Set(
					store.Connector{
						Name:     "src",
						Config:   map[string]string{"kafka.topics": "a", "kafka.bootstrap.server": "h:1"},
						State:    states.WantRunning,
						Epoch:    1,
						Revision: 1,
					},
				)
				cfg := map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1"}
				maps.Copy(cfg, tc.change)
				rec := ask(w, cfg)
				body := rec.Body.String()
				if ok(rec) != (tc.want == "") || !strings.Contains(body, tc.want) || !strings.Contains(body, tc.warning) {
					t.Errorf("got %d %s, want %q %q", rec.Code, body, tc.want, tc.warning)
				}
				if tc.warning == "" && ok(rec) && strings.Contains(body, "in the clear") {
					t.Errorf("it is warned of: %s", body)
				}
				if strings.Contains(body, "hunter2") {
					t.Errorf("the value is shown: %s", body)
				}
			})
		}
	}
}

func TestWhereOnlyReferencesMayBe(t *testing.T) {
	const refusal = ": a secret in the clear is refused by workers with config.secrets=reference-only: write a reference in its " +
		"place, such as ${secret:name:key}"
	cases := map[string]struct {
		change map[string]string
		want   string
	}{
		"a reference": {map[string]string{"login": "${secret:kafka:password}"}, ""},
		"in a JAAS line": {
			map[string]string{"kafka.client.jaas": `x.Y required username="ann" password="${secret:kafka:password}";`},
			"",
		},
		"no secret at all":              {map[string]string{"mode": "fast"}, ""},
		"one of the class in the clear": {map[string]string{"login": "hunter2"}, "login" + refusal},
		"one whose name says so":        {map[string]string{"x.password": "hunter2"}, "x.password" + refusal},
		"one that no class knows":       {map[string]string{"pin": "hunter2"}, "pin" + refusal},
		"a JAAS line with a password": {
			map[string]string{"kafka.client.jaas": `x.Y required username="ann" password="hunter2";`},
			"kafka.client.jaas" + refusal,
		},
		"half of it": {map[string]string{"login": "hunter2${secret:kafka:number}"}, "login" + refusal},
		"the password of a URL": {
			map[string]string{"kafka.bootstrap.server": "http://ann:hunter2@h"},
			"kafka.bootstrap.server" + refusal,
		},
		"the reference of another system": {map[string]string{"login": "${vault:hunter2:b}"}, "login" + refusal},
	}
	for name, tc := range cases {
		for route, ask := range writing {
			t.Run(name+"/"+route, func(t *testing.T) {
				w := referring(t, true)
				before := map[string]string{"kafka.topics": "a", "kafka.bootstrap.server": "h:1"}
				w.configs.Set(store.Connector{Name: "src", Config: before, State: states.WantRunning, Epoch: 1, Revision: 1})
				cfg := map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1"}
				maps.Copy(cfg, tc.change)
				rec := ask(w, cfg)
				body := rec.Body.String()
				if ok(rec) != (tc.want == "") || !strings.Contains(body, tc.want) || strings.Contains(body, "hunter2") {
					t.Errorf("got %d %s, want %q", rec.Code, body, tc.want)
				}
				if refused := tc.want != "" && route != "validate"; refused && rec.Code != 422 {
					t.Errorf("got %d, want 422", rec.Code)
				}
				after, _ := w.configs.Get("src")
				if _, made := w.configs.Get("n"); tc.want != "" && (made || !maps.Equal(after.Config, before)) {
					t.Error("it is stored")
				}
			})
		}
	}
}

// A reference is no secret of whoever wrote it: it is shown, and stays where the config goes elsewhere.
func TestReferencesAreShownAndKept(t *testing.T) {
	const ref, jaas = "${secret:kafka:password}", `x.Y required username="ann" password="${secret:kafka:password}";`
	stored := map[string]string{"kafka.topics": "a", "kafka.bootstrap.server": "h:1", "login": ref, "kafka.client.jaas": jaas}
	w := referring(t, false)
	w.configs.Set(
		store.Connector{Name: "src", Config: stored, State: states.WantRunning, Epoch: 1, Revision: 1, Tasks: []map[string]string{stored}},
	)
	for _, route := range showing {
		body := w.get(strings.Replace(route, "{}", "src", 1))
		if strings.Contains(body, "hunter2") || strings.Contains(body, restapi.Mask) ||
			!strings.HasSuffix(route, "/status") && !strings.Contains(body, ref) {
			t.Errorf("%s: %s", route, body)
		}
	}
	moved := map[string]string{"kafka.topics": "a", "kafka.bootstrap.server": "other:1", "login": restapi.Mask, "kafka.client.jaas": jaas}
	if rec := writing["PUT"](w, moved); rec.Code != 200 {
		t.Errorf("another server: %d %s", rec.Code, rec.Body)
	}
	if rec := w.query("/connectors/update/src", map[string]string{"kafka.bootstrap.server": "third:1"}); rec.Code != 200 {
		t.Errorf("another server by the older route: %d %s", rec.Code, rec.Body)
	}
	after, _ := w.configs.Get("src")
	if after.Config["login"] != ref || after.Config["kafka.bootstrap.server"] != "third:1" {
		t.Errorf("stored %v", after.Config)
	}
}

func TestWithoutSecretsFormsAreChecked(t *testing.T) {
	w := newWorld(t, nil)
	for value, want := range map[string]string{"${secret:kafka:password}": "", "${file:/etc/x:a}": "",
		"${secret:kafka}": "write ${secret:name:key}"} {
		rec := writing["validate"](w, map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1", "poll": value})
		if body := rec.Body.String(); ok(rec) != (want == "") || !strings.Contains(body, want) || strings.Contains(body, "does not exist") {
			t.Errorf("%s: %d %s", value, rec.Code, body)
		}
	}
}
