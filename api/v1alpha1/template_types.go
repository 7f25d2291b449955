package v1alpha1

import "k8s.io/apimachinery/pkg/runtime"

// ObjectTemplate is metadata to add to a child object.
type ObjectTemplate struct {
	// labels are added to the object's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Labels map[string]string `json:"labels,omitempty"`
	// annotations are added to the object's own.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	Annotations map[string]string `json:"annotations,omitempty"`
}

// TemplateSpec adds to the objects that the operator makes for a cluster.
type TemplateSpec struct {
	// pod is a partial pod template (metadata.labels, metadata.annotations, spec) that is merged into the worker pods'
	// template by strategic merge. The workers' container is named "worker".
	// +optional
	// +kubebuilder:pruning:PreserveUnknownFields
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:validation:Type=object
	Pod *runtime.RawExtension `json:"pod,omitempty"`
	// serviceAccount adds to the workers' ServiceAccount.
	// +optional
	ServiceAccount *ObjectTemplate `json:"serviceAccount,omitempty"`
	// headlessService adds to the Service that gives the pods their names.
	// +optional
	HeadlessService *ObjectTemplate `json:"headlessService,omitempty"`
	// apiService adds to the Service in front of the workers' REST API.
	// +optional
	APIService *ObjectTemplate `json:"apiService,omitempty"`
	// podDisruptionBudget adds to the workers' PodDisruptionBudget.
	// +optional
	PodDisruptionBudget *ObjectTemplate `json:"podDisruptionBudget,omitempty"`
}
