// Package reference reads references to secrets in the values of a connector's config, in the form of Kafka's config
// providers: ${file:path:key}, ${dir:path:file}, ${env:NAME} and ${secret:name:key}. It is pure. A reference is no
// secret: it is stored, published and shown in place of what it refers to.
package reference

import (
	"fmt"
	"path"
	"slices"
	"strings"
)

// The providers. What is behind a ${ and none of them is text as any other.
const (
	// File is a property of a Java properties file.
	File = "file"
	// Dir is a file of a folder.
	Dir = "dir"
	// Env is a variable of the worker's environment.
	Env = "env"
	// Secret is a key of a secret that is mounted into the workers: a file of a folder of that name.
	Secret = "secret"
)

// Reference names one secret. It is comparable.
type Reference struct {
	// Provider is one of the above.
	Provider string
	// Path is the file, the folder or the secret's name; empty for Env.
	Path string
	// Key is the property, the file or the variable.
	Key string
}

// String is the reference as it stands in a value.
func (r Reference) String() string {
	switch {
	case r.Provider == Env:
		return "${" + r.Provider + ":" + r.Key + "}"
	case r.Key == "" && r.Path != "":
		return "${" + r.Provider + ":" + r.Path + "}"
	}
	return "${" + r.Provider + ":" + r.Path + ":" + r.Key + "}"
}

// part is a piece of a value: text, or a reference.
type part struct {
	text string
	ref  *Reference
}

// split takes a value apart. The parts together are the value.
func split(value string) []part {
	var out []part
	for at := 0; ; { // what is before at is no reference; what is before value is in out
		i := strings.Index(value[at:], "${")
		if i < 0 {
			break
		}
		begin := at + i
		at = begin + len("${")
		provider := providerOf(value[at:])
		if provider == "" {
			continue // there may be one inside
		}
		length := strings.IndexByte(value[at:], '}')
		if length < 0 {
			break
		}
		ref := parse(provider, value[at+len(provider)+len(":"):at+length])
		out = append(out, part{text: value[:begin]}, part{ref: &ref})
		value, at = value[at+length+len("}"):], 0
	}
	return append(out, part{text: value})
}

// providerOf returns the provider that what stands behind a ${ begins with; empty for none.
func providerOf(s string) string {
	for _, provider := range []string{File, Dir, Env, Secret} {
		if strings.HasPrefix(s, provider+":") {
			return provider
		}
	}
	return ""
}

// parse reads what stands behind the provider. Check says what is missing in it.
func parse(provider, rest string) Reference {
	if provider == Env {
		return Reference{Provider: provider, Key: rest}
	}
	from, key, _ := strings.Cut(rest, ":")
	return Reference{Provider: provider, Path: from, Key: key}
}

// In lists the references of a value, in the order in which they stand there, as often as they do.
func In(value string) []Reference {
	if !strings.Contains(value, "${") {
		return nil
	}
	var out []Reference
	for _, p := range split(value) {
		if p.ref != nil {
			out = append(out, *p.ref)
		}
	}
	return out
}

// Expand puts what with returns in the place of each reference. References in that are left alone.
func Expand(value string, with func(Reference) string) string {
	if !strings.Contains(value, "${") {
		return value
	}
	var b strings.Builder
	for _, p := range split(value) {
		if p.ref != nil {
			b.WriteString(with(*p.ref))
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// Check returns why the reference can refer to nothing, and what to write; nil if it can.
func (r Reference) Check() error {
	inside := strings.Contains(r.Path, "${") || strings.Contains(r.Key, "${")
	switch {
	case inside:
		return fmt.Errorf("a reference has no other one inside: write the name itself")
	case r.Provider == Env && !variable(r.Key):
		return fmt.Errorf("write ${env:NAME}: a name has letters, digits and _")
	case r.Provider == Secret && (!name(r.Path) || !name(r.Key)):
		return fmt.Errorf("write ${secret:name:key}: name and key are names of files, so neither has a / in it or is . or .. itself")
	case r.Provider == Dir && (!clean(r.Path) || !name(r.Key)):
		return fmt.Errorf("write ${dir:/path/of/the/folder:file}: the path is absolute and without .., the file a name with no / in it")
	case r.Provider == File && (!clean(r.Path) || r.Key == ""):
		return fmt.Errorf("write ${file:/path/of/the/file:key}: the path is absolute and without .., the key that of a property in it")
	}
	return nil
}

func variable(s string) bool {
	bad := func(r rune) bool {
		return r != '_' && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9')
	}
	return s != "" && !strings.ContainsFunc(s, bad)
}

func name(s string) bool {
	return s != "" && s != "." && s != ".." && !strings.ContainsAny(s, "/\\\x00")
}

func clean(p string) bool {
	return path.IsAbs(p) && !strings.ContainsRune(p, 0) && !slices.Contains(strings.Split(p, "/"), "..")
}
