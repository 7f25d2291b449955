package status

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
)

// SetSecrets writes the condition SecretsFound. Where nobody has looked it stays as it is.
func SetSecrets(conditions *[]metav1.Condition, o Cluster, generation int64) {
	switch {
	case o.AbsentSecrets == nil:
	case len(o.AbsentSecrets) == 0:
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionSecretsFound)
	default:
		message := fmt.Sprintf(
			"missing in namespace %s: Secret %s; create it, or take it out of spec.secrets: tasks that refer to it fail until then",
			o.Object.Namespace,
			strings.Join(o.AbsentSecrets, ", Secret "),
		)
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: v1alpha1.ConditionSecretsFound, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonSecretsMissing,
			Message: Shorten(message, v1alpha1.MaxConditionMessage), ObservedGeneration: generation,
		})
	}
}

// mountedSecrets are the names below render.SecretsDir that every pod mounts, whatever mounts them: a connector may
// refer to what any worker can read, since any may get its tasks. Pods that are leaving get none any more.
func mountedSecrets(pods []corev1.Pod) []string {
	var out []string
	first := true
	for i := range pods {
		if pods[i].DeletionTimestamp != nil {
			continue
		}
		names := secretsOf(&pods[i])
		if first {
			out, first = names, false
		}
		out = slices.DeleteFunc(out, func(name string) bool { return !slices.Contains(names, name) })
	}
	if len(out) == 0 {
		return nil
	}
	slices.Sort(out)
	out = slices.Compact(out)
	return out[:min(len(out), v1alpha1.MaxStatusSecrets)]
}

func secretsOf(p *corev1.Pod) (names []string) {
	for _, c := range p.Spec.Containers {
		if c.Name != render.WorkerContainer {
			continue
		}
		for _, m := range c.VolumeMounts {
			if name, ok := strings.CutPrefix(m.MountPath, render.SecretsDir+"/"); ok {
				names = append(names, name)
			}
		}
	}
	return names
}

func secretNotMounted(o Connector) (Verdict, bool) {
	cluster := o.Object.Spec.ClusterRef.Name
	var parts []string
	if names := o.NotMounted; len(names) > 0 {
		parts = append(
			parts,
			fmt.Sprintf("the workers do not mount Secret %s, to which spec.config refers: add it to ConnectCluster %s, spec.secrets: [{name: %s}]",
				strings.Join(names, ", Secret "), cluster, strings.Join(names, "}, {name: ")),
		)
	}
	if names := o.Mounting; len(names) > 0 {
		parts = append(
			parts,
			fmt.Sprintf(
				"not all workers of ConnectCluster %s mount Secret %s yet: they are being replaced",
				cluster,
				strings.Join(names, ", Secret "),
			),
		)
	}
	if o.Workers != nil && len(parts) > 0 {
		parts = append(parts, "the last accepted configuration stays in use")
	}
	return Verdict{Reason: v1alpha1.ReasonSecretNotMounted, Message: strings.Join(parts, "; "), Phase: Reconciling}, len(parts) > 0
}
