package access

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const (
	first  = "0123456789abcdef"
	second = "fedcba9876543210"
)

// tokenFile is a file that a test writes and takes away.
type tokenFile struct {
	t    *testing.T
	path string
}

func newTokenFile(t *testing.T, text string) tokenFile {
	f := tokenFile{t, filepath.Join(t.TempDir(), "token")}
	f.write(text)
	return f
}

func (f tokenFile) write(text string) {
	f.t.Helper()
	if err := os.WriteFile(f.path, []byte(text), 0o600); err != nil {
		f.t.Fatal(err)
	}
}

func (f tokenFile) remove() {
	f.t.Helper()
	if err := os.Remove(f.path); err != nil {
		f.t.Fatal(err)
	}
}

func TestAFileWithoutATokenIsAnError(t *testing.T) {
	now := time.Unix(1000, 0)
	if token, err := ReadToken("", now); token != nil || err != nil {
		t.Errorf("no file: %v %v", token, err)
	}
	if _, err := ReadToken(filepath.Join(t.TempDir(), "token"), now); err == nil || !strings.Contains(err.Error(), "reading restTokenFile") {
		t.Errorf("a missing file: %v", err)
	}
	for name, text := range map[string]string{"a short token": "short\n", "nothing": "",
		"a token without end": strings.Repeat("x", maxToken+1)} {
		if _, err := ReadToken(
			newTokenFile(t, text).path,
			now,
		); err == nil || !strings.Contains(err.Error(), "at least 16 bytes") ||
			strings.Contains(err.Error(), "short") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTheTokenIsWhatItsFileHolds(t *testing.T) {
	cases := map[string]struct {
		change    func(f tokenFile)
		wantOld   bool // the first token is taken
		wantNew   bool // the second is
		wantError string
	}{
		"nothing changes":             {func(tokenFile) {}, true, false, ""},
		"another token":               {func(f tokenFile) { f.write(second + "\n") }, false, true, ""},
		"the file is gone":            {tokenFile.remove, false, false, "no such file"},
		"the file is empty":           {func(f tokenFile) { f.write("") }, false, false, "at least 16 bytes"},
		"the file is gone for a time": {func(f tokenFile) { f.remove(); f.write(first) }, true, false, ""},
		"the file is a folder": {func(f tokenFile) {
			f.remove()
			if err := os.Mkdir(f.path, 0o700); err != nil {
				f.t.Fatal(err)
			}
		}, false, false, "is a directory"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			f := newTokenFile(t, first)
			token, err := ReadToken(f.path, now)
			if err != nil {
				t.Fatal(err)
			}
			guard := &Guard{Token: token}
			with := func(bearer string, now time.Time) *Refusal {
				return guard.Check(request("localhost", "10.0.0.9:40000", "Authorization: Bearer "+bearer), now)
			}
			tc.change(f)
			if refusal := with(first, now.Add(TokenInterval-1)); refusal != nil {
				t.Errorf("the file was read again before its time: %+v", refusal)
			}
			now = now.Add(TokenInterval)
			old, renewed := with(first, now), with(second, now)
			if (old == nil) != tc.wantOld || (renewed == nil) != tc.wantNew {
				t.Errorf("the first token: %+v; the second: %+v", old, renewed)
			}
			err = token.Err(now)
			if (err != nil) != (tc.wantError != "") || err != nil && !strings.Contains(err.Error(), tc.wantError) {
				t.Errorf("error %v, want %q", err, tc.wantError)
			}
			if tc.wantError != "" && (old.Status != 401 || old.Reason != ReasonTokenFile || strings.Contains(old.Detail, f.path)) {
				t.Errorf("without a file: %+v", old)
			}
			f.t = t
			_ = os.RemoveAll(f.path)
			f.write(second)
			if refusal := with(second, now.Add(TokenInterval)); refusal != nil {
				t.Errorf("once it is back: %+v", refusal)
			}
		})
	}
}
