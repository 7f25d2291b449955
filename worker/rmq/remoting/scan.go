package remoting

import (
	"encoding/json"
	"fmt"
	"strconv"
)

// maxDepth bounds nesting, as recursion follows it.
const maxDepth = 64

// scanner reads JSON as brokers write it: strict but for object keys, which may be unquoted numbers.
type scanner struct {
	b   []byte
	err error
	// null says that the last text was a null.
	null bool
}

func (s *scanner) fail(what string) {
	if s.err == nil {
		s.err = fmt.Errorf("%w: JSON: %s (%d bytes before the end)", ErrFrame, what, len(s.b))
	}
	s.b = nil
}

func (s *scanner) space() {
	for len(s.b) > 0 && (s.b[0] == ' ' || s.b[0] == '\n' || s.b[0] == '\t' || s.b[0] == '\r') {
		s.b = s.b[1:]
	}
}

// next skips white space and gives the byte that follows, 0 at the end.
func (s *scanner) next() byte {
	s.space()
	if len(s.b) == 0 {
		return 0
	}
	return s.b[0]
}

func (s *scanner) eat(c byte) bool {
	if s.next() != c {
		return false
	}
	s.b = s.b[1:]
	return true
}

// object calls member with each key; member must consume the value. A null is an empty object.
func (s *scanner) object(member func(name string)) {
	if s.literal("null") {
		return
	}
	if !s.eat('{') {
		s.fail("want an object")
		return
	}
	if s.eat('}') {
		return
	}
	for s.err == nil {
		name := s.key()
		if !s.eat(':') {
			s.fail("want a colon")
			return
		}
		member(name)
		if s.eat('}') {
			return
		}
		if !s.eat(',') {
			s.fail("want a comma or the object's end")
		}
	}
}

func (s *scanner) key() string {
	if s.next() == '"' {
		return s.quoted()
	}
	return string(s.bare())
}

// bare takes a number.
func (s *scanner) bare() []byte {
	s.space()
	n := 0
	for n < len(s.b) && (s.b[n] >= '0' && s.b[n] <= '9' || s.b[n] == '-' || s.b[n] == '+' || s.b[n] == '.' || s.b[n] == 'e' || s.b[n] == 'E') {
		n++
	}
	if n == 0 {
		s.fail("want a number")
		return nil
	}
	out := s.b[:n]
	s.b = s.b[n:]
	return out
}

func (s *scanner) literal(word string) bool {
	s.space()
	if len(s.b) < len(word) || string(s.b[:len(word)]) != word {
		return false
	}
	s.b = s.b[len(word):]
	return true
}

// quoted takes a string.
func (s *scanner) quoted() string {
	if !s.eat('"') {
		s.fail("want a string")
		return ""
	}
	for i := 0; i < len(s.b); i++ {
		switch c := s.b[i]; {
		case c == '"':
			out := string(s.b[:i])
			s.b = s.b[i+1:]
			return out
		case c == '\\' || c >= 0x80: // both may need to be changed
			return s.unquote(i)
		case c < 0x20:
			s.fail("control character in a string")
			return ""
		}
	}
	s.fail("string without end")
	return ""
}

// unquote leaves the escapes, from the one at i on, to the standard library.
func (s *scanner) unquote(i int) string {
	for ; i < len(s.b); i++ {
		switch s.b[i] {
		case '\\':
			i++
		case '"':
			raw := make([]byte, 0, i+2)
			raw = append(append(append(raw, '"'), s.b[:i]...), '"')
			var out string
			if err := json.Unmarshal(raw, &out); err != nil {
				s.fail("bad string")
				return ""
			}
			s.b = s.b[i+1:]
			return out
		}
	}
	s.fail("string without end")
	return ""
}

// text takes a string, or a number or boolean as its letters, or a null as "".
func (s *scanner) text() string {
	s.null = false
	switch c := s.next(); {
	case c == '"':
		return s.quoted()
	case s.literal("null"):
		s.null = true
		return ""
	case s.literal("true"):
		return "true"
	case s.literal("false"):
		return "false"
	}
	return string(s.bare())
}

func (s *scanner) number(low, high int64) int64 {
	n, err := strconv.ParseInt(string(s.bare()), 10, 64)
	if err != nil || n < low || n > high {
		s.fail("number out of range")
		return 0
	}
	return n
}

// skip takes any value.
func (s *scanner) skip(depth int) {
	if depth > maxDepth {
		s.fail("nested too deep")
		return
	}
	switch s.next() {
	case '{':
		s.object(func(string) { s.skip(depth + 1) })
	case '[':
		s.array(func() { s.skip(depth + 1) })
	default:
		s.text()
	}
}

func (s *scanner) array(item func()) {
	if !s.eat('[') {
		s.fail("want an array")
		return
	}
	if s.eat(']') {
		return
	}
	for s.err == nil {
		item()
		if s.eat(']') {
			return
		}
		if !s.eat(',') {
			s.fail("want a comma or the array's end")
		}
	}
}

// UnmarshalBody decodes the JSON body of an answer. Brokers leave keys that are numbers unquoted
// ("brokerAddrs":{0:"10.0.0.1:10911"}), which JSON does not allow: they are quoted first.
func UnmarshalBody(body []byte, v any) error {
	out := make([]byte, 0, len(body)+16)
	inString := false
	for i := 0; i < len(body); i++ {
		c := body[i]
		if inString {
			out = append(out, c)
			if c == '\\' && i+1 < len(body) {
				i++
				out = append(out, body[i])
			}
			inString = c != '"'
			continue
		}
		inString = c == '"'
		n := 0
		if c == '{' || c == ',' {
			n = numberKey(body[i+1:])
		}
		out = append(out, c)
		if n > 0 {
			out = append(out, '"')
			out = append(out, body[i+1:i+1+n]...)
			out = append(out, '"')
			i += n
		}
	}
	if err := json.Unmarshal(out, v); err != nil {
		return fmt.Errorf("%w: body: %w", ErrFrame, err)
	}
	return nil
}

// numberKey gives the length of the unquoted number at the start of b if a colon follows it, else 0.
func numberKey(b []byte) int {
	n := 0
	for n < len(b) && (b[n] >= '0' && b[n] <= '9' || n == 0 && b[n] == '-') {
		n++
	}
	if n < len(b) && b[n] == ':' {
		return n
	}
	return 0
}
