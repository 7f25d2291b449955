package config

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf16"
)

// Properties reads a file of Java properties in UTF-8, as java.util.Properties does: unlike in connect.conf, blanks end
// a name, a value goes up to the end of its line, and a backslash before any character is left out. Of a name that is
// there twice the later value counts. Its errors name lines and show nothing of them.
func Properties(text string) (map[string]string, error) {
	out := map[string]string{}
	for _, l := range logicalLines(text) {
		name, value := cutProperty(l.text)
		var err error
		if name, err = unescapeJava(name); err == nil {
			value, err = unescapeJava(value)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", l.number, err)
		}
		out[name] = value
	}
	return out, nil
}

// blanks are the white space of properties.
const blanks = " \t\f"

// cutProperty cuts a line behind its name: at the first =, : or blank that has no backslash before it.
func cutProperty(s string) (name, value string) {
	at := len(s)
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' {
			i++
		} else if strings.IndexByte("=:"+blanks, s[i]) >= 0 {
			at = i
			break
		}
	}
	value = strings.TrimLeft(s[at:], blanks)
	if value != "" && (value[0] == '=' || value[0] == ':') {
		value = strings.TrimLeft(value[1:], blanks)
	}
	return s[:at], value
}

func unescapeJava(s string) (string, error) {
	if !strings.Contains(s, `\`) {
		return s, nil
	}
	var b strings.Builder
	var units []uint16 // of \u, which may be halves of a character
	end := func() {
		b.WriteString(string(utf16.Decode(units)))
		units = units[:0]
	}
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			end()
			b.WriteByte(s[i])
			continue
		}
		i++
		if s[i] == 'u' {
			if i+5 > len(s) {
				return "", fmt.Errorf(`\u must have four hexadecimal digits behind it`)
			}
			unit, err := strconv.ParseUint(s[i+1:i+5], 16, 16)
			if err != nil {
				return "", fmt.Errorf(`\u must have four hexadecimal digits behind it`)
			}
			units, i = append(units, uint16(unit)), i+4
			continue
		}
		end()
		if at := strings.IndexByte("tnrf", s[i]); at >= 0 {
			b.WriteByte("\t\n\r\f"[at])
		} else {
			b.WriteByte(s[i])
		}
	}
	end()
	return b.String(), nil
}
