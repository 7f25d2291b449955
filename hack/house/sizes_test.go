package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestHouseFindsWhatIsTooLarge(t *testing.T) {
	methods := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "func (x *T) m%d() {}\n", i)
		}
		return b.String()
	}
	cases := map[string]struct{ src, want string }{
		"a type of 30 methods":    {"type T struct{}\n" + methods(30), ""},
		"a type of 31 methods":    {"type T struct{}\n" + methods(31), "pkg.T has 31 methods and 0 fields"},
		"31 methods and a reason": {"// T is large. One value holds it all, for it is one.\ntype T struct{}\n" + methods(31), ""},
		"a type of 21 fields": {
			"type T struct {\n\ta, b, c int\n" + strings.Repeat("\t_ int\n", 18) + "}\n",
			"0 methods and 21 fields",
		},
		"a comment of 120 columns":       {"// " + strings.Repeat("ä", 117) + "\n", ""},
		"a comment of 121 columns":       {"// " + strings.Repeat("ä", 118) + "\n", "a.go:3: 121 columns, 120 are enough for comment"},
		"a directive as long as it is":   {"//go:generate " + strings.Repeat("x", 140) + "\n", ""},
		"code of 141 columns":            {"var x = \"" + strings.Repeat("x", 131) + "\"\n", "a.go:3: 141 columns, 140 are enough for code"},
		"a raw string of several lines":  {"var x = `\n" + strings.Repeat("x", 200) + "\n`\n", ""},
		"a raw string of one long line":  {"var x = `" + strings.Repeat("x", 200) + "`\n", "210 columns"},
		"a method of a generic receiver": {"type T[V any] struct{}\n" + strings.ReplaceAll(methods(31), "*T", "*T[V]"), "pkg.T has 31 methods"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := os.Mkdir(filepath.Join(root, "pkg"), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(root, "pkg", "a.go"), []byte("package pkg\n\n"+tc.src), 0o600); err != nil {
				t.Fatal(err)
			}
			c := newCounter(root)
			if err := filepath.WalkDir(root, c.visit); err != nil {
				t.Fatal(err)
			}
			c.finish()
			if got := strings.Join(c.breaches, "\n"); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
				t.Errorf("breaches %q, want %q", got, tc.want)
			}
		})
	}
}
