// Package keep decides which stored secrets a changed connector keeps: those that go where they went before. Otherwise
// whoever may change a connector, and was never shown its password, could have it sent to a server of their own. It is
// pure.
package keep

import (
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
)

// Config is a connector's config and the Spec of its class.
type Config struct {
	Settings map[string]string
	Spec     connector.Spec
}

// HasMask reports whether the stored value of a setting is to be kept.
func HasMask(cfg map[string]string) bool {
	return slices.Contains(slices.Collect(maps.Values(cfg)), redact.Mask)
}

// Masked returns a copy in which each Mask is the stored value again, the keys of those, and the keys that have none
// stored.
func Masked(cfg, stored map[string]string) (out map[string]string, kept, missing []string) {
	out = maps.Clone(cfg)
	if out == nil {
		out = map[string]string{}
	}
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if cfg[key] != redact.Mask {
			continue
		}
		if old, ok := stored[key]; ok {
			out[key], kept = old, append(kept, key)
		} else {
			missing = append(missing, key)
		}
	}
	return out, kept, missing
}

// MissingError is a Mask in the place of which nothing is stored.
type MissingError struct{ Key string }

// Error says what to do.
func (e *MissingError) Error() string {
	return e.Key + " is the mask of a secret, but no value is stored: send the value"
}

// MovedError is a secret that is not kept: the setting Changed says where it would go now.
type MovedError struct{ Key, Changed string }

// Error says what to do.
func (e *MovedError) Error() string {
	return e.Key + " must be sent again: " + e.Changed + " changed, and a stored secret goes only where it went before"
}

// Check returns an error for each secret among the kept keys if a setting has changed that says where and how secrets
// are sent. A change of the class changes that, too.
func Check(before, after Config, kept []string) []*MovedError {
	changed := moved(before, after)
	if len(changed) == 0 {
		return nil
	}
	var out []*MovedError
	secret := before.secrets(after.Spec.Class)
	for _, key := range slices.Sorted(slices.Values(kept)) {
		if secret.Hides(key, before.Settings[key]) {
			out = append(out, &MovedError{Key: key, Changed: strings.Join(changed, " and ")})
		}
	}
	return out
}

// secrets says which settings hold secrets for a config that goes on with the class: what the present one does not know
// is sent nowhere by it, but another class may know it.
func (c Config) secrets(class string) redact.Policy {
	elsewhere := func(key string) bool { return !c.Spec.Passes(key) }
	if class != c.Spec.Class {
		elsewhere = config.Reserved
	}
	return func(key string) bool { return c.Spec.Secret(key, elsewhere) }
}

// moved names the settings that have changed of those that say where and how secrets are sent.
func moved(before, after Config) []string {
	if before.Spec.Class != after.Spec.Class {
		return []string{config.ClassKey}
	}
	var out []string
	for _, k := range after.Spec.Keys {
		if k.Destination && value(before, k.Name) != value(after, k.Name) {
			out = append(out, k.Name)
		}
	}
	passed := map[string]string{}
	maps.Copy(passed, before.Settings)
	maps.Copy(passed, after.Settings)
	for _, key := range slices.Sorted(maps.Keys(passed)) {
		if after.Spec.Passes(key) && !redact.Named(key) && before.Settings[key] != after.Settings[key] {
			out = append(out, key)
		}
	}
	return out
}

func value(c Config, key string) string { return strings.TrimSpace(c.Spec.Get(c.Settings, key)) }
