package render

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/worker/config"
)

// Where things lie in a worker's container.
const (
	confDir        = "/etc/connect"
	tokenDir       = "/etc/connect-api"
	tlsDir         = "/etc/connect-tls"
	credentialsDir = "/etc/connect-credentials"
	storeDir       = "/var/lib/rocketmq-connect"
)

// SecretsDir has a folder for each Secret that connectors may refer to. It is where workers look unless they are told
// otherwise.
const SecretsDir = "/etc/rocketmq-connect/secrets"

// conf renders connect.conf. The file is the same for all workers of a cluster: who a worker is comes from its
// environment. What the worker would refuse is an error here, so that running pods are not replaced by ones that cannot
// start.
func conf(c *v1alpha1.ConnectCluster) (string, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# Made by the operator for ConnectCluster %s/%s: changes here are undone.\n", c.Namespace, c.Name)
	set := func(key string, value any) { fmt.Fprintf(&b, "%s=%v\n", key, value) }
	id := ClusterID(c)
	set("connectClusterId", id)
	set("namesrvAddr", strings.Join(c.Spec.RocketMQ.NameServers, ";"))
	set("httpPort", Port(c))
	set("probePort", ProbePort(c))
	set("httpHostNames", strings.Join(HostNames(c), ","))
	if Scheme(c) == HTTPS {
		set("httpTlsCert", tlsDir+"/"+CertificateKey)
		set("httpTlsKey", tlsDir+"/"+WorkersKeyKey)
	}
	set("storePathRootDir", storeDir)
	set("restTokenFile", tokenDir+"/"+TokenKey)
	set("compatRoutes", false)
	if c.Spec.RocketMQ.CredentialsSecretRef != nil {
		set("aclEnable", true)
		set("credentialsDir", credentialsDir)
	}
	if tls := c.Spec.RocketMQ.TLS; tls != nil {
		setTLS(set, tls)
	}
	if c.Spec.SecretsPolicy == v1alpha1.SecretsReferenceOnly {
		set("config.secrets", "reference-only")
	}
	set("clusterStoreTopic", id+"-connector-cluster-topic")
	set("configStoreTopic", id+"-connector-config-topic")
	set("positionStoreTopic", id+"-connector-position-topic")
	set("offsetStoreTopic", id+"-connector-offset-topic")
	set("statusStoreTopic", id+"-connector-status-topic")
	if t := c.Spec.InternalTopics; t != nil && t.Broker != "" {
		set("clusterTopicBroker", t.Broker)
	}
	if a := c.Spec.Allocation; a != nil {
		setAllocation(set, a)
	}
	set("drainTimeout", drainTimeout(c))
	if _, ok := c.Spec.Config["logFormat"]; !ok {
		set("logFormat", "json")
	}
	escape := strings.NewReplacer(`\`, `\\`, `#`, `\#`)
	for _, key := range slices.Sorted(maps.Keys(c.Spec.Config)) {
		value := string(c.Spec.Config[key])
		if strings.ContainsAny(key+value, "\r\n") {
			return "", fmt.Errorf("spec.config: %s must be on one line", key)
		}
		set(key, escape.Replace(value))
	}
	return b.String(), check(b.String())
}

func setAllocation(set func(string, any), a *v1alpha1.AllocationSpec) {
	if a.Strategy != "" {
		set("allocTaskStrategy", a.Strategy)
	}
	if a.VirtualNodes != nil {
		set("virtualNode", *a.VirtualNodes)
	}
	if a.MaxLoadFactor != "" {
		set("maxLoadFactor", a.MaxLoadFactor)
	}
	if a.RebalanceDelay != nil {
		set("rebalanceDelay", a.RebalanceDelay.Duration)
	}
}

// check has the worker's own parser read the file.
func check(text string) error {
	w, _, err := config.Parse(strings.NewReader(text))
	if err == nil {
		err = w.Validate()
	}
	if err != nil {
		return fmt.Errorf("the worker would refuse its configuration: %w", err)
	}
	return nil
}
