package connector

import (
	"errors"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// Spec describes a connector class.
type Spec struct {
	// Class is the name that `connector.class` gives; Aliases are other names for it (a Java class name).
	Class   string
	Aliases []string
	Kind    Kind
	// ImpliedBy are the settings by which a config without `connector.class` is of this class, if it has all of them;
	// none: no config is. It is for classes that configs of the Java runtime do not name.
	ImpliedBy []string
	// Version is the connector's own version.
	Version string
	Keys    []Key
	// Prefixes are key prefixes that the connector passes through unchecked, for example "kafka.client.".
	Prefixes []string
}

// Type is the form of a key's value.
type Type string

// The value forms. A List is comma separated, and has at most MaxList entries; a Duration is a Go duration or a number
// of milliseconds.
const (
	String   Type = "string"
	Int      Type = "int"
	Bool     Type = "bool"
	List     Type = "list"
	Duration Type = "duration"
)

// MaxList is how many entries a List may have: tasks hold each in memory and look at all of them again and again.
const MaxList = 4096

// Key describes one setting.
type Key struct {
	Name     string
	Type     Type
	Default  string
	Required bool
	// Secret values are never shown.
	Secret bool
	// Topics says that the value lists the topics, as records name them, that a source reads: they are shown with its
	// status, and records of them go to no topic of the cluster itself.
	Topics bool
	// Destination says that the value tells where, how or as whom the secrets of the config are sent. When it changes,
	// stored secrets are not kept: they have to be given again.
	Destination bool
	// Enum lists the values allowed; empty allows all.
	Enum []string
	Doc  string
}

// Check reports every setting of cfg that the Spec refuses, in one joined error; unknown are the keys it does not know,
// sorted. The keys in reserved belong to the worker and are always known.
func (s Spec) Check(cfg Config, reserved func(key string) bool) (unknown []string, err error) {
	known := make(map[string]Key, len(s.Keys))
	var errs []error
	for _, k := range s.Keys {
		known[k.Name] = k
		if v := cfg[k.Name]; v != "" {
			errs = append(errs, k.check(v))
		} else if k.Required {
			errs = append(errs, fmt.Errorf("%s is required by %s: %s", k.Name, s.Class, k.Doc))
		}
	}
	for name := range cfg {
		if _, ok := known[name]; !ok && !reserved(name) && !s.Passes(name) {
			unknown = append(unknown, name)
		}
	}
	sort.Strings(unknown)
	return unknown, errors.Join(errs...)
}

// Secret reports whether the value of the setting is never shown: the Spec says so, or neither knows it nor is it one
// of the worker's (reserved). What a prefix passes through is known to the other system alone.
func (s Spec) Secret(name string, reserved func(key string) bool) bool {
	for _, k := range s.Keys {
		if k.Name == name {
			return k.Secret
		}
	}
	return !reserved(name)
}

// Passes reports whether the connector passes the setting through unchecked: it may be a secret, and may tell where
// secrets go.
func (s Spec) Passes(name string) bool {
	for _, p := range s.Prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

func (k Key) check(v string) error {
	var ok bool
	var want string
	switch k.Type {
	case Int:
		_, err := strconv.Atoi(v)
		ok, want = err == nil, "a whole number"
	case Bool:
		_, err := strconv.ParseBool(v)
		ok, want = err == nil, "true or false"
	case Duration:
		_, err := ParseDuration(v)
		ok, want = err == nil, "a duration such as 500ms, or a number of milliseconds"
	case List:
		if n := len(SplitTopics(v)); n > MaxList {
			return fmt.Errorf("%s has %d entries, and %d are allowed: divide them among several connectors", k.Name, n, MaxList)
		}
		ok = true
	default:
		ok = true
	}
	if !ok {
		return fmt.Errorf("%s must be %s%s", k.Name, want, k.shown(v))
	}
	for _, e := range k.Enum {
		if e == v {
			return nil
		}
	}
	if len(k.Enum) > 0 {
		return fmt.Errorf("%s must be one of %s%s", k.Name, strings.Join(k.Enum, ", "), k.shown(v))
	}
	return nil
}

func (k Key) shown(v string) string {
	if k.Secret {
		return ""
	}
	return fmt.Sprintf(", not %q", v)
}

// ParseDuration reads a Go duration ("1.5s") or a bare number of milliseconds ("1500").
func ParseDuration(v string) (time.Duration, error) {
	if ms, err := strconv.ParseInt(v, 10, 64); err == nil {
		return time.Duration(ms) * time.Millisecond, nil
	}
	return time.ParseDuration(v)
}

// Get returns the value of the key, or its default in the Spec.
func (s Spec) Get(cfg Config, name string) string {
	if v := cfg[name]; v != "" {
		return v
	}
	for _, k := range s.Keys {
		if k.Name == name {
			return k.Default
		}
	}
	return ""
}
