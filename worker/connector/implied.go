package connector

import (
	"errors"
	"strings"
)

// Implied returns the class of a config that names none: that of the first of the specs whose ImpliedBy it has. The
// error says what to set instead.
func Implied(specs []Spec, cfg map[string]string) (class string, err error) {
	text := "no connector class: set connector.class"
	for _, s := range specs {
		if len(s.ImpliedBy) == 0 {
			continue
		}
		if s.implied(cfg) {
			return s.Class, nil
		}
		text += ", or " + strings.Join(s.ImpliedBy, " and ") + " for a " + s.Class
	}
	return "", errors.New(text)
}

// implied reports whether the config has all settings that imply the class.
func (s Spec) implied(cfg map[string]string) bool {
	for _, key := range s.ImpliedBy {
		if cfg[key] == "" {
			return false
		}
	}
	return true
}
