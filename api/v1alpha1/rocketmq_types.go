package v1alpha1

// SecretKeyReference names a key of a Secret of the same namespace.
type SecretKeyReference struct {
	// name is the Secret's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// key is the key of the Secret's data.
	// +optional
	// +default="ca.crt"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key,omitempty"`
}

// RocketMQTLSSpec says how TLS to RocketMQ is made. The Secrets are mounted into the worker pods; the operator never
// reads them. Renewed ones are used from the next connection on, and no pod is restarted.
type RocketMQTLSSpec struct {
	// caSecretRef names the PEM file with the certificates that must have signed those of name servers and brokers.
	// Without it the roots in the worker's image count.
	// +optional
	CASecretRef *SecretKeyReference `json:"caSecretRef,omitempty"`
	// certSecretRef names a Secret of type kubernetes.io/tls, as cert-manager makes it: tls.crt and tls.key are shown to
	// servers that ask clients for a certificate.
	// +optional
	CertSecretRef *SecretReference `json:"certSecretRef,omitempty"`
	// serverName is the name that the servers' certificates must have; by default the host that is dialled.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`
	ServerName string `json:"serverName,omitempty"`
}

// RocketMQSpec says how to reach RocketMQ.
type RocketMQSpec struct {
	// nameServers are the name servers, each as host:port.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:Pattern=`^([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}$`
	NameServers []string `json:"nameServers"`
	// credentialsSecretRef names a Secret with the keys accessKey, secretKey and, if needed, securityToken. It is mounted
	// into the worker pods; the operator never reads it. Without it requests are not signed.
	// +optional
	CredentialsSecretRef *SecretReference `json:"credentialsSecretRef,omitempty"`
	// tls has name servers and brokers reached by TLS; an empty object is enough where their certificates are signed by a
	// public authority. Without it connections are not encrypted.
	// +optional
	TLS *RocketMQTLSSpec `json:"tls,omitempty"`
}
