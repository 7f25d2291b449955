package connector

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// methodsOfTheCode are the methods of the exported interfaces of this package, as Interface.Method, sorted.
func methodsOfTheCode(t *testing.T) (out []string) {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok || !spec.Name.IsExported() {
				return true
			}
			if methods, ok := spec.Type.(*ast.InterfaceType); ok {
				for _, field := range methods.Methods.List {
					for _, name := range field.Names { // none for one that is embedded
						out = append(out, spec.Name.Name+"."+name.Name)
					}
				}
			}
			return true
		})
	}
	slices.Sort(out)
	return out
}

// Authors learn from the table when each method is called: one that is not in it is known to nobody.
func TestTheTableOfMethodsIsThatOfTheCode(t *testing.T) {
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "development.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, section, found := strings.Cut(string(text), "\n### The methods of a connector\n")
	if !found {
		t.Fatal("docs/development.md has no section for the methods of a connector")
	}
	section, _, _ = strings.Cut(section, "\n### ")
	var rows []string
	for _, m := range regexp.MustCompile("(?m)^\\| `([A-Z]\\w+\\.[A-Z]\\w+)` \\|").FindAllStringSubmatch(section, -1) {
		rows = append(rows, m[1])
	}
	slices.Sort(rows)
	if diff := cmp.Diff(methodsOfTheCode(t), rows); diff != "" {
		t.Errorf("the table in docs/development.md (-the code +the table):\n%s", diff)
	}
	for _, method := range methodsOfTheCode(t) {
		name, _, _ := strings.Cut(method, ".")
		if optional := !slices.Contains(required, name); optional && !strings.Contains(section, "\n| `"+name+"` | ") {
			t.Errorf("docs/development.md does not say what the worker does without a %s", name)
		}
	}
}

// required are the interfaces that every source, or every sink, implements.
var required = []string{"Connector", "SourceConnector", "SinkConnector", "Source", "Sink"}
