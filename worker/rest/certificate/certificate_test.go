package certificate_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
	"github.com/rocketmq-connect/operator/worker/rest/certificate"
)

// folder has the files of a listener.
type folder struct {
	t     *testing.T
	dir   string
	files certificate.Files
}

func newFolder(t *testing.T, a *certtest.Authority) folder {
	dir := t.TempDir()
	f := folder{
		t,
		dir,
		certificate.Files{Cert: filepath.Join(dir, "tls.crt"), Key: filepath.Join(dir, "tls.key"), ClientCA: filepath.Join(dir, "ca.crt")},
	}
	pair := a.Issue("localhost", time.Now(), time.Now().Add(time.Hour))
	f.write("tls.crt", pair.Cert)
	f.write("tls.key", pair.Key)
	f.write("ca.crt", a.PEM)
	return f
}

func (f folder) write(name string, text []byte) { certtest.Write(f.t, f.dir, name, text) }

func TestWithoutFilesThereIsNoTLS(t *testing.T) {
	if s, err := certificate.Open(certificate.Files{}); s != nil || err != nil {
		t.Errorf("got %v, %v", s, err)
	}
}

func TestFilesThatCannotBeUsedAreNamed(t *testing.T) {
	a := certtest.New(t)
	cases := map[string]struct {
		spoil func(f folder)
		want  []string // key, file, reason
	}{
		"no certificate":       {func(f folder) { _ = os.Remove(f.files.Cert) }, []string{"httpTlsCert: ", "tls.crt", "no such file"}},
		"no key":               {func(f folder) { _ = os.Remove(f.files.Key) }, []string{"httpTlsKey: ", "tls.key", "no such file"}},
		"no authorities":       {func(f folder) { _ = os.Remove(f.files.ClientCA) }, []string{"httpTlsClientCA: ", "ca.crt", "no such file"}},
		"an empty certificate": {func(f folder) { f.write("tls.crt", nil) }, []string{"httpTlsCert: ", "tls.crt", "BEGIN CERTIFICATE"}},
		"a certificate that is none": {
			func(f folder) {
				f.write("tls.crt", pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("x")}))
			},
			[]string{"httpTlsCert: ", "certificate 1 of", "tls.crt"},
		},
		"a key of another certificate": {
			func(f folder) {
				f.write("tls.key", a.Issue("localhost", time.Now(), time.Now().Add(time.Hour)).Key)
			},
			[]string{"httpTlsKey: ", "tls.key", "is not the private key of", "tls.crt"},
		},
		"a key that is none": {func(f folder) { f.write("tls.key", []byte("topsecret")) }, []string{"httpTlsKey: ", "tls.key"}},
		"authorities without any": {
			func(f folder) { f.write("ca.crt", []byte("# none\n")) },
			[]string{"httpTlsClientCA: ", "ca.crt", "BEGIN CERTIFICATE"},
		},
		"a certificate without an end": {
			func(f folder) { f.write("tls.crt", make([]byte, 1<<20+1)) },
			[]string{"httpTlsCert: ", "tls.crt", "longer than"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f := newFolder(t, a)
			s, err := certificate.Open(f.files)
			if err != nil {
				t.Fatal(err)
			}
			served := s.NotAfter()
			tc.spoil(f)
			_, opened := certificate.Open(f.files)
			changed, refreshed := s.Refresh()
			for _, err := range []error{opened, refreshed, s.Err()} {
				for _, part := range tc.want {
					if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "topsecret") {
						t.Errorf("got %v, want %q in it", err, part)
					}
				}
			}
			if changed || !s.NotAfter().Equal(served) {
				t.Error("what cannot be used is served")
			}
			whole := newFolder(t, a)
			for _, name := range []string{"tls.crt", "tls.key", "ca.crt"} {
				text, err := os.ReadFile(filepath.Join(whole.dir, name))
				if err != nil {
					t.Fatal(err)
				}
				f.write(name, text)
			}
			if changed, err := s.Refresh(); !changed || err != nil || s.Err() != nil {
				t.Errorf("once it is mended: %v, %v, %v", changed, err, s.Err())
			}
		})
	}
}

func TestOnlyOtherContentsAreAChange(t *testing.T) {
	a := certtest.New(t)
	f := newFolder(t, a)
	s, err := certificate.Open(f.files)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(f.files.Cert)
	if err != nil {
		t.Fatal(err)
	}
	f.write("tls.crt", text) // another time of change
	if changed, err := s.Refresh(); changed || err != nil {
		t.Errorf("the same contents: %v, %v", changed, err)
	}
	later := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	pair := a.Issue("localhost", time.Now(), later)
	f.write("tls.crt", pair.Cert)
	f.write("tls.key", pair.Key)
	if changed, err := s.Refresh(); !changed || err != nil || !s.NotAfter().Equal(later) {
		t.Errorf("other contents: %v, %v, ends at %s", changed, err, s.NotAfter())
	}
}

func TestConnectionsAreAsTheFilesSay(t *testing.T) {
	a := certtest.New(t)
	f := newFolder(t, a)
	s, err := certificate.Open(f.files)
	if err != nil {
		t.Fatal(err)
	}
	got, err := s.Config().GetConfigForClient(nil)
	if err != nil {
		t.Fatal(err)
	}
	if got.MinVersion != tls.VersionTLS12 || got.ClientAuth != tls.RequireAndVerifyClientCert || !got.SessionTicketsDisabled ||
		len(got.NextProtos) != 1 ||
		got.NextProtos[0] != "http/1.1" {
		t.Errorf("with authorities of callers: %+v", got)
	}
	f.files.ClientCA = ""
	if s, err = certificate.Open(f.files); err != nil {
		t.Fatal(err)
	}
	if got, err = s.Config().GetConfigForClient(nil); err != nil || got.ClientAuth != tls.NoClientCert {
		t.Errorf("without: %+v, %v", got, err)
	}
}

func TestAConnectionIsTrustedForAsLongAsItsCertificateIs(t *testing.T) {
	ours, theirs := certtest.New(t), certtest.New(t)
	f := newFolder(t, ours)
	s, err := certificate.Open(f.files)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	by := func(a *certtest.Authority) *tls.ConnectionState {
		block, _ := pem.Decode(a.Issue("caller", now, now.Add(time.Hour)).Cert)
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		return &tls.ConnectionState{PeerCertificates: []*x509.Certificate{c}}
	}
	caller, stranger := by(ours), by(theirs)
	check := func(what string, state *tls.ConnectionState, at time.Time, want bool) {
		t.Helper()
		if err := s.Verify(state, at); (err == nil) != want || err != nil && !errors.Is(err, certificate.ErrNotTrusted) {
			t.Errorf("%s: %v", what, err)
		}
	}
	check("a certificate of an authority", caller, now, true)
	check("the same once it has ended", caller, now.Add(2*time.Hour), false)
	check("one of another authority", stranger, now, false)
	check("no certificate", &tls.ConnectionState{}, now, false)
	check("no TLS", nil, now, false)
	f.write("ca.crt", theirs.PEM)
	if _, err := s.Refresh(); err != nil {
		t.Fatal(err)
	}
	check("once the authority is another", caller, now, false)
	check("one of the other authority", stranger, now, true)
	f.files.ClientCA = ""
	if s, err = certificate.Open(f.files); err != nil {
		t.Fatal(err)
	}
	check("where none is asked for", nil, now, true)
}

// Kubernetes keeps a folder behind a link, and moves the link.
func TestFilesBehindALinkThatMovesAreFollowed(t *testing.T) {
	a := certtest.New(t)
	before, after, mount := newFolder(t, a), newFolder(t, a), t.TempDir()
	later := time.Now().Add(2 * time.Hour).Truncate(time.Second)
	pair := a.Issue("localhost", time.Now(), later)
	after.write("tls.crt", pair.Cert)
	after.write("tls.key", pair.Key)
	link := func(to string) {
		t.Helper()
		if err := errors.Join(
			os.Symlink(to, filepath.Join(mount, "..tmp")),
			os.Rename(filepath.Join(mount, "..tmp"), filepath.Join(mount, "..data")),
		); err != nil {
			t.Fatal(err)
		}
	}
	link(before.dir)
	s, err := certificate.Open(
		certificate.Files{Cert: filepath.Join(mount, "..data", "tls.crt"), Key: filepath.Join(mount, "..data", "tls.key")},
	)
	if err != nil {
		t.Fatal(err)
	}
	link(after.dir)
	if changed, err := s.Refresh(); !changed || err != nil || !s.NotAfter().Equal(later) {
		t.Errorf("got %v, %v, ends at %s", changed, err, s.NotAfter())
	}
}
