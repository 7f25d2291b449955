// Package check says what is wrong with a connector's config before it is stored, what of it has no effect, and which
// of its values may be shown. It does no IO but to read what references stand for.
package check

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/secret/reference"
	"github.com/rocketmq-connect/operator/worker/service"
)

// The sizes that one connector config may have: it is one record of the config topic.
const (
	maxKeys = 512
	// MaxConfigBytes is how many bytes the settings and their values may have.
	MaxConfigBytes = 256 << 10
)

// Secrets resolves references of configs. *secret.Resolver is one.
type Secrets interface {
	Resolve(cfg map[string]string) (secret.Resolved, error)
}

// Checker checks configs before they are stored. It is safe for concurrent use.
type Checker struct {
	Classes *Classes
	// Settings reports what is wrong with the settings that any connector may have and that the worker obeys; each error
	// begins with the setting's name. nil: they are not checked.
	Settings func(spec connector.Spec, cfg map[string]string) error
	// Secrets reads what a config refers to, for the class to check it; nil: references are checked for their form alone.
	Secrets Secrets
	// ReferencesOnly refuses secrets in the clear.
	ReferencesOnly bool
}

// Config checks the connector as it would be stored. The error is a *restapi.Problem with all that is wrong; the
// warnings say what has no effect, or not yet. Neither shows a secret.
func (c *Checker) Config(name string, cfg map[string]string) (warnings []string, err error) {
	return c.told(c.check(name, cfg), cfg)
}

// told is what was found as it may be told.
func (c *Checker) told(f findings, cfg map[string]string) (warnings []string, err error) {
	f.hide(redact.New(cfg, c.Classes.Policy(cfg)))
	if len(f.errs) > 0 {
		return f.warnings, answer.Invalid(f.errs)
	}
	return f.warnings, nil
}

// check reports all that is wrong with the connector as it would be stored, and what has no effect.
func (c *Checker) check(name string, cfg map[string]string) findings {
	var f findings
	f.add("name", config.Name("name", name))
	f.add("config", checkSize(cfg))
	f.addConfig(connector.Spec{}, cfg, config.Characters(cfg))
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if strings.HasPrefix(key, "connect.internal.") {
			f.add("config."+key, fmt.Errorf("%s is reserved: names that begin with connect.internal. cannot be set", key))
		}
	}
	_, err := config.MaxTasks(cfg)
	f.add("maxTasks", err)
	found, err := c.Classes.Of(cfg)
	if err != nil {
		f.add("class", err)
		return f
	}
	spec := found.Spec()
	if c.Settings != nil {
		f.addConfig(spec, cfg, c.Settings(spec, cfg))
	}
	unknown := c.checkByClass(&f, found, cfg)
	f.ignored(spec, cfg, unknown)
	c.inClear(&f, spec, cfg, unknown)
	return f
}

// checkByClass has the class check the config, with values in the place of references, and returns the settings that it
// does not know. Where some cannot be read here and now, much cannot be said: tasks wait for them, and check the config
// again.
//
// Invariant S1: what the class says of values has none of them.
func (c *Checker) checkByClass(f *findings, class connector.Connector, cfg map[string]string) (unknown []string) {
	var said findings
	spec := class.Spec()
	resolved, complete := c.resolve(f, spec, cfg)
	unknown, err := spec.Check(resolved.Config, config.Reserved)
	said.addConfig(spec, cfg, judged(err, cfg, complete))
	if err == nil && complete { // Validate may rely on what Check holds
		said.addConfig(spec, cfg, service.Guard(func() error { return class.Validate(resolved.Config) }))
	}
	if len(said.errs) > 0 && len(resolved.Values) > 0 {
		said.hide(redact.New(cfg, c.Classes.Policy(cfg)).With(resolved.Values...))
	}
	f.errs = append(f.errs, said.errs...)
	return unknown
}

// resolve puts values in the place of references, and adds what is wrong with those. Not complete: the config comes
// back as it is.
func (c *Checker) resolve(f *findings, spec connector.Spec, cfg map[string]string) (resolved secret.Resolved, complete bool) {
	f.addConfig(spec, cfg, secret.Misplaced(cfg, func(key string) bool { return config.Reserved(key) || spec.NamesTopics(key) }))
	if c.Secrets == nil {
		found, err := secret.Check(cfg)
		f.addConfig(spec, cfg, err)
		return secret.Resolved{Config: cfg}, !found
	}
	resolved, err := c.Secrets.Resolve(cfg)
	for _, e := range parts(err) {
		if errors.Is(e, secret.ErrRefused) {
			f.addConfig(spec, cfg, e)
		} else {
			f.warnings = append(f.warnings, e.Error()+"; until then the connector's tasks fail")
		}
	}
	if err != nil {
		return secret.Resolved{Config: cfg}, false
	}
	return resolved, true
}

// judged leaves out of a Spec's refusals what cannot be said before a value is known.
func judged(err error, cfg map[string]string, complete bool) error {
	if complete {
		return err
	}
	return errors.Join(slices.DeleteFunc(parts(err), func(e error) bool {
		key, _, _ := strings.Cut(e.Error(), " ")
		return len(reference.In(cfg[key])) > 0
	})...)
}

// inClear refuses all that may be a secret in the clear, or warns of what surely is one.
func (c *Checker) inClear(f *findings, spec connector.Spec, cfg map[string]string, unknown []string) {
	for _, key := range secret.InClear(cfg, c.Classes.Policy(cfg).Hides) {
		unsure := slices.Contains(unknown, key) || spec.Passes(key) && !redact.Policy(nil).Hides(key, cfg[key])
		if c.ReferencesOnly {
			f.addConfig(spec, cfg, secret.RefuseClear(key))
		} else if !unsure {
			f.warnings = append(f.warnings, secret.WarnClear(key))
		}
	}
}

func checkSize(cfg map[string]string) error {
	if len(cfg) > maxKeys {
		return fmt.Errorf("config may have at most %d settings, not %d", maxKeys, len(cfg))
	}
	size := 0
	for _, k := range slices.Sorted(maps.Keys(cfg)) {
		if k == "" {
			return fmt.Errorf("config has a setting without a name")
		}
		size += len(k) + len(cfg[k])
	}
	if size > MaxConfigBytes {
		return fmt.Errorf("config may have at most %d bytes, not %d", MaxConfigBytes, size)
	}
	return nil
}
