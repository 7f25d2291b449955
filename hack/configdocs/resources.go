package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// resource is what the documents need of a CustomResourceDefinition.
type resource struct {
	Spec struct {
		Names    struct{ Kind string }
		Versions []struct {
			AdditionalPrinterColumns []struct {
				Name, JSONPath string
				Priority       int
			}
			Schema struct{ OpenAPIV3Schema schema }
		}
	}
}

type schema struct {
	Type, Description    string
	Default              any
	Enum                 []string
	Minimum, Maximum     *float64
	Properties           map[string]schema
	Required             []string
	Items                *schema
	AdditionalProperties *schema
	Validations          []struct{ Message string } `json:"x-kubernetes-validations"`
}

// resourceSections has, for each kind, its spec's and status's fields, its columns, and what the API server refuses.
func resourceSections(root string) (map[string]string, error) {
	files, err := filepath.Glob(filepath.Join(root, "config", "crd", "*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("finding the custom resources: %d files (%w)", len(files), err)
	}
	parts := map[string]string{}
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading a custom resource: %w", err)
		}
		var r resource
		if err := yaml.Unmarshal(raw, &r); err != nil {
			return nil, fmt.Errorf("parsing %s: %w", file, err)
		}
		version := r.Spec.Versions[0]
		var columns [][]string
		for _, c := range version.AdditionalPrinterColumns {
			wide := ""
			if c.Priority > 0 {
				wide = "with `-o wide`"
			}
			columns = append(columns, []string{strings.ToUpper(c.Name), code(c.JSONPath), wide})
		}
		root := version.Schema.OpenAPIV3Schema
		kind := r.Spec.Names.Kind
		parts[kind+"-columns"] = table([]string{"Column", "From", ""}, columns)
		for _, top := range []string{"spec", "status"} {
			head := []string{"Field", "Form", "What for"}
			parts[kind+"-"+top] = table(head, fields("", root.Properties[top]))
		}
		rules := append(refusals(schema{Validations: root.Validations}), refusals(root.Properties["spec"])...)
		parts[kind+"-rules"] = "- " + strings.Join(rules, "\n- ") + "\n"
	}
	return parts, nil
}

// fields lists the fields below s by path. What is Kubernetes' own is not taken apart.
func fields(path string, s schema) [][]string {
	var rows [][]string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		f, at := s.Properties[name], path+name
		form := form(f)
		if slices.Contains(s.Required, name) {
			form += ", required"
		}
		rows = append(rows, []string{code(at), form, sentence(withoutName(name, f.Description))})
		switch {
		case name == "conditions":
		case f.Items != nil && f.Items.Properties != nil:
			rows = append(rows, fields(at+"[].", *f.Items)...)
		default:
			rows = append(rows, fields(at+".", f)...)
		}
	}
	return rows
}

// withoutName leaves out the field's name with which a description begins.
func withoutName(name, description string) string {
	rest, ok := strings.CutPrefix(description, name+" ")
	if !ok {
		return description
	}
	for _, verb := range []string{"is ", "are "} {
		rest = strings.TrimPrefix(rest, verb)
	}
	return rest
}

func form(s schema) string {
	out := s.Type
	switch {
	case len(s.Enum) > 0:
		out = "`" + strings.Join(s.Enum, "`, `") + "`"
	case s.Items != nil:
		out = "list of " + s.Items.Type
	case s.AdditionalProperties != nil:
		out = "map"
	}
	if s.Minimum != nil && s.Maximum != nil {
		out += fmt.Sprintf(" %v to %v", *s.Minimum, *s.Maximum)
	}
	if s.Default != nil && s.Type != "object" {
		out += fmt.Sprintf(", default `%v`", s.Default)
	}
	return out
}

// refusals are the messages of the rules at and below s.
func refusals(s schema) []string {
	var out []string
	for _, v := range s.Validations {
		out = append(out, sentence(v.Message))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		out = append(out, refusals(s.Properties[name])...)
	}
	return out
}
