//go:build envtest

package samples_test

import (
	"os"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testenv"
)

var server *testenv.Server

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, func(s *testenv.Server) func() {
		server = s
		return nil
	}))
}

// The samples are applied as users apply them: strictly, so that a misspelt field is a mistake, and in the order of
// their names.
func TestSamplesApply(t *testing.T) {
	files, err := filepath.Glob("*.yaml")
	if err != nil || len(files) < 3 {
		t.Fatalf("samples %v (%v)", files, err)
	}
	ns := server.Namespace(t)
	strict := client.WithFieldValidation(server.Client, "Strict")
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict(text, &u.Object); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		u.SetNamespace(ns)
		if err := strict.Create(t.Context(), u); err != nil {
			t.Errorf("%s: %v", file, err)
		}
	}
	var clusters v1alpha1.ConnectClusterList
	var connectors v1alpha1.ConnectorList
	for _, list := range []client.ObjectList{&clusters, &connectors} {
		if err := server.Client.List(t.Context(), list, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
	}
	known := map[string]bool{}
	for i := range clusters.Items {
		known[clusters.Items[i].Name] = true
		if _, err := render.Children(render.Input{Cluster: &clusters.Items[i], DefaultImage: "worker:default"}); err != nil {
			t.Errorf("%s cannot be rendered: %v", clusters.Items[i].Name, err)
		}
	}
	for i := range connectors.Items {
		if c := &connectors.Items[i]; !known[c.Spec.ClusterRef.Name] {
			t.Errorf("%s is on %s, which is no sample", c.Name, c.Spec.ClusterRef.Name)
		}
	}
}
