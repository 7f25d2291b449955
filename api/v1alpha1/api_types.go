package v1alpha1

// APISpec is about the workers' REST API. It is closed by a token that the operator makes (Secret "<name>-api", key
// "token").
// +kubebuilder:validation:XValidation:rule="!has(self.probePort) || self.probePort != (has(self.port) ? self.port : 8082)",message="probePort must not be port: probes and metrics have a port of their own"
type APISpec struct {
	// port is the port of the REST API, on the pods and on the API Service.
	// +optional
	// +default=8082
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`

	// probePort is the pods' port of the probes and the metrics. By default 8081, or 8082 where port is 8081.
	// +optional
	// +kubebuilder:validation:Minimum=1024
	// +kubebuilder:validation:Maximum=65535
	ProbePort *int32 `json:"probePort,omitempty"`

	// hostNames are further host names by which the REST API may be called, such as an ingress's; *.example.com is all
	// below it. Addresses, localhost and the names of the pods and Services are right without it; others are refused.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?$`
	HostNames []string `json:"hostNames,omitempty"`

	// tls is about TLS on the REST API. Probes and metrics stay plain.
	// +optional
	TLS *APITLSSpec `json:"tls,omitempty"`
}

// APITLSSpec is about TLS on the workers' REST API.
type APITLSSpec struct {
	// enabled is whether the REST API speaks TLS. Changing it rolls the workers.
	// +optional
	// +default=true
	Enabled *bool `json:"enabled,omitempty"`
	// issuerRef names the issuer of cert-manager that issues the workers' certificate (Certificate "<name>-api-tls",
	// Secret "<name>-api-issued"). By default the operator issues it, by an authority of this cluster's own (ConfigMap
	// "<name>-api-tls", keys tls.crt and ca.crt).
	// +optional
	IssuerRef *IssuerReference `json:"issuerRef,omitempty"`
}

// IssuerReference names an issuer of cert-manager.
type IssuerReference struct {
	// name is the issuer's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// kind is Issuer (of the same namespace), ClusterIssuer, or one of another group.
	// +optional
	// +default="Issuer"
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9]*$`
	Kind string `json:"kind,omitempty"`
	// group is the API group of the issuer.
	// +optional
	// +default="cert-manager.io"
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`
	Group string `json:"group,omitempty"`
}
