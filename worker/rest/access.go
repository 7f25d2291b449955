package rest

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// tokenCheckInterval is how often the token file is looked at: a Secret that is renewed changes under the worker.
const tokenCheckInterval = 5 * time.Second

// minToken is the shortest token that is taken, in bytes.
const minToken = 16

// token is the bearer token that callers must send, as its file has it.
type token struct {
	path string

	mu      sync.Mutex
	sum     [sha256.Size]byte
	changed time.Time // the file's
	looked  time.Time
}

// readToken reads the file; an empty path means that no token is asked for (nil).
func readToken(path string) (*token, error) {
	if path == "" {
		return nil, nil
	}
	t := &token{path: path, looked: time.Now()}
	if err := t.read(); err != nil {
		return nil, fmt.Errorf("reading restTokenFile: %w", err)
	}
	return t, nil
}

func (t *token) read() error {
	info, err := os.Stat(t.path)
	if err != nil {
		return err
	}
	b, err := os.ReadFile(t.path)
	if err != nil {
		return err
	}
	text := strings.TrimSpace(string(b))
	if len(text) < minToken {
		return fmt.Errorf("%s must hold a token of at least %d bytes", t.path, minToken)
	}
	t.sum, t.changed = sha256.Sum256([]byte(text)), info.ModTime()
	return nil
}

// current returns the token's hash. A file that cannot be read just now changes nothing.
func (t *token) current() [sha256.Size]byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); now.Sub(t.looked) > tokenCheckInterval {
		t.looked = now
		if info, err := os.Stat(t.path); err == nil && !info.ModTime().Equal(t.changed) {
			_ = t.read()
		}
	}
	return t.sum
}

var errNoToken = errors.New("no bearer token")

// check compares hashes, so neither the time it takes nor its result tells anything about the token.
func (t *token) check(r *http.Request) error {
	scheme, given, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		return errNoToken
	}
	want, got := t.current(), sha256.Sum256([]byte(strings.TrimSpace(given)))
	if subtle.ConstantTimeCompare(want[:], got[:]) != 1 {
		return errors.New("the bearer token is not the worker's")
	}
	return nil
}

// guarded lets only callers with the token through; a nil token lets everybody.
func (s *Server) guarded(next http.Handler) http.Handler {
	if s.token == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.token.check(r); err != nil {
			w.Header().Set("WWW-Authenticate", `Bearer realm="rocketmq-connect"`)
			s.fail(w, r, problem(http.StatusUnauthorized, restapi.ProblemUnauthorized, "Unauthorized",
				"%s: send Authorization: Bearer with the token of the worker's restTokenFile", err))
			return
		}
		next.ServeHTTP(w, r)
	})
}
