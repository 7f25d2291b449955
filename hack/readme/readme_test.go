// Package readme holds the READMEs to each other, to what CI runs, and to the files that the first documents name.
package readme

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = "../.."

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestTheChineseReadmeIsInStep compares what both have in common whatever the language.
func TestTheChineseReadmeIsInStep(t *testing.T) {
	if d := cmp.Diff(outline(read(t, "README.md")), outline(read(t, "README.zh-CN.md"))); d != "" {
		t.Errorf("README.zh-CN.md is not in step with README.md (-English +Chinese):\n%s", d)
	}
}

// TestCIRunsTheFirstCommands holds .ci/run to the two commands that a stranger tries first.
func TestCIRunsTheFirstCommands(t *testing.T) {
	first := commands(read(t, "README.md"))[:2]
	if d := cmp.Diff([]string{"make demo", "make test"}, first); d != "" {
		t.Errorf("README.md does not begin with these commands: %s", d)
	}
	ran := slices.DeleteFunc(strings.Split(read(t, ".ci/run"), "\n"), func(line string) bool { return !slices.Contains(first, line) })
	if d := cmp.Diff(first, ran); d != "" {
		t.Errorf(".ci/run does not run the README's first commands as they stand there, once and in that order: %s", d)
	}
}

// TestLinkedFilesExist looks at the documents that a stranger opens first.
func TestLinkedFilesExist(t *testing.T) {
	for _, name := range []string{"README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"} {
		for _, target := range links(read(t, name)) {
			path, _, _ := strings.Cut(target, "#")
			if path == "" || strings.Contains(path, "://") {
				continue
			}
			if _, err := os.Stat(filepath.Join(root, filepath.FromSlash(path))); errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s names %s, which does not exist", name, path)
			}
		}
	}
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func links(text string) []string {
	var out []string
	for _, m := range link.FindAllStringSubmatch(text, -1) {
		out = append(out, m[1])
	}
	return out
}

// outline is what two versions of a document share: the levels of headings, the code but for its comments, the rows of
// tables, and the links of each section to elsewhere, all in their order.
func outline(text string) []string {
	var out, linked []string
	for _, b := range blocks(text) {
		switch {
		case b.language != "":
			out = append(out, b.language+": "+b.code)
		case strings.HasPrefix(b.code, "#"):
			out, linked = append(out, sorted(linked)...), nil
			out = append(out, strings.Repeat("#", len(b.code)-len(strings.TrimLeft(b.code, "#"))))
		default:
			if strings.HasPrefix(b.code, "|") {
				out = append(out, "row")
			}
			linked = append(linked, links(b.code)...)
		}
	}
	return append(out, sorted(linked)...)
}

// sorted leaves out links within the document, whose anchors are made of its words, and those between the versions.
func sorted(linked []string) []string {
	var out []string
	for _, l := range linked {
		if !strings.HasPrefix(l, "#") && !strings.HasPrefix(l, "README") {
			out = append(out, "link: "+l)
		}
	}
	slices.Sort(out)
	return out
}

// block is a line of prose, or a block of code with its language, without comments.
type block struct{ language, code string }

func blocks(text string) []block {
	var out []block
	var open *block
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open == nil:
			open = &block{language: fence}
			if fence == "" {
				open.language = "code"
			}
		case isFence:
			out, open = append(out, *open), nil
		case open == nil:
			out = append(out, block{code: line})
		default:
			if line = uncommented(open.language, line); line != "" {
				open.code += line + "\n"
			}
		}
	}
	return out
}

// uncommented leaves the output of commands as it is.
func uncommented(language, line string) string {
	if language == "sh" || language == "properties" {
		line = comment.ReplaceAllString(line, "")
	}
	return line
}

var comment = regexp.MustCompile(`(^|\s+)#.*`)

// commands are the lines of a document's shell blocks, in their order.
func commands(text string) []string {
	var out []string
	for _, b := range blocks(text) {
		if b.language == "sh" {
			out = append(out, strings.Split(strings.TrimSuffix(b.code, "\n"), "\n")...)
		}
	}
	return out
}

func TestOutlineTellsVersionsApart(t *testing.T) {
	const english = "# Name\nAsk [it](docs/a.md#x), see [below](#try).\n## Try\n```sh\nmake demo  # starts\n# alone\nmake " +
		"test\n```\n| a | b |\n"
	cases := map[string]struct {
		other    string
		wantSame bool
	}{
		"another language and other comments": {
			"# 名称\n见[下文](#试)，[它](docs/a.md#x)。\n## 试\n```sh\nmake demo  # 启动\nmake test\n```\n| 甲 | 乙 |\n", true},
		"a heading is missing":       {strings.Replace(english, "## Try\n", "", 1), false},
		"a heading of another level": {strings.Replace(english, "## Try", "### Try", 1), false},
		"a command is another":       {strings.Replace(english, "make demo", "make demo -n", 1), false},
		"two commands in another order": {
			strings.Replace(strings.Replace(english, "make test\n", "", 1), "make demo", "make test\nmake demo", 1),
			false,
		},
		"a block is of another language": {strings.Replace(english, "```sh", "```console", 1), false},
		"a link leads elsewhere":         {strings.Replace(english, "docs/a.md#x", "docs/b.md", 1), false},
		"a row is missing":               {strings.Replace(english, "| a | b |\n", "", 1), false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if d := cmp.Diff(outline(english), outline(tc.other)); (d == "") != tc.wantSame {
				t.Errorf("the outlines' difference is %q", d)
			}
		})
	}
	if d := cmp.Diff([]string{"make demo", "make test"}, commands(english)); d != "" {
		t.Error(d)
	}
}
