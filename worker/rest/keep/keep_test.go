package keep

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
)

func TestMaskedSettingsAreTheStoredOnes(t *testing.T) {
	out, kept, missing := Masked(map[string]string{"a": redact.Mask, "b": "new", "c": redact.Mask, "d": redact.Mask},
		map[string]string{"a": "old", "b": "old", "d": ""})
	want := map[string]string{"a": "old", "b": "new", "c": redact.Mask, "d": ""}
	if diff := cmp.Diff(want, out); diff != "" || strings.Join(kept, " ") != "a d" || strings.Join(missing, " ") != "c" {
		t.Errorf("kept %q, missing %q, config (-want +got):\n%s", kept, missing, diff)
	}
	if out, _, _ := Masked(nil, nil); out == nil {
		t.Error("no config at all becomes a nil map")
	}
}

func TestCheck(t *testing.T) {
	spec := connector.Spec{Class: "A", Prefixes: []string{"client."}, Keys: []connector.Key{
		{
			Name:        "server",
			Destination: true,
		},
		{Name: "protocol", Default: "plain", Destination: true},
		{Name: "topics"},
		{Name: "pin", Secret: true},
	}}
	stored := map[string]string{"server": "s:1", "topics": "t", "pin": "4711", "old.password": "p", "unheard.of": "x", "client.x": "1",
		"client.password": "p", "url": "http://ann:p@h", "empty.password": ""}
	all := []string{"server", "topics", "pin", "old.password", "unheard.of", "client.x", "client.password", "url", "empty.password"}
	everySecret := "client.password client.x old.password pin url"
	cases := map[string]struct {
		change map[string]string
		class  string
		kept   []string
		// want are the secrets that are not kept, changed what moved them.
		want, changed string
	}{
		"nothing changes":                           {nil, "A", all, "", ""},
		"what is no destination changes":            {map[string]string{"topics": "u"}, "A", all, "", ""},
		"a default is written down":                 {map[string]string{"protocol": "plain"}, "A", all, "", ""},
		"blanks are added":                          {map[string]string{"server": " s:1 "}, "A", all, "", ""},
		"a secret of the pass-through changes":      {map[string]string{"client.password": "q"}, "A", []string{"pin"}, "", ""},
		"the server changes":                        {map[string]string{"server": "s:2"}, "A", all, everySecret, "server"},
		"the server changes and the secret is sent": {map[string]string{"server": "s:2", "pin": "1"}, "A", []string{"topics"}, "", ""},
		"a default changes":                         {map[string]string{"protocol": "tls"}, "A", []string{"pin"}, "pin", "protocol"},
		"two change": {
			map[string]string{"protocol": "tls", "server": "s:2"},
			"A",
			[]string{"pin"},
			"pin",
			"server and protocol",
		},
		"what is passed through changes": {map[string]string{"client.x": "2"}, "A", []string{"pin"}, "pin", "client.x"},
		"what is passed through comes":   {map[string]string{"client.y": "2"}, "A", []string{"pin"}, "pin", "client.y"},
		"the class changes, which may know them all": {
			nil,
			"B",
			all,
			"client.password client.x old.password pin unheard.of url",
			"connector.class",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			after := maps.Clone(stored)
			maps.Copy(after, tc.change)
			afterSpec := spec
			afterSpec.Class = tc.class
			var got []string
			for _, e := range Check(Config{stored, spec}, Config{after, afterSpec}, tc.kept) {
				got = append(got, e.Key)
				if want := e.Key + " must be sent again: " + tc.changed + " changed"; !strings.HasPrefix(e.Error(), want) {
					t.Errorf("error %q, want %q", e, want)
				}
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("secrets that are not kept (-want +got):\n%s", diff)
			}
		})
	}
}
