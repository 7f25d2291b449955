package rest

import (
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// isSecret reports whether the setting's value is never shown: the class says so, or its name does.
func isSecret(spec connector.Spec, key string) bool {
	for _, k := range spec.Keys {
		if k.Name == key && k.Secret {
			return true
		}
	}
	return config.Secret(key)
}

// masked returns a copy without secret values. Invariant S1: no secret value is in a REST answer.
func masked(spec connector.Spec, cfg map[string]string) map[string]string {
	out := make(map[string]string, len(cfg))
	for k, v := range cfg {
		if v != "" && isSecret(spec, k) {
			v = restapi.Mask
		}
		out[k] = v
	}
	return out
}

// unmasked returns a copy in which each Mask is the stored value again, and the keys that have none stored, sorted.
func unmasked(cfg, stored map[string]string) (out map[string]string, missing []string) {
	out = make(map[string]string, len(cfg))
	maps.Copy(out, cfg)
	for k, v := range cfg {
		if v != restapi.Mask {
			continue
		}
		if old, ok := stored[k]; ok {
			out[k] = old
		} else {
			missing = append(missing, k)
		}
	}
	slices.Sort(missing)
	return out, missing
}

// hasMask reports whether the stored value of a setting is to be kept.
func hasMask(cfg map[string]string) bool {
	return slices.Contains(slices.Collect(maps.Values(cfg)), restapi.Mask)
}
