package rest

import (
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// health is what a test has the stores and topics say.
type health struct {
	stored   atomic.Pointer[error]
	disputed atomic.Pointer[error]
	warnings atomic.Pointer[[]string]
}

func (h *health) into(_ *Config, b *Backends) {
	b.Stored = func() error {
		if err := h.stored.Load(); err != nil {
			return *err
		}
		return nil
	}
	b.Disputed = func() error {
		if err := h.disputed.Load(); err != nil {
			return *err
		}
		return nil
	}
	b.Warnings = func() []string {
		if w := h.warnings.Load(); w != nil {
			return *w
		}
		return nil
	}
}

func (h *health) say(stored error, warnings ...string) {
	h.stored.Store(&stored)
	h.warnings.Store(&warnings)
}

func TestReadinessTellsOfStoresAndTopics(t *testing.T) {
	cases := map[string]struct {
		stored   error
		warnings []string
		wantCode int
		want     string
	}{
		"all is well":             {nil, nil, http.StatusOK, "ok\n"},
		"topics are worth a word": {nil, []string{"one", "two"}, http.StatusOK, "ok\nwarning: one\nwarning: two\n"},
		"the stores take nothing": {
			errors.New("stores not written: p"),
			nil,
			http.StatusServiceUnavailable,
			"not ready: stores not written: p\n",
		},
		"several errors in one": {
			errors.Join(errors.New("one"), errors.New("two")),
			nil,
			http.StatusServiceUnavailable,
			"not ready: one; two\n",
		},
		"both": {
			errors.New("stores not written: p"),
			[]string{"one"},
			http.StatusServiceUnavailable,
			"not ready: stores not written: p\n",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h := &health{}
			w := newWorld(t, h.into)
			h.say(tc.stored, tc.warnings...)
			got := w.do(http.MethodGet, "/readyz", "")
			if got.Code != tc.wantCode || got.Body.String() != tc.want {
				t.Errorf("got %d %q, want %d %q", got.Code, got.Body, tc.wantCode, tc.want)
			}
			if got := w.do(http.MethodGet, "/api/v1/connectors", ""); got.Code != http.StatusOK {
				t.Errorf("the API answers %d %s", got.Code, got.Body)
			}
		})
	}
}

func TestADisputedLogIsTold(t *testing.T) {
	h := &health{}
	w := newWorld(t, h.into)
	w.serve()
	next := w.reports(t)
	next()
	for _, want := range []string{"cluster log disputed: w0 and w1", ""} {
		var disputed error
		wantCode, wantBody := http.StatusOK, "ok\n"
		if want != "" {
			disputed = errors.New(want)
			wantCode, wantBody = http.StatusServiceUnavailable, "not ready: "+want+"\n"
		}
		h.disputed.Store(&disputed)
		if got := next(); got.LogDisputed != want {
			t.Errorf("watchers are told %q, want %q", got.LogDisputed, want)
		}
		if got := w.do(http.MethodGet, "/readyz", ""); got.Code != wantCode || got.Body.String() != wantBody {
			t.Errorf("the probe answers %d %q, want %d %q", got.Code, got.Body, wantCode, wantBody)
		}
	}
}

func TestWatchersAreToldOfStoresAndTopics(t *testing.T) {
	h := &health{}
	w := newWorld(t, h.into)
	w.serve()
	next := w.reports(t)
	if got := next(); got.StoresNotWritten != "" || got.Warnings != nil {
		t.Errorf("got %+v while all is well", got)
	}
	for _, tc := range []struct {
		stored   string
		warnings []string
	}{{"", []string{"one"}}, {"stores not written: p", []string{"one"}}, {"stores not written: p, c", nil}, {"", nil}} {
		var stored error
		if tc.stored != "" {
			stored = errors.New(tc.stored)
		}
		h.say(stored, tc.warnings...)
		got := next()
		if d := cmp.Diff(tc.warnings, got.Warnings); d != "" || got.StoresNotWritten != tc.stored {
			t.Errorf("stores %q, want %q; warnings (-want +got):\n%s", got.StoresNotWritten, tc.stored, d)
		}
	}
	if body := w.do(
		http.MethodGet,
		"/api/v1/cluster",
		"",
	).Body.String(); strings.Contains(body, "storesNotWritten") ||
		strings.Contains(body, "warnings") {
		t.Errorf("the cluster's report still has them: %s", body)
	}
}

// reports gives the cluster's reports, one after the other, as watchers see them.
func (w *world) reports(t *testing.T) (next func() restapi.Cluster) {
	t.Helper()
	_, revision, changed, ok := w.server.hub.snapshot()
	first := true
	return func() restapi.Cluster {
		t.Helper()
		deadline := time.After(30 * time.Second)
		for {
			var events []restapi.WatchEvent
			if first {
				events, revision, changed, ok = w.server.hub.snapshot()
			} else {
				events, revision, changed, ok = w.server.hub.since(revision)
			}
			for _, ev := range events {
				if ok && ev.Cluster != nil {
					first = false
					return *ev.Cluster
				}
			}
			select {
			case <-changed:
			case <-deadline:
				t.Fatal("no report in time")
			}
		}
	}
}
