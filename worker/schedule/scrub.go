package schedule

import (
	"cmp"
	"regexp"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
)

const (
	hidden = "******"
	// maxProblem bounds an error's text in a status.
	maxProblem = 2048
)

var quoted = regexp.MustCompile(`["']([^"']+)["']`)

// scrubber returns a function that takes the config's secret values out of a text: those of keys that the class marks as
// secret, those of keys whose names say so, and the quoted parts of such values (as in a JAAS line).
//
// Invariant S1: error texts of connectors and brokers pass it before they are logged, shown or stored.
func scrubber(cfg map[string]string, spec connector.Spec) func(string) string {
	marked := map[string]bool{}
	for _, k := range spec.Keys {
		marked[k.Name] = k.Secret
	}
	var secrets []string
	for key, value := range cfg {
		if value == "" || !marked[key] && !config.Secret(key) {
			continue
		}
		secrets = append(secrets, value)
		for _, part := range quoted.FindAllStringSubmatch(value, -1) {
			secrets = append(secrets, part[1])
		}
	}
	// Longest first: a secret that is part of another must not leave the rest of that one behind.
	slices.SortFunc(secrets, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	pairs := make([]string, 0, 2*len(secrets))
	for _, s := range slices.Compact(secrets) {
		pairs = append(pairs, s, hidden)
	}
	replacer := strings.NewReplacer(pairs...)
	return func(text string) string {
		text = replacer.Replace(text)
		if len(text) > maxProblem {
			text = strings.ToValidUTF8(text[:maxProblem], "") + "…"
		}
		return text
	}
}
