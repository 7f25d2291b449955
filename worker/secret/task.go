package secret

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/secret/reference"
)

// minValue is the length from which on a value is looked for in tasks' configs: shorter ones are in too many words.
const minValue = 3

// Task puts the values in the place of the references that a task's config has from the connector's, which is stored.
// Other text in it is left alone: what a class has read elsewhere may look like a reference.
func (r Resolved) Task(stored, task map[string]string) map[string]string {
	out := maps.Clone(task)
	for key, value := range task {
		if stored[key] == value {
			out[key] = r.Config[key]
		}
	}
	return out
}

// Unresolve returns a task's config that a class has made of Config as it may be stored: with the references of the
// connector's config again. It fails where a value is somewhere else in it.
func (r Resolved) Unresolve(stored, task map[string]string) (map[string]string, error) {
	out := maps.Clone(task)
	for _, key := range slices.Sorted(maps.Keys(task)) {
		value := task[key]
		switch {
		case value == stored[key]:
		case len(reference.In(stored[key])) > 0 && value == r.Config[key]:
			out[key] = stored[key]
		case slices.ContainsFunc(r.Values, func(v string) bool { return len(v) >= minValue && strings.Contains(value, v) }):
			return nil, fmt.Errorf(
				"%s of a task would be stored with what a reference of the connector stands for in it: write the value itself where it is no secret",
				key,
			)
		}
	}
	return out, nil
}

// Check returns whether the config has references, and an *Error for each whose form is none. It reads nothing.
func Check(cfg map[string]string) (found bool, err error) {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		for _, ref := range reference.In(cfg[key]) {
			found = true
			if err := ref.Check(); err != nil {
				errs = append(errs, &Error{Setting: key, Reference: ref, Err: refusal{err}})
			}
		}
	}
	return found, errors.Join(errs...)
}

// Misplaced refuses references in settings that workers store, show or count by: public says which.
//
// Invariant S1: the name of a topic is in positions, for example.
func Misplaced(cfg map[string]string, public func(setting string) bool) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if refs := reference.In(cfg[key]); len(refs) > 0 && public(key) {
			errs = append(errs, &Error{Setting: key, Reference: refs[0], Err: refused("workers store and show what it says: write it out")})
		}
	}
	return errors.Join(errs...)
}

// InClear lists the settings, sorted, that hold secrets in the clear; hides says which do.
func InClear(cfg map[string]string, hides func(key, value string) bool) []string {
	var out []string
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if hides(key, cfg[key]) {
			out = append(out, key)
		}
	}
	return out
}

// RefuseClear says what to do about a secret in the clear where only references may be.
func RefuseClear(setting string) error {
	return refused("%s: a secret in the clear is refused by workers with config.secrets=reference-only: "+
		"write a reference in its place, such as ${secret:name:key}, or leave the setting out", setting)
}

// WarnClear says the same where it may be.
func WarnClear(setting string) string {
	return setting + ": a secret in the clear is stored in RocketMQ and on the workers' disks: write a reference in its place, " +
		"such as ${secret:name:key}"
}
