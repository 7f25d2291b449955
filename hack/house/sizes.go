package main

import (
	"go/ast"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A comment may be 120 columns wide, code 140. A tab is one.
const (
	maxCommentColumns = 120
	maxCodeColumns    = 140
)

// size is how much one type holds.
type size struct {
	methods, fields int
	doc             string
}

// saysWhy is what the comment of a type says that is larger than others.
var saysWhy = regexp.MustCompile(`(?i)\bone value\b`)

func (c *counter) size(rel, name string) *size {
	key := filepath.ToSlash(filepath.Dir(rel)) + "." + name
	if c.types[key] == nil {
		c.types[key] = &size{}
	}
	return c.types[key]
}

// fields counts those of a struct; an embedded one is one.
func (c *counter) fields(rel string, ts *ast.TypeSpec, doc *ast.CommentGroup) {
	st, ok := ts.Type.(*ast.StructType)
	if !ok {
		return
	}
	s := c.size(rel, ts.Name.Name)
	s.doc = strings.Join(strings.Fields(doc.Text()+ts.Doc.Text()), " ")
	for _, f := range st.Fields.List {
		s.fields += max(1, len(f.Names))
	}
}

// receiver is the name of a method's type.
func receiver(x ast.Expr) string {
	for {
		switch t := x.(type) {
		case *ast.StarExpr:
			x = t.X
		case *ast.IndexExpr:
			x = t.X
		case *ast.IndexListExpr:
			x = t.X
		case *ast.Ident:
			return t.Name
		default:
			return ""
		}
	}
}

// lines looks for those that are too wide to be read beside others. What a raw string holds is as wide as it has to be.
func (c *counter) lines(rel string, src []byte, raw map[int]bool) {
	for i, line := range strings.Split(string(src), "\n") {
		columns, most, what := utf8.RuneCountInString(line), maxCodeColumns, "code"
		trimmed := strings.TrimSpace(line)
		if strings.HasPrefix(trimmed, "//") {
			most, what = maxCommentColumns, "comment"
		}
		if columns <= most || raw[i+1] || directive.MatchString(trimmed) {
			continue
		}
		c.breach("%s:%d: %d columns, %d are enough for %s", rel, i+1, columns, most, what)
	}
}

var directive = regexp.MustCompile(`^//(go:|nolint|\s*\+kubebuilder|\+kubebuilder|\s*https?://\S+$)`)

// rawLines are the lines of a file that lie in raw strings of several lines.
func rawLines(set *token.FileSet, f *ast.File) map[int]bool {
	out := map[int]bool{}
	ast.Inspect(f, func(n ast.Node) bool {
		lit, ok := n.(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING || !strings.HasPrefix(lit.Value, "`") {
			return true
		}
		first, last := set.Position(lit.Pos()).Line, set.Position(lit.End()).Line
		for line := first; first < last && line <= last; line++ {
			out[line] = true
		}
		return true
	})
	return out
}
