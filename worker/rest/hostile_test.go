package rest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// dial opens a connection of its own to the server.
func dial(t *testing.T, base string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	c, err := (&net.Dialer{}).DialContext(ctx, "tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// exchange writes bytes as they are and reads what comes back.
func exchange(t *testing.T, base, request string) (int, string) {
	t.Helper()
	c := dial(t, base)
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body) // may be cut short: the server resets a connection on which it has left bytes unread
	return resp.StatusCode, string(body)
}

func post(path, body string) string {
	return fmt.Sprintf(
		"POST %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		path,
		len(body),
		body,
	)
}

func get(path string) string {
	return "GET " + path + " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
}

func TestHostileRequestsAreAnsweredAndChangeNothing(t *testing.T) {
	const connectors = restapi.Prefix + "/connectors"
	deep := strings.Repeat("[", 100_000) + strings.Repeat("]", 100_000)
	cases := map[string]struct {
		request  string
		want     []int
		wantText string
	}{
		"arrays in 100,000 levels": {post(connectors, deep), []int{400}, "the body"},
		"objects in 100,000 levels of a config": {
			post(connectors, `{"config":`+strings.Repeat(`{"a":`, 100_000)+"1"+strings.Repeat("}", 100_001)),
			[]int{400},
			"the body",
		},
		"deep JSON in an older route's config": {get("/connectors/create/x?config=" + strings.Repeat("%5B", 5_000)), []int{400, 500}, ""},
		"a body above the limit": {
			post(connectors, `{"name":"`+strings.Repeat("x", maxBody)+`"}`),
			[]int{413},
			"at most 1048576 bytes",
		},
		"a header above the limit": {
			"GET " + connectors + " HTTP/1.1\r\nHost: localhost\r\nX: " + strings.Repeat("x", 2*64<<10) + "\r\n\r\n",
			[]int{431},
			"",
		},
		"an array for an object":       {post(connectors, `[]`), []int{400}, "must be an object"},
		"null":                         {post(connectors, `null`), []int{422}, "name must not be empty"},
		"a name of another type":       {post(connectors, `{"name":{"a":1}}`), []int{400}, "name must be a string"},
		"text that is not UTF-8":       {post(connectors, "{\"name\":\"\xff\xfe\"}"), []int{422}, "name"},
		"dots in the path":             {get(connectors + "/../../../etc/passwd"), []int{301, 307, 400, 404}, ""},
		"encoded dots in the path":     {get(connectors + "/%2e%2e/%2e%2e/etc/passwd"), []int{301, 307, 400, 404}, ""},
		"an encoded slash in the path": {get(connectors + "/..%2f..%2fetc%2fpasswd"), []int{404}, "no connector"},
		"a NUL in the path":            {get(connectors + "/a%00b"), []int{404}, "no connector"},
		"double slashes":               {get("//api//v1//connectors//x"), []int{301, 307, 404}, ""},
		"a very long name":             {get(connectors + "/" + strings.Repeat("n", 50_000)), []int{404}, "no connector"},
		"a name in another script":     {get(connectors + "/%E6%B3%A8%E6%96%87%F0%9F%9A%80"), []int{404}, "no connector"},
		"an escape that is none":       {get(connectors + "/%zz"), []int{400}, ""},
		"what is not HTTP":             {"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", []int{400}, ""},
	}
	w := newWorld(t, nil)
	base := w.serve()
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			code, body := exchange(t, base, tc.request)
			ok := false
			for _, want := range tc.want {
				ok = ok || code == want
			}
			if !ok || !strings.Contains(body, tc.wantText) || strings.Contains(body, "panic") || strings.Contains(body, "goroutine") {
				t.Errorf("answer %d %.300s, want %v with %q", code, body, tc.want, tc.wantText)
			}
			if len(w.configs.All()) != 0 {
				t.Error("something was stored")
			}
		})
	}
}

// Connections that send nothing, half of a request, or nothing after one, are closed in time and make room for others.
func TestSlowConnectionsAreClosedAndMakeRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	base := w.serve()
	before := runtime.NumGoroutine()
	const many = 1000
	var wg sync.WaitGroup
	for i := range many {
		c := dial(t, base)
		wg.Go(func() {
			_ = c.SetDeadline(time.Now().Add(time.Minute))
			switch i % 3 { // the rest sends nothing at all
			case 0:
				_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
			case 1: // is answered, and kept open
				_, _ = io.WriteString(c, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
			}
			_, _ = io.Copy(io.Discard, c)
		})
	}
	if grown := runtime.NumGoroutine() - before - many; grown > 2*w.server.cfg.Connections.PerAddress+50 {
		t.Errorf("%d goroutines for %d connections", grown, many)
	}
	if code, body := exchange(t, base, get("/healthz")); code != 200 || !strings.Contains(body, "ok") {
		t.Errorf("behind them: %d %s", code, body)
	}
	wg.Wait() // the server closed them all
}

// A body that comes a byte now and then holds its connection for the read time-out and not longer.
func TestABodyThatNeverEndsIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	c := dial(t, w.serve())
	if _, err := io.WriteString(
		c,
		"POST "+restapi.Prefix+"/connectors HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
	); err != nil {
		t.Fatal(err)
	}
	_ = c.SetReadDeadline(time.Now().Add(time.Minute))
	got, err := io.ReadAll(c)
	if timeout := (net.Error)(nil); errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the server holds on to the connection: %v", err)
	}
	if !bytes.Contains(got, []byte("408")) {
		t.Errorf("got %s", got)
	}
}
