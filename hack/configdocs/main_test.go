package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func TestTheDocumentsAreFresh(t *testing.T) {
	parts, err := sections(root)
	if err != nil {
		t.Fatal(err)
	}
	want, err := updated(root, parts)
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range want {
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(text, string(got)); diff != "" {
			t.Errorf("%s is not fresh, run 'make generate' (-want +got):\n%s", file, diff)
		}
	}
}

// The list of metrics needs a running worker, so it is only checked to be complete.
func TestEveryMetricIsInTheDocuments(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "operations.md"))
	if err != nil {
		t.Fatal(err)
	}
	names := regexp.MustCompile(`"(connect_worker_[a-z_]+[a-z])"|counter\("([a-z_]+)"`)
	found := 0
	err = filepath.WalkDir(filepath.Join(root, "worker"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		source, err := os.ReadFile(path)
		for _, m := range names.FindAllStringSubmatch(string(source), -1) {
			name := m[1]
			if name == "" {
				name = "connect_worker_task_" + m[2]
			}
			found++
			if !strings.Contains(string(text), "`"+name+"`") {
				t.Errorf("%s (%s) is not in docs/operations.md: see the usage of hack/configdocs", name, path)
			}
		}
		return err
	})
	if err != nil || found < 10 {
		t.Errorf("%d metrics found (%v)", found, err)
	}
}

func TestPartsAreReplaced(t *testing.T) {
	cases := map[string]struct {
		text, want, wantErr string
	}{
		"a part is replaced, and only it": {
			text: "a\n<!-- begin generated: x -->\nold\n<!-- end generated: x -->\nb\n",
			want: "a\n<!-- begin generated: x -->\n\nnew\n\n<!-- end generated: x -->\nb\n",
		},
		"a comment within a line is text": {
			text: "put it between `<!-- begin generated: NAME -->` and the like\n",
			want: "put it between `<!-- begin generated: NAME -->` and the like\n",
		},
		"two parts are told apart": {
			text: "<!-- begin generated: x -->\n<!-- end generated: x -->\n-\n<!-- begin generated: x -->\n<!-- end generated: x -->\n",
			want: "<!-- begin generated: x -->\n\nnew\n\n<!-- end generated: x -->\n-\n<!-- begin generated: x -->\n\nnew\n\n<!-- end " +
				"generated: x -->\n",
		},
		"metrics stay when none were read": {
			text: "<!-- begin generated: metrics -->\nold\n<!-- end generated: metrics -->\n",
			want: "<!-- begin generated: metrics -->\nold\n<!-- end generated: metrics -->\n",
		},
		"a part that does not end is refused": {
			text: "<!-- begin generated: x -->\nold\n", wantErr: `the generated part "x" has no end`,
		},
		"a part that nothing generates is refused": {
			text: "<!-- begin generated: y -->\n<!-- end generated: y -->\n", wantErr: `nothing generates "y"`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, _, err := replaced(tc.text, map[string]string{"x": "new\n"})
			text := ""
			if err != nil {
				text = err.Error()
			}
			if diff := cmp.Diff([]string{tc.want, tc.wantErr}, []string{got, text}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestMetricsAreRead(t *testing.T) {
	got := map[string]*family{}
	err := read(strings.NewReader("# HELP connect_a Help of a.\n# TYPE connect_a histogram\nconnect_a_bucket{route=\"x\",le=\"1\"} 2\n"), got)
	want := map[string]*family{"connect_a": {kind: "histogram", help: "Help of a.", labels: map[string]bool{"route": true}}}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(family{})); err != nil || diff != "" {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
}
