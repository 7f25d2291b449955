package rest

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/certificate"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

// secure gives the server a certificate of an authority, in files of dir.
func secure(t *testing.T, dir string, a *certtest.Authority) certificate.Files {
	t.Helper()
	pair := a.Issue("localhost", time.Now(), time.Now().Add(time.Hour))
	return certificate.Files{Cert: certtest.Write(t, dir, "tls.crt", pair.Cert), Key: certtest.Write(t, dir, "tls.key", pair.Key)}
}

// over is a client that speaks TLS as cfg says.
func over(t *testing.T, cfg *tls.Config) *http.Client {
	c := client(t)
	c.Transport.(*http.Transport).TLSClientConfig = cfg
	return c
}

func (w *world) secured() string { return "https://" + w.server.api.Addr().String() }

func TestTheAPISpeaksTLSAndProbesDoNot(t *testing.T) {
	a := certtest.New(t)
	var log logged
	w := newWorld(t, func(c *Config, _ *Backends) {
		c.TLS, c.Probes, c.TokenFile = secure(t, t.TempDir(), a), "127.0.0.1:0", tokenFile(t, bearer)
		log.into(c)
	})
	plain := w.serve()
	https := over(t, a.Client(nil))
	https.Transport.(*http.Transport).ForceAttemptHTTP2 = true
	if _, err := restclient.New(w.secured(), bearer, https).Cluster(t.Context()); err != nil {
		t.Errorf("with the authority and the token: %v", err)
	}
	if _, err := restclient.New(w.secured(), "", https).Cluster(t.Context()); !hasStatus(err, 401) {
		t.Errorf("without the token: %v", err)
	}
	resp, err := https.Get(w.secured() + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.ProtoMajor != 1 || resp.TLS.Version < tls.VersionTLS12 {
		t.Errorf("HTTP %s over TLS %x", resp.Proto, resp.TLS.Version)
	}
	if code, text := ask(t, "127.0.0.1", w.server.probes.Addr(), "/readyz"); code != 200 || strings.TrimSpace(text) != "ok" {
		t.Errorf("the probe: %d %s", code, text)
	}
	if code, text := ask(
		t,
		"127.0.0.1",
		w.server.api.Addr(),
		connectorsPath,
	); code != 400 ||
		!strings.Contains(text, "Client sent an HTTP request to an HTTPS server") {
		t.Errorf("a plain request: %d %s", code, text)
	}
	if _, err := over(t, certtest.New(t).Client(nil)).Get(w.secured()); err == nil {
		t.Error("a caller that trusts another authority was answered")
	}
	old := a.Client(nil)
	old.MinVersion, old.MaxVersion = tls.VersionTLS10, tls.VersionTLS11
	if _, err := over(t, old).Get(w.secured()); err == nil {
		t.Error("TLS 1.1 is spoken")
	}
	if _, err := restclient.New(plain, bearer, client(t)).Cluster(t.Context()); !errors.Is(err, restclient.ErrNotAWorker) {
		t.Errorf("a plain client: %v", err)
	}
	eventually(t, func() bool { return w.sum("connect_worker_rest_handshakes_failed_total", "api") == 4 })
	if lines := strings.Count(log.String(), "Losing a connection"); lines != 1 || !strings.Contains(log.String(), "127.0.0.1") {
		t.Errorf("%d lines for 4 connections: %s", lines, log.String())
	}
}

// eventually waits for what another goroutine is about to do.
func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatal("it does not come to that")
		case <-tick.C:
		}
	}
}

func hasStatus(err error, status int) bool {
	var p *restapi.Problem
	return errors.As(err, &p) && p.Status == status
}

func TestCallersShowCertificatesBesidesTokens(t *testing.T) {
	ours, callers := certtest.New(t), certtest.New(t)
	dir := t.TempDir()
	w := newWorld(t, func(c *Config, _ *Backends) {
		c.TLS, c.TokenFile = secure(t, dir, ours), tokenFile(t, bearer)
		c.TLS.ClientCA = certtest.Write(t, dir, "ca.crt", callers.PEM)
	})
	w.serve()
	cases := map[string]struct {
		by    *certtest.Authority
		token string
		want  int // 0: no connection
	}{
		"a certificate and the token":      {callers, bearer, 200},
		"a certificate alone":              {callers, "", 401},
		"the token alone":                  {nil, bearer, 0},
		"another authority's, and a token": {ours, bearer, 0},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := restclient.New(w.secured(), tc.token, over(t, ours.Client(tc.by))).Cluster(t.Context())
			switch {
			case tc.want == 200 && err != nil, tc.want == 401 && !hasStatus(err, 401):
				t.Errorf("got %v", err)
			case tc.want == 0 && (err == nil || hasStatus(err, 401)):
				t.Errorf("it was answered: %v", err)
			}
		})
	}
	// A connection outlives its trust, a call does not: it is told to reconnect.
	known := over(t, ours.Client(callers))
	if _, err := restclient.New(w.secured(), bearer, known).Cluster(t.Context()); err != nil {
		t.Fatal(err)
	}
	certtest.Write(t, dir, "ca.crt", ours.PEM)
	if _, err := w.server.gate.secured.Refresh(); err != nil {
		t.Fatal(err)
	}
	if _, err := restclient.New(
		w.secured(),
		bearer,
		known,
	).Cluster(
		t.Context(),
	); !hasStatus(err, 403) ||
		!strings.Contains(err.Error(), "reconnect") {
		t.Errorf("after the authority was taken away: %v", err)
	}
	if _, err := restclient.New(w.secured(), bearer, known).Cluster(t.Context()); err == nil || hasStatus(err, 403) {
		t.Errorf("on another connection: %v", err)
	}
	if n := w.metric("connect_worker_rest_refused_total", access.ReasonCertificate); n != 1 {
		t.Errorf("counted %v", n)
	}
}

// A certificate that is renewed under the worker is shown to who connects from then on; a stream that is open goes on.
func TestACertificateIsRenewedWhileAStreamIsOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := certtest.New(t)
		dir := t.TempDir()
		var log logged
		w := newWorld(t, func(c *Config, _ *Backends) { c.TLS = secure(t, dir, a); log.into(c) })
		w.source("src")
		w.server.hub.refresh()
		pipes := newPipes()
		stop := w.servePipes(pipes)
		done, watched := make(chan struct{}), make(chan struct{})
		go func() { defer close(watched); w.server.gate.watchCertificate(done) }()

		stream := pipes.dial(t, a)
		_, _ = io.WriteString(stream, get(restapi.Prefix+"/watch"))
		lines := bufio.NewScanner(stream)
		next := func(kind string) {
			t.Helper()
			for lines.Scan() {
				if strings.Contains(lines.Text(), `"type":"`+kind+`"`) {
					return
				}
			}
			t.Fatalf("the stream ended before %s: %v", kind, lines.Err())
		}
		next(restapi.EventSynced)
		before := stream.ConnectionState().PeerCertificates[0]
		for _, step := range []struct {
			what, told string
			change     func()
			renewed    bool
		}{
			{"half of the files", "cannot be used", func() {
				certtest.Write(t, dir, "tls.crt", a.Issue("localhost", time.Now(), before.NotAfter.Add(time.Hour)).Cert)
			}, false},
			{"all of them", "Serving another certificate", func() { secure(t, dir, a) }, true},
		} {
			step.change()
			pass(certificate.Interval)
			c := pipes.dial(t, a)
			if got := c.ConnectionState().PeerCertificates[0]; got.Equal(before) == step.renewed {
				t.Errorf("%s: renewed is %v", step.what, !step.renewed)
			}
			_ = c.Close()
			if !strings.Contains(log.String(), step.told) {
				t.Errorf("%s: log %s", step.what, log.String())
			}
			next(restapi.EventPing)
		}
		_ = stream.Close()
		close(done)
		<-watched
		stop()
	})
}

func TestAStreamEndsWithTheCertificateOfItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := certtest.New(t)
		dir := t.TempDir()
		w := newWorld(t, func(c *Config, _ *Backends) {
			c.TLS = secure(t, dir, a)
			c.TLS.ClientCA = certtest.Write(t, dir, "ca.crt", a.PEM)
		})
		w.server.hub.refresh()
		pipes := newPipes()
		stop := w.servePipes(pipes)
		stream := pipes.dial(t, a)
		_, _ = io.WriteString(stream, get(restapi.Prefix+"/watch"))
		ended := make(chan error, 1)
		go func() { _, err := io.Copy(io.Discard, stream); ended <- err }()
		pass(10 * pingInterval)
		select {
		case err := <-ended:
			t.Fatalf("it ended while its certificate was right: %v", err)
		default:
		}
		pass(time.Hour) // as long as the certificate that it shows
		select {
		case <-ended:
		default:
			t.Fatal("the stream goes on")
		}
		_ = stream.Close()
		stop()
	})
}

// pipes is a listener whose connections are pipes, which a synctest bubble can wait for.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.closed); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

// dial opens a connection, with a certificate of the authority that both ends trust.
func (p *pipes) dial(t *testing.T, a *certtest.Authority) *tls.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	p.conns <- theirs
	cfg := a.Client(a)
	cfg.ServerName = "localhost"
	c := tls.Client(ours, cfg)
	if err := c.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// servePipes answers on the pipes as on the API's port.
func (w *world) servePipes(p *pipes) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	srv := &http.Server{Handler: w.server.Handler(), BaseContext: func(net.Listener) context.Context { return ctx }}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = srv.Serve(tls.NewListener(p, w.server.gate.secured.Config()))
	}()
	return func() {
		cancel()
		_ = srv.Close()
		<-done
		synctest.Wait()
	}
}

// Idle connections with TLS make room, and busy ones do not, as plain ones.
func TestLimitsHoldOverTLS(t *testing.T) {
	a := certtest.New(t)
	w := newWorld(t, func(c *Config, _ *Backends) {
		c.TLS = secure(t, t.TempDir(), a)
		c.Connections, c.Streams = limit.Limits{All: 8, PerAddress: 4}, limit.Limits{All: 3, PerAddress: 3}
	})
	w.serve()
	https := over(t, a.Client(nil))
	streamed := make(chan error, 1)
	ctx, cancel := context.WithCancel(t.Context())
	synced := make(chan struct{})
	go func() {
		streamed <- restclient.New(w.secured(), "", https).Watch(ctx, 0, func(ev restapi.WatchEvent) error {
			if ev.Type == restapi.EventSynced {
				close(synced)
			}
			return nil
		})
	}()
	<-synced
	for range 20 { // more than the address may have: each takes the place of an idle one, never the stream's
		c, err := tls.Dial("tcp", w.server.api.Addr().String(), a.Client(nil))
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
	}
	select {
	case err := <-streamed:
		t.Fatalf("the stream lost its place: %v", err)
	default:
	}
	if open := w.open("api"); open != 4 {
		t.Errorf("%v connections are open", open)
	}
	if got := w.sum("connect_worker_rest_connections_displaced_total", "api"); got != 17 {
		t.Errorf("%v made room", got)
	}
	cancel()
	<-streamed
}
