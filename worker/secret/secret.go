// Package secret gives references in connectors' configs the values that they stand for: its Resolver reads them, where
// a task starts, and Look reads them again, so that who uses one learns of its change. What a reference looks like is
// in reference.
//
// Invariant S1: what is resolved here goes into the config of a running attempt and nowhere else. What is stored,
// published and shown has the reference, and whoever resolves hides Resolved.Values in texts.
package secret

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/rocketmq-connect/operator/worker/secret/reference"
)

// The bounds of one config. Whoever writes it says how much there is to read.
const (
	maxReferences = 256
	// maxResolved bounds the values that hold references, in bytes.
	maxResolved = 4 << 20
)

// Config says what references may read.
type Config struct {
	// Mounted is the folder of ${secret:name:key}: it has a folder of each name, with a file of each key.
	Mounted string
	// Dirs are the folders in which ${file:…} and ${dir:…} may read, besides Mounted.
	Dirs []string
	// Env are the variables that ${env:…} may read.
	Env []string
}

// Resolver resolves references. It holds no values, and is safe for concurrent use.
type Resolver struct{ cfg Config }

// New makes a Resolver. It does no IO.
func New(cfg Config) *Resolver { return &Resolver{cfg} }

// Resolved is a config with values in the place of references.
type Resolved struct {
	// Config is the config; nil if a reference could not be resolved.
	Config map[string]string
	// Values are the values that were read, and the settings that hold them.
	Values []string
	// Used is what was read, or should have been.
	Used reference.Used
}

// Error is a reference that cannot be resolved.
type Error struct {
	// Setting is the key of the connector's config.
	Setting   string
	Reference reference.Reference
	// Err says why, and what to do. It matches ErrRefused where only another config helps.
	Err error
}

// Error names the setting and the reference.
func (e *Error) Error() string {
	return fmt.Sprintf("%s refers to %s: %v", e.Setting, e.Reference, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// ErrRefused means that a reference is none, or one that this worker's configuration does not allow. Others may resolve
// later: a file may not be there yet.
var ErrRefused = errors.New("refused")

// refusal is an error that says by itself that something is refused.
type refusal struct{ error }

// Is makes it match ErrRefused.
func (refusal) Is(target error) bool { return target == ErrRefused }

func refused(format string, args ...any) error { return refusal{fmt.Errorf(format, args...)} }

// Resolve reads what the config refers to. Its error joins an *Error for each reference that cannot be resolved, in the
// order of the settings; Used is known all the same. Values that are read are not looked into for more references.
func (r *Resolver) Resolve(cfg map[string]string) (Resolved, error) {
	out := Resolved{Config: maps.Clone(cfg), Used: reference.Used{}}
	references, size := 0, 0
	var errs []error
	read := r.reading()
	for _, setting := range slices.Sorted(maps.Keys(cfg)) {
		refs := reference.In(cfg[setting])
		if len(refs) == 0 {
			continue
		}
		if references += len(refs); references > maxReferences {
			errs = append(
				errs,
				refused("%s: a config may have at most %d references: put some of what they refer to into one value", setting, maxReferences),
			)
			break
		}
		for _, err := range out.read(read, refs) {
			errs = append(errs, &Error{Setting: setting, Reference: err.Reference, Err: err.Err})
		}
		if size += len(cfg[setting]); size+read.size(refs) > maxResolved {
			errs = append(errs, refused("%s: what the references of a config refer to may have at most %d bytes in all", setting, maxResolved))
			break
		}
		size += read.size(refs)
		value := reference.Expand(cfg[setting], func(ref reference.Reference) string { return read.values[ref] })
		out.Config[setting] = value
		out.Values = append(out.Values, value)
	}
	for _, ref := range slices.SortedFunc(maps.Keys(read.values), reference.Compare) {
		out.Values = append(out.Values, read.values[ref])
	}
	if err := errors.Join(errs...); err != nil {
		out.Config = nil
		return out, err
	}
	return out, nil
}

// read reads the references of one setting, and notes what is used.
func (out *Resolved) read(from *reading, refs []reference.Reference) (errs []*Error) {
	for _, ref := range slices.CompactFunc(slices.SortedFunc(slices.Values(refs), reference.Compare), func(a,
		b reference.Reference) bool {
		return a == b
	}) {
		value, err := from.value(ref)
		if ref.Provider != reference.Env && !errors.Is(err, ErrRefused) {
			out.Used[ref] = digest(value, err)
		}
		if err != nil {
			errs = append(errs, &Error{Reference: ref, Err: err})
		}
	}
	return errs
}

func digest(value string, err error) reference.Digest {
	if err != nil {
		return reference.Digest{}
	}
	return sha256.Sum256([]byte(value))
}

// Look reads the values again, and leaves out what cannot be read.
func (r *Resolver) Look(refs []reference.Reference) reference.Used {
	out, read := reference.Used{}, r.reading()
	for _, ref := range refs {
		if value, err := read.value(ref); err == nil {
			out[ref] = digest(value, nil)
		}
	}
	return out
}
