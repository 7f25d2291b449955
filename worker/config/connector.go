package config

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxTasksLimit is the most tasks that one connector may have.
const MaxTasksLimit = 1024

// The keys that name a connector's class and its number of tasks, preferred spelling first.
const (
	ClassKey     = "connector.class"
	OldClassKey  = "connector-class"
	MaxTasksKey  = "max.tasks"
	OldTasksKey  = "tasks.num"
	nameKey      = "name"
	internalKeys = "connect.internal."
)

// WorkerKeys are the keys of a connector config that the worker obeys, whatever the connector.
func WorkerKeys() []string {
	return []string{
		nameKey, ClassKey, OldClassKey, MaxTasksKey, OldTasksKey, "topic.rename.format", "consume.from.where", "task.group.id",
		"errors.tolerance", "errors.retry.timeout", "errors.retry.delay.max.ms", DeadLetterKey,
		"on.broker.loss", "queue.order",
	}
}

// Reserved reports whether the key of a connector config belongs to the worker: every connector may have it.
func Reserved(key string) bool {
	return slices.Contains(WorkerKeys(), key) || strings.HasPrefix(key, internalKeys)
}

// Characters reports the settings with characters that readers of logs, files and other systems' protocols take for
// something else: in names all that cannot be printed, in values control characters. Tabs and line ends may be in
// values: certificates and JAAS lines have them. Its errors never show values.
func Characters(cfg map[string]string) error {
	var errs []error
	for _, key := range slices.Sorted(maps.Keys(cfg)) {
		if i := strings.IndexFunc(key, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			errs = append(errs, fmt.Errorf("config has the setting %q, whose name holds %U at byte %d, which cannot be printed: take it out",
				clip(key), firstRune(key[i:]), i))
			continue
		}
		value := strings.ReplaceAll(cfg[key], "\r\n", "\n\n") // as many bytes
		control := func(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
		if i := strings.IndexFunc(value, control); i >= 0 {
			errs = append(errs, fmt.Errorf("%s holds the control character %U at byte %d of its value: take it out (tabs and line ends may stay)",
				key, firstRune(value[i:]), i))
		}
	}
	return errors.Join(errs...)
}

func firstRune(s string) rune {
	r, _ := utf8.DecodeRuneInString(s)
	return r
}

// SourceOnly reports whether the worker obeys the key for sources alone.
func SourceOnly(key string) bool { return key == "on.broker.loss" || key == "queue.order" }

const (
	// DeadLetterKey names the topic for records that cannot be delivered. Sinks have one.
	DeadLetterKey = "errors.deadletterqueue.topic.name"
	// ToleranceKey says what becomes of such records: "none" fails the task, "all" goes on without them.
	ToleranceKey = "errors.tolerance"
)

// NotYet returns an error, which begins with the key, if the setting would change records and this worker cannot do it:
// whoever asks for a mask must not get records without one. Ask it about keys that the class does not know.
func NotYet(key string) error {
	_, below, _ := strings.Cut(key, ".converter")
	switch {
	case key == "transforms", strings.HasPrefix(key, "transforms."):
		return fmt.Errorf("%s: this worker cannot transform records yet, and would pass them on unchanged: leave it out", key)
	case strings.HasSuffix(key, ".converter"), strings.HasPrefix(below, "."):
		return fmt.Errorf("%s: this worker cannot convert records yet, and would pass on their bytes as they are: leave it out", key)
	case key == "connect.topicname", key == "connect-topicname":
		return fmt.Errorf("%s: this worker cannot send all records to one topic by it yet: leave it out, or set topic.rename.format", key)
	}
	return nil
}

// SetByField reports whether fields of a Connector resource give the key, so that its config map may not.
func SetByField(key string) bool {
	switch key {
	case nameKey, ClassKey, OldClassKey, MaxTasksKey, OldTasksKey:
		return true
	}
	return strings.HasPrefix(key, internalKeys)
}

// ClassOf returns the class that the config names, else what implied says: the classes know which of their settings
// imply them.
func ClassOf(cfg map[string]string, implied func(cfg map[string]string) (string, error)) (string, error) {
	for _, key := range []string{ClassKey, OldClassKey} {
		if class := strings.TrimSpace(cfg[key]); class != "" {
			return class, nil
		}
	}
	return implied(cfg)
}

// MaxTasks returns how many tasks the config allows: max.tasks, else tasks.num, else 1.
func MaxTasks(cfg map[string]string) (int, error) {
	for _, key := range []string{MaxTasksKey, OldTasksKey} {
		v := strings.TrimSpace(cfg[key])
		if v == "" {
			continue
		}
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > MaxTasksLimit {
			return 0, fmt.Errorf("%s must be a whole number from 1 to %d, not %q", key, MaxTasksLimit, v)
		}
		return n, nil
	}
	return 1, nil
}
