// Package redact is the one place that decides what of a connector's configuration may be shown: in answers (Config)
// and inside texts (Redactor). It is pure and knows no classes: a Policy says which settings are secret.
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

// Hides reports whether Config masks the value: it is a secret, or it holds one (the password of a URL). References in
// it are no secrets, nor is what stands around them if that is no more than a JAAS line needs.
func (p Policy) Hides(key, value string) bool {
	if rest, ok := around(value); ok {
		return p.Secret(key) && !bare(rest) && !login(rest) || slices.ContainsFunc(credentials(rest), written)
	}
	return value != "" && (p.Secret(key) || len(credentials(value)) > 0)
}

// Config returns a copy in which each value that may not be shown is Mask. A value that holds a secret is masked as a
// whole, so that a Mask that is sent back always stands for a whole value.
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

// The bounds of what is looked for, and in how much text. Whoever writes a config says how much there is to do, and
// others wait.
const (
	// maxSecrets is how many texts are looked for: with more of them a text is hidden as a whole.
	maxSecrets = 4096
	// maxPublic is how many texts are known to be public: more of them may be hidden where a secret is a part of them.
	maxPublic = 4096
	// maxInput is how much of a text is looked at; of a longer one maxShown bytes are left, since the last ones may be a
	// part of a secret. Secrets that are longer than what is left out are looked for by pieces, of maxPiece bytes.
	maxInput, maxShown, maxPiece = 16 << 10, 12 << 10, 1 << 10
)

// Redactor hides the secrets of one config inside texts, and the passwords of all URLs. The zero value knows no config.
type Redactor struct {
	hidden []string
	// public are texts that may be shown, and in which a secret is no secret: a password "kafka" must not make an address
	// or the name of a setting unreadable, and tell itself by that.
	public []string
}

// New makes the Redactor of a config.
func New(cfg map[string]string, p Policy) Redactor {
	hidden, public := map[string]bool{}, map[string]bool{}
	for key, value := range cfg {
		public[key] = true
		switch {
		case !p.Hides(key, value):
			for _, item := range items(value) {
				public[item] = true
			}
		case p.Secret(key):
			add(hidden, append(parts(value), value, strings.TrimSpace(value))...)
		default:
			add(hidden, credentials(value)...)
		}
	}
	r := Redactor{hidden: slices.Sorted(maps.Keys(hidden)), public: slices.Sorted(maps.Keys(public))}
	r.public = r.public[:min(len(r.public), maxPublic)]
	return r
}

// With returns a Redactor that also hides what the references of the config stand for: values, and settings that hold
// them.
func (r Redactor) With(values ...string) Redactor {
	if len(values) == 0 {
		return r
	}
	hidden := make(map[string]bool, len(r.hidden)+len(values))
	for _, text := range r.hidden {
		hidden[text] = true
	}
	for _, value := range values {
		add(hidden, append(append(parts(value), listed(value)...), value, strings.TrimSpace(value))...)
	}
	return Redactor{hidden: slices.Sorted(maps.Keys(hidden)), public: r.public}
}

// add notes the texts that are long enough, in each form that they take on their way into an error.
func add(hidden map[string]bool, texts ...string) {
	for _, text := range texts {
		for _, text := range append(pieces(text), text) {
			if len(hidden) > maxSecrets {
				return
			}
			for _, form := range forms(text) {
				if len(form) >= minWord && form != Mask && form != "true" && form != "false" {
					hidden[form] = true
				}
			}
		}
	}
}

// pieces takes a text apart of which a long text may show the beginning only.
func pieces(text string) (out []string) {
	if len(text) <= maxInput-maxShown {
		return nil
	}
	for ; len(text) >= maxPiece && len(out) <= maxSecrets; text = text[maxPiece:] {
		out = append(out, text[:maxPiece])
	}
	return out
}

// span is a part of a text, in bytes.
type span struct{ from, to int }

// Text returns s with Mask in the place of secrets, and shortened if it is very long.
func (r Redactor) Text(s string) string {
	if len(r.hidden) > maxSecrets {
		return Mask + " (the config has too many secrets to tell them from the rest of the text)"
	}
	long := len(s) > maxInput
	if long {
		s = s[:maxInput]
	}
	hide := append(slices.DeleteFunc(passwords(s), func(w span) bool { return refers(s[w.from:w.to]) }), r.secrets(s)...)
	if !long {
		return cut(s, hide)
	}
	hide = slices.DeleteFunc(hide, func(w span) bool { return w.from >= maxShown })
	for i := range hide {
		hide[i].to = min(hide[i].to, maxShown)
	}
	return strings.ToValidUTF8(cut(s[:maxShown], hide), "") + "…"
}

// secrets are where s holds what is hidden, but inside longer texts that may be shown.
func (r Redactor) secrets(s string) []span {
	found := occurrences(s, r.hidden)
	if len(found) == 0 {
		return nil
	}
	// reach is up to where a public text goes that begins at each byte; before is the same of all bytes before it.
	reach, before := make([]int, len(s)+1), 0
	for _, p := range occurrences(s, r.public) {
		reach[p.from] = max(reach[p.from], p.to)
	}
	slices.SortFunc(found, func(a, b span) int { return a.from - b.from })
	at := 0
	return slices.DeleteFunc(found, func(w span) bool {
		for ; at < w.from; at++ {
			before = max(before, reach[at])
		}
		return before >= w.to || reach[w.from] > w.to
	})
}

// occurrences are all places of texts in s, those that overlap included.
func occurrences(s string, texts []string) (out []span) {
	for _, text := range texts {
		if text == "" {
			continue
		}
		for at := 0; ; at++ {
			i := strings.Index(s[at:], text)
			if i < 0 {
				break
			}
			at += i
			out = append(out, span{at, at + len(text)})
		}
	}
	return out
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
