package config

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
)

// maxFile bounds a connect.conf, in bytes.
const maxFile = 1 << 20

// Warning is something in a file that has no effect, and why.
type Warning struct {
	// Line counts from 1.
	Line int
	Key  string
	Text string
}

// String gives line, key and text.
func (w Warning) String() string { return fmt.Sprintf("line %d: %s: %s", w.Line, w.Key, w.Text) }

// ReadFile parses the file; what it leaves open is taken from the environment (see FromEnv). The error joins every
// problem of the file, each with its line and key; it does not include those of Validate.
func ReadFile(path string) (Worker, []Warning, error) {
	f, err := os.Open(path)
	if err != nil {
		return Worker{}, nil, fmt.Errorf("reading the worker's configuration: %w", err)
	}
	defer func() { _ = f.Close() }()
	w, warnings, err := Parse(f)
	if err != nil {
		return Worker{}, warnings, err
	}
	w.FromEnv(os.Getenv)
	return w, warnings, nil
}

// FromEnv fills in what no file set: workerId from WORKER_ID, advertisedAddress from POD_IP (pods of one cluster share
// one file), namesrvAddr from NAMESRV_ADDR (as the Java runtime does).
func (w *Worker) FromEnv(getenv func(string) string) {
	if w.WorkerID == "" {
		w.WorkerID = getenv("WORKER_ID")
	}
	if ip := getenv("POD_IP"); ip != "" && w.AdvertisedAddress == "" {
		w.AdvertisedAddress = net.JoinHostPort(ip, strconv.Itoa(w.HTTPPort))
	}
	if len(w.NamesrvAddrs) == 0 {
		w.NamesrvAddrs = fields(getenv("NAMESRV_ADDR"), ";,")
	}
}

// Parse reads a connect.conf: Java properties in UTF-8, where a value ends before " #", as the documents write
// comments. What the file does not set has its default. The error joins every problem, each with its line and key; it
// does not include those of Validate.
func Parse(r io.Reader) (Worker, []Warning, error) {
	w := Default()
	b, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return Worker{}, nil, fmt.Errorf("reading the worker's configuration: %w", err)
	}
	if len(b) > maxFile {
		return Worker{}, nil, fmt.Errorf("reading the worker's configuration: larger than %d bytes", maxFile)
	}
	known := map[string]key{}
	for _, k := range keys() {
		for _, name := range append([]string{k.name}, k.aliases...) {
			known[name] = k
		}
	}
	p := parser{known: known, seen: map[string]int{}, worker: &w}
	for _, l := range logicalLines(string(b)) {
		p.line(l)
	}
	return w, p.warnings, errors.Join(p.errs...)
}

type parser struct {
	known    map[string]key
	seen     map[string]int
	worker   *Worker
	warnings []Warning
	errs     []error
}

func (p *parser) line(l line) {
	name, value, ok := split(l.text)
	switch {
	case !ok:
		p.formless(l, name)
		return
	case name == "":
		p.errs = append(p.errs, fmt.Errorf("line %d: the key before = is missing", l.number))
		return
	}
	if first, again := p.seen[name]; again {
		p.warn(l, name, fmt.Sprintf("set again, the value of line %d is not used", first))
	}
	p.seen[name] = l.number
	k, ok := p.known[name]
	if !ok {
		p.unknown(l, name)
		return
	}
	if value == "" { // as if it were not there: the documents' files have keys left empty
		return
	}
	if err := k.set(p.worker, value); err != nil {
		p.errs = append(p.errs, fmt.Errorf("line %d: %s %w", l.number, name, err))
	}
}

// formless refuses a line without a value. It shows no more of it than a key: the rest may be a secret.
func (p *parser) formless(l line, text string) {
	first, _, _ := strings.Cut(text, " ")
	if _, ok := p.known[first]; ok {
		p.errs = append(p.errs, fmt.Errorf("line %d: %q is not of the form key=value", l.number, first))
		return
	}
	p.errs = append(p.errs, fmt.Errorf("line %d: not of the form key=value", l.number))
}

func (p *parser) unknown(l line, name string) {
	if slices.Contains(WithoutEffect(), name) {
		p.warn(l, name, "a key of the Java runtime that has no effect here")
		return
	}
	text := "unknown key, ignored"
	if near := nearest(name, p.known); near != "" {
		text += "; did you mean " + near + "?"
	}
	p.warn(l, name, text)
}

func (p *parser) warn(l line, name, text string) {
	p.warnings = append(p.warnings, Warning{Line: l.number, Key: name, Text: text})
}

type line struct {
	number int
	text   string
}

// logicalLines joins lines that end in a backslash with the next, and leaves out empty lines and comments.
func logicalLines(s string) []line {
	var out []line
	joined := -1
	s = strings.TrimPrefix(s, "\ufeff")
	for i, text := range strings.Split(strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n"), "\n") {
		text = strings.TrimLeft(text, " \t\f")
		if joined < 0 && (text == "" || text[0] == '#' || text[0] == '!') {
			continue
		}
		slashes := len(text) - len(strings.TrimRight(text, `\`))
		if slashes%2 == 1 {
			text = text[:len(text)-1]
		}
		if joined >= 0 {
			out[joined].text += text
		} else {
			out = append(out, line{number: i + 1, text: text})
		}
		if joined = -1; slashes%2 == 1 {
			joined = len(out) - 1
		}
	}
	return out
}

// split cuts a line at its first unescaped = or :, and the value before a comment. Without either, name is the line.
func split(s string) (name, value string, ok bool) {
	at := -1
	for i := 0; i < len(s) && at < 0; i++ {
		switch s[i] {
		case '\\':
			i++
		case '=', ':':
			at = i
		}
	}
	if at < 0 {
		return strings.TrimSpace(s), "", false
	}
	return unescape(strings.TrimSpace(s[:at])), unescape(strings.TrimSpace(beforeComment(s[at+1:]))), true
}

// beforeComment cuts at a # that follows white space.
func beforeComment(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] == '#' && i > 0 && (s[i-1] == ' ' || s[i-1] == '\t') {
			return s[:i]
		}
	}
	return s
}

// unescape resolves the escapes of Java properties. A backslash before any other character stays, so that a Windows
// path survives where Java would have spoilt it.
func unescape(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch c := s[i+1]; {
		case strings.IndexByte(`\=:#! `, c) >= 0:
			b.WriteByte(c)
			i++
		case c == 'u' && i+6 <= len(s):
			n, err := strconv.ParseUint(s[i+2:i+6], 16, 16)
			if err != nil {
				b.WriteByte('\\')
				continue
			}
			b.WriteRune(rune(n))
			i += 5
		default:
			b.WriteByte('\\')
		}
	}
	return b.String()
}

func clip(s string) string {
	if r := []rune(s); len(r) > 40 {
		return string(r[:40]) + "…"
	}
	return s
}
