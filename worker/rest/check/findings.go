package check

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/keep"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// findings is what a check of a connector found.
type findings struct {
	errs     []restapi.FieldError
	warnings []string
}

func (f *findings) add(field string, err error) {
	for _, e := range parts(err) {
		f.errs = append(f.errs, restapi.FieldError{Field: field, Detail: e.Error()})
	}
}

// hide takes secrets out of what was found.
//
// Invariant S1: a refusal does not echo them, whoever worded it.
func (f *findings) hide(r redact.Redactor) {
	for i := range f.errs {
		f.errs[i].Detail = r.Text(f.errs[i].Detail)
	}
	for i := range f.warnings {
		f.warnings[i] = r.Text(f.warnings[i])
	}
}

// parts takes a joined error apart.
func parts(err error) []error {
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error }) // a join itself, not what wraps one
	if !ok {
		return []error{err}
	}
	var out []error
	for _, e := range joined.Unwrap() {
		out = append(out, parts(e)...)
	}
	return out
}

// addConfig adds errors of settings, each with the setting that its text begins with.
func (f *findings) addConfig(spec connector.Spec, cfg map[string]string, err error) {
	for _, e := range parts(err) {
		first, _, _ := strings.Cut(e.Error(), " ")
		first = strings.TrimSuffix(first, ":")
		field := "config"
		_, given := cfg[first]
		if given || slices.ContainsFunc(spec.Keys, func(k connector.Key) bool { return k.Name == first }) {
			field += "." + first
		}
		f.errs = append(f.errs, restapi.FieldError{Field: field, Detail: e.Error()})
	}
}

// ignored refuses what would change records and is not obeyed, and warns of all else that has no effect. An empty value
// asks for nothing: the older routes can take back a setting by it.
func (f *findings) ignored(spec connector.Spec, cfg map[string]string, unknown []string) {
	for _, key := range unknown {
		if err := config.NotYet(key); err != nil && cfg[key] != "" {
			f.errs = append(f.errs, restapi.FieldError{Field: "config." + key, Detail: err.Error()})
		} else {
			f.warnings = append(f.warnings, unknownKey(spec, key))
		}
	}
	if spec.Kind == connector.KindSource && cfg[config.DeadLetterKey] != "" {
		f.add("config."+config.DeadLetterKey, fmt.Errorf("%s: a source has no dead letters yet: it would leave out, count and log "+
			"what cannot be delivered, and put nothing there: leave it out", config.DeadLetterKey))
	}
	if spec.Kind == connector.KindSink && cfg[config.DeadLetterKey] != "" && !strings.EqualFold(cfg[config.ToleranceKey], "all") {
		f.warnings = append(f.warnings, fmt.Sprintf("%s has no effect unless %s is all: a record that cannot be delivered fails its task, "+
			"which retries it until it can", config.DeadLetterKey, config.ToleranceKey))
	}
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if spec.Kind == connector.KindSink && config.SourceOnly(key) {
			f.warnings = append(f.warnings, fmt.Sprintf("%s is for sources and has no effect on %s", key, spec.Class))
		}
	}
}

func unknownKey(spec connector.Spec, key string) string {
	names := config.WorkerKeys()
	for _, k := range spec.Keys {
		names = append(names, k.Name)
	}
	text := fmt.Sprintf("%s is not a setting of %s and has no effect", key, spec.Class)
	if near := config.Nearest(key, names); near != "" {
		text += "; did you mean " + near + "?"
	}
	return text
}

func (f *findings) moved(secrets []*keep.MovedError) {
	for _, e := range secrets {
		f.add("config."+e.Key, e)
	}
}
