package v1alpha1

// SecretReference names a Secret of the same namespace.
type SecretReference struct {
	// name is the Secret's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// MountedSecret names a Secret of the same namespace that is mounted into the worker pods.
type MountedSecret struct {
	// name is the Secret's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`
}

// SecretsPolicy is how the settings of connectors may hold secrets.
//
// +kubebuilder:validation:Enum=AllowInline;ReferenceOnly
type SecretsPolicy string

// Secrets policies.
const (
	// SecretsAllowInline takes secrets in the clear and references to them. It is the default.
	SecretsAllowInline SecretsPolicy = "AllowInline"
	// SecretsReferenceOnly refuses connectors with a secret in the clear.
	SecretsReferenceOnly SecretsPolicy = "ReferenceOnly"
)
