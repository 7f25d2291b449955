package reference

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestIn(t *testing.T) {
	cases := map[string]struct {
		value string
		want  []Reference
	}{
		"plain text":                {"hunter2", nil},
		"a property of a file":      {"${file:/etc/x:password}", []Reference{{File, "/etc/x", "password"}}},
		"a key with a colon":        {"${file:/etc/x:a:b}", []Reference{{File, "/etc/x", "a:b"}}},
		"a file of a folder":        {"${dir:/etc/x:password}", []Reference{{Dir, "/etc/x", "password"}}},
		"a variable":                {"${env:PASSWORD}", []Reference{{Env, "", "PASSWORD"}}},
		"a key of a mounted secret": {"${secret:kafka:password}", []Reference{{Secret, "kafka", "password"}}},
		"several in one value": {
			`x required username="${secret:kafka:user}" password="${secret:kafka:password}";`,
			[]Reference{{Secret, "kafka", "user"}, {Secret, "kafka", "password"}},
		},
		"one behind another":                {"${env:A}${env:A}", []Reference{{Env, "", "A"}, {Env, "", "A"}}},
		"the placeholder of a rename":       {"${topic}", nil},
		"a provider that is none":           {"${vault:a:b}", nil},
		"providers are in lower case":       {"${Secret:a:b}", nil},
		"one behind what is none":           {"${topic}-${env:A}", []Reference{{Env, "", "A"}}},
		"one inside what is none":           {"${x${env:A}}", []Reference{{Env, "", "A"}}},
		"without an end":                    {"${secret:kafka:password", nil},
		"without a provider":                {"${}${:}${:a:b}", nil},
		"without a key":                     {"${secret:kafka}", []Reference{{Secret, "kafka", ""}}},
		"nothing but a provider":            {"${env:}", []Reference{{Env, "", ""}}},
		"one inside another is not a third": {"${file:/a:${env:B}}", []Reference{{File, "/a", "${env:B"}}},
		"a dollar before one":               {"$${env:A}", []Reference{{Env, "", "A"}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, In(tc.value)); diff != "" {
				t.Errorf("references (-want +got):\n%s", diff)
			}
		})
	}
}

func TestExpand(t *testing.T) {
	cases := map[string]struct{ value, want string }{
		"text stays": {"a ${topic} ${vault:a:b}", "a ${topic} ${vault:a:b}"},
		"each is replaced": {
			`user="${secret:k:u}" password="${secret:k:p}";`,
			`user="<secret k u>" password="<secret k p>";`,
		},
		"what it stands for is not read again": {"${env:AGAIN}", "${env:B}"},
		"text around it stays":                 {"a${env:B}c", "a<env  B>c"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := Expand(tc.value, func(r Reference) string {
				if r.Key == "AGAIN" {
					return "${env:B}"
				}
				return "<" + r.Provider + " " + r.Path + " " + r.Key + ">"
			})
			if got != tc.want {
				t.Errorf("got %q, want %q", got, tc.want)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	cases := map[string]struct{ value, want string }{
		"a property":                  {"${file:/etc/x/y.properties:a.b}", ""},
		"a file":                      {"${dir:/etc/x:tls.key}", ""},
		"a variable":                  {"${env:MY_PASSWORD1}", ""},
		"a mounted secret":            {"${secret:kafka-1.users:sasl.password}", ""},
		"a file with a relative path": {"${file:x:a}", "the path is absolute"},
		"a file above":                {"${file:/etc/x/../y:a}", "without .."},
		"a file without a key":        {"${file:/etc/x:}", "write ${file:/path/of/the/file:key}"},
		"nothing but a file":          {"${file:/etc/x}", "write ${file:/path/of/the/file:key}"},
		"a name of dots in a path":    {"${file:/etc/x..y/...:a}", ""},
		"a folder above":              {"${dir:/etc/..:a}", "write ${dir:"},
		"a file above its folder":     {"${dir:/etc/x:..}", "write ${dir:"},
		"a file below its folder":     {"${dir:/etc/x:a/b}", "write ${dir:"},
		"an absolute file":            {"${dir:/etc/x:/etc/passwd}", "write ${dir:"},
		"a relative folder":           {"${dir:x:a}", "the path is absolute"},
		"a secret above":              {"${secret:..:a}", "write ${secret:name:key}"},
		"a secret of a path":          {"${secret:a/b:c}", "write ${secret:name:key}"},
		"an absolute secret":          {"${secret:/etc:passwd}", "write ${secret:name:key}"},
		"a key above":                 {"${secret:a:../b}", "write ${secret:name:key}"},
		"a key that is its folder":    {"${secret:a:.}", "write ${secret:name:key}"},
		"a key of Windows":            {`${secret:a:..\b}`, "write ${secret:name:key}"},
		"a secret without a key":      {"${secret:a}", "write ${secret:name:key}"},
		"a secret without a name":     {"${secret::a}", "write ${secret:name:key}"},
		"a variable without a name":   {"${env:}", "write ${env:NAME}"},
		"a variable of two":           {"${env:A:B}", "write ${env:NAME}"},
		"a variable that is none":     {"${env:A-B}", "write ${env:NAME}"},
		"one inside another":          {"${secret:a:${env:B}}", "no other one inside"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			refs := In(tc.value)
			if len(refs) != 1 {
				t.Fatalf("references %v", refs)
			}
			err := refs[0].Check()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// plain is split without any cleverness: it looks for a reference at each byte.
func plain(value string) (out []string) {
	for i := 0; i < len(value); i++ {
		end := strings.IndexByte(value[i:], '}')
		if !strings.HasPrefix(value[i:], "${") || end < 0 {
			continue
		}
		for _, form := range []string{"env:", "file:", "dir:", "secret:"} {
			if strings.HasPrefix(value[i+2:i+end], form) {
				out = append(out, value[i:i+end+1])
				i += end
				break
			}
		}
	}
	return out
}

func FuzzIn(f *testing.F) {
	for _, seed := range []string{"", "${env:A}", "${${env:A}}", "${file:/a:b}${", "a ${topic} ${secret:k:p}}", "${dir:a}",
		"${secret:a:${env:b}}"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		got := In(value)
		for _, r := range got {
			if again := In(r.String()); len(again) != 1 || again[0] != r {
				t.Errorf("%v reads as %v", r, again)
			}
			if r.Check() == nil && r.Provider != Env &&
				(strings.Contains("/"+r.Path+"/", "/../") || r.Provider != File && strings.Contains(r.Key, "/")) {
				t.Errorf("%v leads up", r)
			}
		}
		var want []Reference
		for _, text := range plain(value) {
			want = append(want, In(text)...)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("references of %q (-want +got):\n%s", value, diff)
		}
		written := Expand(value, func(r Reference) string { return "" })
		for _, text := range plain(value) {
			value = strings.Replace(value, text, "", 1)
		}
		if written != value {
			t.Errorf("without references %q, want %q", written, value)
		}
	})
}
