package tlsdial

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// over dials a server that the function plays, whatever the address.
func over(t *testing.T, play func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		var group sync.WaitGroup
		defer group.Wait()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			group.Go(func() { defer c.Close(); play(c) })
		}
	}()
	t.Cleanup(func() { l.Close(); <-ended })
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, l.Addr().String())
	}
}

// overPipe is over without a network, for bubbles.
func overPipe(t *testing.T, play func(net.Conn)) func(context.Context, string, string) (net.Conn, error) {
	return func(context.Context, string, string) (net.Conn, error) {
		ours, theirs := net.Pipe()
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			defer theirs.Close()
			play(theirs)
		}()
		t.Cleanup(func() { ours.Close(); <-ended })
		return ours, nil
	}
}

// greeting plays a server that says hello to whoever it takes.
func greeting(cfg *tls.Config) func(net.Conn) {
	return func(c net.Conn) {
		s := tls.Server(c, cfg)
		if s.Handshake() == nil {
			_, _ = s.Write([]byte("hello"))
		}
		_, _ = io.Copy(io.Discard, s)
	}
}

func hello(t *testing.T, d *Dialer, addr string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, err := d.Dial(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	b := make([]byte, 5)
	_, err = io.ReadFull(c, b)
	return err
}

func TestWhyThereIsNoConnection(t *testing.T) {
	ca, other, dir := certtest.New(t), certtest.New(t), t.TempDir()
	file := func(name string, text []byte) string { return certtest.Write(t, dir, name, text) }
	good := Files{CA: file("ca.pem", ca.PEM)}
	with := func(a *certtest.Authority, name string) Files {
		pair := a.Issue("worker", time.Now(), time.Now().Add(time.Hour))
		return Files{CA: good.CA, Cert: file(name+".pem", pair.Cert), Key: file(name+".key", pair.Key)}
	}
	server := ca.Server("rocketmq.test")
	mutual := server.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	mutual12 := mutual.Clone()
	mutual12.MaxVersion = tls.VersionTLS12
	old := server.Clone()
	pair := ca.Issue("rocketmq.test", time.Now().Add(-time.Hour), time.Now().Add(-time.Minute))
	expired, err := tls.X509KeyPair(pair.Cert, pair.Key)
	if err != nil {
		t.Fatal(err)
	}
	old.Certificates = []tls.Certificate{expired}
	cases := map[string]struct {
		files Files
		addr  string
		play  func(net.Conn)
		want  []string
	}{
		"all is well, by address":             {good, "127.0.0.1:9876", greeting(server), nil},
		"all is well, by name":                {good, "rocketmq.test:9876", greeting(server), nil},
		"all is well, by the configured name": {Files{CA: good.CA, ServerName: "rocketmq.test"}, "10.0.0.1:9876", greeting(server), nil},
		"all is well, both ways":              {with(ca, "good"), "127.0.0.1:9876", greeting(mutual), nil},
		"another CA": {
			Files{CA: file("other.pem", other.PEM)},
			"127.0.0.1:9876",
			greeting(server),
			[]string{"TLS handshake: ", "not signed by any in tlsCA (" + dir + "/other.pem)"},
		},
		"no CA": {
			Files{},
			"127.0.0.1:9876",
			greeting(server),
			[]string{"signed by none of the system's roots: set tlsCA"},
		},
		"another name": {
			good,
			"broker-0.rocketmq:10911",
			greeting(server),
			[]string{`its certificate is for rocketmq.test, 127.0.0.1 and not for "broker-0.rocketmq": set tlsServerName`},
		},
		"another address":                {good, "10.0.0.1:10911", greeting(server), []string{`and not for "10.0.0.1": set tlsServerName`}},
		"a certificate that has expired": {good, "127.0.0.1:9876", greeting(old), []string{"has expired or is not valid yet: renew it"}},
		"no certificate of ours": {
			good,
			"127.0.0.1:9876",
			greeting(mutual),
			[]string{"asks for a client's certificate: set tlsCert and tlsKey"},
		},
		"no certificate of ours, TLS 1.2": {
			good,
			"127.0.0.1:9876",
			greeting(mutual12),
			[]string{"asks for a client's certificate", "set tlsCert and tlsKey"},
		},
		"a certificate of another CA": {
			with(other, "bad"),
			"127.0.0.1:9876",
			greeting(mutual),
			[]string{"does not take the certificate in tlsCert (" + dir + "/bad.pem)"},
		},
		"an older TLS": {
			good,
			"127.0.0.1:9876",
			greeting(&tls.Config{MaxVersion: tls.VersionTLS11, Certificates: server.Certificates}),
			[]string{"protocol version"},
		},
		"a server without TLS that hangs up": {
			good,
			"127.0.0.1:9876",
			func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) },
			[]string{"it closed the connection, as a server does that takes no TLS", "set tlsEnable=false"},
		},
		"a server without TLS that answers": {good, "127.0.0.1:9876", func(c net.Conn) {
			_, _ = c.Write([]byte("\x00\x00\x00\x50\x00\x00"))
			_, _ = io.Copy(io.Discard, c)
		}, []string{"it answers without TLS", "set tlsEnable=false"}},
		"a server that hangs up after all": {good, "127.0.0.1:9876", func(c net.Conn) { _ = tls.Server(c, server).Handshake() },
			[]string{"as a server does that asks for a client's certificate (then set tlsCert and tlsKey)"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			d, err := New(tc.files, over(t, tc.play))
			if err != nil {
				t.Fatal(err)
			}
			err = hello(t, d, tc.addr)
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, text := range tc.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("got  %v\nwant %q", err, text)
				}
			}
		})
	}
}

func TestRenewedFilesCountFromTheNextConnectionOn(t *testing.T) {
	before, after, dir := certtest.New(t), certtest.New(t), t.TempDir()
	var server atomic.Pointer[tls.Config]
	server.Store(before.Server("rocketmq.test"))
	path := certtest.Write(t, dir, "ca.pem", before.PEM)
	d, err := New(Files{CA: path}, over(t, func(c net.Conn) { greeting(server.Load())(c) }))
	if err != nil {
		t.Fatal(err)
	}
	want := func(text string) {
		t.Helper()
		switch err := hello(t, d, "127.0.0.1:9876"); {
		case text == "" && err != nil:
			t.Error(err)
		case text != "" && (err == nil || !strings.Contains(err.Error(), text)):
			t.Errorf("got %v, want %q", err, text)
		}
	}
	want("")
	server.Store(after.Server("rocketmq.test"))
	want("not signed by any in tlsCA")
	certtest.Write(t, dir, "ca.pem", after.PEM)
	want("")
	certtest.Write(t, dir, "ca.pem", []byte("half of a file"))
	want("") // by what it was before
	if err := d.Stale(); err == nil || !strings.Contains(err.Error(), path+": not PEM") {
		t.Errorf("stale: %v", err)
	}
	server.Store(before.Server("rocketmq.test"))
	want("with the files of before, for those of now are of no use: tlsCA: " + path + ": not PEM")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	want("no such file")
	certtest.Write(t, dir, "ca.pem", before.PEM)
	want("")
	if err := d.Stale(); err != nil {
		t.Errorf("stale: %v", err)
	}
}

// Invariant C2: a connection is reset at once, whatever the server has not read yet.
func TestAConnectionIsClosedWithoutAWord(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ca := certtest.New(t)
		path, server := certtest.Write(t, t.TempDir(), "ca.pem", ca.PEM), ca.Server("rocketmq.test")
		d, err := New(Files{CA: path}, overPipe(t, func(c net.Conn) {
			_ = tls.Server(c, server).Handshake()
			time.Sleep(time.Minute) // it reads nothing
		}))
		if err != nil {
			t.Fatal(err)
		}
		c, err := d.Dial(t.Context(), "tcp", "127.0.0.1:9876")
		if err != nil {
			t.Fatal(err)
		}
		begun := time.Now()
		if err := c.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begun); took != 0 {
			t.Errorf("closing took %s", took)
		}
	})
}

func TestADialThatIsGivenUpEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := certtest.Write(t, t.TempDir(), "ca.pem", certtest.New(t).PEM)
		d, err := New(Files{CA: path}, overPipe(t, func(c net.Conn) { _, _ = io.Copy(io.Discard, c) }))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		if _, err := d.Dial(
			ctx,
			"tcp",
			"127.0.0.1:9876",
		); !errors.Is(err, context.DeadlineExceeded) ||
			!strings.Contains(err.Error(), "TLS handshake: no answer in time") {
			t.Errorf("got %v", err)
		}
	})
}
