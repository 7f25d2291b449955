// Package redact is the one place that decides what of a connector's configuration may be shown: in answers (Config) and
// inside texts (Redactor). It is pure and knows no classes: a Policy says which settings are secret.
//
// Invariant S1: whatever leaves a worker or the operator, and may hold values of a config, passes it before.
package redact

import (
	"maps"
	"slices"
	"strings"
)

// Mask stands for what is hidden.
const Mask = "********"

// minWord is the length from which on a secret is looked for inside texts: shorter ones would hide ordinary words.
const minWord = 3

// Policy says of a setting's name whether its value is secret. nil knows no settings: their names tell, see Named.
type Policy func(key string) bool

// Named reports whether the setting's name says that its value is secret.
func Named(key string) bool {
	key = strings.Map(func(r rune) rune {
		if r == '.' || r == '-' || r == '_' {
			return -1
		}
		return r
	}, strings.ToLower(key))
	for _, word := range []string{
		"password", "passwd", "pwd", "passphrase", "secret", "jaas", "token", "credential", "accesskey", "privatekey", "apikey", "keystorekey",
	} {
		if strings.Contains(key, word) {
			return true
		}
	}
	return false
}

// Secret reports whether the value of the setting is never shown: the policy or its name says so.
func (p Policy) Secret(key string) bool { return Named(key) || p != nil && p(key) }

// Hides reports whether Config masks the value: it is a secret, or it holds one (the password of a URL).
func (p Policy) Hides(key, value string) bool {
	return value != "" && (p.Secret(key) || len(credentials(value)) > 0)
}

// Config returns a copy in which each value that may not be shown is Mask. A value that holds a secret is masked as a whole,
// so that a Mask that is sent back always stands for a whole value.
func (p Policy) Config(cfg map[string]string) map[string]string {
	out := make(map[string]string, len(cfg))
	for k, v := range cfg {
		if p.Hides(k, v) {
			v = Mask
		}
		out[k] = v
	}
	return out
}

// Redactor hides the secrets of one config inside texts, and the passwords of all URLs. The zero value knows no config.
type Redactor struct{ words []word }

// word is a text that is hidden wherever it stands, but inside a longer one that may be shown.
type word struct {
	text   string
	within []string
}

// New makes the Redactor of a config.
func New(cfg map[string]string, p Policy) Redactor {
	hidden, public := map[string]bool{}, []string(nil)
	for key, value := range cfg {
		public = append(public, key)
		switch {
		case !p.Hides(key, value):
			public = append(public, items(value)...)
		case p.Secret(key):
			add(hidden, append(parts(value), value, strings.TrimSpace(value))...)
		default:
			add(hidden, credentials(value)...)
		}
	}
	var r Redactor
	for _, text := range slices.Sorted(maps.Keys(hidden)) {
		w := word{text: text}
		for _, p := range public {
			if len(p) > len(text) && strings.Contains(p, text) {
				w.within = append(w.within, p)
			}
		}
		r.words = append(r.words, w)
	}
	return r
}

// add notes the texts that are long enough, in each form that they take on their way into an error.
func add(hidden map[string]bool, texts ...string) {
	for _, text := range texts {
		for _, form := range forms(text) {
			if len(form) >= minWord && form != Mask && form != "true" && form != "false" {
				hidden[form] = true
			}
		}
	}
}

// span is a part of a text, in bytes.
type span struct{ from, to int }

// Text returns s with Mask in the place of secrets.
func (r Redactor) Text(s string) string {
	hide := passwords(s)
	for _, w := range r.words {
		for at := 0; ; at++ {
			i := strings.Index(s[at:], w.text)
			if i < 0 {
				break
			}
			at += i
			if !w.public(s, at) {
				hide = append(hide, span{at, at + len(w.text)})
			}
		}
	}
	return cut(s, hide)
}

// public reports whether the word at that place is a part of what may be shown: a password "kafka" must not make an address
// or the name of a setting unreadable, and tell itself by that.
func (w word) public(s string, at int) bool {
	for _, p := range w.within {
		for from := 0; ; from++ {
			i := strings.Index(p[from:], w.text)
			if i < 0 {
				break
			}
			from += i
			if from <= at && strings.HasPrefix(s[at-from:], p) {
				return true
			}
		}
	}
	return false
}

// cut puts one Mask in the place of each run of spans that overlap or touch.
func cut(s string, hide []span) string {
	if len(hide) == 0 {
		return s
	}
	slices.SortFunc(hide, func(a, b span) int { return a.from - b.from })
	var b strings.Builder
	shown := 0
	for i := 0; i < len(hide); {
		run := hide[i]
		for i++; i < len(hide) && hide[i].from <= run.to; i++ {
			run.to = max(run.to, hide[i].to)
		}
		b.WriteString(s[shown:run.from])
		b.WriteString(Mask)
		shown = run.to
	}
	b.WriteString(s[shown:])
	return b.String()
}
