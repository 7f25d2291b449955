package strictjson

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestUnique(t *testing.T) {
	cases := map[string]struct {
		text   string
		fields bool
		want   string // begins the error; empty: none
	}{
		"nothing twice":           {`{"a":{"b":1,"c":[{"b":1},{"b":2}]},"b":"a","c":null}`, false, ""},
		"a key as a value":        {`{"a":"a","b":["a","a"]}`, false, ""},
		"no object":               {`["a","a"]`, true, ""},
		"nothing":                 {``, true, ""},
		"a key twice":             {`{"a":1,"b":2,"a":3}`, false, `the key "a" is there twice (byte 16): send it once`},
		"escaped the second time": {`{"a":1,"\u0061":3}`, false, `the key "a" is there twice (byte`},
		"after an object":         {`{"a":{"x":{}},"a":{}}`, false, `the key "a" is there twice (byte`},
		"in an object":            {`{"config":{"k":"1","k":"2"}}`, true, `the key "k" is there twice in config (byte`},
		"in the third level":      {`{"a":{"b":{"c":1,"c":2}}}`, false, `the key "c" is there twice in a.b (byte`},
		"in a list":               {`{"a":[1,{"b":1,"b":2}]}`, false, `the key "b" is there twice in a[1] (byte`},
		"in a list of lists":      {`[[],[{"b":1,"b":2}]]`, false, `the key "b" is there twice in [1][0] (byte`},
		"in another case":         {`{"name":"a","Name":"b"}`, false, ""},
		"a field in another case": {`{"name":"a","Name":"b"}`, true, `the key "Name" is there twice (byte`},
		"a field with a letter that folds to its own": {`{"state":"a","\u017ftate":"b"}`, true, `the key "ſtate" is there twice (byte`},
		"keys below a field in another case":          {`{"config":{"a":"1","A":"2"}}`, true, ""},
		"a control character":                         {`{"a\u0000":1,"a\u0000":2}`, false, `the key "a\x00" is there twice`},
		"JSON that ends":                              {`{"a":1,`, false, "reading JSON: "},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := Unique([]byte(tc.text), tc.fields)
			if (err != nil) != (tc.want != "") || err != nil && !strings.HasPrefix(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

// What has nothing twice decodes into as many keys as it has.
func FuzzUnique(f *testing.F) {
	f.Add(`{"a":1,"b":{"a":2}}`)
	f.Add(`{"a":1,"a":2}`)
	f.Fuzz(func(t *testing.T, text string) {
		var object map[string]json.RawMessage
		if json.Unmarshal([]byte(text), &object) != nil || object == nil {
			t.Skip()
		}
		keys, depth := 0, 0
		dec := json.NewDecoder(strings.NewReader(text))
		for wantKey := true; ; {
			token, err := dec.Token()
			if err != nil {
				break
			}
			switch d, _ := token.(json.Delim); d {
			case '{', '[':
				depth++
				continue
			case '}', ']':
				depth--
				wantKey = true
				continue
			}
			if depth == 1 {
				if wantKey {
					keys++
				}
				wantKey = !wantKey
			}
		}
		if keys != len(object) && Unique([]byte(text), false) == nil {
			t.Errorf("%d keys become %d and nothing is said: %s", keys, len(object), text)
		}
	})
}
