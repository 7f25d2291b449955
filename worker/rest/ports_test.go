package rest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// withProbes gives probes and metrics a port of their own.
func withProbes(c *Config, _ *Backends) { c.Probes = "127.0.0.1:0" }

// from opens a connection from one of this machine's loopback addresses.
func from(t *testing.T, local string, to net.Addr) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	c, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends a GET over a connection of its own, and returns the status.
func ask(t *testing.T, local string, to net.Addr, path string) (int, string) {
	t.Helper()
	c := from(t, local, to)
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.WriteString(c, get(path)); err != nil {
		return 0, err.Error()
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, err.Error()
	}
	defer func() { _ = resp.Body.Close() }()
	body, _ := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body)
}

// What one address holds, idle or slow, keeps neither the probes nor another address waiting.
func TestSocketsOfOneAddressLockNobodyOut(t *testing.T) {
	const body = "POST " + connectorsPath + " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
	cases := map[string]struct {
		sockets int
		send    string
		full    bool // requests are being answered on all that the address may have
	}{
		"600 that send nothing":            {600, "", false},
		"2,000 that send nothing":          {2000, "", false},
		"600 that send half of a header":   {600, "GET /readyz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", false},
		"600 that send the half of a body": {600, body, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, withProbes)
			w.source("src")
			w.serve()
			api, probes := w.server.api.Addr(), w.server.probes.Addr()
			for _, to := range []net.Addr{api, probes} {
				for range tc.sockets {
					c := from(t, "127.0.0.1", to)
					_, _ = io.WriteString(c, tc.send) // one that was closed at once takes nothing
				}
			}
			for _, local := range []string{"127.0.0.2", "127.0.0.3"} {
				if code, text := ask(t, local, api, connectorsPath+"/src"); code != 200 {
					t.Errorf("%s is answered %d %s", local, code, text)
				}
			}
			for _, local := range []string{"127.0.0.1", "127.0.0.2"} {
				for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
					if code, text := ask(t, local, probes, path); code != 200 {
						t.Errorf("the probe %s of %s is answered %d %s", path, local, code, text)
					}
				}
			}
			// The address itself is answered too, unless it keeps all that it may have busy.
			if code, text := ask(t, "127.0.0.1", api, connectorsPath+"/src"); code != 200 && !tc.full {
				t.Errorf("127.0.0.1 is answered %d %s", code, text)
			}
			for port, limits := range map[string]limit.Limits{"api": w.server.cfg.Connections, "probes": probeConnections} {
				if open := w.open(port); open > float64(limits.PerAddress+3) {
					t.Errorf("%v connections of two addresses are open on port %s", open, port)
				}
				waitedFor := port == "api" || !tc.full // the probes' port takes no time for bodies
				if turned := w.turned(port); waitedFor && turned < float64(tc.sockets-limits.PerAddress) {
					t.Errorf("%v were refused or displaced on port %s", turned, port)
				}
			}
		})
	}
}

// open and turned are what the metrics say of a port: connections that are open, and those that were refused or
// displaced.
func (w *world) open(port string) float64 {
	return w.sum("connect_worker_rest_connections", port)
}

func (w *world) turned(port string) float64 {
	return w.sum("connect_worker_rest_connections_refused_total", port) + w.sum("connect_worker_rest_connections_displaced_total", port)
}

func (w *world) sum(name, port string) (sum float64) {
	w.t.Helper()
	families, err := w.registry.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			for _, label := range m.GetLabel() {
				if family.GetName() == name && label.GetName() == "port" && label.GetValue() == port {
					sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
				}
			}
		}
	}
	return sum
}

// A caller that is refused does not hold its connection by a body that it sends slowly.
func TestARefusedCallerIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *Config, _ *Backends) { c.TokenFile = tokenFile(t, bearer) })
	w.serve()
	c := from(t, "127.0.0.1", w.server.api.Addr())
	_ = c.SetDeadline(time.Now().Add(readTimeout / 2)) // long before a slow body is given up
	if _, err := io.WriteString(
		c,
		"POST "+connectorsPath+" HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{",
	); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(c)
	if err != nil || !strings.Contains(string(got), "401 Unauthorized") {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestProbesOnAPortOfTheirOwn(t *testing.T) {
	const token = "Authorization: Bearer " + bearer
	cases := map[string]struct {
		probes    string
		onAPI     int
		onProbes  int
		compatOff bool
	}{
		"one port for all":             {"", 200, 0, false},
		"a port of their own":          {"127.0.0.1:0", 404, 200, false},
		"a port of their own, in pods": {"127.0.0.1:0", 404, 200, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(c *Config, _ *Backends) {
				c.Probes, c.CompatRoutes, c.TokenFile = tc.probes, !tc.compatOff, tokenFile(t, bearer)
			})
			w.serve()
			for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
				if rec := w.do("GET", path, "", token); rec.Code != tc.onAPI {
					t.Errorf("%s on httpPort: %d %s", path, rec.Code, rec.Body)
				}
				if tc.probes == "" {
					continue
				}
				if code, text := ask(t, "127.0.0.1", w.server.probes.Addr(), path); code != tc.onProbes {
					t.Errorf("%s on probePort: %d %s", path, code, text)
				}
			}
			if tc.probes == "" {
				return
			}
			for _, path := range []string{connectorsPath, "/getClusterInfo", "/connectors/all/remove"} {
				if code, text := ask(t, "127.0.0.1", w.server.probes.Addr(), path); code != 404 {
					t.Errorf("%s on probePort: %d %s", path, code, text)
				}
			}
		})
	}
}

func TestAProbePortThatIsTaken(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	w := newWorld(t, func(c *Config, _ *Backends) { c.Probes = l.Addr().String() })
	if err := w.server.Service().Start(t.Context()); err == nil || !strings.Contains(err.Error(), "listening on probePort") {
		t.Errorf("got %v", err)
	}
	if err := w.server.api.Close(); err == nil {
		t.Error("the API is listened on")
	}
}

func TestStreamsAreLimitedByAddressAndInAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *Config, _ *Backends) { c.Streams = limit.Limits{All: 3, PerAddress: 2} })
		w.server.hub.refresh()
		ctx, cancel := context.WithCancel(t.Context())
		w.ctx = ctx
		codes := make(chan string, 10)
		for _, remote := range []string{"10.0.0.1:1", "10.0.0.1:2", "10.0.0.1:3", "10.0.0.2:1", "10.0.0.3:1"} {
			go func() {
				rec := w.do("GET", restapi.Prefix+"/watch", "", "Remote: "+remote)
				codes <- fmt.Sprint(remote, " ", rec.Code, " ", strings.Contains(rec.Body.String(), restapi.ProblemTooMany), " ",
					rec.Header().Get("Retry-After"))
			}()
			synctest.Wait()
		}
		pass(time.Minute)
		for _, want := range []string{"10.0.0.1:3 429 true 1", "10.0.0.3:1 429 true 1"} {
			if got := <-codes; got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		if len(codes) > 0 {
			t.Errorf("another stream ended: %s", <-codes)
		}
		cancel()
		synctest.Wait()
		w.ctx = nil
		if len(codes) != 3 || w.metric("connect_worker_rest_watch_streams_refused_total", limit.ByAddress) != 1 ||
			w.metric("connect_worker_rest_watch_streams_refused_total", limit.InAll) != 1 {
			t.Errorf("%d streams ended with their callers", len(codes))
		}
	})
}
