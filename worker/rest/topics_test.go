package rest

import (
	"encoding/json"
	"testing"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/resttest"
	"github.com/rocketmq-connect/operator/worker/store"
)

// The worker knows no other system's settings: each class says which of its own name topics, and which tell that it is
// meant.
func TestTopicsAreThoseThatTheClassNames(t *testing.T) {
	classes := resttest.Catalog{
		{Described: connector.Spec{Class: "QueueSource", Kind: connector.KindSource, ImpliedBy: []string{"queue.names"}, Keys: []connector.Key{
			{Name: "queue.names", Type: connector.List, Topics: true}, {Name: "queue.hidden", Type: connector.List, Topics: true, Secret: true},
			{Name: "queue.others", Type: connector.List}}}},
		{
			Described: connector.Spec{
				Class: "QueueSink",
				Kind:  connector.KindSink,
				Keys:  []connector.Key{{Name: "topicNames", Type: connector.List}},
			},
		},
	}
	cases := map[string]struct {
		cfg       map[string]string
		wantClass string
		want      []string
	}{
		"a source": {
			map[string]string{"connector.class": "QueueSource", "queue.names": "b; a,b"},
			"QueueSource",
			[]string{"a", "b"},
		},
		"a source that is not named":    {map[string]string{"queue.names": "a"}, "QueueSource", []string{"a"}},
		"one whose records are renamed": {map[string]string{"queue.names": "a", "topic.rename.format": "x-${topic}"}, "QueueSource", nil},
		"one whose records keep the name": {
			map[string]string{"queue.names": "a", "topic.rename.format": "${topic}"},
			"QueueSource",
			[]string{"a"},
		},
		"topics that are secret":   {map[string]string{"queue.names": "a", "queue.hidden": "b"}, "QueueSource", []string{"a"}},
		"what names none":          {map[string]string{"queue.names": "a", "queue.others": "b"}, "QueueSource", []string{"a"}},
		"another source's setting": {map[string]string{"queue.names": "a", "kafka.topics": "b"}, "QueueSource", []string{"a"}},
		"a sink": {
			map[string]string{"connector.class": "QueueSink", "topicNames": "b,a", "queue.names": "c"},
			"QueueSink",
			[]string{"a", "b"},
		},
		"a class that is not here": {map[string]string{"connector.class": "Other", "queue.names": "a", "topicNames": "b"}, "Other", nil},
		"no class":                 {map[string]string{"kafka.topics": "a", "topicNames": "b", "kafka.bootstrap.server": "h"}, "", nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(_ *Config, b *Backends) { b.Catalog = classes })
			w.configs.Set(store.Connector{Name: "c", Config: tc.cfg, State: states.WantRunning, Epoch: 1, Revision: 1})
			var got restapi.ConnectorStatus
			if err := json.Unmarshal([]byte(w.get(restapi.Prefix+"/connectors/c/status")), &got); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got.Topics); diff != "" || got.Class != tc.wantClass {
				t.Errorf("class %q, want %q; topics (-want +got):\n%s", got.Class, tc.wantClass, diff)
			}
		})
	}
}
