// Package strictjson finds what encoding/json lets pass and readers understand differently: keys that are there twice.
package strictjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// object is an object or an array that is being read.
type object struct {
	path   string
	seen   map[string]bool // nil: an array
	key    string          // whose value is next; arrays have none
	wanted bool            // a key is next
	index  int
}

// Unique returns an error that says where, if an object of the JSON text, at any depth, has a key twice. With fields,
// the keys of the outermost object are those of a struct, which encoding/json takes in any case.
func Unique(text []byte, fields bool) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	var open []*object
	for {
		token, err := dec.Token()
		if errors.Is(err, io.EOF) && len(open) == 0 {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading JSON: %w", err)
		}
		if token == json.Delim('}') || token == json.Delim(']') {
			open = open[:len(open)-1]
			continue
		}
		path := ""
		if len(open) > 0 {
			top := open[len(open)-1]
			if key, ok := token.(string); ok && top.wanted {
				if !top.add(key, fields && len(open) == 1) {
					return fmt.Errorf("the key %q is there twice%s (byte %d): send it once", key, within(top.path), dec.InputOffset())
				}
				continue
			}
			path = top.next()
		}
		switch token {
		case json.Delim('{'):
			open = append(open, &object{path: path, seen: map[string]bool{}, wanted: true})
		case json.Delim('['):
			open = append(open, &object{path: path})
		}
	}
}

// add notes a key; false if it was there before.
func (o *object) add(key string, anyCase bool) bool {
	o.key, o.wanted = key, false
	if anyCase {
		key = strings.Map(fold, key)
	}
	before := o.seen[key]
	o.seen[key] = true
	return !before
}

// fold gives all forms of a letter the same rune, as encoding/json does.
func fold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}

// next is the path of the value that begins; what comes after it is a key or the next value.
func (o *object) next() string {
	switch {
	case o.seen == nil:
		o.index++
		return fmt.Sprintf("%s[%d]", o.path, o.index-1)
	case o.path == "":
		o.wanted = true
		return o.key
	}
	o.wanted = true
	return o.path + "." + o.key
}

func within(path string) string {
	if path == "" {
		return ""
	}
	return " in " + path
}
