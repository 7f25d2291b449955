package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strconv"
	"strings"
)

// constantSections lists the conditions' types and reasons and the events' reasons of the API package: one part for
// each group of constants, named after what its comment begins with.
func constantSections(root string) (map[string]string, error) {
	file := filepath.Join(root, "api", "v1alpha1", "conditions.go")
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("parsing the conditions: %w", err)
	}
	places := map[string]string{
		"Condition types":                          "condition-types",
		"Reasons of a Connector's Ready condition": "connector-ready",
		"Reasons of a ConnectCluster's Ready":      "cluster-ready",
		"Reasons of the Reconciling condition":     "reconciling",
		"Reasons of the Stalled condition":         "stalled",
		"Reasons of the InternalTopicsHealthy":     "topics-healthy",
		"Reasons of the SecretsFound condition":    "secrets-found",
		"Reasons of events":                        "events",
	}
	parts := map[string]string{}
	for _, d := range f.Decls {
		group, ok := d.(*ast.GenDecl)
		if !ok || group.Tok != token.CONST {
			continue
		}
		for prefix, name := range places {
			if strings.HasPrefix(group.Doc.Text(), prefix) {
				parts[name] = constants(group)
			}
		}
	}
	if len(parts) != len(places) {
		return nil, fmt.Errorf("%s: %d of %d groups of constants found by their comments", file, len(parts), len(places))
	}
	return parts, nil
}

func constants(group *ast.GenDecl) string {
	var rows [][]string
	for _, s := range group.Specs {
		v, ok := s.(*ast.ValueSpec)
		if !ok || len(v.Values) != 1 {
			continue
		}
		lit, ok := v.Values[0].(*ast.BasicLit)
		if !ok {
			continue
		}
		value, err := strconv.Unquote(lit.Value)
		if err != nil {
			continue
		}
		text := strings.TrimPrefix(strings.Join(strings.Fields(v.Doc.Text()), " "), v.Names[0].Name+" ")
		for _, verb := range []string{"means that ", "is sent "} {
			text = strings.TrimPrefix(text, verb)
		}
		rows = append(rows, []string{code(value), sentence(text)})
	}
	return table([]string{"Value", "Meaning"}, rows)
}
