package queryconfig

import (
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	cases := map[string]struct {
		query   string
		want    map[string]string
		wantErr string
	}{
		"plain as curl -g sends it":        {`config={"a":"b"}`, map[string]string{"a": "b"}, ""},
		"percent-encoded by a browser":     {`config=%7B%22a%22:%22b%20c%22%7D`, map[string]string{"a": "b c"}, ""},
		"encoded as a form":                {"config=" + url.QueryEscape(`{"a":"b c+d"}`), map[string]string{"a": "b c+d"}, ""},
		"a plain plus is a plus":           {`config={"a":"1+1"}`, map[string]string{"a": "1+1"}, ""},
		"plain with escapes":               {`config={"a":"x%20y"}`, map[string]string{"a": "x y"}, ""},
		"plain & and ; and a stray % stay": {`config={"a":"x&y;z%"}`, map[string]string{"a": "x&y;z%"}, ""},
		"parameters around it":             {`x=1&config={"a":"b"}&y=2`, map[string]string{"a": "b"}, ""},
		"numbers and booleans":             {`config={"a":5,"b":true,"c":1.50}`, map[string]string{"a": "5", "b": "true", "c": "1.50"}, ""},
		"none":                             {"", nil, "config is required"},
		"an empty one":                     {"config=", nil, "config is required"},
		"another one":                      {"reconfig={}", nil, "config is required"},
		"no JSON":                          {"config=a", nil, "must be a JSON object"},
		"JSON that is no object":           {"config=[1]", nil, "must be a JSON object"},
		"a null":                           {"config=null", nil, "must be a JSON object"},
		"more after it":                    {`config={"a":"b"}}`, nil, "must be a JSON object"},
		"an object without settings":       {"config={}", nil, "config is empty"},
		"a list as value":                  {`config={"a":[]}`, nil, "a must be a string"},
		"a null as value":                  {`config={"a":null}`, nil, "a must not be null"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Parse(tc.query)
			if (err == nil) != (tc.wantErr == "") || err != nil && !strings.Contains(err.Error(), tc.wantErr) {
				t.Fatalf("error %v, want %q", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("config (-want +got):\n%s", diff)
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	for _, seed := range []string{`config={"a":"b"}`, "config=%7B%7D", "a&config=%", `config={"a":1}&`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		cfg, err := Parse(query)
		if err == nil && len(cfg) == 0 {
			t.Error("neither config nor error")
		}
	})
}
