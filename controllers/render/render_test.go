package render_test

import (
	"bytes"
	"flag"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/certs"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/rest/access"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func clusters() map[string]*v1alpha1.ConnectCluster {
	return map[string]*v1alpha1.ConnectCluster{
		"plain": testobj.Cluster("demo").Obj(),
		"full": testobj.Cluster("demo").Replicas(5).Config("heartbeatInterval", "250ms").Config("pluginPaths", `C:\plugins #1`).
			With(func(c *v1alpha1.ConnectCluster) {
				s := &c.Spec
				s.ClusterID = "orders"
				s.Image, s.ImagePullPolicy = "registry.example/worker@sha256:0123", corev1.PullIfNotPresent
				s.RocketMQ.CredentialsSecretRef = &v1alpha1.SecretReference{Name: "rocketmq-keys"}
				s.Secrets = []v1alpha1.MountedSecret{{Name: "kafka"}, {Name: "db.orders"}}
				s.SecretsPolicy = v1alpha1.SecretsReferenceOnly
				s.InternalTopics = &v1alpha1.InternalTopicsSpec{Broker: "broker-b"}
				s.Allocation = &v1alpha1.AllocationSpec{
					Strategy: v1alpha1.AllocationAveragely, VirtualNodes: ptr.To[int32](64), MaxLoadFactor: "1.5",
					RebalanceDelay: &metav1.Duration{Duration: 20 * time.Second},
				}
				s.API = &v1alpha1.APISpec{Port: ptr.To[int32](9090), HostNames: []string{"connect.example.com", "*.internal"}}
				s.Resources = &v1alpha1.ResourceRequirements{Limits: corev1.ResourceList{
					corev1.ResourceMemory: resource.MustParse("256Mi"), corev1.ResourceCPU: resource.MustParse("2"),
				}}
				s.UpdateStrategy = &v1alpha1.UpdateStrategySpec{
					MaxUnavailable: ptr.To[int32](2), DrainTimeout: &metav1.Duration{Duration: 90 * time.Second},
				}
				labelled := &v1alpha1.ObjectTemplate{Labels: map[string]string{"team": "orders"}, Annotations: map[string]string{"note": "ours"}}
				s.Template = &v1alpha1.TemplateSpec{
					ServiceAccount: labelled, HeadlessService: labelled, APIService: labelled, PodDisruptionBudget: labelled,
					Pod: &runtime.RawExtension{Raw: []byte(`{
						"metadata": {"labels": {"team": "orders", "app.kubernetes.io/instance": "not-yours"}},
						"spec": {
							"nodeSelector": {"disk": "ssd"},
							"containers": [
								{"name": "worker", "env": [{"name": "HTTP_PROXY", "value": "http://proxy:3128"}]},
								{"name": "sidecar", "image": "sidecar:1"}
							],
							"tolerations": [{"key": "dedicated", "operator": "Exists"}]
						}}`)},
				}
			}).Obj(),
		"tls": testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) { // a Secret of cert-manager
			c.Spec.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{CASecretRef: &v1alpha1.SecretKeyReference{Name: "rocketmq-client"},
				CertSecretRef: &v1alpha1.SecretReference{Name: "rocketmq-client"}, ServerName: "rocketmq.example.com"}
		}).Obj(),
		"tls of public authorities": testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
			c.Spec.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{}
		}).Obj(),
		"issued by cert-manager": testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
			c.Spec.API = &v1alpha1.APISpec{HostNames: []string{"connect.example.com"}, TLS: &v1alpha1.APITLSSpec{
				Enabled: ptr.To(true), IssuerRef: &v1alpha1.IssuerReference{Name: "ours", Kind: "ClusterIssuer", Group: "cert-manager.io"},
			}}
		}).Obj(),
		"replaced by hand": testobj.Cluster("demo").Replicas(0).With(func(c *v1alpha1.ConnectCluster) {
			c.Spec.UpdateStrategy = &v1alpha1.UpdateStrategySpec{Type: v1alpha1.UpdateOnDelete}
		}).Obj(),
	}
}

// peers are those of the chart's defaults.
var peers = render.Peers{
	OperatorNamespace:   "rocketmq-connect",
	PrometheusNamespace: "monitoring",
	PrometheusLabels:    map[string]string{"app.kubernetes.io/name": "prometheus"},
}

func asYAML(t *testing.T, c *v1alpha1.ConnectCluster) []byte {
	t.Helper()
	children, err := render.Children(
		render.Input{
			Cluster:      c,
			DefaultImage: "worker:default",
			TokenHash:    "0011",
			Certificates: certs.Issued{Certificate: "the workers'", Authorities: "the authority's"},
			Peers:        peers,
		},
	)
	if err != nil {
		t.Fatal(err)
	}
	if render.Issuer(c) != nil {
		children = append(children, render.Certificate(c))
	}
	var out bytes.Buffer
	for _, child := range children {
		text, err := yaml.Marshal(child)
		if err != nil {
			t.Fatal(err)
		}
		out.WriteString("---\n")
		out.Write(text)
	}
	return out.Bytes()
}

func TestChildrenAreGolden(t *testing.T) {
	for name, c := range clusters() {
		t.Run(name, func(t *testing.T) {
			got := asYAML(t, c)
			file := filepath.Join("testdata", strings.ReplaceAll(name, " ", "_")+".golden.yaml")
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("other YAML than in %s (-want +got); if it is right, run with -update:\n%s", file, diff)
			}
			if again := asYAML(t, c); !bytes.Equal(got, again) {
				t.Error("the same input gave other bytes")
			}
		})
	}
}

func TestWithoutTLSPodsHaveNothingOfIt(t *testing.T) {
	c := testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
		c.Spec.API = &v1alpha1.APISpec{TLS: &v1alpha1.APITLSSpec{Enabled: ptr.To(false), IssuerRef: &v1alpha1.IssuerReference{Name: "ours"}}}
		c.Spec.Template = &v1alpha1.TemplateSpec{
			Pod: &runtime.RawExtension{Raw: []byte(`{"metadata": {"annotations": {"` + render.SchemeAnnotation + `": "https"}}}`)},
		}
	}).Obj()
	set := string(asYAML(t, c))
	for _, part := range []string{"https", "httpTls", "name: api-tls", "/etc/connect-tls", "Certificate\n"} {
		if strings.Contains(set, part) {
			t.Errorf("%s is there:\n%s", part, set)
		}
	}
	if got := render.APIAddress(c, render.Scheme(c)); got != "http://demo-api.test.svc:8082" {
		t.Errorf("it is called at %s", got)
	}
}

func TestChildrenRefuse(t *testing.T) {
	pod := func(text string) *v1alpha1.ConnectCluster {
		return testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
			c.Spec.Template = &v1alpha1.TemplateSpec{Pod: &runtime.RawExtension{Raw: []byte(text)}}
		}).Obj()
	}
	cases := map[string]struct {
		cluster *v1alpha1.ConnectCluster
		want    string
	}{
		"a setting that the worker refuses": {testobj.Cluster("demo").Config("sessionTimeout", "soon").Obj(), "sessionTimeout"},
		"settings that do not go together":  {testobj.Cluster("demo").Config("sessionTimeout", "1s").Obj(), "heartbeatInterval"},
		"a setting that adds a line": {
			testobj.Cluster("demo").Config("logLevel", "info\nworkerId=x").Obj(),
			"logLevel must be on one line",
		},
		"a pod template with a misspelt field":   {pod(`{"spec": {"nodeSelektor": {"a": "b"}}}`), `spec.template.pod: `},
		"a pod template with a value of no kind": {pod(`{"spec": {"priority": "high"}}`), `spec.template.pod: `},
		"a pod template without the worker": {
			pod(`{"spec": {"containers": [{"$patch": "delete", "name": "worker"}]}}`),
			"the container worker must stay",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := render.Children(render.Input{Cluster: tc.cluster, DefaultImage: "worker:default"})
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got error %v, want %q in it", err, tc.want)
			}
		})
	}
}

func TestOnlyWhatWorkersReadRollsThem(t *testing.T) {
	hash := func(c *v1alpha1.ConnectCluster, token string) string {
		children, err := render.Children(render.Input{Cluster: c, DefaultImage: "worker:default", TokenHash: token})
		if err != nil {
			t.Fatal(err)
		}
		text, err := yaml.Marshal(children[len(children)-1])
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(text), render.ConfigHashAnnotation+": ")
		line, _, _ := strings.Cut(rest, "\n")
		return line
	}
	base := hash(testobj.Cluster("demo").Obj(), "t")
	if got := hash(testobj.Cluster("demo").Replicas(9).Obj(), "t"); got != base {
		t.Error("scaling rolls the workers")
	}
	if got := hash(testobj.Cluster("demo").Config("logLevel", "debug").Obj(), "t"); got == base {
		t.Error("a changed setting does not roll the workers")
	}
	if got := hash(testobj.Cluster("demo").Obj(), "other"); got == base {
		t.Error("another token does not roll the workers")
	}
}

func TestClusterID(t *testing.T) {
	long := strings.Repeat("n", 60)
	cases := map[string]struct {
		cluster *v1alpha1.ConnectCluster
		want    string
	}{
		"the spec's, if it has one": {testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) { c.Spec.ClusterID = "mine" }).Obj(), "mine"},
		"namespace and name":        {testobj.Cluster("demo").InNamespace("shop").Obj(), "shop-demo"},
		"shortened with a hash": {
			testobj.Cluster(strings.Repeat("c", 40)).InNamespace(long).Obj(),
			long + "-" + strings.Repeat("c", 25) + "-b2e9bfb2",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := render.ClusterID(tc.cluster); got != tc.want || len(got) > 95 {
				t.Errorf("got %s (%d characters), want %s", got, len(got), tc.want)
			}
		})
	}
}

func TestTheOperatorCallsWorkersByANameOfTheirs(t *testing.T) {
	c := testobj.Cluster("demo").Obj()
	guard := &access.Guard{Open: true, Names: render.HostNames(c)}
	for host, want := range map[string]bool{
		strings.TrimPrefix(render.APIAddress(c, render.HTTPS), "https://"): true, "demo-api": true, "demo-api." + c.Namespace: true,
		"demo-worker-0.demo-worker." + c.Namespace + ".svc.cluster.local:8082": true, "demo-worker-0.demo-worker:8082": true,
		"demo-api." + c.Namespace + ".svc.evil.example": false, "demo-worker-0": false, "other-api": false,
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Host = host
		if refusal := guard.Check(r, time.Time{}); (refusal == nil) != want {
			t.Errorf("%s: %+v", host, refusal)
		}
	}
}

func TestProbesNeverShareThePortOfTheAPI(t *testing.T) {
	cases := map[string]struct {
		api  *v1alpha1.APISpec
		want [2]int32
	}{
		"nothing is said":                  {nil, [2]int32{8082, 8081}},
		"the API's port":                   {&v1alpha1.APISpec{Port: ptr.To[int32](9090)}, [2]int32{9090, 8081}},
		"the API has the usual probe port": {&v1alpha1.APISpec{Port: ptr.To[int32](8081)}, [2]int32{8081, 8082}},
		"both":                             {&v1alpha1.APISpec{Port: ptr.To[int32](8081), ProbePort: ptr.To[int32](9091)}, [2]int32{8081, 9091}},
	}
	for name, tc := range cases {
		c := testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) { c.Spec.API = tc.api }).Obj()
		if got := [2]int32{render.Port(c), render.ProbePort(c)}; got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

// allowed lists who may come in, as "namespace labels → ports"; an empty namespace is the cluster's own.
func allowed(t *testing.T, c *v1alpha1.ConnectCluster, p render.Peers) (out []string) {
	t.Helper()
	children, err := render.Children(render.Input{Cluster: c, DefaultImage: "worker:default", Peers: p})
	if err != nil {
		t.Fatal(err)
	}
	for _, child := range children {
		policy, ok := child.(*networkingv1ac.NetworkPolicyApplyConfiguration)
		if !ok {
			continue
		}
		for _, rule := range policy.Spec.Ingress {
			var ports []string
			for _, port := range rule.Ports {
				ports = append(ports, port.Port.String())
			}
			for _, from := range rule.From {
				namespace := ""
				if from.NamespaceSelector != nil {
					namespace = from.NamespaceSelector.MatchLabels[corev1.LabelMetadataName]
					if namespace == "" {
						t.Error("a rule lets in all namespaces")
					}
				}
				out = append(out, namespace+" "+from.PodSelector.MatchLabels["app.kubernetes.io/name"]+" → "+strings.Join(ports, ","))
			}
		}
	}
	return out
}

func TestTheNetworkPolicyNamesWhoMayComeIn(t *testing.T) {
	own, operator := " rocketmq-connect-worker → api,probes", "ops rocketmq-connect-operator → api,probes"
	cases := map[string]struct {
		peers render.Peers
		want  []string
	}{
		"an operator and a Prometheus": {
			render.Peers{
				OperatorNamespace:   "ops",
				PrometheusNamespace: "monitoring",
				PrometheusLabels:    map[string]string{"app.kubernetes.io/name": "prometheus"},
			},
			[]string{own, operator, "monitoring prometheus → probes"},
		},
		"any pod of a namespace": {
			render.Peers{OperatorNamespace: "ops", PrometheusNamespace: "monitoring"},
			[]string{own, operator, "monitoring  → probes"},
		},
		"no Prometheus": {
			render.Peers{OperatorNamespace: "ops", PrometheusLabels: map[string]string{"app.kubernetes.io/name": "prometheus"}},
			[]string{own, operator},
		},
		"an operator outside of pods": {render.Peers{}, []string{own}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, allowed(t, testobj.Cluster("demo").Obj(), tc.peers)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The pods' template changes with what they mount, and so rolls them, and with nothing else.
func TestSecretsOfConnectorsRollTheWorkers(t *testing.T) {
	template := func(names ...string) string {
		c := testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
			for _, name := range names {
				c.Spec.Secrets = append(c.Spec.Secrets, v1alpha1.MountedSecret{Name: name})
			}
		}).Obj()
		_, set, _ := strings.Cut(string(asYAML(t, c)), "kind: StatefulSet")
		return set
	}
	one := template("a")
	if one == template() || one == template("a", "b") {
		t.Error("one more Secret does not roll the workers")
	}
	if template("a", "b") != template("b", "a") {
		t.Error("the order of the Secrets rolls the workers")
	}
	long := strings.Repeat("n", 200)
	for _, name := range []string{long + "a", long + "b"} {
		if set := template(long+"a", long+"b"); strings.Count(set, "mountPath: "+render.SecretsDir+"/"+name) != 1 {
			t.Errorf("%s is not mounted once:\n%s", name, set)
		}
	}
}

// Workers of clusters that say nothing of secrets are not rolled by an operator that knows of them.
func TestInlineSecretsAreNoSetting(t *testing.T) {
	inline := testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) { c.Spec.SecretsPolicy = v1alpha1.SecretsAllowInline }).Obj()
	if diff := cmp.Diff(asYAML(t, testobj.Cluster("demo").Obj()), asYAML(t, inline)); diff != "" {
		t.Errorf("(-nothing +AllowInline):\n%s", diff)
	}
}
