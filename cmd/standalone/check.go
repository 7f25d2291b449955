package main

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/config/crd"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connectors"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/task"
)

// connector is a Connector document that may be run.
type connector struct {
	at   place
	want restapi.Connector
}

// report is what the check of all documents found.
type report struct {
	connectors []connector
	// errors make the documents invalid; notes do not.
	errors, notes []finding
	// checked counts the documents that were looked at, with their errors or without.
	checked int
}

// checker checks documents of our kinds.
type checker struct {
	definitions map[string]*definition
	seen        map[string]place
	report      report
}

func newChecker() (*checker, error) {
	c := &checker{definitions: map[string]*definition{}, seen: map[string]place{}}
	for _, text := range [][]byte{crd.Connectors(), crd.ConnectClusters()} {
		d, err := newDefinition(text)
		if err != nil {
			return nil, err
		}
		c.definitions[d.kind] = d
	}
	return c, nil
}

// checkAll checks the documents one after the other.
func checkAll(ctx context.Context, docs []document, broken []finding) (report, error) {
	c, err := newChecker()
	if err != nil {
		return report{}, err
	}
	c.report.errors, c.report.checked = broken, len(broken)
	for _, d := range docs {
		c.document(ctx, d)
	}
	slices.SortStableFunc(c.report.errors, func(a, b finding) int {
		if a.at.file != b.at.file {
			return 0 // files stay in the order in which they were named
		}
		return cmp.Compare(a.at.document, b.at.document)
	})
	return c.report, nil
}

func (c *checker) fail(at place, field, message string) {
	c.report.errors = append(c.report.errors, finding{at, field, message})
}

func (c *checker) document(ctx context.Context, d document) {
	apiVersion, _ := d.object["apiVersion"].(string)
	kind, _ := d.object["kind"].(string)
	group, _, _ := strings.Cut(apiVersion, "/")
	definition := c.definitions[kind]
	switch {
	case apiVersion == "" || kind == "":
		c.report.checked++
		c.fail(d.at, "", "this is no Kubernetes object: it has no apiVersion and kind")
		return
	case group != v1alpha1.GroupName:
		c.report.notes = append(c.report.notes, finding{at: d.at, message: fmt.Sprintf("%s of %s is not looked at", kind, apiVersion)})
		return
	case apiVersion != v1alpha1.SchemeGroupVersion.String():
		c.fail(d.at, "apiVersion", fmt.Sprintf("must be %s, not %q", v1alpha1.SchemeGroupVersion, apiVersion))
	case definition == nil:
		c.fail(d.at, "kind", fmt.Sprintf("must be Connector or ConnectCluster, not %q", kind))
	default:
		c.ours(ctx, d, definition)
	}
	c.report.checked++
}

// ours checks a document of one of our kinds.
func (c *checker) ours(ctx context.Context, d document, def *definition) {
	unknown, errs := def.check(ctx, d.object)
	for _, name := range unknown {
		c.fail(d.at, name, "there is no such field")
	}
	for _, err := range errs {
		name := err.Field
		if name == "<nil>" { // a rule about the whole object
			name = ""
		}
		c.fail(d.at, name, strings.Replace(err.ErrorBody(), name+" in body ", "", 1))
	}
	c.unique(d, def.kind)
	if len(errs) > 0 {
		return
	}
	var err error
	switch def.kind {
	case "Connector":
		err = c.connector(d)
	case "ConnectCluster":
		err = c.cluster(d)
	}
	if err != nil {
		c.fail(d.at, "", err.Error())
	}
}

// unique refuses a second object of the same name: the last one would win.
func (c *checker) unique(d document, kind string) {
	meta, _ := d.object["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	namespace, _ := meta["namespace"].(string)
	key := strings.Join([]string{kind, namespace, name}, "/")
	if first, ok := c.seen[key]; ok && name != "" {
		c.fail(d.at, "metadata.name", fmt.Sprintf("Duplicate value: %q: %s has it, too", name, first))
		return
	}
	c.seen[key] = d.at
}

// connector checks what the class says of the settings.
func (c *checker) connector(d document) error {
	var object v1alpha1.Connector
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.object, &object); err != nil {
		return fmt.Errorf("reading the connector: %w", err)
	}
	want := restapi.Connector{
		Name: object.Name, Class: object.Spec.Class, State: string(object.Spec.State), MaxTasks: 1, Config: object.Spec.Settings(),
	}
	if object.Spec.MaxTasks != nil {
		want.MaxTasks = int(*object.Spec.MaxTasks)
	}
	checker := check.Checker{Classes: check.NewClasses(connectors.Catalog()), Settings: task.CheckSettings(config.Default().Topics.Internal)}
	found := checker.Validate(want, nil)
	for _, e := range found.Errors {
		c.fail(d.at, specField(e.Field), e.Detail)
	}
	for _, w := range found.Warnings {
		c.report.notes = append(c.report.notes, finding{d.at, "spec.config", w})
	}
	if found.Valid {
		c.report.connectors = append(c.report.connectors, connector{d.at, want})
	}
	return nil
}

// specField is where the resource has what the workers' API calls by this name.
func specField(field string) string {
	if field == "name" {
		return "metadata.name"
	}
	return "spec." + field
}

// cluster checks that workers would start with what the operator makes of it.
func (c *checker) cluster(d document) error {
	var object v1alpha1.ConnectCluster
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(d.object, &object); err != nil {
		return fmt.Errorf("reading the cluster: %w", err)
	}
	if object.Namespace == "" {
		object.Namespace = "default"
	}
	if _, err := render.Children(render.Input{Cluster: &object, DefaultImage: "worker"}); err != nil {
		c.fail(d.at, "spec", err.Error())
	}
	return nil
}
