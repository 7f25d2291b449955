package connector

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/worker/secret/reference"
)

// unmounted names the Secrets that settings refer to and that not every worker mounts: notMounted where nobody has
// asked the cluster to, mounting where it is about to.
func unmounted(settings map[string]string, cluster *v1alpha1.ConnectCluster) (notMounted, mounting []string) {
	for _, name := range secretNames(settings) {
		switch {
		case slices.Contains(cluster.Status.MountedSecrets, name):
		case slices.ContainsFunc(cluster.Spec.Secrets, func(s v1alpha1.MountedSecret) bool { return s.Name == name }):
			mounting = append(mounting, name)
		default:
			notMounted = append(notMounted, name)
		}
	}
	return notMounted, mounting
}

// secretNames are the Secrets that settings refer to, sorted. What has the form of no reference, or of no Secret's
// name, is for the workers to refuse.
func secretNames(settings map[string]string) []string {
	names := map[string]bool{}
	for _, value := range settings {
		for _, ref := range reference.In(value) {
			if ref.Provider == reference.Secret && ref.Check() == nil && len(validation.IsDNS1123Subdomain(ref.Path)) == 0 {
				names[ref.Path] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}
