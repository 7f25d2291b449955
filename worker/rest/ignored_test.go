package rest

import (
	"maps"
	"strings"
	"testing"
)

func TestSettingsThatWouldChangeRecordsAreNotIgnored(t *testing.T) {
	const source, sink = "kafka.topics", "topicNames"
	cases := map[string]struct {
		direction, key, value string
		want                  string // of the refusal; empty: accepted
	}{
		"transforms":           {source, "transforms", "mask", "transforms: this worker cannot transform records yet"},
		"transforms of a sink": {sink, "transforms", "mask", "transforms: this worker cannot transform records yet"},
		"a setting of a transform": {
			source,
			"transforms.mask.fields",
			"card",
			"transforms.mask.fields: this worker cannot transform records yet",
		},
		"a converter": {source, "value.converter", "Avro", "value.converter: this worker cannot convert records yet"},
		"a setting of a converter": {
			sink,
			"key.converter.schemas.enable",
			"true",
			"key.converter.schemas.enable: this worker cannot convert records yet",
		},
		"a converter of headers": {sink, "header.converter", "Simple", "header.converter: this worker cannot convert records yet"},
		"a topic for all records": {
			source,
			"connect.topicname",
			"t",
			"connect.topicname: this worker cannot send all records to one topic",
		},
		"one in the older spelling": {
			source,
			"connect-topicname",
			"t",
			"connect-topicname: this worker cannot send all records to one topic",
		},
		"dead letters of a source": {
			source,
			"errors.deadletterqueue.topic.name",
			"dead",
			"errors.deadletterqueue.topic.name: a source has no dead letters yet",
		},
		"dead letters of a sink":         {sink, "errors.deadletterqueue.topic.name", "dead", ""},
		"tolerance of a source":          {source, "errors.tolerance", "all", ""},
		"transforms that are taken back": {source, "transforms", "", ""},
		"no dead letters of a source":    {source, "errors.deadletterqueue.topic.name", "", ""},
		"what the class passes through":  {source, "kafka.client.value.converter", "x", ""},
		"the older converter of sources": {source, "source-record-converter", "x", ""},
	}
	for name, tc := range cases {
		for _, route := range []string{"POST", "PUT new", "PUT", "validate", "create", "update"} {
			if tc.direction == sink && (route == "update" || route == "PUT" || route == "validate") {
				continue // what is stored is a source
			}
			if strings.HasPrefix(tc.key, "kafka.client.") && route == "update" {
				continue // it may say where the stored secrets go
			}
			t.Run(name+"/"+route, func(t *testing.T) {
				w := newWorld(t, nil)
				before := w.source("src")
				rec := writing[route](w, map[string]string{tc.direction: "t", "kafka.bootstrap.server": "h:1", tc.key: tc.value})
				body := rec.Body.String()
				refused := rec.Code == 422 || rec.Code == 200 && strings.Contains(body, `"valid":false`)
				if refused != (tc.want != "") || !strings.Contains(body, tc.want) {
					t.Errorf("got %d %s, want %q", rec.Code, body, tc.want)
				}
				after, _ := w.configs.Get("src")
				if _, made := w.configs.Get("n"); refused && (made || !maps.Equal(after.Config, before.Config)) {
					t.Error("it is stored")
				}
			})
		}
	}
}

func TestDeadLettersWithoutToleranceAreWarnedOf(t *testing.T) {
	const key, want = "errors.deadletterqueue.topic.name", "has no effect unless errors.tolerance is all"
	for tolerance, warned := range map[string]bool{"": true, "none": true, "all": false, "ALL": false} {
		w := newWorld(t, nil)
		cfg := map[string]string{"topicNames": "t", "kafka.bootstrap.server": "h:1", key: "dead"}
		if tolerance != "" {
			cfg["errors.tolerance"] = tolerance
		}
		rec := writing["POST"](w, cfg)
		if got := strings.Contains(strings.Join(rec.Header().Values("Warning"), "\n")+rec.Body.String(), want); rec.Code >= 300 || got != warned {
			t.Errorf("tolerance %q: %d %s %s, want a warning: %t", tolerance, rec.Code, rec.Header(), rec.Body, warned)
		}
	}
}
