// Command configdocs writes the parts of docs/ that follow from the code: the keys of connect.conf and of the
// connectors, the fields, columns and reasons of the custom resources, the targets of the Makefile, and, given a
// worker's address, the list of metrics. Usage: go run ./hack/configdocs [-metrics http://worker:8082/metrics,…] [ROOT]
//
// Each part stands between the comments <!-- begin generated: NAME --> and <!-- end generated: NAME --> and is
// replaced.
package main

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	from := flag.String("metrics", "", "metrics `URLs` of running workers, separated by commas; the list of metrics is left alone without")
	flag.Parse()
	root := "."
	if flag.NArg() > 0 {
		root = flag.Arg(0)
	}
	if err := run(root, *from); err != nil {
		fmt.Fprintln(os.Stderr, "configdocs:", err)
		os.Exit(1)
	}
}

func run(root, metricURLs string) error {
	parts, err := sections(root)
	if err != nil {
		return err
	}
	if metricURLs != "" {
		if parts["metrics"], err = metricsTable(strings.Split(metricURLs, ",")); err != nil {
			return err
		}
	}
	texts, err := updated(root, parts)
	if err != nil {
		return err
	}
	for file, text := range texts {
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			return fmt.Errorf("writing a document: %w", err)
		}
	}
	return nil
}

// sections returns the generated parts by name. They do not depend on who runs this.
func sections(root string) (map[string]string, error) {
	parts := connectorSections()
	parts["worker-keys"] = workerKeys()
	parts["java-keys"] = javaKeys()
	for _, more := range []func(string) (map[string]string, error){resourceSections, constantSections, makeTargets} {
		found, err := more(root)
		if err != nil {
			return nil, err
		}
		maps.Copy(parts, found)
	}
	return parts, nil
}

// updated returns the documents with their parts replaced. A part that no document has a place for is an error, and so
// is a place without a part.
func updated(root string, parts map[string]string) (map[string]string, error) {
	files, err := documents(root)
	if err != nil {
		return nil, err
	}
	out, placed := map[string]string{}, map[string]bool{"metrics": true}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a document: %w", err)
		}
		text, names, err := replaced(string(raw), parts)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		for _, name := range names {
			placed[name] = true
		}
		if len(names) > 0 {
			out[file] = text
		}
	}
	for _, name := range slices.Sorted(maps.Keys(parts)) {
		if !placed[name] {
			return nil, fmt.Errorf("no document has a place for %q", name)
		}
	}
	return out, nil
}

func documents(root string) ([]string, error) {
	var files []string
	for _, pattern := range []string{"docs/*.md", "docs/*/*.md"} {
		found, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)))
		if err != nil {
			return nil, fmt.Errorf("listing the documents: %w", err)
		}
		files = append(files, found...)
	}
	return files, nil
}

// replaced returns the text with its parts replaced, and their names. Comments count at the beginning of a line only.
func replaced(text string, parts map[string]string) (string, []string, error) {
	comment := regexp.MustCompile(`(?m)^<!-- (begin|end) generated: ([A-Za-z-]+) -->\n`)
	var out strings.Builder
	var names []string
	found, kept := comment.FindAllStringSubmatchIndex(text, -1), 0
	for i := 0; i < len(found); i += 2 {
		open, name := found[i], text[found[i][4]:found[i][5]]
		if i+1 == len(found) || text[found[i+1][2]:found[i+1][3]] != "end" || text[found[i+1][4]:found[i+1][5]] != name {
			return "", nil, fmt.Errorf("the generated part %q has no end", name)
		}
		out.WriteString(text[kept:open[1]])
		part, known := parts[name]
		switch {
		case known:
			part = "\n" + part + "\n"
		case name == "metrics":
			part = text[open[1]:found[i+1][0]]
		default:
			return "", nil, fmt.Errorf("nothing generates %q", name)
		}
		out.WriteString(part)
		names, kept = append(names, name), found[i+1][0]
	}
	return out.String() + text[kept:], names, nil
}

// table writes a Markdown table.
func table(head []string, rows [][]string) string {
	var b strings.Builder
	line := func(cells []string) {
		for _, c := range cells {
			b.WriteString("| " + escaped(strings.Join(strings.Fields(c), " ")) + " ")
		}
		b.WriteString("|\n")
	}
	line(head)
	b.WriteString(strings.Repeat("|---", len(head)) + "|\n")
	for _, r := range rows {
		line(r)
	}
	return b.String()
}

// escaped keeps bars from ending a cell, and what stands between angle brackets from being HTML.
func escaped(cell string) string {
	spans := strings.Split(strings.ReplaceAll(cell, "|", `\|`), "`")
	for i := 0; i < len(spans); i += 2 { // the others are code
		spans[i] = strings.ReplaceAll(spans[i], "<", "&lt;")
	}
	return strings.Join(spans, "`")
}

func code(s string) string {
	if s == "" {
		return ""
	}
	return "`" + s + "`"
}
