// Package queryconfig reads the connector configs that the older runtimes' routes take in a query parameter.
package queryconfig

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rest/strictjson"
)

// Parse reads the config parameter of a raw query: a JSON object, percent-encoded as browsers send it or plain as
// `curl -g` does. Values that are not strings become strings, as they always did. Its errors say what to send.
func Parse(rawQuery string) (map[string]string, error) {
	raw, ok := rawParameter(rawQuery, "config")
	if !ok || raw == "" {
		return nil, errors.New(`the query parameter config is required: ?config={"key":"value"}`)
	}
	text, tail, object := decodeAny(raw)
	if object == nil {
		return nil, errors.New(`config must be a JSON object such as {"key":"value"} (with curl use -g and single quotes around the URL)`)
	}
	if strings.Contains(tail, "&config=") {
		return nil, errors.New("the query parameter config is there twice: send it once")
	}
	if err := strictjson.Unique([]byte(text), false); err != nil {
		return nil, fmt.Errorf("config: %w", err)
	}
	cfg := make(map[string]string, len(object))
	for key, value := range object {
		text, err := plain(value)
		if err != nil {
			return nil, fmt.Errorf("config: %s %w", key, err)
		}
		cfg[key] = text
	}
	if len(cfg) == 0 {
		return nil, errors.New("config is empty: give at least one setting")
	}
	return cfg, nil
}

// rawParameter returns everything after name= up to the end of the query: a plain JSON text may hold & and ;.
func rawParameter(query, name string) (string, bool) {
	if value, ok := strings.CutPrefix(query, name+"="); ok {
		return value, true
	}
	_, value, ok := strings.Cut(query, "&"+name+"=")
	return value, ok
}

// decodeAny percent-decodes the text; in an encoded one + is a blank, as forms have it, in a plain one it is a plus,
// and a stray % is one, too. What follows the object must be another parameter. It returns the object as it was sent,
// what follows it, and the object decoded: nil if there is none.
func decodeAny(raw string) (text, tail string, object map[string]json.RawMessage) {
	unescape, readings := url.QueryUnescape, []string(nil)
	if strings.HasPrefix(raw, "{") {
		unescape, readings = url.PathUnescape, []string{raw}
	}
	if s, err := unescape(raw); err == nil {
		readings = []string{s}
	}
	for _, text := range readings {
		object = nil
		dec := json.NewDecoder(strings.NewReader(text))
		if dec.Decode(&object) != nil || object == nil {
			continue
		}
		end := dec.InputOffset()
		if tail := strings.TrimSpace(text[end:]); tail == "" || tail[0] == '&' {
			return text[:end], tail, object
		}
	}
	return "", "", nil
}

// plain turns a JSON value into a setting: strings, numbers and booleans.
func plain(value json.RawMessage) (string, error) {
	switch value[0] {
	case '"':
		var s string
		err := json.Unmarshal(value, &s)
		return s, err
	case '{', '[':
		return "", errors.New("must be a string, a number or a boolean, not an object or a list")
	case 'n':
		return "", errors.New("must not be null")
	}
	return string(value), nil
}
