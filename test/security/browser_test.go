//go:build browser

package security

import (
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

//go:embed testdata/page.html
var page string

// request is one that a browser has sent to the worker, and what was answered.
type request struct {
	line   string
	status int
}

// witness stands between the browser and the worker, and changes nothing.
type witness struct {
	mu   sync.Mutex
	seen []request
}

func (w *witness) between(t *testing.T, worker string) *httptest.Server {
	t.Helper()
	proxy := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", worker, r.In.Host
		},
		ModifyResponse: func(r *http.Response) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.seen = append(w.seen, request{r.Request.Method + " " + r.Request.URL.Path, r.StatusCode})
			return nil
		},
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server
}

// requests are all but those for icons, which a browser makes by itself.
func (w *witness) requests() []request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(w.seen), func(r request) bool { return strings.HasSuffix(r.line, "/favicon.ico") })
}

// TestAPageInABrowserChangesNothing opens a page of another origin in a real browser on the machine of a worker without
// a token. The page tries all that pages can do without asking: images, scripts, forms, frames, requests with and
// without CORS, and another name for the worker's address.
func TestAPageInABrowserChangesNothing(t *testing.T) {
	browser, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("no chromium on the PATH: `make test-browser` installs Debian's")
	}
	w := worldOf(t, 1, "")
	victim := restapi.Connector{Name: "victim", Class: "KafkaSource", MaxTasks: 1, State: restapi.StateStopped,
		Config: map[string]string{"kafka.topics": "orders", "kafka.bootstrap.server": w.kafka}}
	w.create(victim)
	r := w.workers[0]
	before, err := r.client().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	seen := &witness{}
	_, port, err := net.SplitHostPort(seen.between(t, r.address).Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	reports := make(chan map[string]string, 1)
	evil := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if req.URL.Path != "/done" {
			rw.Header().Set("Content-Type", "text/html")
			_, _ = fmt.Fprint(rw, strings.ReplaceAll(page, "PORT", port))
			return
		}
		report := map[string]string{}
		if err := json.NewDecoder(req.Body).Decode(&report); err != nil {
			t.Error(err)
		}
		reports <- report
	}))
	t.Cleanup(evil.Close)
	_, evilPort, _ := net.SplitHostPort(evil.Listener.Addr().String())
	report := browse(t, browser, "http://evil.example:"+evilPort+"/", reports)
	for try, result := range report {
		if result != "sent" {
			t.Errorf("%s: %s", try, result)
		}
	}
	if err := wait.Until(t.Context(), 50*time.Millisecond, func(context.Context) error { // the frames and forms may be late
		if n := len(seen.requests()); n < len(report) {
			return fmt.Errorf("%d requests of %d tries", n, len(report))
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for _, got := range seen.requests() {
		if got.status < 400 || got.status >= 500 {
			t.Errorf("%s: %d, want a refusal", got.line, got.status)
		}
	}
	after, err := r.client().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, after); diff != "" {
		t.Errorf("connectors (-before +after):\n%s", diff)
	}
	if _, err := r.client().Put(t.Context(), victim, restclient.AnyRevision); err != nil {
		t.Errorf("who is no page is refused, too: %v", err)
	}
}

// browse opens a page until it has reported.
func browse(t *testing.T, browser, url string, reports <-chan map[string]string) map[string]string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var out output
	cmd := exec.CommandContext(ctx, browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
		"--disable-background-networking", "--disable-component-update", "--disable-sync", "--user-data-dir="+t.TempDir(),
		"--host-resolver-rules=MAP evil.example 127.0.0.1,MAP rebound.example 127.0.0.1", url)
	cmd.Stdout, cmd.Stderr, cmd.WaitDelay = &out, &out, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		_ = cmd.Wait()
	}()
	select {
	case report := <-reports:
		return report
	case <-ctx.Done():
		t.Fatalf("the page has not reported; the browser says:\n%s", out.String())
		return nil
	}
}
