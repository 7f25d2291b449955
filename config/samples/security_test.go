//go:build envtest

package samples_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/testenv"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

// policy applies the admission policy that SECURITY.md shows.
func policy(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(testenv.Path("SECURITY.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(text), "```yaml\napiVersion: admissionregistration.k8s.io/v1\n")
	block, _, ok := strings.Cut(block, "\n```")
	if !ok {
		t.Fatal("SECURITY.md shows no policy")
	}
	strict := client.WithFieldValidation(server.Client, "Strict")
	for part := range strings.SplitSeq("apiVersion: admissionregistration.k8s.io/v1\n"+block, "\n---\n") {
		u := &unstructured.Unstructured{}
		if err := yaml.UnmarshalStrict([]byte(part), &u.Object); err != nil {
			t.Fatal(err)
		}
		if err := strict.Create(t.Context(), u); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = server.Client.Delete(context.WithoutCancel(t.Context()), u) })
	}
}

func TestThePolicyOfTheDocumentsRefusesSecretsInTheClear(t *testing.T) {
	ns := server.Namespace(t)
	for name, p := range map[string]v1alpha1.SecretsPolicy{"strict": v1alpha1.SecretsReferenceOnly, "demo": v1alpha1.SecretsAllowInline} {
		c := testobj.Cluster(name).InNamespace(ns).With(func(c *v1alpha1.ConnectCluster) { c.UID, c.Spec.SecretsPolicy = "", p }).Obj()
		if err := server.Client.Create(t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	policy(t)
	create := func(cluster, key, value string) error {
		c := testobj.Connector("orders").InNamespace(ns).OnCluster(cluster).Config(key, value).Obj()
		return server.Client.Create(t.Context(), c, client.DryRunAll)
	}
	var last error
	if err := wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		last = create("strict", "kafka.sasl.password", "hunter2")
		return apierrors.IsInvalid(last), nil
	}); err != nil {
		t.Fatalf("a password in the clear is answered with %v", last)
	}
	cases := map[string]struct {
		cluster, key, value string
		wantRefused         bool
	}{
		"a JAAS line":               {"strict", "kafka.sasl.jaas.config", `x required username="a" password="hunter2";`, true},
		"a private key":             {"strict", "kafka.ssl.keystore.key", "-----BEGIN", true},
		"a reference":               {"strict", "kafka.sasl.password", "${secret:kafka:password}", false},
		"a setting without secrets": {"strict", "kafka.client.id", "orders", false},
		"a policy that allows it":   {"demo", "kafka.sasl.password", "hunter2", false},
		"a cluster that is to come": {"later", "kafka.sasl.password", "hunter2", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if err := create(tc.cluster, tc.key, tc.value); tc.wantRefused != apierrors.IsInvalid(err) || err != nil && !tc.wantRefused {
				t.Errorf("answered with %v, want a refusal: %t", err, tc.wantRefused)
			}
		})
	}
	// A namespace without ConnectClusters is left alone.
	other := testobj.Connector("orders").InNamespace(server.Namespace(t)).Config("kafka.sasl.password", "hunter2").Obj()
	if err := server.Client.Create(t.Context(), other, client.DryRunAll); err != nil {
		t.Error(err)
	}
}
