package config

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestProperties(t *testing.T) {
	cases := map[string]struct {
		file string
		want map[string]string
	}{
		"name and value": {"user=kafka\npassword=hunter2\n", map[string]string{"user": "kafka", "password": "hunter2"}},
		"a colon, a blank, and blanks around it": {
			"a:1\nb 2\nc = 3\nd\t:\t4\ne=:5\n",
			map[string]string{"a": "1", "b": "2", "c": "3", "d": "4", "e": ":5"},
		},
		"blanks at the end and # belong to it":    {"a=hunter2 \nb=x #y\n", map[string]string{"a": "hunter2 ", "b": "x #y"}},
		"comments and empty lines":                {"# a=1\n! b=2\n\n  \nc=3", map[string]string{"c": "3"}},
		"lines that go on":                        {"a=x\\\n   y\\\n#z\nb=1\\\\\nc=2", map[string]string{"a": "xy#z", "b": `1\`, "c": "2"}},
		"escapes":                                 {`a\ b\=c=\t\n\r\f\\\q\"` + "\n", map[string]string{"a b=c": "\t\n\r\f\\q\""}},
		"code units, halves of a character too":   {`a=\u00e4\ud83d\ude00x` + "\n", map[string]string{"a": "ä😀x"}},
		"a half without the other":                {`a=\ud83dx` + "\n", map[string]string{"a": "\ufffdx"}},
		"UTF-8 and a byte order mark":             {"\ufeffa=ä😀\r\nb=2\r\n", map[string]string{"a": "ä😀", "b": "2"}},
		"a name alone, and none":                  {"a\n=b\n", map[string]string{"a": "", "": "b"}},
		"the later value counts":                  {"a=1\na=2\n", map[string]string{"a": "2"}},
		"nothing":                                 {"", map[string]string{}},
		"a backslash at the end of the last line": {`a=b\`, map[string]string{"a": "b"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Properties(tc.file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("properties (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPropertiesThatCannotBeReadAreNotShown(t *testing.T) {
	for _, file := range []string{"a=1\nb=hunter2\\u12", "a=1\nb\\uhunter2=1", "a=1\n\\u-0x1=hunter2"} {
		_, err := Properties(file)
		if err == nil || !strings.HasPrefix(err.Error(), "line 2: ") || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", file, err)
		}
	}
}

func FuzzProperties(f *testing.F) {
	f.Add("password", "hunter2")
	f.Add(" a=b:", `\t # \`)
	f.Fuzz(func(t *testing.T, name, value string) {
		if strings.ContainsAny(name+value, "\r\n") || strings.HasPrefix(name, "\ufeff") {
			t.Skip("not in one line")
		}
		escape := func(s string) string {
			var b strings.Builder
			for _, c := range []byte(s) { // as a careful writer does
				if strings.IndexByte("\\=:#! \t\f", c) >= 0 {
					b.WriteByte('\\')
				}
				b.WriteByte(c)
			}
			return b.String()
		}
		got, err := Properties(escape(name) + "=" + escape(value) + "\n")
		if err != nil || got[name] != value {
			t.Errorf("%q: %q, %v; want %q", name, got, err, value)
		}
	})
}
