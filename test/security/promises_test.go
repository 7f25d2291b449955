package security

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page of promises names tests by folder. Whoever renames one, or takes it away, meets this.
func TestEachPromiseNamesTestsThatAreThere(t *testing.T) {
	const root = "../.."
	page, err := os.ReadFile(filepath.Join(root, "docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	folder, test := regexp.MustCompile("^`([a-z0-9/]+)`"), regexp.MustCompile("`(Test[A-Za-z0-9]+)`")
	named := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(line, " | ")
		for part := range strings.SplitSeq(cells[len(cells)-1], "; ") {
			in := folder.FindStringSubmatch(part)
			if in == nil {
				continue
			}
			var code strings.Builder
			files, err := filepath.Glob(filepath.Join(root, in[1], "*_test.go"))
			if err != nil || len(files) == 0 {
				t.Errorf("%s has no tests, %v", in[1], err)
			}
			for _, file := range files {
				text, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				code.Write(text)
			}
			for _, name := range test.FindAllStringSubmatch(part, -1) {
				if named++; !strings.Contains(code.String(), "func "+name[1]+"(") {
					t.Errorf("%s has no %s", in[1], name[1])
				}
			}
		}
	}
	if named < 20 {
		t.Errorf("%d tests are named: the page has another form than this test reads", named)
	}
}
