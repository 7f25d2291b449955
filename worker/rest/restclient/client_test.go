package restclient

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func serve(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	srv := httptest.NewServer(h)
	transport := &http.Transport{}
	t.Cleanup(func() {
		transport.CloseIdleConnections()
		srv.Close()
	})
	return New(srv.URL, "token-of-16-bytes", &http.Client{Transport: transport})
}

func TestRequestsCarryTokenConditionAndName(t *testing.T) {
	cases := map[string]struct {
		ifMatch               int64
		wantMatch, wantNoneOf string
	}{
		"only create":     {0, "", "*"},
		"this revision":   {12, `"12"`, ""},
		"whatever it was": {AnyRevision, "", ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if got := r.Header.Get("If-Match"); got != tc.wantMatch {
					t.Errorf("If-Match %q", got)
				}
				if got := r.Header.Get("If-None-Match"); got != tc.wantNoneOf {
					t.Errorf("If-None-Match %q", got)
				}
				if r.Header.Get("Authorization") != "Bearer token-of-16-bytes" || r.URL.EscapedPath() != "/api/v1/connectors/a%2Fb" ||
					r.Method != http.MethodPut {
					t.Errorf("%s %s %v", r.Method, r.URL, r.Header)
				}
				_, _ = io.WriteString(w, `{"name":"a/b","revision":13}`)
			})
			got, err := c.Put(t.Context(), restapi.Connector{Name: "a/b"}, tc.ifMatch)
			if err != nil || got.Revision != 13 {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestErrorAnswers(t *testing.T) {
	cases := map[string]struct {
		status                            int
		contentType, body                 string
		wantText                          string
		notFound, conflict, invalid, gone bool
	}{
		"a problem": {
			409,
			restapi.ProblemMediaType,
			`{"title":"Conflict","status":409,"detail":"revision 7","current":{"name":"a","revision":7}}`,
			"409 Conflict: revision 7",
			false,
			true,
			false,
			false,
		},
		"a page of a proxy": {
			502,
			"text/html",
			"<html>" + strings.Repeat("x", 500),
			"the answer is not a worker's: 502 Bad Gateway",
			false,
			false,
			false,
			false,
		},
		"a stranger's not found": {
			404,
			"text/plain",
			"404 page not found",
			"the answer is not a worker's: 404 Not Found",
			false,
			false,
			false,
			false,
		},
		"a problem that is broken": {
			404,
			restapi.ProblemMediaType,
			"{",
			"the answer is not a worker's: 404 Not Found",
			false,
			false,
			false,
			false,
		},
		"fields": {422, restapi.ProblemMediaType, `{"title":"Invalid","errors":[{"field":"a","detail":"a is wrong"},{"detail":"b too"}]}`,
			"422 Invalid; a is wrong; b too", false, false, true, false},
		"gone": {410, restapi.ProblemMediaType, `{"title":"Gone"}`, "410 Gone", false, false, false, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", tc.contentType)
				w.WriteHeader(tc.status)
				_, _ = io.WriteString(w, tc.body)
			})
			_, err := c.Get(t.Context(), "a")
			if err == nil || !strings.HasPrefix(err.Error(), tc.wantText) || len(err.Error()) > 300 {
				t.Errorf("error %v", err)
			}
			if NotFound(err) != tc.notFound || Conflict(err) != tc.conflict || Invalid(err) != tc.invalid || Gone(err) != tc.gone {
				t.Errorf("kinds of %v", err)
			}
		})
	}
}

func TestAWorkerThatIsAway(t *testing.T) {
	c := New("http://127.0.0.1:1", "", &http.Client{Transport: &http.Transport{DisableKeepAlives: true}})
	_, err := c.Cluster(t.Context())
	var p *restapi.Problem
	if err == nil || errors.As(err, &p) {
		t.Errorf("got %v", err)
	}
}

func TestWatchSaysWhyItEnded(t *testing.T) {
	mine := errors.New("mine")
	cases := map[string]struct {
		body string
		fn   error
		want error
	}{
		"the worker ended it":  {`{"type":"ping","revision":1}` + "\n", nil, io.ErrUnexpectedEOF},
		"the function had all": {`{"type":"ping","revision":1}` + "\n", mine, mine},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				if r.URL.RawQuery != "from=5" {
					t.Errorf("query %q", r.URL.RawQuery)
				}
				_, _ = io.WriteString(w, tc.body)
			})
			if err := c.Watch(t.Context(), 5, func(restapi.WatchEvent) error { return tc.fn }); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
	c := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "nonsense\n") })
	if err := c.Watch(t.Context(), 0, nil); err == nil || !strings.Contains(err.Error(), "decoding a watch event") {
		t.Errorf("nonsense: %v", err)
	}
}

func TestASilentStreamIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		here, there := net.Pipe()
		go func() { // answers with headers and one event, and then says nothing
			_, _ = http.ReadRequest(bufio.NewReader(there))
			line := `{"type":"ping"}` + "\n"
			_, _ = io.WriteString(there, "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"+line)
			_, _ = io.Copy(io.Discard, there)
		}()
		transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return here, nil }}
		start := time.Now()
		err := New("http://worker", "", &http.Client{Transport: transport}).Watch(t.Context(), 0, func(restapi.WatchEvent) error { return nil })
		if !errors.Is(err, ErrSilent) || time.Since(start) != SilenceLimit {
			t.Errorf("got %v after %s", err, time.Since(start))
		}
		transport.CloseIdleConnections()
		_ = there.Close()
	})
}
