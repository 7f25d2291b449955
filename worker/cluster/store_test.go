//go:build unix

package cluster

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func mustLock(t *testing.T, dir string) *storeLock {
	t.Helper()
	l, err := lockStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.file.Close() })
	if l.proof == nil {
		t.Skip("the test's directory is on a file system that proves nothing")
	}
	return l
}

func TestStoreLockProvesThatTheEarlierHolderIsGone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "made", "on", "demand")
	first := mustLock(t, dir)
	if err := first.close(); err != nil {
		t.Fatal(err)
	}
	second := mustLock(t, dir)
	want := *first.proof
	want.Start++
	if *second.proof != want {
		t.Errorf("proof %+v, want %+v", *second.proof, want)
	}
}

func TestStoreLockNamesItsHolder(t *testing.T) {
	dir := t.TempDir()
	mustLock(t, dir)
	_, err := lockStore(dir)
	if !errors.Is(err, ErrStoreInUse) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), strconv.Itoa(os.Getpid())) {
		t.Errorf("locking twice: %v", err)
	}
}

func TestStoreLockMakesDoWithWhatItFinds(t *testing.T) {
	cases := map[string]string{
		"an empty file":         "",
		"a torn file":           `{"store":"abc","sta`,
		"another's file":        "hello\n",
		"a file of null bytes":  strings.Repeat("\x00", 600),
		"a holder without a id": `{"start":4}`,
	}
	for name, content := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, lockName), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
			l := mustLock(t, dir)
			if l.proof.Store == "" || l.proof.Store == "abc" || l.proof.Start != 1 {
				t.Errorf("proof %+v, want a new store id", *l.proof)
			}
			if err := l.close(); err != nil {
				t.Fatal(err)
			}
			if again := mustLock(t, dir); again.proof.Store != l.proof.Store || again.proof.Start != 2 {
				t.Errorf("proof %+v after %+v", *again.proof, *l.proof)
			}
		})
	}
}

func TestStoreDirectoryThatCannotBeUsed(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := lockStore(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("a file as store directory: %v", err)
	}
}
