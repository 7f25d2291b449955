package redact

import (
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/secret/reference"
)

// option is name="value" or name=value, as in a JAAS line, or "name": "value", as in a JSON key file.
var option = regexp.MustCompile(`([A-Za-z_][\w.-]*)["']?\s*(?:[=:]\s*("(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')|=\s*([^\s;"',&]+))`)

// shownOptions are the options of a secret value that are none themselves: who logs in, not with what.
var shownOptions = []string{
	"username",
	"user",
	"principal",
	"servicename",
	"clientid",
	"client_id",
	"client_email",
	"scope",
	"keytab",
	"type",
}

// loginLine is a JAAS line: a class, whether it must succeed, and options.
var loginLine = regexp.MustCompile(
	`^\s*[\w.$]+\s+(?:required|requisite|sufficient|optional)(?:\s+[\w.-]+\s*=\s*(?:"(?:[^"\\]|\\.)*"|[^\s;"]+))*\s*;?\s*$`,
)

// referred stands for a reference in a value that is looked through for secrets.
const referred = "\x00"

// around returns a value with referred in the place of its references; not ok: it has none.
func around(value string) (rest string, ok bool) {
	if len(reference.In(value)) == 0 || strings.Contains(value, referred) {
		return value, false
	}
	return reference.Expand(value, func(reference.Reference) string { return referred }), true
}

// refers reports whether a text is references and nothing else.
func refers(text string) bool {
	rest, ok := around(text)
	return ok && bare(rest)
}

// written reports whether a text is more than references.
func written(text string) bool { return strings.Trim(text, referred) != "" }

// bare reports whether nothing but separators stands between references.
func bare(value string) bool { return strings.Trim(value, referred+" \t\r\n:;,/@") == "" }

// login reports whether the value is a JAAS line whose options are references, or such as may be shown.
func login(value string) bool {
	if !loginLine.MatchString(value) {
		return false
	}
	for _, m := range option.FindAllStringSubmatch(value, -1) {
		shown := slices.Contains(shownOptions, strings.ToLower(m[1])) && !Named(m[1])
		if text := m[3] + unquote(m[2]); written(text) && text != "true" && text != "false" && !shown {
			return false
		}
	}
	return true
}

// parts returns what is secret inside a secret value, apart from the whole of it.
func parts(value string) []string {
	out := credentials(value)
	for _, m := range option.FindAllStringSubmatch(value, -1) {
		if m[2] != "" && !slices.Contains(shownOptions, strings.ToLower(m[1])) {
			out = append(out, m[2][1:len(m[2])-1], unquote(m[2]))
		}
	}
	if strings.Contains(value, "-----BEGIN") { // errors may show a line of a key
		for line := range strings.SplitSeq(value, "\n") {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "-----") {
				out = append(out, line)
			}
		}
	}
	return out
}

// shortestItem is the length from which on a part of a value that is referred to is hidden by itself: shorter ones are
// too common.
const shortestItem = 6

// listed returns what a list or a text of several lines holds: errors show one server of several, or one line.
func listed(value string) []string {
	return slices.DeleteFunc(items(value), func(item string) bool { return len(item) < shortestItem })
}

// credentials returns the secrets that any value may hold: the passwords of URLs and of user:password@host, and options
// whose names say that they are secrets.
func credentials(value string) []string {
	var out []string
	for _, at := range passwords(value) {
		out = append(out, value[at.from:at.to])
	}
	if _, rest, ok := strings.Cut(value, "://"); ok { // a password with blanks ends what looks like a URL too early
		if colon, at := strings.IndexByte(rest, ':'), strings.LastIndexByte(rest, '@'); len(out) == 0 && colon >= 0 && colon < at &&
			strings.ContainsAny(rest[:at], " \t\n\"'<>") {
			out = append(out, rest[colon+1:at])
		}
	}
	for _, item := range fields(value) {
		if password := beforeHost(item); password != "" {
			out = append(out, password)
		}
	}
	for _, m := range option.FindAllStringSubmatch(value, -1) {
		if !Named(m[1]) {
			continue
		}
		if text := m[3] + unquote(m[2]); text != "" {
			out = append(out, text)
		}
	}
	return out
}

// beforeHost returns the password of user:password@host without a scheme.
func beforeHost(item string) string {
	at := strings.LastIndexByte(item, '@')
	if at < 0 || strings.Contains(item, "://") {
		return ""
	}
	user, password, _ := strings.Cut(item[:at], ":")
	if strings.ContainsAny(user, "@/=") {
		return ""
	}
	return password
}

// unquote takes the quotes and the backslashes of an option's value away.
func unquote(s string) string {
	var b strings.Builder
	for i := 1; i < len(s)-1; i++ {
		if s[i] == '\\' && i+1 < len(s)-1 {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// passwords returns where the URLs of a text have a password: scheme://user:password@host. User names are no secrets.
// Its time is linear, whatever the text: it goes through it once, from its end, and knows what comes next.
func passwords(s string) []span {
	if !strings.Contains(s, "://") || !strings.Contains(s, "@") {
		return nil
	}
	var out []span
	authority, colon := len(s), -1    // the next / ? # and the next :
	lastAt, lastInAuthority := -1, -1 // the last @ before the next blank or quote, and before authority
	for i := len(s) - 1; i >= len("://"); i-- {
		switch s[i] {
		case ' ', '\t', '\r', '\n', '"', '\'', '<', '>':
			authority, colon, lastAt, lastInAuthority = i, -1, -1, -1
		case '/', '?', '#':
			authority, lastInAuthority = i, -1
		case ':':
			colon = i
		case '@':
			lastAt, lastInAuthority = max(lastAt, i), max(lastInAuthority, i)
		}
		if s[i-len("://"):i] != "://" {
			continue
		}
		if from, to := password(s, i, address{authority, colon, lastAt, lastInAuthority}); from < to {
			out = append(out, span{from, to})
		}
	}
	return out
}

// address is what is known of a URL: where its authority ends, the first colon in it, the last @ of the URL and of the
// authority; -1: none.
type address struct{ authority, colon, lastAt, lastInAuthority int }

// password finds the password in what follows the scheme of a URL, from i on.
func password(s string, i int, u address) (from, to int) {
	colon := u.colon
	if colon >= u.authority {
		colon = -1
	}
	at := u.lastInAuthority
	if at < 0 && colon >= 0 && s[i] != '[' && !isPort(s[colon+1:u.authority]) {
		at = u.lastAt // a / in the password, which is not escaped
	}
	if colon < 0 || at < colon {
		return 0, 0
	}
	return colon + 1, at
}

// isPort also says yes to a list of hosts, all but the first with their ports: 9092,other:9092.
func isPort(s string) bool {
	first, _, _ := strings.Cut(s, ",")
	_, err := strconv.Atoi(first)
	return first == "" || err == nil
}

// forms are the ways in which a secret may stand in a text: as it is, quoted by Go or JSON, escaped for a URL, and
// unescaped.
func forms(secret string) []string {
	quoted := strconv.Quote(secret)
	out := []string{secret, quoted[1 : len(quoted)-1], url.QueryEscape(secret), url.PathEscape(secret)}
	if b, err := json.Marshal(secret); err == nil {
		out = append(out, string(b[1:len(b)-1]))
	}
	if plain, err := url.PathUnescape(secret); err == nil {
		out = append(out, plain)
	}
	return out
}

func fields(value string) []string {
	return strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(",; \t\r\n", r) })
}

// items are the texts by which errors name a value that may be shown: all of it, each part of a list, hosts without
// ports.
func items(value string) []string {
	out := []string{value}
	for _, item := range fields(value) {
		out = append(out, item)
		if i := strings.LastIndexByte(item, ':'); i > 0 {
			out = append(out, item[:i])
		}
	}
	return out
}
