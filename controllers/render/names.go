// Package render turns a ConnectCluster into the child objects that it needs. It is pure: no client, no context, no
// clock; the same input gives the same bytes.
package render

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/utils/ptr"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// Names that other parts of the operator, and users, rely on.
const (
	// WorkerContainer is the name of the workers' container.
	WorkerContainer = "worker"
	// APIPort and ProbesPort are the names of the workers' ports.
	APIPort    = "api"
	ProbesPort = "probes"
	// ConfigKey is the key of the worker configuration in its ConfigMap.
	ConfigKey = "connect.conf"
	// TokenKey is the key of the REST token in its Secret.
	TokenKey = "token"
	// CertificateKey and AuthoritiesKey are the keys of the certificates of the REST API in their ConfigMap; WorkersKeyKey
	// and AuthorityKeyKey those of the private keys in their Secret.
	CertificateKey  = "tls.crt"
	AuthoritiesKey  = "ca.crt"
	WorkersKeyKey   = "tls.key"
	AuthorityKeyKey = "ca.key"
	// SchemeAnnotation is on the pods whose REST API speaks another scheme than HTTP, and says which.
	SchemeAnnotation = v1alpha1.GroupName + "/api-scheme"
	// HTTP and HTTPS are schemes of the REST API.
	HTTP  = "http"
	HTTPS = "https"
	// ConfigHashAnnotation is on the pod template; a changed configuration or token rolls the pods.
	ConfigHashAnnotation = v1alpha1.GroupName + "/config-hash"
	// InstanceLabel is on every child object and pod: the cluster's name.
	InstanceLabel = "app.kubernetes.io/instance"
	// ManagedByLabel and ManagedBy mark every child object.
	ManagedByLabel = "app.kubernetes.io/managed-by"
	ManagedBy      = "rocketmq-connect-operator"

	nameLabel      = "app.kubernetes.io/name"
	componentLabel = "app.kubernetes.io/component"
	partOfLabel    = "app.kubernetes.io/part-of"
	workerName     = "rocketmq-connect-worker"
	component      = "worker"
)

// What applies where the spec says nothing.
const (
	defaultPort         = 8082
	defaultProbePort    = 8081
	defaultDrainTimeout = 60 * time.Second
	// afterDrain is the time that a pod has beyond its drain for leaving the cluster and ending its process.
	afterDrain   = 15 * time.Second
	maxClusterID = 95
)

// WorkerName is the name of the workers' StatefulSet, headless Service, ConfigMap, ServiceAccount, PodDisruptionBudget
// and NetworkPolicy.
func WorkerName(c *v1alpha1.ConnectCluster) string { return c.Name + "-worker" }

// APIName is the name of the Service in front of the workers' REST API, and of the Secret with its token.
func APIName(c *v1alpha1.ConnectCluster) string { return c.Name + "-api" }

// TLSName is the name of the Secret with the private keys of the REST API, and of the ConfigMap with its certificates.
func TLSName(c *v1alpha1.ConnectCluster) string { return c.Name + "-api-tls" }

// Scheme is what the REST API of new pods speaks.
func Scheme(c *v1alpha1.ConnectCluster) string {
	if c.Spec.API != nil && c.Spec.API.TLS != nil && !ptr.Deref(c.Spec.API.TLS.Enabled, true) {
		return HTTP
	}
	return HTTPS
}

// SchemeOf is what the REST API of a pod with these annotations speaks.
func SchemeOf(annotations map[string]string) string {
	if annotations[SchemeAnnotation] == HTTPS {
		return HTTPS
	}
	return HTTP
}

// Port is the port of the workers' REST API.
func Port(c *v1alpha1.ConnectCluster) int32 {
	if c.Spec.API == nil {
		return defaultPort
	}
	return ptr.Deref(c.Spec.API.Port, defaultPort)
}

// ProbePort is the pods' port of the probes and the metrics: never that of the API, whose callers could keep probes
// waiting.
func ProbePort(c *v1alpha1.ConnectCluster) int32 {
	switch {
	case c.Spec.API != nil && c.Spec.API.ProbePort != nil:
		return *c.Spec.API.ProbePort
	case Port(c) == defaultProbePort:
		return defaultPort
	}
	return defaultProbePort
}

// HostNames are the names by which the workers may be called: those of the Services and of the pods behind the headless
// one, in the forms that Kubernetes' DNS gives them with its usual domain, and those that the spec adds.
func HostNames(c *v1alpha1.ConnectCluster) []string {
	var out []string
	for _, name := range []string{APIName(c), WorkerName(c), "*." + WorkerName(c)} {
		for _, domain := range []string{"", "." + c.Namespace, "." + c.Namespace + ".svc", "." + c.Namespace + ".svc.cluster.local"} {
			out = append(out, name+domain)
		}
	}
	if c.Spec.API != nil {
		out = append(out, c.Spec.API.HostNames...)
	}
	return out
}

// CertificateNames are the names and addresses of the workers' certificate: those by which they may be called, and
// those at the end of a port-forward.
func CertificateNames(c *v1alpha1.ConnectCluster) []string {
	return append(HostNames(c), "localhost", "127.0.0.1", "::1")
}

// Replicas is the number of workers that the spec asks for.
func Replicas(c *v1alpha1.ConnectCluster) int32 { return ptr.Deref(c.Spec.Replicas, 1) }

// APIAddress is the base URL of the workers' REST API inside the Kubernetes cluster, for workers that speak the scheme.
func APIAddress(c *v1alpha1.ConnectCluster, scheme string) string {
	return fmt.Sprintf("%s://%s.%s.svc:%d", scheme, APIName(c), c.Namespace, Port(c))
}

// ClusterID is the id that the workers use: the spec's, or <namespace>-<name>, shortened with a hash if that is too
// long for RocketMQ's names.
func ClusterID(c *v1alpha1.ConnectCluster) string {
	if c.Spec.ClusterID != "" {
		return c.Spec.ClusterID
	}
	id := c.Namespace + "-" + c.Name
	if len(id) <= maxClusterID {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return strings.TrimRight(id[:maxClusterID-9], "-") + "-" + hex.EncodeToString(sum[:4])
}

// Selector selects the worker pods of the cluster. It is part of the StatefulSet's identity and never changes.
func Selector(c *v1alpha1.ConnectCluster) map[string]string {
	return map[string]string{nameLabel: workerName, InstanceLabel: c.Name, componentLabel: component}
}

// SelectorText is Selector in the form in which autoscalers read it.
func SelectorText(c *v1alpha1.ConnectCluster) string {
	return labels.SelectorFromSet(Selector(c)).String()
}

// Labels are on every child object.
func Labels(c *v1alpha1.ConnectCluster) map[string]string {
	l := Selector(c)
	l[partOfLabel] = "rocketmq-connect"
	l[ManagedByLabel] = ManagedBy
	return l
}

func drainTimeout(c *v1alpha1.ConnectCluster) time.Duration {
	if c.Spec.UpdateStrategy == nil {
		return defaultDrainTimeout
	}
	return ptr.Deref(c.Spec.UpdateStrategy.DrainTimeout, metav1.Duration{Duration: defaultDrainTimeout}).Duration
}
