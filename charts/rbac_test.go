// Package charts has the tests of what the charts grant.
package charts

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/yaml"
)

const templates = "rocketmq-connect-operator/templates"

func read(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(templates, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// A right whose reason nobody knows is never taken away.
func TestEveryRuleHasItsReasonAboveIt(t *testing.T) {
	files, err := os.ReadDir(templates)
	if err != nil {
		t.Fatal(err)
	}
	rules := 0
	for _, file := range files {
		if file.IsDir() {
			continue
		}
		lines := strings.Split(read(t, file.Name()), "\n")
		for i, line := range lines {
			if !strings.HasPrefix(strings.TrimSpace(line), "- apiGroups:") {
				continue
			}
			rules++
			if above := strings.TrimSpace(lines[i-1]); !strings.HasPrefix(above, "# ") {
				t.Errorf("%s:%d: a rule without its reason: %s", file.Name(), i+1, strings.TrimSpace(line))
			}
		}
	}
	if rules < 15 {
		t.Errorf("only %d rules were found", rules)
	}
}

// rolesOf parses a template's roles; what is filled in by the chart is none of their rules.
func rolesOf(t *testing.T, text string) map[string]rbacv1.ClusterRole {
	t.Helper()
	text = regexp.MustCompile(`(?m)^\s*\{\{.*\}\}\s*$`).ReplaceAllString(text, "")
	text = regexp.MustCompile(`\{\{.*?\}\}`).ReplaceAllString(text, "x")
	roles := map[string]rbacv1.ClusterRole{}
	for _, doc := range strings.Split(text, "\n---\n") {
		var role rbacv1.ClusterRole
		if err := yaml.Unmarshal([]byte(doc), &role); err != nil {
			t.Fatalf("%v in %s", err, doc)
		}
		roles[role.Name] = role
	}
	return roles
}

// may lists the resources of ours for which a role has the verb.
func may(role rbacv1.ClusterRole, verb string) (out []string) {
	for _, rule := range role.Rules {
		if slices.Contains(rule.Verbs, verb) {
			out = append(out, rule.Resources...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func TestWhoMayOnlyViewSeesNoConfigOfAConnector(t *testing.T) {
	roles := rolesOf(t, read(t, "aggregate-roles.yaml"))
	view, edit := roles["x-view"], roles["x-edit"]
	if view.Labels["rbac.authorization.k8s.io/aggregate-to-view"] != "true" ||
		edit.Labels["rbac.authorization.k8s.io/aggregate-to-edit"] != "true" ||
		edit.Labels["rbac.authorization.k8s.io/aggregate-to-view"] != "" {
		t.Fatalf("labels: %v, %v", view.Labels, edit.Labels)
	}
	for _, verb := range []string{"get", "list", "watch"} {
		if got := may(view, verb); !slices.Equal(got, []string{"connectclusters", "connectclusters/status"}) {
			t.Errorf("view may %s %v", verb, got)
		}
		if got := may(edit, verb); !slices.Contains(got, "connectors") || !slices.Contains(got, "connectors/status") {
			t.Errorf("edit may %s %v", verb, got)
		}
	}
}

func TestTheOperatorNeitherListsNorChangesSecrets(t *testing.T) {
	_, text, _ := strings.Cut(read(t, "_helpers.tpl"), `{{- define "operator.rules" -}}`)
	text, _, _ = strings.Cut(text, "{{- end }}")
	var rules []rbacv1.PolicyRule
	if err := yaml.Unmarshal([]byte(text), &rules); err != nil {
		t.Fatal(err)
	}
	for _, rule := range rules {
		if slices.Contains(rule.Verbs, "*") || slices.Contains(rule.Resources, "*") || slices.Contains(rule.APIGroups, "*") {
			t.Errorf("a rule for everything: %v", rule)
		}
		if slices.Contains(rule.Verbs, "delete") {
			t.Errorf("the operator deletes nothing: %v", rule)
		}
		if slices.Contains(rule.Resources, "secrets") && !slices.Equal(rule.Verbs, []string{"get", "create"}) {
			t.Errorf("of Secrets: %v", rule.Verbs)
		}
	}
}
