// Package storefold is what the stores make of their topics: configs, progress and statuses as folds over records, and
// what their writers append. It has no clock, no lock and no IO, so what is simulated is what runs.
package storefold

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Version is that of every stored value. A reader leaves records of other versions alone.
const Version = 1

var (
	// ErrVersion means that a value or a file is of another version.
	ErrVersion = errors.New("value of a version that this worker does not know")
	errKey     = errors.New("value does not belong to its key")
	errField   = errors.New("value lacks a required field or has an impossible one")
)

// The kinds of keys.
const (
	kindConnector = "connector"
	kindTasks     = "tasks"
	kindIdentity  = "identity"
	kindFence     = "fence"
	kindReset     = "reset"
	kindPosition  = "position"
	kindStatus    = "status"
)

const maxKeyPart = 512

// The bounds of what a stored value may say. No worker comes near them.
const (
	maxText  = 1 << 16 // bytes of a partition's name or an id
	maxName  = 512     // of a connector's name: the cluster log takes no longer ones
	maxTask  = 1 << 16
	maxTasks = 1024 // of a connector
)

func validTask(task int) bool { return task >= allTasks && task < maxTask }

// anything lets all numbers pass: those of a value that this worker makes.
func anything(int64) bool { return true }

// keyOf joins a kind and names. Names are escaped, since brokers split keys at white space, and long ones hashed: the
// value has the names in full.
func keyOf(kind string, parts ...string) string {
	var b strings.Builder
	b.WriteString(kind)
	for _, p := range parts {
		b.WriteByte('/')
		if p = url.PathEscape(p); len(p) > maxKeyPart {
			sum := sha256.Sum256([]byte(p))
			p = "sha256:" + hex.EncodeToString(sum[:])
		}
		b.WriteString(p)
	}
	return b.String()
}

func connectorKey(name string) string           { return keyOf(kindConnector, name) }
func tasksKey(name string) string               { return keyOf(kindTasks, name) }
func resetKey(name string) string               { return keyOf(kindReset, name) }
func fenceKey(name string, task int) string     { return keyOf(kindFence, name, strconv.Itoa(task)) }
func positionKey(name, partition string) string { return keyOf(kindPosition, name, partition) }
func statusKey(connector string, task int) string {
	return keyOf(kindStatus, connector, strconv.Itoa(task))
}

func kindOf(key string) string {
	kind, _, _ := strings.Cut(key, "/")
	return kind
}

func recordOf(v value) replica.Record { return replica.Record{Key: v.key(), Value: Encode(v)} }

// value is what every stored value can say of itself.
type value interface {
	key() string
	// valid says whether a worker could have written it; counts bounds what workers count up.
	valid(counts func(n int64) bool) bool
}

// decode reads a stored value. The verdict is Accepted when it could be read.
func decode[T value](e rmq.Entry) (T, replica.Verdict, error) {
	var none, v T
	var head struct {
		V int `json:"v"`
	}
	if err := json.Unmarshal(e.Value, &head); err != nil {
		return none, replica.Malformed, fmt.Errorf("decoding a stored value: %w", err)
	}
	if head.V != Version {
		if head.V > Version {
			return none, replica.Foreign, fmt.Errorf("%w: %d", ErrVersion, head.V)
		}
		return none, replica.Malformed, fmt.Errorf("%w: %d", ErrVersion, head.V)
	}
	if err := json.Unmarshal(e.Value, &v); err != nil {
		return none, replica.Malformed, fmt.Errorf("decoding a stored value: %w", err)
	}
	if !v.valid(e.Counts) {
		return none, replica.Malformed, errField
	}
	if v.key() != e.Key {
		return none, replica.Malformed, errKey
	}
	return v, replica.Accepted, nil
}

// Encode cannot fail: stored values hold strings, numbers, maps of strings and times only.
func Encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encoding %T: %v", v, err))
	}
	return data
}

// text is a string that may hold any bytes: JSON would replace those that are not UTF-8.
type text string

type binaryText struct {
	Base64 string `json:"base64"`
}

// MarshalJSON gives a JSON string, or {"base64": …} for what is not UTF-8.
func (t text) MarshalJSON() ([]byte, error) {
	if utf8.ValidString(string(t)) {
		return json.Marshal(string(t))
	}
	return json.Marshal(binaryText{base64.StdEncoding.EncodeToString([]byte(t))})
}

// UnmarshalJSON reads both forms.
func (t *text) UnmarshalJSON(data []byte) error {
	var s string
	if err := json.Unmarshal(data, &s); err == nil {
		*t = text(s)
		return nil
	}
	var b binaryText
	if err := json.Unmarshal(data, &b); err != nil {
		return err
	}
	raw, err := base64.StdEncoding.DecodeString(b.Base64)
	if err != nil {
		return err
	}
	*t = text(raw)
	return nil
}

func validMap(m map[string]string) bool {
	for k, v := range m {
		if !utf8.ValidString(k) || !utf8.ValidString(v) {
			return false
		}
	}
	return true
}
