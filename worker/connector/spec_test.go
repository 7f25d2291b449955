package connector

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCheckNamesEverySettingThatIsWrong(t *testing.T) {
	spec := Spec{Class: "Thing", Prefixes: []string{"thing.client."}, Keys: []Key{
		{Name: "url", Type: String, Required: true, Doc: "where the thing is"},
		{Name: "size", Type: Int, Default: "3"},
		{Name: "wait", Type: Duration},
		{Name: "mode", Enum: []string{"fast", "safe"}},
		{Name: "pin", Type: Int, Secret: true},
		{Name: "topics", Type: List},
	}}
	list := func(n int) string { return strings.TrimSuffix(strings.Repeat("t,", n), ",") }
	distinct := func(n int) string {
		var names []string
		for i := range n {
			names = append(names, fmt.Sprint(i))
		}
		return strings.Join(names, ",")
	}
	reserved := func(k string) bool { return k == "tasks.num" }
	cases := map[string]struct {
		cfg         Config
		wantUnknown []string
		wantErr     []string
	}{
		"all good":         {cfg: Config{"url": "u", "size": "1", "wait": "2s", "mode": "safe", "tasks.num": "2", "thing.client.x": "y"}},
		"required missing": {cfg: Config{}, wantErr: []string{"url is required by Thing: where the thing is"}},
		"wrong forms": {
			cfg:     Config{"url": "u", "size": "big", "wait": "soon", "mode": "slow"},
			wantErr: []string{`size must be a whole number, not "big"`, `wait must be a duration`, `mode must be one of fast, safe, not "slow"`},
		},
		"the longest list": {cfg: Config{"url": "u", "topics": distinct(MaxList)}},
		"a longer list": {
			cfg:     Config{"url": "u", "topics": distinct(10_000)},
			wantErr: []string{"topics has 10000 entries, and 4096 are allowed: divide them among several connectors"},
		},
		"a list that says the same again and again": {cfg: Config{"url": "u", "topics": list(10_000)}},
		"a secret is not shown":                     {cfg: Config{"url": "u", "pin": "hunter2"}, wantErr: []string{"pin must be a whole number"}},
		"unknown keys, sorted":                      {cfg: Config{"url": "u", "zz": "1", "aa": "2"}, wantUnknown: []string{"aa", "zz"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			unknown, err := spec.Check(tc.cfg, reserved)
			if d := cmp.Diff(tc.wantUnknown, unknown); d != "" {
				t.Error(d)
			}
			if (err != nil) != (len(tc.wantErr) > 0) {
				t.Fatalf("error %v, want %q", err, tc.wantErr)
			}
			for _, w := range tc.wantErr {
				if !strings.Contains(err.Error(), w) {
					t.Errorf("error %q lacks %q", err, w)
				}
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Error("the error shows a secret")
			}
		})
	}
}

func TestParseDurationTakesMillisecondsAndGoForms(t *testing.T) {
	for in, want := range map[string]time.Duration{"1500": 1500 * time.Millisecond, "2s": 2 * time.Second, "0": 0} {
		if got, err := ParseDuration(in); err != nil || got != want {
			t.Errorf("%q: %v, %v; want %v", in, got, err, want)
		}
	}
	if _, err := ParseDuration("soon"); err == nil {
		t.Error(`"soon" was taken`)
	}
}
