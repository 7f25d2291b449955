package rest

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr/funcr"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/states"
)

const bearer = "0123456789abcdef"

// tokenFile writes a file with the token.
func tokenFile(t *testing.T, token string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// logged is a log that a test reads.
type logged struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logged) into(c *Config) {
	c.Log = funcr.New(func(_, args string) {
		l.mu.Lock()
		defer l.mu.Unlock()
		_, _ = fmt.Fprintln(&l.buf, args)
	}, funcr.Options{})
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func TestToken(t *testing.T) {
	w := newWorld(t, func(c *Config, _ *Backends) { c.TokenFile = tokenFile(t, bearer) })
	cases := map[string]struct {
		target, header string
		want           int
	}{
		"without":                 {restapi.Prefix + "/connectors", "", 401},
		"wrong":                   {restapi.Prefix + "/connectors", "Authorization: Bearer nope", 401},
		"another scheme":          {restapi.Prefix + "/connectors", "Authorization: Basic " + bearer, 401},
		"right":                   {restapi.Prefix + "/connectors", "Authorization: bearer " + bearer, 200},
		"an older route without":  {"/getClusterInfo", "", 401},
		"an older route with":     {"/getClusterInfo", "Authorization: Bearer " + bearer, 200},
		"an unknown path without": {restapi.Prefix + "/nothing", "", 401},
		"liveness needs none":     {"/healthz", "", 200},
		"readiness needs none":    {"/readyz", "", 200},
		"metrics need none":       {"/metrics", "", 200},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			rec := w.do(http.MethodGet, tc.target, "", tc.header)
			if rec.Code != tc.want || strings.Contains(rec.Body.String(), bearer) {
				t.Errorf("got %d %s", rec.Code, rec.Body)
			}
			if tc.want == 401 && rec.Header().Get("WWW-Authenticate") == "" {
				t.Error("no WWW-Authenticate")
			}
		})
	}
}

// Who may not call changes nothing, by either dialect, and learns in one line what to do.
func TestWhoMayNotCallChangesNothing(t *testing.T) {
	const browser = "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"
	callers := map[string]struct {
		header []string
		status int
		reason string
		says   string
	}{
		"from another machine": {[]string{"Remote: 192.168.1.9:40000"}, 403, access.ReasonRemote, "set restTokenFile"},
		"by a name of a page": {
			[]string{"Remote: 127.0.0.1:40000", "Host: evil.example:8082"},
			403,
			access.ReasonHost,
			"httpHostNames",
		},
		"by an image tag of another site": {
			[]string{"Remote: 127.0.0.1:40000", browser, "Sec-Fetch-Site: cross-site"},
			403,
			access.ReasonOrigin,
			"another origin",
		},
		"by a form of another site": {
			[]string{"Remote: 127.0.0.1:40000", browser, "Origin: http://evil.example"},
			403,
			access.ReasonOrigin,
			"another origin",
		},
	}
	for name, caller := range callers {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config, _ *Backends) { c.Listen = ":0" })
			before := w.source("src")
			var asked int
			for _, request := range changes() {
				rec := w.do(request.method, request.target, request.body, caller.header...)
				body := strings.TrimSpace(rec.Body.String())
				if rec.Code != caller.status || !strings.Contains(body, caller.says) || strings.Contains(body, "\n") {
					t.Errorf("%s %s: %d %s", request.method, request.target, rec.Code, body)
				}
				old := !strings.HasPrefix(request.target, restapi.Prefix)
				if old && !strings.HasPrefix(body, "failed! ") || !old && !strings.Contains(body, restapi.ProblemForbidden) {
					t.Errorf("%s %s answers in another dialect: %s", request.method, request.target, body)
				}
				if rec.Header().Get("Access-Control-Allow-Origin") != "" {
					t.Error("a page may read it")
				}
				asked++
			}
			if c, ok := w.configs.Get("src"); !ok || c.Revision != before.Revision || c.State != states.WantRunning || len(w.configs.All()) != 1 {
				t.Errorf("stored: %+v", w.configs.All())
			}
			if got := w.metric("connect_worker_rest_refused_total", caller.reason); got != float64(asked) {
				t.Errorf("counted %v of %d", got, asked)
			}
			if rec := w.do("GET", "/readyz", "", caller.header...); rec.Code != 200 {
				t.Errorf("probes are refused, too: %d %s", rec.Code, rec.Body)
			}
		})
	}
}

type change struct{ method, target, body string }

// changes are requests of both dialects that change src, which is running, or make another.
func changes() []change {
	const src = connectorsPath + "/src"
	return []change{
		{"GET", `/connectors/create/new?config={"kafka.topics":"c","kafka.bootstrap.server":"h:1"}`, ""},
		{"GET", `/connectors/update/src?config={"kafka.topics":"c"}`, ""},
		{"GET", "/connectors/taskNum/src/3", ""},
		{"GET", "/connectors/single/src/disable", ""},
		{"GET", "/connectors/single/src/remove/", ""},
		{"GET", "/connectors/all/disable", ""},
		{"GET", "/connectors/all/remove", ""},
		{"POST", connectorsPath, validSource},
		{"PUT", src, sameSource},
		{"PUT", src + "/state", `{"state":"Stopped"}`},
		{"POST", src + "/pause", ""},
		{"POST", src + "/restart", ""},
		{"DELETE", src, ""},
		{"OPTIONS", src, ""},
	}
}

func TestWhoMayCallIsAnswered(t *testing.T) {
	curl := []string{"User-Agent: curl/8.14.1", "Accept: */*"}
	cases := map[string]struct {
		listen string
		header []string
	}{
		"curl on the machine":                 {":0", []string{"Remote: 127.0.0.1:40000", "Host: 127.0.0.1:8082"}},
		"curl on the machine by localhost":    {":0", []string{"Remote: [::1]:40000", "Host: localhost:8082"}},
		"curl in a trusted network":           {"0.0.0.0:0", []string{"Remote: 192.168.1.9:40000", "Host: 192.168.1.115:8082"}},
		"curl in a trusted network by a name": {"0.0.0.0:0", []string{"Remote: 192.168.1.9:40000", "Host: connect.example.com:8082"}},
		"an address typed into a browser on the host": {
			":0",
			[]string{"Remote: 127.0.0.1:40000", "Host: 127.0.0.1:8082", "Sec-Fetch-Site: none"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, request := range changes()[:13] { // all but the question whether one may ask
				w := newWorld(t, func(c *Config, _ *Backends) { c.Listen, c.Names = tc.listen, []string{"connect.example.com"} })
				w.source("src")
				rec := w.do(request.method, request.target, request.body, append(curl, tc.header...)...)
				if rec.Code >= 300 {
					t.Errorf("%s %s: %d %s", request.method, request.target, rec.Code, rec.Body)
				}
			}
		})
	}
}

func TestABrowserThatHidesItsPageChangesNothingByGET(t *testing.T) {
	hidden := []string{"Host: 192.168.1.115:8082", "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0"}
	w := newWorld(t, nil)
	before := w.source("src")
	for _, request := range changes()[:7] {
		rec := w.do(request.method, request.target, "", hidden...)
		if rec.Code != 403 || !strings.Contains(rec.Body.String(), "use curl") {
			t.Errorf("%s: %d %s", request.target, rec.Code, rec.Body)
		}
	}
	if c, ok := w.configs.Get("src"); !ok || c.Revision != before.Revision || len(w.configs.All()) != 1 {
		t.Errorf("stored: %+v", w.configs.All())
	}
	if rec := w.do("GET", "/getConnectors", "", hidden...); rec.Code != 200 {
		t.Errorf("reading: %d %s", rec.Code, rec.Body)
	}
}

func TestWritesSayThatTheyAreJSON(t *testing.T) {
	cases := map[string]struct {
		contentType string
		want        bool
	}{
		"JSON":                       {"application/json", true},
		"JSON with its encoding":     {"application/json; charset=utf-8", true},
		"a kind of JSON":             {"application/merge-patch+json", true},
		"nothing":                    {"", false},
		"text":                       {"text/plain", false},
		"a form, as curl says it":    {"application/x-www-form-urlencoded", false},
		"JSON in another's comments": {"text/plain; application/json", false},
		"what is no type":            {"/", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			for _, request := range changes() {
				if request.method != "POST" && request.method != "PUT" {
					continue
				}
				w := newWorld(t, nil)
				w.source("src")
				rec := w.do(request.method, request.target, request.body, "Content-Type: "+tc.contentType)
				if (rec.Code < 300) != tc.want ||
					!tc.want && (rec.Code != 415 || !strings.Contains(rec.Body.String(), "Content-Type: application/json")) {
					t.Errorf("%s %s: %d %s", request.method, request.target, rec.Code, rec.Body)
				}
			}
		})
	}
}

func TestTheLogSaysWhoIsLetIn(t *testing.T) {
	cases := map[string]struct {
		listen, token string
		want, wantNot string
		mutual        bool
	}{
		"without a token and address":  {":0", "", "callers on this machine are answered, others get 403", "everybody", false},
		"with an address":              {"127.0.0.1:0", "", "everybody who reaches httpHost can change connectors", "403", false},
		"with certificates of callers": {"127.0.0.1:0", "", "whoever shows a certificate of httpTlsClientCA", "everybody", true},
		"with a token":                 {":0", bearer, "", "without a token", false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var log logged
			w := newWorld(t, func(c *Config, _ *Backends) {
				c.Listen = tc.listen
				if tc.token != "" {
					c.TokenFile = tokenFile(t, tc.token)
				}
				if tc.mutual {
					a, dir := certtest.New(t), t.TempDir()
					c.TLS = secure(t, dir, a)
					c.TLS.ClientCA = certtest.Write(t, dir, "ca.crt", a.PEM)
				}
				log.into(c)
			})
			w.serve()
			if got := log.String(); !strings.Contains(got, tc.want) || strings.Contains(got, tc.wantNot) {
				t.Errorf("log: %s", got)
			}
		})
	}
}

func TestRefusalsAreLoggedAtABoundedRate(t *testing.T) {
	var log logged
	w := newWorld(t, func(c *Config, _ *Backends) { c.TokenFile = tokenFile(t, bearer); log.into(c) })
	const many = 1000
	for range many {
		w.do("GET", connectorsPath, "", "Authorization: Bearer not-the-token-of-it", "Remote: 192.0.2.7:1234")
	}
	got := log.String()
	if lines := strings.Count(
		got,
		"Refusing a caller",
	); lines != 1 || !strings.Contains(got, "192.0.2.7") ||
		strings.Contains(got, "not-the-token") {
		t.Errorf("%d lines: %s", lines, got)
	}
	if n := w.metric("connect_worker_rest_refused_total", access.ReasonWrongToken); n != many {
		t.Errorf("counted %v", n)
	}
}

func TestATokenFileThatIsGoneIsAFailureUntilItIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log logged
		path := tokenFile(t, bearer)
		w := newWorld(t, func(c *Config, _ *Backends) { c.TokenFile = path; log.into(c) })
		done := make(chan struct{})
		watched := make(chan struct{})
		go func() { defer close(watched); w.server.gate.watchToken(done) }()
		expect := func(status int, ready string) {
			t.Helper()
			rec := w.do("GET", connectorsPath, "", "Authorization: Bearer "+bearer)
			probe := w.do("GET", "/readyz", "")
			if rec.Code != status || !strings.Contains(probe.Body.String(), ready) || (probe.Code == 200) != (ready == "ok") {
				t.Errorf("got %d %s, %d %s", rec.Code, rec.Body, probe.Code, probe.Body)
			}
		}
		expect(200, "ok")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		pass(access.TokenInterval)
		expect(401, "not ready: reading restTokenFile: open "+path)
		if err := os.WriteFile(path, []byte(bearer), 0o600); err != nil {
			t.Fatal(err)
		}
		pass(access.TokenInterval)
		expect(200, "ok")
		close(done)
		<-watched
		if got := log.String(); strings.Count(got, "Refusing every caller") != 1 || strings.Count(got, "Letting callers in again") != 1 {
			t.Errorf("log: %s", got)
		}
	})
}

func TestAStreamEndsWithItsToken(t *testing.T) {
	cases := map[string]func(path string) error{
		"another token":    func(path string) error { return os.WriteFile(path, []byte("fedcba9876543210"), 0o600) },
		"the file is gone": os.Remove,
	}
	for name, rotate := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				path := tokenFile(t, bearer)
				w := newWorld(t, func(c *Config, _ *Backends) { c.TokenFile = path })
				w.server.hub.refresh()
				ended := make(chan int)
				go func() { ended <- w.do("GET", restapi.Prefix+"/watch", "", "Authorization: Bearer "+bearer).Code }()
				pass(10 * pingInterval)
				select {
				case code := <-ended:
					t.Fatalf("the stream ended with %d while its token was right", code)
				default:
				}
				if err := rotate(path); err != nil {
					t.Fatal(err)
				}
				pass(access.TokenInterval + pingInterval)
				select {
				case code := <-ended:
					if code != 200 {
						t.Errorf("it ended with %d", code)
					}
				default:
					t.Fatal("the stream goes on")
				}
			})
		})
	}
}
