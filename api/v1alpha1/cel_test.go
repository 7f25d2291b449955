//go:build envtest

package v1alpha1_test

import (
	"context"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/testenv"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

var server *testenv.Server

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, func(s *testenv.Server) func() {
		server = s
		return nil
	}))
}

type admission struct {
	object client.Object
	// want is a part of the refusal; empty: the object is accepted.
	want string
}

func (a admission) check(t *testing.T, err error) {
	t.Helper()
	switch {
	case a.want == "" && err != nil:
		t.Errorf("refused: %v", err)
	case a.want != "" && err == nil:
		t.Errorf("accepted, want a refusal with %q", a.want)
	case a.want != "" && !strings.Contains(err.Error(), a.want):
		t.Errorf("refused with %q, want %q in it", err, a.want)
	}
}

func connector(change func(*v1alpha1.Connector)) *v1alpha1.Connector {
	return testobj.Connector("orders").With(change).Obj()
}

func cluster(change func(*v1alpha1.ConnectCluster)) *v1alpha1.ConnectCluster {
	return testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) { c.UID = "" }).With(change).Obj()
}

func withConfig(key, value string) *v1alpha1.Connector {
	return testobj.Connector("orders").Config(key, value).Obj()
}

func withWorkerConfig(key string, value v1alpha1.WorkerSetting) *v1alpha1.ConnectCluster {
	return cluster(func(c *v1alpha1.ConnectCluster) { c.Spec.Config = map[string]v1alpha1.WorkerSetting{key: value} })
}

func withIssuer(name string) *v1alpha1.ConnectCluster {
	return cluster(func(c *v1alpha1.ConnectCluster) {
		c.Spec.API = &v1alpha1.APISpec{TLS: &v1alpha1.APITLSSpec{IssuerRef: &v1alpha1.IssuerReference{Name: name}}}
	})
}

func many(n int) map[string]v1alpha1.ConnectorSetting {
	m := map[string]v1alpha1.ConnectorSetting{}
	for i := range n {
		m["key."+strconv.Itoa(i)] = "v"
	}
	return m
}

func TestConnectorAdmission(t *testing.T) {
	cases := map[string]admission{
		"a plain connector": {object: testobj.Connector("orders").Obj()},
		"only what is required": {object: connector(func(c *v1alpha1.Connector) {
			c.Spec = v1alpha1.ConnectorSpec{ClusterRef: c.Spec.ClusterRef, Class: "KafkaSink"}
		})},
		"a Java class name": {
			object: testobj.Connector("orders").Class("org.apache.rocketmq.connect.kafka.connector.KafkaSourceConnector").Obj(),
		},
		"paused":           {object: testobj.Connector("orders").State(v1alpha1.ConnectorPaused).Obj()},
		"an unknown state": {object: testobj.Connector("orders").State("Resting").Obj(), want: `Unsupported value: "Resting"`},
		"an unknown deletion policy": {
			object: connector(func(c *v1alpha1.Connector) { c.Spec.DeletionPolicy = "Forget" }),
			want:   `Unsupported value: "Forget"`,
		},
		"orphaning":            {object: connector(func(c *v1alpha1.Connector) { c.Spec.DeletionPolicy = v1alpha1.DeletionOrphan })},
		"no class":             {object: testobj.Connector("orders").Class("").Obj(), want: "spec.class"},
		"a class with a space": {object: testobj.Connector("orders").Class("Kafka Source").Obj(), want: "spec.class"},
		"no cluster":           {object: testobj.Connector("orders").OnCluster("").Obj(), want: "spec.clusterRef.name"},
		"no tasks": {
			object: connector(func(c *v1alpha1.Connector) { c.Spec.MaxTasks = ptr.To[int32](0) }),
			want:   "greater than or equal to 1",
		},
		"as many tasks as there may be": {object: connector(func(c *v1alpha1.Connector) { c.Spec.MaxTasks = ptr.To[int32](1024) })},
		"too many tasks": {
			object: connector(func(c *v1alpha1.Connector) { c.Spec.MaxTasks = ptr.To[int32](1025) }),
			want:   "less than or equal to 1024",
		},
		"the key name":                {object: withConfig("name", "x"), want: "the key name is reserved"},
		"the key connector.class":     {object: withConfig("connector.class", "x"), want: "connector.class and connector-class are reserved"},
		"the key connector-class":     {object: withConfig("connector-class", "x"), want: "connector.class and connector-class are reserved"},
		"the key tasks.num":           {object: withConfig("tasks.num", "3"), want: "tasks.num and max.tasks are reserved"},
		"the key max.tasks":           {object: withConfig("max.tasks", "3"), want: "tasks.num and max.tasks are reserved"},
		"an internal key":             {object: withConfig("connect.internal.epoch", "3"), want: "keys that start with connect.internal."},
		"a key beside the internal":   {object: withConfig("connect.topicname", "x")},
		"an error handling key":       {object: withConfig("errors.tolerance", "all")},
		"an empty key":                {object: withConfig("", "x"), want: "1 to 253 characters"},
		"a key of 254 characters":     {object: withConfig(strings.Repeat("k", 254), "x"), want: "1 to 253 characters"},
		"a value of 16384 characters": {object: withConfig("big", strings.Repeat("v", 16384))},
		"a value of 16385 characters": {object: withConfig("big", strings.Repeat("v", 16385)), want: "may not be more than 16384"},
		"a certificate":               {object: withConfig("ca", "-----BEGIN X-----\r\nMII\n\t-----END X-----\n")},
		"a NUL in a value":            {object: withConfig("a", "b\x00hunter2"), want: "values must not have control characters"},
		"an escape in a value":        {object: withConfig("a", "\x1b[31m"), want: "values must not have control characters"},
		"a NUL in a key":              {object: withConfig("a\x00b", "c"), want: "keys must not have control characters"},
		"a line end in a key":         {object: withConfig("a\nb", "c"), want: "keys must not have control characters"},
		"512 settings":                {object: connector(func(c *v1alpha1.Connector) { c.Spec.Config = many(512) })},
		"513 settings":                {object: connector(func(c *v1alpha1.Connector) { c.Spec.Config = many(513) }), want: "at most 512"},
		"a name of 63 characters":     {object: testobj.Connector(strings.Repeat("n", 63)).Obj()},
		"a name of 64 characters":     {object: testobj.Connector(strings.Repeat("n", 64)).Obj(), want: "metadata.name must be a DNS label"},
		"a name with a dot":           {object: testobj.Connector("a.b").Obj(), want: "metadata.name must be a DNS label"},
	}
	ns := server.Namespace(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.object.SetNamespace(ns)
			tc.check(t, server.Client.Create(t.Context(), tc.object, client.DryRunAll))
		})
	}
}

func TestConnectClusterAdmission(t *testing.T) {
	spec := func(change func(*v1alpha1.ConnectClusterSpec)) *v1alpha1.ConnectCluster {
		return cluster(func(c *v1alpha1.ConnectCluster) { change(&c.Spec) })
	}
	servers := func(s ...string) *v1alpha1.ConnectCluster {
		return spec(func(c *v1alpha1.ConnectClusterSpec) { c.RocketMQ.NameServers = s })
	}
	drain := func(d time.Duration) *v1alpha1.ConnectCluster {
		return spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.UpdateStrategy = &v1alpha1.UpdateStrategySpec{DrainTimeout: &metav1.Duration{Duration: d}}
		})
	}
	delay := func(d time.Duration) *v1alpha1.ConnectCluster {
		return spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.Allocation = &v1alpha1.AllocationSpec{RebalanceDelay: &metav1.Duration{Duration: d}}
		})
	}
	load := func(f string) *v1alpha1.ConnectCluster {
		return spec(func(c *v1alpha1.ConnectClusterSpec) { c.Allocation = &v1alpha1.AllocationSpec{MaxLoadFactor: f} })
	}
	named := func(name string) *v1alpha1.ConnectCluster {
		return cluster(func(c *v1alpha1.ConnectCluster) { c.Name = name })
	}
	id := func(id string) *v1alpha1.ConnectCluster {
		return spec(func(c *v1alpha1.ConnectClusterSpec) { c.ClusterID = id })
	}
	mounts := func(names ...string) *v1alpha1.ConnectCluster {
		return spec(func(c *v1alpha1.ConnectClusterSpec) {
			for _, name := range names {
				c.Secrets = append(c.Secrets, v1alpha1.MountedSecret{Name: name})
			}
		})
	}
	numbered := func(n int) (names []string) {
		for i := range n {
			names = append(names, "s"+strconv.Itoa(i))
		}
		return names
	}
	cases := map[string]admission{
		"a plain cluster": {object: spec(func(*v1alpha1.ConnectClusterSpec) {})},
		"no workers":      {object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.Replicas = ptr.To[int32](0) })},
		"fewer than no workers": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.Replicas = ptr.To[int32](-1) }),
			want:   "spec.replicas",
		},
		"too many workers": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.Replicas = ptr.To[int32](1001) }),
			want:   "spec.replicas",
		},
		"an address and a port":      {object: servers("10.0.0.1:9876", "[fd00::1]:9876", "rocketmq-namesrv.rocketmq:9876")},
		"no name server":             {object: servers(), want: "spec.rocketmq.nameServers"},
		"a name server without port": {object: servers("namesrv"), want: "spec.rocketmq.nameServers[0]"},
		"two name servers in one":    {object: servers("a:9876;b:9876"), want: "spec.rocketmq.nameServers[0]"},
		"a URL as name server":       {object: servers("http://namesrv:9876"), want: "spec.rocketmq.nameServers[0]"},
		"17 name servers":            {object: servers(strings.Fields(strings.Repeat("a:9876 ", 17))...), want: "at most 16"},
		"credentials without a name": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.RocketMQ.CredentialsSecretRef = &v1alpha1.SecretReference{} }),
			want:   "credentialsSecretRef.name",
		},
		"TLS": {object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{} })},
		"TLS with all of it": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{CASecretRef: &v1alpha1.SecretKeyReference{Name: "ca", Key: "rocketmq_ca-1.pem"},
				CertSecretRef: &v1alpha1.SecretReference{Name: "cert"}, ServerName: "rocketmq.example.com"}
		})},
		"a CA without a name": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{CASecretRef: &v1alpha1.SecretKeyReference{}}
		}), want: "tls.caSecretRef.name"},
		"a CA's key with a slash": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{CASecretRef: &v1alpha1.SecretKeyReference{Name: "ca", Key: "../a"}}
		}), want: "tls.caSecretRef.key"},
		"a certificate without a name": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{CertSecretRef: &v1alpha1.SecretReference{}}
		}), want: "tls.certSecretRef.name"},
		"a server name with a port": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.RocketMQ.TLS = &v1alpha1.RocketMQTLSSpec{ServerName: "a:9876"}
		}), want: "tls.serverName"},
		"TLS in config":                 {object: withWorkerConfig("tlsCA", "/tmp/x"), want: "use spec.rocketmq.tls"},
		"a cluster id":                  {object: id("Orders_2-b")},
		"a cluster id with a dot":       {object: id("a.b"), want: "spec.clusterId"},
		"a cluster id too long":         {object: id(strings.Repeat("i", 96)), want: "spec.clusterId"},
		"a worker setting":              {object: withWorkerConfig("heartbeatInterval", "250ms")},
		"the worker's id":               {object: withWorkerConfig("workerId", "w"), want: "workerId, connectClusterId"},
		"the name servers in config":    {object: withWorkerConfig("namesrvAddr", "a:1"), want: "reserved: they follow from other fields"},
		"the REST port in config":       {object: withWorkerConfig("httpPort", "1"), want: "reserved: they follow from other fields"},
		"names of the API in config":    {object: withWorkerConfig("httpHostNames", "a"), want: "reserved: they follow from other fields"},
		"Secrets for connectors":        {object: mounts("kafka", "a.b-c.d", strings.Repeat("n", 253))},
		"a Secret of no name":           {object: mounts(""), want: "spec.secrets[0].name"},
		"a Secret's name with a slash":  {object: mounts("../etc"), want: "spec.secrets[0].name"},
		"a Secret's name in upper case": {object: mounts("Kafka"), want: "spec.secrets[0].name"},
		"a Secret's name with two dots": {object: mounts("a..b"), want: "spec.secrets[0].name"},
		"a Secret's name too long":      {object: mounts(strings.Repeat("n", 254)), want: "spec.secrets[0].name"},
		"a Secret twice":                {object: mounts("kafka", "kafka"), want: "Duplicate value"},
		"64 Secrets":                    {object: mounts(numbered(64)...)},
		"65 Secrets":                    {object: mounts(numbered(65)...), want: "at most 64"},
		"references only": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.SecretsPolicy = v1alpha1.SecretsReferenceOnly }),
		},
		"an unknown policy of secrets": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.SecretsPolicy = "Inline" }),
			want:   `Unsupported value: "Inline"`,
		},
		"the folder of Secrets in config": {object: withWorkerConfig("secretsDir", "/x"), want: "use spec.secrets and spec.secretsPolicy"},
		"the policy of secrets in config": {
			object: withWorkerConfig("config.secrets", "reference-only"),
			want:   "use spec.secrets and spec.secretsPolicy",
		},
		"names of the API": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.API = &v1alpha1.APISpec{HostNames: []string{"connect.example.com", "*.internal", "a"}}
		})},
		"a name with a port": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.API = &v1alpha1.APISpec{HostNames: []string{"a:80"}} }),
			want:   "spec.api.hostNames[0]",
		},
		"all names": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.API = &v1alpha1.APISpec{HostNames: []string{"*"}} }),
			want:   "spec.api.hostNames[0]",
		},
		"an internal topic":         {object: withWorkerConfig("configStoreTopic", "t"), want: "the names of the internal topics are reserved"},
		"a secret in config":        {object: withWorkerConfig("secretKey", "s"), want: "credentials come from"},
		"an issuer without a name":  {object: withIssuer(""), want: "spec.api.tls.issuerRef.name"},
		"an issuer":                 {object: withIssuer("ours")},
		"the file of a certificate": {object: withWorkerConfig("httpTlsCert", "/tmp/x"), want: "use spec.api.tls"},
		"the token's file":          {object: withWorkerConfig("restTokenFile", "/tmp/x"), want: "credentials come from"},
		"the strategy in config":    {object: withWorkerConfig("allocTaskStrategy", "Averagely"), want: "use spec.allocation"},
		"a setting of two lines":    {object: withWorkerConfig("logLevel", "info\nworkerId=x"), want: "spec.config.logLevel"},
		"a setting with a bad key":  {object: withWorkerConfig("log level", "info"), want: "keys must start with a letter"},
		"a setting too long": {
			object: withWorkerConfig("pluginPaths", v1alpha1.WorkerSetting(strings.Repeat("p", 4097))),
			want:   "may not be more than 4096",
		},
		"an unknown pull policy": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.ImagePullPolicy = "Sometimes" }),
			want:   `Unsupported value: "Sometimes"`,
		},
		"an image with a space": {object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.Image = "a b" }), want: "spec.image"},
		"an unknown strategy": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.Allocation = &v1alpha1.AllocationSpec{Strategy: "Fair"} }),
			want:   `Unsupported value: "Fair"`,
		},
		"Averagely": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.Allocation = &v1alpha1.AllocationSpec{Strategy: "Averagely"} }),
		},
		"no virtual nodes": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.Allocation = &v1alpha1.AllocationSpec{VirtualNodes: ptr.To[int32](0)}
		}), want: "virtualNodes"},
		"no bound on the load":      {object: load("0")},
		"a bound on the load":       {object: load("1.25")},
		"a bound below the average": {object: load("0.5"), want: "maxLoadFactor"},
		"a bound that is no number": {object: load("much"), want: "maxLoadFactor"},
		"a delay":                   {object: delay(30 * time.Second)},
		"a negative delay":          {object: delay(-time.Second), want: "rebalanceDelay must be between"},
		"a drain of a minute":       {object: drain(time.Minute)},
		"a drain of no time":        {object: drain(0), want: "drainTimeout must be between"},
		"a drain of two hours":      {object: drain(2 * time.Hour), want: "drainTimeout must be between"},
		"a port for two": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.API = &v1alpha1.APISpec{ProbePort: ptr.To[int32](8082)} }),
			want:   "probePort must not be port",
		},
		"a port for probes": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.API = &v1alpha1.APISpec{Port: ptr.To[int32](8081), ProbePort: ptr.To[int32](8082)}
		})},
		"the port of probes in config": {object: withWorkerConfig("probePort", "8083"), want: "reserved: they follow from other fields"},
		"a privileged port": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.API = &v1alpha1.APISpec{Port: ptr.To[int32](80)} }),
			want:   "spec.api.port",
		},
		"an unknown update strategy": {
			object: spec(func(c *v1alpha1.ConnectClusterSpec) { c.UpdateStrategy = &v1alpha1.UpdateStrategySpec{Type: "Big"} }),
			want:   `Unsupported value: "Big"`,
		},
		"no pod may be away": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.UpdateStrategy = &v1alpha1.UpdateStrategySpec{MaxUnavailable: ptr.To[int32](0)}
		}), want: "maxUnavailable"},
		"a pod template": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.Template = &v1alpha1.TemplateSpec{Pod: &runtime.RawExtension{Raw: []byte(`{"spec":{"priorityClassName":"high"}}`)}}
		})},
		"a pod template of no object": {object: spec(func(c *v1alpha1.ConnectClusterSpec) {
			c.Template = &v1alpha1.TemplateSpec{Pod: &runtime.RawExtension{Raw: []byte(`"x"`)}}
		}), want: "spec.template.pod"},
		"a name of 40 characters":     {object: named(strings.Repeat("n", 40))},
		"a name of 41 characters":     {object: named(strings.Repeat("n", 41)), want: "metadata.name must be at most 40"},
		"a name with a dot":           {object: named("a.b"), want: "metadata.name must be at most 40"},
		"a name that begins by digit": {object: named("1a"), want: "metadata.name must be at most 40"},
	}
	ns := server.Namespace(t)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.object.SetNamespace(ns)
			tc.check(t, server.Client.Create(t.Context(), tc.object, client.DryRunAll))
		})
	}
}

func TestImmutableFields(t *testing.T) {
	cases := map[string]struct {
		object client.Object
		change func(client.Object)
		want   string
	}{
		"a connector's cluster": {
			object: testobj.Connector("orders").Obj(),
			change: func(o client.Object) { o.(*v1alpha1.Connector).Spec.ClusterRef.Name = "other" },
			want:   "clusterRef is immutable",
		},
		"a connector's config": {
			object: testobj.Connector("orders").Obj(),
			change: func(o client.Object) { o.(*v1alpha1.Connector).Spec.Config["a"] = "b" },
		},
		"a cluster's id": {
			object: cluster(func(c *v1alpha1.ConnectCluster) { c.Spec.ClusterID = "one" }),
			change: func(o client.Object) { o.(*v1alpha1.ConnectCluster).Spec.ClusterID = "two" },
			want:   "clusterId is immutable",
		},
		"an id for a cluster without": {
			object: cluster(func(*v1alpha1.ConnectCluster) {}),
			change: func(o client.Object) { o.(*v1alpha1.ConnectCluster).Spec.ClusterID = "two" },
			want:   "clusterId is immutable",
		},
		"no id for a cluster with one": {
			object: cluster(func(c *v1alpha1.ConnectCluster) { c.Spec.ClusterID = "one" }),
			change: func(o client.Object) { o.(*v1alpha1.ConnectCluster).Spec.ClusterID = "" },
			want:   "clusterId is immutable",
		},
		"a cluster's replicas": {
			object: cluster(func(c *v1alpha1.ConnectCluster) { c.Spec.ClusterID = "one" }),
			change: func(o client.Object) { o.(*v1alpha1.ConnectCluster).Spec.Replicas = ptr.To[int32](7) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.object.SetNamespace(server.Namespace(t))
			if err := server.Client.Create(t.Context(), tc.object); err != nil {
				t.Fatal(err)
			}
			tc.change(tc.object)
			admission{want: tc.want}.check(t, server.Client.Update(t.Context(), tc.object))
		})
	}
}

func TestDefaultsComeFromTheSchema(t *testing.T) {
	ns := server.Namespace(t)
	manifests := map[string]map[string]any{
		"ConnectCluster": {
			"rocketmq":       map[string]any{"nameServers": []any{"a:9876"}},
			"allocation":     map[string]any{},
			"api":            map[string]any{},
			"updateStrategy": map[string]any{},
		},
		"Connector": {"clusterRef": map[string]any{"name": "demo"}, "class": "KafkaSource"},
	}
	for kind, spec := range manifests {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": "connect.rocketmq.io/v1alpha1", "kind": kind,
			"metadata": map[string]any{"name": "demo", "namespace": ns}, "spec": spec,
		}}
		if err := server.Client.Create(context.Background(), u); err != nil {
			t.Fatal(err)
		}
		// kstatus counts an object as done if it has neither conditions nor an observed generation.
		if got, _, _ := unstructured.NestedInt64(u.Object, "status", "observedGeneration"); got != -1 {
			t.Errorf("%s: observedGeneration is %d at first, want -1", kind, got)
		}
	}
	var c v1alpha1.Connector
	var cc v1alpha1.ConnectCluster
	for _, o := range []client.Object{&c, &cc} {
		if err := server.Client.Get(t.Context(), client.ObjectKey{Namespace: ns, Name: "demo"}, o); err != nil {
			t.Fatal(err)
		}
	}
	if *c.Spec.MaxTasks != 1 || c.Spec.State != v1alpha1.ConnectorRunning || c.Spec.DeletionPolicy != v1alpha1.DeletionDelete {
		t.Errorf("connector's defaults: %+v", c.Spec)
	}
	if *cc.Spec.Replicas != 1 || *cc.Spec.API.Port != 8082 || *cc.Spec.Allocation.VirtualNodes != 160 ||
		cc.Spec.Allocation.Strategy != v1alpha1.AllocationConsistentHash || *cc.Spec.UpdateStrategy.MaxUnavailable != 1 {
		t.Errorf("cluster's defaults: %+v", cc.Spec)
	}
}

func TestConfigTakesStringsOnly(t *testing.T) {
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "connect.rocketmq.io/v1alpha1", "kind": "Connector",
		"metadata": map[string]any{"name": "demo", "namespace": server.Namespace(t)},
		"spec":     map[string]any{"clusterRef": map[string]any{"name": "demo"}, "class": "X", "config": map[string]any{"n": int64(4)}},
	}}
	admission{want: "spec.config.n"}.check(t, server.Client.Create(t.Context(), u))
}
