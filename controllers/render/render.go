package render

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	networkingv1ac "k8s.io/client-go/applyconfigurations/networking/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
	"k8s.io/utils/ptr"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/certs"
)

// Input is all that the child objects follow from.
type Input struct {
	Cluster *v1alpha1.ConnectCluster
	// DefaultImage is the worker image of clusters that name none.
	DefaultImage string
	// TokenHash is a digest of the REST token: workers read it when they start, so another one rolls the pods.
	TokenHash string
	// Certificates are those of the REST API. Workers follow them in place.
	Certificates certs.Issued
	// Peers may call the workers where NetworkPolicies are enforced.
	Peers Peers
}

// Peers are the pods outside a cluster that have something to ask of its workers.
type Peers struct {
	// OperatorNamespace is where the operator's pods are; empty: it runs outside the Kubernetes cluster.
	OperatorNamespace string
	// PrometheusNamespace is where Prometheus' pods are, and PrometheusLabels what they have; without a namespace nobody
	// may scrape, without labels every pod of it may.
	PrometheusNamespace string
	PrometheusLabels    map[string]string
}

// Children returns the cluster's child objects in the order in which they are to be applied. The Secrets with the REST
// token and the private keys are not among them: they are made once, at random. An error means that the spec cannot be
// rendered.
func Children(in Input) ([]runtime.ApplyConfiguration, error) {
	c := in.Cluster
	text, err := conf(c)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256([]byte(text + "\x00" + in.TokenHash))
	template, err := podTemplate(in, hex.EncodeToString(sum[:8]))
	if err != nil {
		return nil, err
	}
	return []runtime.ApplyConfiguration{
		serviceAccount(c),
		corev1ac.ConfigMap(WorkerName(c), c.Namespace).WithLabels(Labels(c)).WithOwnerReferences(owner(c)).
			WithData(map[string]string{ConfigKey: text}),
		corev1ac.ConfigMap(TLSName(c), c.Namespace).WithLabels(Labels(c)).WithOwnerReferences(owner(c)).
			WithData(map[string]string{CertificateKey: in.Certificates.Certificate, AuthoritiesKey: in.Certificates.Authorities}),
		headlessService(c),
		apiService(c),
		networkPolicy(c, in.Peers),
		podDisruptionBudget(c),
		statefulSet(c, template),
	}, nil
}

// owner makes the cluster the object's controller, so that it is deleted with it.
func owner(c *v1alpha1.ConnectCluster) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().
		WithAPIVersion(v1alpha1.SchemeGroupVersion.String()).WithKind("ConnectCluster").
		WithName(c.Name).WithUID(c.UID).
		WithController(true).WithBlockOwnerDeletion(true)
}

// with adds what the user's template says to own; own wins.
func with(own, template map[string]string) map[string]string {
	out := maps.Clone(template)
	if out == nil {
		return own
	}
	maps.Copy(out, own)
	return out
}

// template picks one part of spec.template; a part that is not set is empty.
func template(c *v1alpha1.ConnectCluster, part func(*v1alpha1.TemplateSpec) *v1alpha1.ObjectTemplate) v1alpha1.ObjectTemplate {
	if c.Spec.Template == nil {
		return v1alpha1.ObjectTemplate{}
	}
	return ptr.Deref(part(c.Spec.Template), v1alpha1.ObjectTemplate{})
}

func serviceAccount(c *v1alpha1.ConnectCluster) runtime.ApplyConfiguration {
	t := template(c, func(t *v1alpha1.TemplateSpec) *v1alpha1.ObjectTemplate { return t.ServiceAccount })
	return corev1ac.ServiceAccount(WorkerName(c), c.Namespace).
		WithLabels(with(Labels(c), t.Labels)).WithAnnotations(t.Annotations).WithOwnerReferences(owner(c)).
		WithAutomountServiceAccountToken(false)
}

// headlessService gives each pod a name, ready or not: workers find each other through RocketMQ, people by name.
func headlessService(c *v1alpha1.ConnectCluster) runtime.ApplyConfiguration {
	t := template(c, func(t *v1alpha1.TemplateSpec) *v1alpha1.ObjectTemplate { return t.HeadlessService })
	return corev1ac.Service(WorkerName(c), c.Namespace).
		WithLabels(with(Labels(c), t.Labels)).WithAnnotations(t.Annotations).WithOwnerReferences(owner(c)).
		WithSpec(corev1ac.ServiceSpec().
			WithClusterIP(corev1.ClusterIPNone).WithPublishNotReadyAddresses(true).
			WithSelector(Selector(c)).WithPorts(servicePort(APIPort, Port(c)), servicePort(ProbesPort, ProbePort(c))))
}

func apiService(c *v1alpha1.ConnectCluster) runtime.ApplyConfiguration {
	t := template(c, func(t *v1alpha1.TemplateSpec) *v1alpha1.ObjectTemplate { return t.APIService })
	return corev1ac.Service(APIName(c), c.Namespace).
		WithLabels(with(Labels(c), t.Labels)).WithAnnotations(t.Annotations).WithOwnerReferences(owner(c)).
		WithSpec(corev1ac.ServiceSpec().
			WithType(corev1.ServiceTypeClusterIP).
			WithSelector(Selector(c)).WithPorts(servicePort(APIPort, Port(c))))
}

func servicePort(name string, port int32) *corev1ac.ServicePortApplyConfiguration {
	return corev1ac.ServicePort().WithName(name).WithPort(port).WithTargetPort(intstr.FromString(name)).
		WithProtocol(corev1.ProtocolTCP)
}

func policyPort(name string) *networkingv1ac.NetworkPolicyPortApplyConfiguration {
	return networkingv1ac.NetworkPolicyPort().WithProtocol(corev1.ProtocolTCP).WithPort(intstr.FromString(name))
}

// networkPolicy lets in the workers of the same cluster and the operator, and Prometheus to the metrics alone. The
// kubelet needs no rule: a node reaches its pods.
func networkPolicy(c *v1alpha1.ConnectCluster, peers Peers) runtime.ApplyConfiguration {
	callers := []*networkingv1ac.NetworkPolicyPeerApplyConfiguration{
		networkingv1ac.NetworkPolicyPeer().WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(c))),
	}
	if peers.OperatorNamespace != "" {
		callers = append(callers, peer(peers.OperatorNamespace, map[string]string{nameLabel: ManagedBy}))
	}
	spec := networkingv1ac.NetworkPolicySpec().
		WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(c))).
		WithPolicyTypes(networkingv1.PolicyTypeIngress).
		WithIngress(networkingv1ac.NetworkPolicyIngressRule().WithPorts(policyPort(APIPort), policyPort(ProbesPort)).WithFrom(callers...))
	if peers.PrometheusNamespace != "" {
		spec.WithIngress(networkingv1ac.NetworkPolicyIngressRule().WithPorts(policyPort(ProbesPort)).
			WithFrom(peer(peers.PrometheusNamespace, peers.PrometheusLabels)))
	}
	return networkingv1ac.NetworkPolicy(WorkerName(c), c.Namespace).WithLabels(Labels(c)).WithOwnerReferences(owner(c)).WithSpec(spec)
}

// peer is the pods of one namespace that have the labels: labels alone, anybody may give to a pod of another namespace.
func peer(namespace string, labels map[string]string) *networkingv1ac.NetworkPolicyPeerApplyConfiguration {
	return networkingv1ac.NetworkPolicyPeer().
		WithNamespaceSelector(metav1ac.LabelSelector().WithMatchLabels(map[string]string{corev1.LabelMetadataName: namespace})).
		WithPodSelector(metav1ac.LabelSelector().WithMatchLabels(labels))
}

// podDisruptionBudget lets nodes be drained one worker at a time, also when there is only one. Workers that are not
// ready deliver nothing: they never keep a node.
func podDisruptionBudget(c *v1alpha1.ConnectCluster) runtime.ApplyConfiguration {
	t := template(c, func(t *v1alpha1.TemplateSpec) *v1alpha1.ObjectTemplate { return t.PodDisruptionBudget })
	return policyv1ac.PodDisruptionBudget(WorkerName(c), c.Namespace).
		WithLabels(with(Labels(c), t.Labels)).WithAnnotations(t.Annotations).WithOwnerReferences(owner(c)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().
			WithMaxUnavailable(intstr.FromInt32(1)).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(c))))
}

// statefulSet gives workers ids that outlive their pods. Pods start in parallel: workers do not depend on each other,
// and a parallel set also gets out of a template whose pods never become ready.
func statefulSet(c *v1alpha1.ConnectCluster, template *corev1ac.PodTemplateSpecApplyConfiguration) runtime.ApplyConfiguration {
	return appsv1ac.StatefulSet(WorkerName(c), c.Namespace).
		WithLabels(Labels(c)).WithOwnerReferences(owner(c)).
		WithSpec(appsv1ac.StatefulSetSpec().
			WithReplicas(Replicas(c)).
			WithServiceName(WorkerName(c)).
			WithPodManagementPolicy(appsv1.ParallelPodManagement).
			WithRevisionHistoryLimit(5).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(c))).
			WithUpdateStrategy(updateStrategy(c)).
			WithTemplate(template))
}

func updateStrategy(c *v1alpha1.ConnectCluster) *appsv1ac.StatefulSetUpdateStrategyApplyConfiguration {
	s := ptr.Deref(c.Spec.UpdateStrategy, v1alpha1.UpdateStrategySpec{})
	if s.Type == v1alpha1.UpdateOnDelete {
		return appsv1ac.StatefulSetUpdateStrategy().WithType(appsv1.OnDeleteStatefulSetStrategyType)
	}
	return appsv1ac.StatefulSetUpdateStrategy().WithType(appsv1.RollingUpdateStatefulSetStrategyType).
		WithRollingUpdate(appsv1ac.RollingUpdateStatefulSetStrategy().
			WithMaxUnavailable(intstr.FromInt32(ptr.Deref(s.MaxUnavailable, 1))))
}
