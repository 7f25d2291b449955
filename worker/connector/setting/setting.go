// Package setting reads the settings of a connector's config by the keys of its Spec, and gathers all that is wrong
// with them, so that whoever wrote the config can correct it in one go. Validate and Open of a connector read it in the
// same way:
//
//	r := setting.Read(spec, cfg)
//	s := settings{dir: r.Text("lines.dir"), refresh: r.Duration("lines.refresh", time.Millisecond)}
//	return s, r.Err()
package setting

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
)

// MaxInt is the largest value that Int takes. It fits into an int32.
const MaxInt = 1 << 30

// Reader reads the settings of one config. A setting that is empty or missing has the default of its Key. What is wrong
// is kept for Err, and the method that found it returns something usable, so that reading goes on. It is for one
// goroutine.
type Reader struct {
	spec connector.Spec
	cfg  connector.Config
	errs []error
}

// Read checks cfg by spec, forms, enums and required keys, and returns its Reader. Keys that the Spec does not know are
// left alone: the worker tells users of them. A Spec without keys checks nothing.
func Read(spec connector.Spec, cfg connector.Config) *Reader {
	_, err := spec.Check(cfg, func(string) bool { return true })
	return &Reader{spec: spec, cfg: cfg, errs: []error{err}}
}

// Value is the setting as it was written; "" without a value and a default.
func (r *Reader) Value(key string) string { return r.spec.Get(r.cfg, key) }

// Text is Value without the white space around it.
func (r *Reader) Text(key string) string { return strings.TrimSpace(r.Value(key)) }

// List is the entries of a comma separated setting, without the white space around them, in their order. Empty ones and
// repetitions are left out; nil if nothing is left.
func (r *Reader) List(key string) []string {
	var out []string
	seen := map[string]bool{}
	for part := range strings.SplitSeq(r.Text(key), ",") {
		if part = strings.TrimSpace(part); part != "" && !seen[part] {
			seen[part] = true
			out = append(out, part)
		}
	}
	return out
}

// Bool is a setting that strconv.ParseBool takes: true, false, 1, 0 and such; false without a value and a default.
func (r *Reader) Bool(key string) bool {
	b, _ := parsed(r, key, connector.Bool, "true or false", strconv.ParseBool)
	return b
}

// Int is a whole number from least to MaxInt; 0 without a value and a default. The error names both bounds.
func (r *Reader) Int(key string, least int) int {
	n, ok := parsed(r, key, connector.Int, "a whole number", strconv.Atoi)
	if ok && (n < least || n > MaxInt) {
		r.Fail("%s must be from %d to %d, not %d", key, least, MaxInt, n)
	}
	return n
}

// Duration is a Go duration ("1.5s") or a number of milliseconds ("1500"), and least at the least; 0 without a value
// and a default. math.MinInt64 as least takes all.
func (r *Reader) Duration(key string, least time.Duration) time.Duration {
	d, ok := parsed(r, key, connector.Duration, "a duration such as 30s, or a number of milliseconds", connector.ParseDuration)
	if ok && d < least {
		r.Fail("%s must be at least %s, not %s", key, least, d)
	}
	return d
}

// parsed reads a setting of a form; ok says that it is one. A value of another form is reported, unless Read has done
// so, and the default is read in its place.
func parsed[T any](r *Reader, key string, form connector.Type, want string, parse func(string) (T, error)) (value T, ok bool) {
	v := r.Text(key)
	if v == "" {
		return value, false
	}
	if got, err := parse(v); err == nil {
		return got, true
	}
	i := slices.IndexFunc(r.spec.Keys, func(k connector.Key) bool { return k.Name == key })
	switch {
	case i >= 0 && r.spec.Keys[i].Type == form:
	case i >= 0 && r.spec.Keys[i].Secret:
		r.Fail("%s must be %s", key, want)
	default:
		r.Fail("%s must be %s, not %q", key, want, v)
	}
	if got, err := parse(r.spec.Get(nil, key)); err == nil {
		value = got
	}
	return value, false
}

// Either reads a setting that has one of two values, in upper or lower case, and reports whether it is the second. The
// first is the default.
func (r *Reader) Either(key, first, second string) bool {
	switch v := r.Value(key); {
	case v == "", strings.EqualFold(v, first):
	case strings.EqualFold(v, second):
		return true
	default:
		r.Fail("%s must be %s or %s, not %q", key, first, second, v)
	}
	return false
}

// SinkTopics is the RocketMQ topics that a sink's config names, by the first of connector.TopicKeys that is set. None
// is an error.
func (r *Reader) SinkTopics() []string {
	for _, key := range connector.TopicKeys() {
		if topics := r.List(key); len(topics) > 0 {
			return topics
		}
	}
	r.Fail("%s is required: the RocketMQ topics to read, separated by commas", connector.TopicKeys()[0])
	return nil
}

// Fail notes what else is wrong, formatted as by fmt.Errorf. The text begins with the key and says what to do; it never
// holds the value of a secret.
func (r *Reader) Fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

// Err is all that was found wrong so far, joined; nil if nothing was. Each part begins with its key, by which the REST
// API shows it beside its setting.
func (r *Reader) Err() error { return errors.Join(r.errs...) }
