package rest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/keep"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/secret/reference"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// The sizes that one connector config may have: it is one record of the config topic.
const (
	maxKeys        = 512
	maxConfigBytes = 256 << 10
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

// check reports all that is wrong with the connector as it would be stored, and what has no effect.
func (s *Server) check(name string, cfg map[string]string) findings {
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
	class, err := config.ClassOf(cfg)
	if err != nil {
		f.add("class", err)
		return f
	}
	found, err := s.backends.Catalog.Find(class)
	if err != nil {
		f.add("class", err)
		return f
	}
	spec := found.Spec()
	if s.backends.CheckSettings != nil {
		f.addConfig(spec, cfg, s.backends.CheckSettings(spec, cfg))
	}
	unknown := s.checkByClass(&f, found, cfg)
	f.ignored(spec, cfg, unknown)
	s.inClear(&f, spec, cfg, unknown)
	return f
}

// checkByClass has the class check the config, with values in the place of references, and returns the settings that it does not
// know. Where some cannot be read here and now, much cannot be said: tasks wait for them, and check the config again.
//
// Invariant S1: what the class says of values has none of them.
func (s *Server) checkByClass(f *findings, class connector.Connector, cfg map[string]string) (unknown []string) {
	var said findings
	spec := class.Spec()
	resolved, complete := s.resolve(f, spec, cfg)
	unknown, err := spec.Check(resolved.Config, config.Reserved)
	said.addConfig(spec, cfg, judged(err, cfg, complete))
	if err == nil && complete { // Validate may rely on what Check holds
		said.addConfig(spec, cfg, service.Guard(func() error { return class.Validate(resolved.Config) }))
	}
	if len(said.errs) > 0 && len(resolved.Values) > 0 {
		said.hide(redact.New(cfg, s.policy(cfg)).With(resolved.Values...))
	}
	f.errs = append(f.errs, said.errs...)
	return unknown
}

// resolve puts values in the place of references, and adds what is wrong with those. Not complete: the config comes back as it is.
func (s *Server) resolve(f *findings, spec connector.Spec, cfg map[string]string) (resolved secret.Resolved, complete bool) {
	f.addConfig(spec, cfg, secret.Misplaced(cfg, func(key string) bool { return config.Reserved(key) || spec.NamesTopics(key) }))
	if s.backends.Secrets == nil {
		found, err := secret.Check(cfg)
		f.addConfig(spec, cfg, err)
		return secret.Resolved{Config: cfg}, !found
	}
	resolved, err := s.backends.Secrets.Resolve(cfg)
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
func (s *Server) inClear(f *findings, spec connector.Spec, cfg map[string]string, unknown []string) {
	for _, key := range secret.InClear(cfg, s.policy(cfg).Hides) {
		unsure := slices.Contains(unknown, key) || spec.Passes(key) && !redact.Policy(nil).Hides(key, cfg[key])
		if s.cfg.ReferencesOnly {
			f.addConfig(spec, cfg, secret.RefuseClear(key))
		} else if !unsure {
			f.warnings = append(f.warnings, secret.WarnClear(key))
		}
	}
}

// ignored refuses what would change records and is not obeyed, and warns of all else that has no effect. An empty value asks
// for nothing: the older routes can take back a setting by it.
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

// Check says what PUT validate says of a connector that is not stored yet. settings is what Backends have as CheckSettings.
func Check(catalog Catalog, settings func(spec connector.Spec, cfg map[string]string) error, in restapi.Connector) restapi.Validation {
	s := &Server{backends: Backends{Catalog: catalog, CheckSettings: settings}} // the rest of a server serves what is stored
	_, warnings, err := s.writeOf(in, nil)
	out := restapi.Validation{Valid: err == nil, Warnings: warnings}
	var refused *restapi.Problem
	if errors.As(err, &refused) {
		out.Errors = refused.Errors
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
	if size > maxConfigBytes {
		return fmt.Errorf("config may have at most %d bytes, not %d", maxConfigBytes, size)
	}
	return nil
}

// unchanged reports whether the write would store what is there. The way in which the class is named does not matter.
func unchanged(before store.Connector, write store.Write) bool {
	return maps.Equal(before.Config, write.Config) && (write.State == "" || write.State == before.State)
}

// replaces reports whether the request replaces what is there by something else. It does not if a masked secret
// is missing, or not to be kept.
func (s *Server) replaces(before store.Connector, in restapi.Connector) bool {
	cfg, found := s.storedConfig(in, before.Config)
	return len(found.errs) == 0 && !unchanged(before, store.Write{Config: cfg, State: states.Wanted(in.State)})
}

// writeOf checks the request and makes the write that stores it; before is the stored config, nil for none.
func (s *Server) writeOf(in restapi.Connector, before map[string]string) (store.Write, []string, error) {
	cfg, f := s.storedConfig(in, before)
	checked := s.check(in.Name, cfg)
	f.errs, f.warnings = append(f.errs, checked.errs...), checked.warnings
	if in.State != "" && !states.Wanted(in.State).Known() {
		f.add("state", stateError(in.State))
	}
	f.hide(redact.New(cfg, s.policy(cfg)))
	if len(f.errs) > 0 {
		return store.Write{}, f.warnings, invalid(f.errs)
	}
	return store.Write{Name: in.Name, Config: cfg, State: states.Wanted(in.State)}, f.warnings, nil
}

func stateError(state string) error {
	return fmt.Errorf("state must be Running, Paused or Stopped, not %q", state)
}

// storedConfig turns a request into the config that is stored: its settings, class and number of tasks in one map, with masked
// secrets filled in from before (nil: there is no such connector).
func (s *Server) storedConfig(in restapi.Connector, before map[string]string) (map[string]string, findings) {
	var f findings
	cfg, kept, missing := keep.Masked(in.Config, before)
	for _, key := range missing {
		f.add("config."+key, errNothingStored(key))
	}
	f.add("class", setField(cfg, "class", in.Class, config.ClassKey, config.OldClassKey))
	if in.MaxTasks != 0 {
		f.add("maxTasks", setField(cfg, "maxTasks", fmt.Sprint(in.MaxTasks), config.MaxTasksKey, config.OldTasksKey))
	}
	if name, ok := cfg["name"]; ok {
		if name != in.Name {
			f.add("config.name", fmt.Errorf("name in config (%q) differs from the connector's name (%q): leave it out", name, in.Name))
		}
		delete(cfg, "name")
	}
	f.moved(s.keeps(before, cfg, kept))
	return cfg, f
}

func errNothingStored(key string) error {
	return fmt.Errorf("%s is the mask of a secret, but no value is stored: send the value", key)
}

// keeps reports which of the stored values must not be kept by the config that comes after.
func (s *Server) keeps(before, after map[string]string, kept []string) []*keep.MovedError {
	return keep.Check(keep.Config{Settings: before, Spec: s.specOf(before)}, keep.Config{Settings: after, Spec: s.specOf(after)}, kept)
}

func (f *findings) moved(secrets []*keep.MovedError) {
	for _, e := range secrets {
		f.add("config."+e.Key, e)
	}
}

// setField puts the value of a field of its own into the config, unless the config says otherwise.
func setField(cfg map[string]string, field, value string, keys ...string) error {
	if value == "" {
		return nil
	}
	var err error
	for _, key := range keys {
		if v := cfg[key]; v != "" && v != value {
			err = fmt.Errorf("%s is %q but config has %s=%q: leave %s out of config", field, value, key, v, key)
		}
	}
	cfg[keys[0]] = value
	return err
}
