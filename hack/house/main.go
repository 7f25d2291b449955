// Command house counts what no linter here counts: sizes of files, functions, types, packages and lines, branches,
// exported docs, bare go statements, and sleeps in tests. It prints each breach and ends with 1 if there is one.
// Usage: go run ./hack/house [DIR]
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// The house numbers. A function whose body is one table or one composite literal is as long as its table.
const (
	maxFileLines     = 400
	maxFunctionLines = 60
	maxPackageFiles  = 12
	maxBranches      = 15
	maxParameters    = 6
	maxMethods       = 30
	maxFields        = 20
	minDocPercent    = 90
)

// documented are the folders whose exported names are an interface for strangers.
var documented = []string{"api/", "worker/connector/", "worker/plugin/serve/"}

// mayStart are the folders that may use the go keyword: the component runner, and each module's or test's own.
var mayStart = []string{"worker/service/", "hack/", "test/"}

var generated = regexp.MustCompile(`(?m)^// Code generated .* DO NOT EDIT\.$`)

func main() {
	root := "."
	if len(os.Args) > 1 {
		root = os.Args[1]
	}
	c := newCounter(root)
	if err := filepath.WalkDir(root, c.visit); err != nil {
		fmt.Fprintln(os.Stderr, "house:", err)
		os.Exit(2)
	}
	c.finish()
	slices.Sort(c.breaches)
	for _, b := range c.breaches {
		fmt.Println(b)
	}
	if len(c.breaches) > 0 {
		fmt.Printf("house: %d breaches of the house numbers\n", len(c.breaches))
		os.Exit(1)
	}
}

type counter struct {
	root           string
	files          map[string]int
	types          map[string]*size // by "folder.Type"
	fakesTime      map[string]bool
	sleeps         []string
	exported, docs int
	breaches       []string
}

func newCounter(root string) *counter {
	return &counter{root: root, files: map[string]int{}, types: map[string]*size{}, fakesTime: map[string]bool{}}
}

func (c *counter) breach(format string, args ...any) {
	c.breaches = append(c.breaches, fmt.Sprintf(format, args...))
}

func (c *counter) visit(path string, d fs.DirEntry, err error) error {
	if err != nil {
		return err
	}
	rel, err := filepath.Rel(c.root, path)
	if err != nil {
		return err
	}
	if d.IsDir() {
		if n := d.Name(); rel != "." && (strings.HasPrefix(n, ".") || n == "testdata" || n == "dist" || n == "bin") {
			return filepath.SkipDir
		}
		return nil
	}
	switch rel = filepath.ToSlash(rel); {
	case strings.HasSuffix(rel, "_test.go"):
		return c.testFile(path, rel)
	case strings.HasSuffix(rel, ".go"):
		return c.file(path, rel)
	}
	return nil
}

// testFile notes sleeps, which are fine only where time is faked.
func (c *counter) testFile(path, rel string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, src, parser.ParseComments)
	if err != nil {
		return err
	}
	c.lines(rel, src, rawLines(set, f))
	dir := filepath.Dir(rel)
	for _, imported := range f.Imports {
		c.fakesTime[dir] = c.fakesTime[dir] || imported.Path.Value == `"testing/synctest"`
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == "Sleep" {
			if x, ok := s.X.(*ast.Ident); ok && x.Name == "time" {
				c.sleeps = append(c.sleeps, fmt.Sprintf("%s:%d", rel, set.Position(n.Pos()).Line))
			}
		}
		return true
	})
	return nil
}

func (c *counter) file(path, rel string) error {
	src, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if generated.Match(src) {
		return nil
	}
	set := token.NewFileSet()
	f, err := parser.ParseFile(set, path, src, parser.ParseComments)
	if err != nil {
		return err
	}
	c.files[filepath.Dir(rel)]++
	if n := strings.Count(string(src), "\n"); n > maxFileLines {
		c.breach("%s: %d lines, %d are enough", rel, n, maxFileLines)
	}
	c.lines(rel, src, rawLines(set, f))
	for _, d := range f.Decls {
		c.decl(set, d, rel)
	}
	ast.Inspect(f, func(n ast.Node) bool {
		if g, ok := n.(*ast.GoStmt); ok && !under(rel, mayStart) {
			c.breach("%s:%d: go statement outside worker/service", rel, set.Position(g.Pos()).Line)
		}
		return true
	})
	return nil
}

func (c *counter) decl(set *token.FileSet, d ast.Decl, rel string) {
	switch d := d.(type) {
	case *ast.FuncDecl:
		c.function(set, d, rel)
	case *ast.GenDecl:
		for _, s := range d.Specs {
			ts, ok := s.(*ast.TypeSpec)
			if !ok {
				continue
			}
			c.fields(rel, ts, d.Doc)
			if ts.Name.IsExported() {
				c.doc(rel, d.Doc != nil || ts.Doc != nil)
			}
		}
	}
}

func (c *counter) function(set *token.FileSet, d *ast.FuncDecl, rel string) {
	at := fmt.Sprintf("%s:%d: %s", rel, set.Position(d.Pos()).Line, d.Name.Name)
	if n := set.Position(d.End()).Line - set.Position(d.Pos()).Line + 1; n > maxFunctionLines && !isTable(d) {
		c.breach("%s has %d lines, %d are enough", at, n, maxFunctionLines)
	}
	if n := branches(d); n > maxBranches {
		c.breach("%s has cyclomatic complexity %d, %d is enough", at, n, maxBranches)
	}
	if n := d.Type.Params.NumFields(); n > maxParameters {
		c.breach("%s has %d parameters, %d are enough", at, n, maxParameters)
	}
	if d.Name.IsExported() {
		c.doc(rel, d.Doc != nil)
	}
	if d.Recv != nil {
		c.size(rel, receiver(d.Recv.List[0].Type)).methods++
	}
}

func (c *counter) doc(rel string, has bool) {
	if !under(rel, documented) {
		return
	}
	c.exported++
	if has {
		c.docs++
	}
}

func (c *counter) finish() {
	for _, at := range c.sleeps {
		if !c.fakesTime[filepath.Dir(at)] {
			c.breach("%s: time.Sleep in a test without testing/synctest: wait for what you need", at)
		}
	}
	for name, s := range c.types {
		if (s.methods > maxMethods || s.fields > maxFields) && !saysWhy.MatchString(s.doc) {
			c.breach("%s has %d methods and %d fields, %d and %d are enough: split it, or its comment says why one value holds it all",
				name, s.methods, s.fields, maxMethods, maxFields)
		}
	}
	for dir, n := range c.files {
		if n > maxPackageFiles {
			c.breach("%s: %d files, %d are enough for one package", dir, n, maxPackageFiles)
		}
	}
	if c.exported > 0 && c.docs*100/c.exported < minDocPercent {
		c.breach("exported docs: %d of %d, at least %d %% are wanted", c.docs, c.exported, minDocPercent)
	}
}

func under(rel string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return strings.HasPrefix(rel, f) })
}

func isTable(d *ast.FuncDecl) bool {
	if d.Body == nil || len(d.Body.List) != 1 {
		return false
	}
	r, ok := d.Body.List[0].(*ast.ReturnStmt)
	if !ok || len(r.Results) == 0 {
		return false
	}
	x := r.Results[0]
	if u, ok := x.(*ast.UnaryExpr); ok {
		x = u.X
	}
	_, ok = x.(*ast.CompositeLit)
	return ok
}

func branches(d *ast.FuncDecl) int {
	n := 1
	ast.Inspect(d, func(node ast.Node) bool {
		switch x := node.(type) {
		case *ast.IfStmt, *ast.ForStmt, *ast.RangeStmt, *ast.CaseClause, *ast.CommClause:
			n++
		case *ast.BinaryExpr:
			if x.Op == token.LAND || x.Op == token.LOR {
				n++
			}
		}
		return true
	})
	return n
}
