package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// user is the id under which worker processes run: distroless images' nonroot.
const user = 65532

// goMemoryPercent is the part of a memory limit at which the workers' garbage collector begins to work hard.
const goMemoryPercent = 90

// podTemplate is the workers' pod template with the user's additions merged into it.
func podTemplate(in Input, hash string) (*corev1ac.PodTemplateSpecApplyConfiguration, error) {
	c := in.Cluster
	base := corev1ac.PodTemplateSpec().
		WithLabels(Labels(c)).
		WithAnnotations(map[string]string{"kubectl.kubernetes.io/default-container": WorkerContainer}).
		WithAnnotations(annotations(c, hash)).
		WithSpec(podSpec(in))
	if c.Spec.Template == nil || c.Spec.Template.Pod == nil || len(c.Spec.Template.Pod.Raw) == 0 {
		return base, nil
	}
	merged, err := mergePod(base, c.Spec.Template.Pod.Raw)
	if err != nil {
		return nil, fmt.Errorf("spec.template.pod: %w", err)
	}
	// What selects the pods, for their StatefulSet and for the operator, and what rolls them is not the user's to change.
	delete(merged.Annotations, SchemeAnnotation)
	merged.WithLabels(Labels(c)).WithAnnotations(annotations(c, hash))
	return merged, nil
}

// annotations are those by which pods are rolled and called.
func annotations(c *v1alpha1.ConnectCluster, hash string) map[string]string {
	out := map[string]string{ConfigHashAnnotation: hash}
	if scheme := Scheme(c); scheme != HTTP {
		out[SchemeAnnotation] = scheme
	}
	return out
}

// mergePod merges the user's partial pod template into base.
func mergePod(base *corev1ac.PodTemplateSpecApplyConfiguration, partial []byte) (*corev1ac.PodTemplateSpecApplyConfiguration, error) {
	from, err := json.Marshal(base)
	if err != nil {
		return nil, fmt.Errorf("encoding the pod template: %w", err)
	}
	merged, err := strategicpatch.StrategicMergePatch(from, partial, corev1.PodTemplateSpec{})
	if err != nil {
		return nil, fmt.Errorf("merging: %w", err)
	}
	strict := json.NewDecoder(bytes.NewReader(merged))
	strict.DisallowUnknownFields()
	if err := strict.Decode(&corev1.PodTemplateSpec{}); err != nil {
		return nil, fmt.Errorf("not a partial pod template (metadata, spec): %w", err)
	}
	out := corev1ac.PodTemplateSpec()
	if err := json.Unmarshal(merged, out); err != nil {
		return nil, fmt.Errorf("decoding the merged pod template: %w", err)
	}
	if out.Spec != nil {
		for _, container := range out.Spec.Containers {
			if container.Name != nil && *container.Name == WorkerContainer {
				return out, nil
			}
		}
	}
	return nil, errors.New("the container " + WorkerContainer + " must stay")
}

func podSpec(in Input) *corev1ac.PodSpecApplyConfiguration {
	c := in.Cluster
	return corev1ac.PodSpec().
		WithServiceAccountName(WorkerName(c)).
		WithAutomountServiceAccountToken(false). // workers need no Kubernetes API
		WithEnableServiceLinks(false).
		WithTerminationGracePeriodSeconds(int64((drainTimeout(c) + afterDrain).Seconds())).
		WithSecurityContext(corev1ac.PodSecurityContext().
			WithRunAsNonRoot(true).WithRunAsUser(user).WithRunAsGroup(user).WithFSGroup(user).
			WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))).
		WithTopologySpreadConstraints(corev1ac.TopologySpreadConstraint().
			WithMaxSkew(1).WithTopologyKey(corev1.LabelHostname).WithWhenUnsatisfiable(corev1.ScheduleAnyway).
			WithLabelSelector(metav1ac.LabelSelector().WithMatchLabels(Selector(c)))).
		WithContainers(container(in)).
		WithVolumes(volumes(c)...)
}

func container(in Input) *corev1ac.ContainerApplyConfiguration {
	c := in.Cluster
	image := c.Spec.Image
	if image == "" {
		image = in.DefaultImage
	}
	out := corev1ac.Container().
		WithName(WorkerContainer).
		WithImage(image).
		WithArgs("-c", confDir+"/"+ConfigKey).
		WithEnv(environment(c)...).
		WithPorts(containerPort(APIPort, Port(c)), containerPort(ProbesPort, ProbePort(c))).
		WithResources(resources(c)).
		WithVolumeMounts(mounts(c)...).
		WithStartupProbe(probe("/healthz").WithPeriodSeconds(1).WithFailureThreshold(60)).
		WithLivenessProbe(probe("/healthz").WithPeriodSeconds(10).WithFailureThreshold(3)).
		WithReadinessProbe(probe("/readyz").WithPeriodSeconds(2).WithFailureThreshold(2)).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithSecurityContext(corev1ac.SecurityContext().
			WithAllowPrivilegeEscalation(false).WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL")))
	if c.Spec.ImagePullPolicy != "" {
		out.WithImagePullPolicy(c.Spec.ImagePullPolicy)
	}
	return out
}

func containerPort(name string, port int32) *corev1ac.ContainerPortApplyConfiguration {
	return corev1ac.ContainerPort().WithName(name).WithContainerPort(port).WithProtocol(corev1.ProtocolTCP)
}

func probe(path string) *corev1ac.ProbeApplyConfiguration {
	return corev1ac.Probe().WithTimeoutSeconds(3).
		WithHTTPGet(corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString(ProbesPort)))
}

// environment says who the worker is: the file is the same for all.
func environment(c *v1alpha1.ConnectCluster) []*corev1ac.EnvVarApplyConfiguration {
	env := []*corev1ac.EnvVarApplyConfiguration{fromField("WORKER_ID", "metadata.name"), fromField("POD_IP", "status.podIP")}
	if limit, ok := resourceList(c, true)[corev1.ResourceMemory]; ok {
		soft := limit.Value() / 100 * goMemoryPercent
		env = append(env, corev1ac.EnvVar().WithName("GOMEMLIMIT").WithValue(strconv.FormatInt(soft, 10)))
	}
	return env
}

func fromField(name, path string) *corev1ac.EnvVarApplyConfiguration {
	return corev1ac.EnvVar().WithName(name).WithValueFrom(
		corev1ac.EnvVarSource().WithFieldRef(corev1ac.ObjectFieldSelector().WithFieldPath(path)))
}

// resources are the spec's; without any, requests with which a worker is not the first to be evicted.
func resources(c *v1alpha1.ConnectCluster) *corev1ac.ResourceRequirementsApplyConfiguration {
	out := corev1ac.ResourceRequirements()
	if c.Spec.Resources == nil {
		return out.WithRequests(corev1.ResourceList{
			corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: resource.MustParse("128Mi"),
		})
	}
	if l := resourceList(c, true); len(l) > 0 {
		out.WithLimits(l)
	}
	if l := resourceList(c, false); len(l) > 0 {
		out.WithRequests(l)
	}
	return out
}

func resourceList(c *v1alpha1.ConnectCluster, limits bool) corev1.ResourceList {
	switch {
	case c.Spec.Resources == nil:
		return nil
	case limits:
		return maps.Clone(c.Spec.Resources.Limits)
	}
	return maps.Clone(c.Spec.Resources.Requests)
}

func mounts(c *v1alpha1.ConnectCluster) []*corev1ac.VolumeMountApplyConfiguration {
	at := func(volume, path string) *corev1ac.VolumeMountApplyConfiguration {
		return corev1ac.VolumeMount().WithName(volume).WithMountPath(path)
	}
	out := []*corev1ac.VolumeMountApplyConfiguration{
		at("config", confDir).WithReadOnly(true),
		at("api-token", tokenDir).WithReadOnly(true),
		at("store", storeDir),
		at("tmp", "/tmp"),
	}
	if Scheme(c) == HTTPS {
		out = append(out, at("api-tls", tlsDir).WithReadOnly(true))
	}
	if c.Spec.RocketMQ.CredentialsSecretRef != nil {
		out = append(out, at("credentials", credentialsDir).WithReadOnly(true))
	}
	for _, name := range secrets(c) {
		out = append(out, at(secretVolume(name), SecretsDir+"/"+name).WithReadOnly(true))
	}
	_, tls := tlsVolumes(c)
	return append(out, tls...)
}

// secretMode is readable for the group, which is the pod's fsGroup, and for nobody else.
const secretMode = 0o440

func volumes(c *v1alpha1.ConnectCluster) []*corev1ac.VolumeApplyConfiguration {
	secret := func(volume, name string) *corev1ac.VolumeApplyConfiguration {
		return corev1ac.Volume().WithName(volume).WithSecret(corev1ac.SecretVolumeSource().WithSecretName(name).WithDefaultMode(secretMode))
	}
	out := []*corev1ac.VolumeApplyConfiguration{
		corev1ac.Volume().WithName("config").WithConfigMap(corev1ac.ConfigMapVolumeSource().WithName(WorkerName(c))),
		secret("api-token", APIName(c)),
		corev1ac.Volume().WithName("store").WithEmptyDir(corev1ac.EmptyDirVolumeSource()),
		corev1ac.Volume().WithName("tmp").WithEmptyDir(corev1ac.EmptyDirVolumeSource()),
	}
	if Scheme(c) == HTTPS {
		out = append(out, certificates(c, secretMode))
	}
	if ref := c.Spec.RocketMQ.CredentialsSecretRef; ref != nil {
		out = append(out, secret("credentials", ref.Name))
	}
	for _, name := range secrets(c) {
		v := secret(secretVolume(name), name)
		v.Secret.WithOptional(true) // connectors that do not need it run, and it may be made while they do
		out = append(out, v)
	}
	tls, _ := tlsVolumes(c)
	return append(out, tls...)
}

// secrets are the names of the Secrets that connectors may refer to, sorted: their order in the spec rolls no pods.
func secrets(c *v1alpha1.ConnectCluster) []string {
	var names []string
	for _, s := range c.Spec.Secrets {
		names = append(names, s.Name)
	}
	slices.Sort(names)
	return names
}

// secretVolume is the name of a Secret's volume. Volumes have shorter names than Secrets, and without dots.
func secretVolume(name string) string {
	sum := sha256.Sum256([]byte(name))
	return "secret-" + hex.EncodeToString(sum[:8])
}

// certificates puts the workers' private key beside their certificate. The authority's key, in the same Secret, stays
// outside.
func certificates(c *v1alpha1.ConnectCluster, mode int32) *corev1ac.VolumeApplyConfiguration {
	item := func(key string) *corev1ac.KeyToPathApplyConfiguration {
		return corev1ac.KeyToPath().WithKey(key).WithPath(key)
	}
	if Issuer(c) != nil {
		return corev1ac.Volume().WithName("api-tls").WithSecret(corev1ac.SecretVolumeSource().
			WithSecretName(IssuedName(c)).WithDefaultMode(mode).WithItems(item(WorkersKeyKey), item(CertificateKey)))
	}
	return corev1ac.Volume().WithName("api-tls").WithProjected(corev1ac.ProjectedVolumeSource().WithDefaultMode(mode).WithSources(
		corev1ac.VolumeProjection().WithSecret(corev1ac.SecretProjection().WithName(TLSName(c)).WithItems(item(WorkersKeyKey))),
		corev1ac.VolumeProjection().WithConfigMap(corev1ac.ConfigMapProjection().WithName(TLSName(c)).WithItems(item(CertificateKey))),
	))
}
