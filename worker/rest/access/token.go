package access

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"
)

// TokenInterval is how often the token's file is read: a Secret that is renewed changes under the worker.
const TokenInterval = 5 * time.Second

// minToken is the shortest token that is taken, and maxToken the longest, in bytes.
const (
	minToken = 16
	maxToken = 16 << 10
)

var (
	errNoToken    = errors.New("no bearer token")
	errWrongToken = errors.New("the bearer token is not the worker's")
)

// Token is the bearer token that callers must send, as its file has it. It is safe for concurrent use.
type Token struct {
	path string

	mu     sync.Mutex
	sum    [sha256.Size]byte
	err    error // why there is none to compare with
	looked time.Time
}

// ReadToken reads the file; an empty path means that no token is asked for (nil).
func ReadToken(path string, now time.Time) (*Token, error) {
	if path == "" {
		return nil, nil
	}
	t := &Token{path: path}
	return t, t.Err(now)
}

// Err returns why the file cannot be used just now. Its last token counts no more then: who takes a file away means it.
func (t *Token) Err(now time.Time) error {
	_, err := t.current(now)
	return err
}

func (t *Token) current(now time.Time) ([sha256.Size]byte, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.looked.IsZero() || now.Sub(t.looked) >= TokenInterval {
		t.looked = now
		t.sum, t.err = read(t.path)
	}
	return t.sum, t.err
}

func read(path string) (sum [sha256.Size]byte, err error) {
	f, err := os.Open(path)
	if err != nil {
		return sum, fmt.Errorf("reading restTokenFile: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxToken+1))
	if err != nil {
		return sum, fmt.Errorf("reading restTokenFile: %w", err)
	}
	text := strings.TrimSpace(string(b))
	if len(text) < minToken || len(b) > maxToken {
		return sum, fmt.Errorf("reading restTokenFile: %s must hold a token of at least %d bytes", path, minToken)
	}
	return sha256.Sum256([]byte(text)), nil
}

// Check compares hashes, so neither the time it takes nor its result tells anything about the token.
func (t *Token) Check(r *http.Request, now time.Time) error {
	want, err := t.current(now)
	if err != nil {
		return err
	}
	scheme, given, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return errNoToken
	}
	got := sha256.Sum256([]byte(strings.TrimSpace(given)))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return errWrongToken
	}
	return nil
}
