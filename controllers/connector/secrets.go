package connector

import (
	"maps"
	"regexp"
	"slices"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// secretReference finds ${secret:<name>:<key>}. What is no name of a Secret is for the workers to refuse.
var secretReference = regexp.MustCompile(`\$\{secret:([a-z0-9][-a-z0-9.]*):[^}]+\}`)

// unmounted names the Secrets that settings refer to and that not every worker mounts: notMounted where nobody has asked the
// cluster to, mounting where it is about to.
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

// secretNames are the Secrets that settings refer to, sorted.
func secretNames(settings map[string]string) []string {
	names := map[string]bool{}
	for _, value := range settings {
		for _, found := range secretReference.FindAllStringSubmatch(value, -1) {
			names[found[1]] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}
