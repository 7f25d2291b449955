package render

import (
	"cmp"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// certManager is the group of cert-manager's issuers and certificates.
const certManager = "cert-manager.io"

// IssuedName is the name of the Secret with the certificate that cert-manager issues.
func IssuedName(c *v1alpha1.ConnectCluster) string { return c.Name + "-api-issued" }

// Issuer is cert-manager's issuer of the workers' certificate; nil: it is the operator's own authority, or there is no
// TLS.
func Issuer(c *v1alpha1.ConnectCluster) *v1alpha1.IssuerReference {
	if Scheme(c) != HTTPS || c.Spec.API == nil || c.Spec.API.TLS == nil {
		return nil
	}
	return c.Spec.API.TLS.IssuerRef
}

// Certificate asks cert-manager for the workers' certificate; only for clusters with an Issuer. Its kind is not known
// to the operator's scheme: cert-manager may not be there.
func Certificate(c *v1alpha1.ConnectCluster) runtime.ApplyConfiguration {
	ref := Issuer(c)
	list := func(values ...string) (out []any) {
		for _, v := range values {
			out = append(out, v)
		}
		return out
	}
	labels := map[string]any{}
	for key, value := range Labels(c) {
		labels[key] = value
	}
	return client.ApplyConfigurationFromUnstructured(&unstructured.Unstructured{Object: map[string]any{
		"apiVersion": certManager + "/v1",
		"kind":       "Certificate",
		"metadata": map[string]any{
			"name": TLSName(c), "namespace": c.Namespace, "labels": labels,
			"ownerReferences": []any{map[string]any{
				"apiVersion": v1alpha1.SchemeGroupVersion.String(), "kind": "ConnectCluster", "name": c.Name, "uid": string(c.UID),
				"controller": true, "blockOwnerDeletion": true,
			}},
		},
		"spec": map[string]any{
			"secretName":  IssuedName(c),
			"dnsNames":    list(append(HostNames(c), "localhost")...),
			"ipAddresses": list("127.0.0.1", "::1"),
			"usages":      list("digital signature", "server auth"),
			"privateKey":  map[string]any{"algorithm": "ECDSA", "size": int64(256), "rotationPolicy": "Always"},
			"issuerRef": map[string]any{
				"name": ref.Name, "kind": cmp.Or(ref.Kind, "Issuer"), "group": cmp.Or(ref.Group, certManager),
			},
		},
	}})
}
