package connectcluster

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestHTTPProbe(t *testing.T) {
	cases := map[string]struct {
		status     int
		body, want string
	}{
		"a worker that says why":         {http.StatusServiceUnavailable, "not ready: reading the stores\n", "not ready: reading the stores"},
		"a worker that is ready by now":  {http.StatusOK, "ok\n", ""},
		"something else on the port":     {http.StatusNotFound, "<html>", ""},
		"an answer that is far too long": {http.StatusServiceUnavailable, strings.Repeat("x", 1<<20), strings.Repeat("x", maxReason)},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			worker := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/readyz" {
					t.Errorf("asked for %s", r.URL.Path)
				}
				rw.WriteHeader(tc.status)
				_, _ = rw.Write([]byte(tc.body))
			}))
			defer worker.Close()
			if got := HTTPProbe()(t.Context(), worker.Listener.Addr().String()); got != tc.want {
				t.Errorf("got %.80q, want %.80q", got, tc.want)
			}
		})
	}
	if got := HTTPProbe()(t.Context(), "127.0.0.1:1"); got != "" {
		t.Errorf("nobody said %q", got)
	}
}
