package status

import (
	"cmp"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// minSecret is the length from which on a secret value is looked for in texts: shorter ones would hide ordinary words.
const minSecret = 3

// Redactor hides the secret values of a connector's configuration in texts of others.
type Redactor struct{ replace *strings.Replacer }

// NewRedactor hides the values whose keys say that they are secrets.
// Invariant S1: no secret value is ever in a status or an event.
func NewRedactor(cfg map[string]string) Redactor {
	var values []string
	for key, value := range cfg {
		if config.Secret(key) && len(value) >= minSecret {
			values = append(values, value)
		}
	}
	// The longest first: a secret may be a part of another.
	slices.SortFunc(values, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, v := range values {
		pairs = append(pairs, v, restapi.Mask)
	}
	return Redactor{replace: strings.NewReplacer(pairs...)}
}

// Text returns s without the secret values.
func (r Redactor) Text(s string) string { return r.replace.Replace(s) }
