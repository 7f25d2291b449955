package rest

import (
	"net/url"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func TestControlCharactersAreRefusedByEveryRoute(t *testing.T) {
	cases := map[string]struct {
		key, value, want string // want is a part of the refusal; empty: accepted
	}{
		"a certificate":    {"login", "-----BEGIN X-----\r\nMII\n\t-----END X-----\n", ""},
		"a NUL in a value": {"login", "x\x00hunter2", "login holds the control character U+0000 at byte 1 of its value"},
		"an escape":        {"mode", "\x1b[31m", "mode holds the control character U+001B at byte 0"},
		"a NUL in a name":  {"a\x00b", "x", `whose name holds U+0000 at byte 1`},
		"a newline there":  {"a\nb", "x", `whose name holds U+000A at byte 1`},
	}
	for name, tc := range cases {
		for route, ask := range writing {
			t.Run(name+"/"+route, func(t *testing.T) {
				w, log := readable(t)
				rec := ask(w, map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1", tc.key: tc.value})
				body := rec.Body.String()
				refused := rec.Code == 422 || rec.Code == 200 && strings.Contains(body, `"valid":false`)
				if refused != (tc.want != "") || !strings.Contains(body, tc.want) || strings.ContainsAny(strings.TrimSpace(body), "\x00\x1b\n") {
					t.Errorf("got %d %q, want %q", rec.Code, body, tc.want)
				}
				if strings.Contains(body+log.String(), "hunter2") {
					t.Errorf("the secret is shown: %s %s", body, log)
				}
			})
		}
	}
}

func TestKeysThatAreThereTwiceAreRefusedByEveryRoute(t *testing.T) {
	const one = restapi.Prefix + "/connectors/src"
	cases := map[string]struct{ method, target, body, want string }{
		"a setting": {
			"POST",
			restapi.Prefix + "/connectors",
			`{"name":"n","config":{"kafka.topics":"t","kafka.topics":"u"}}`,
			`the key \"kafka.topics\" is there twice in config (byte 55)`,
		},
		"a setting, once escaped": {"PUT", one, `{"config":{"login":"a","log\u0069n":"b"}}`, `the key \"login\" is there twice in config`},
		"the config":              {"PUT", one, `{"config":{"login":"a"},"config":{"poll":"1"}}`, `the key \"config\" is there twice (byte`},
		"a field in another case": {"PUT", one, `{"config":{"login":"a"},"Config":{"poll":"1"}}`, `the key \"Config\" is there twice (byte`},
		"a state":                 {"PUT", one + "/state", `{"state":"Paused","state":"Running"}`, `the key \"state\" is there twice`},
		"what is only checked": {
			"PUT",
			restapi.Prefix + "/validate",
			`{"name":"n","config":{"login":"a","login":"b"}}`,
			`the key \"login\" is there twice in config`,
		},
		"an older new connector": {
			"GET",
			`/connectors/create/n?config={"kafka.topics":"t","kafka.topics":"u"}`,
			"",
			`failed! config: the key "kafka.topics" is there twice (byte 34): send it once`,
		},
		"an older change": {
			"GET",
			`/connectors/update/src?config={"login":"a","login":"b"}`,
			"",
			`failed! config: the key "login" is there twice`,
		},
		"an older change, encoded": {
			"GET",
			`/connectors/update/src?config=` + url.QueryEscape(`{"login":"a","login":"b"}`),
			"",
			`failed! config: the key "login" is there twice`,
		},
		"an older config": {
			"GET",
			`/connectors/update/src?config={"poll":"1"}&x=1&config={"poll":"2"}`,
			"",
			`failed! the query parameter config is there twice`,
		},
		"an older config of objects": {
			"GET",
			`/connectors/update/src?config={"login":{"a":1,"a":2}}`,
			"",
			`failed! config: the key "a" is there twice in login`,
		},
		"an older config, in brackets": {
			"GET",
			`/connectors/update/src?config={"login":[{"a":1,"a":2}]}`,
			"",
			`failed! config: the key "a" is there twice in login[0]`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, nil)
			before := w.source("src")
			rec := w.do(tc.method, tc.target, tc.body)
			if rec.Code != 400 || !strings.Contains(rec.Body.String(), tc.want) {
				t.Errorf("got %d %s, want 400 and %q", rec.Code, rec.Body, tc.want)
			}
			if after := w.configs.All(); len(after) != 1 || after[0].Revision != before.Revision {
				t.Errorf("stored %v", after)
			}
		})
	}
}
