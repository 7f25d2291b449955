package pemfile

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const block = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"

func TestRead(t *testing.T) {
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	files := map[string]string{
		"one": block, "two": block + block, "none": "", "cut": block + block[:len(block)-20], "cut at the start": block[:30],
		"large": strings.Repeat("x", most), "too large": strings.Repeat("x", most+1),
	}
	for name, text := range files {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(at("pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("one", at("link")); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{ // of the error; empty: it is read
		at("one"): "", at("two"): "", at("none"): "", at("large"): "", at("link"): "",
		at("cut"): "ends inside a " +
			"block of PEM", at("cut at the start"): "ends inside a block of PEM", at("too large"): "is longer than 1048576 bytes",
		at("pipe"): "is no regular file", dir: "is no regular file", "/dev/zero": "is no regular file", at("missing"): "no such file",
	} {
		text, err := Read(path)
		if want == "" && (err != nil || string(text) != string(must(t, path))) ||
			want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %d bytes, %v; want %q", path, len(text), err, want)
		}
	}
}

func must(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
