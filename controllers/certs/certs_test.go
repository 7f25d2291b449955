package certs_test

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/controllers/certs"
)

const day = 24 * time.Hour

var (
	start = time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)
	names = []string{"demo-api.test.svc", "*.demo-worker.test.svc", "localhost", "127.0.0.1", "::1"}
)

func newKeys(t *testing.T) certs.Keys {
	t.Helper()
	a, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	w, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	return certs.Keys{Authority: a, Workers: w}
}

func issue(t *testing.T, keys certs.Keys, before certs.Issued, names []string, now time.Time) certs.Issued {
	t.Helper()
	out, err := certs.Issue(keys, before, names, now)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func parse(t *testing.T, text string) (out []*x509.Certificate) {
	t.Helper()
	for rest := []byte(text); ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
}

// trusts returns why a caller that has these authorities does not trust the workers at a host.
func trusts(authorities string, issued certs.Issued, host string, now time.Time) error {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(authorities))
	block, _ := pem.Decode([]byte(issued.Certificate))
	c, err := x509.ParseCertificate(block.Bytes)
	if err == nil {
		_, err = c.Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: now})
	}
	return err
}

func TestCallersTrustTheWorkersByTheirNames(t *testing.T) {
	keys := newKeys(t)
	issued := issue(t, keys, certs.Issued{}, names, start)
	for host, want := range map[string]bool{
		"demo-api.test.svc": true, "demo-worker-0.demo-worker.test.svc": true, "localhost": true, "127.0.0.1": true, "::1": true,
		"other-api.test.svc": false, "demo-worker.test.svc": false, "10.0.0.1": false,
	} {
		if err := trusts(issued.Authorities, issued, host, start); (err == nil) != want {
			t.Errorf("%s: %v", host, err)
		}
	}
	if _, err := tls.X509KeyPair([]byte(issued.Certificate), keys.Workers); err != nil {
		t.Errorf("the workers cannot serve it: %v", err)
	}
	if err := trusts(issued.Authorities, issued, "localhost", start.Add(-30*time.Minute)); err != nil {
		t.Errorf("to a caller whose clock is behind: %v", err)
	}
	if other := issue(t, newKeys(t), certs.Issued{}, names, start); trusts(other.Authorities, issued, "localhost", start) == nil {
		t.Error("another cluster's authority vouches for it")
	}
	if c := parse(t, issued.Certificate)[0]; c.IsCA || len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageServerAuth ||
		c.NotAfter != start.Add(90*day) {
		t.Errorf("it is more than a server's: %+v", c)
	}
}

func TestWhatIsIssuedAnew(t *testing.T) {
	keys := newKeys(t)
	issued := issue(t, keys, certs.Issued{}, names, start)
	replaced := certs.Keys{Authority: keys.Authority, Workers: newKeys(t).Workers}
	cases := map[string]struct {
		keys                       certs.Keys
		before                     certs.Issued
		names                      []string
		now                        time.Time
		wantLeaf, wantNewAuthority bool
	}{
		"nothing, the next minute": {keys, issued, names, start.Add(time.Minute), false, false},
		"nothing, for names in another order": {
			keys,
			issued,
			[]string{"::1", "LOCALHOST", "127.0.0.1", "*.demo-worker.test.svc", "demo-api.test.svc", "localhost"},
			start,
			false,
			false,
		},
		"nothing, before two thirds of its life": {keys, issued, names, start.Add(59 * day), false, false},
		"the certificate, at two thirds":         {keys, issued, names, start.Add(60 * day), true, false},
		"the certificate, long after its end":    {keys, issued, names, start.Add(400 * day), true, false},
		"the certificate, for another name":      {keys, issued, append([]string{"connect.example.com"}, names...), start, true, false},
		"the certificate, for a name less":       {keys, issued, names[1:], start, true, false},
		"the certificate, for another address":   {keys, issued, append([]string{"10.0.0.1"}, names...), start, true, false},
		"the certificate, for another key":       {replaced, issued, names, start, true, false},
		"the certificate, where there is none":   {keys, certs.Issued{Authorities: issued.Authorities}, names, start, true, false},
		"the certificate, where it is spoilt": {
			keys,
			certs.Issued{Certificate: "x" + issued.Certificate[1:], Authorities: issued.Authorities},
			names,
			start,
			true,
			false,
		},
		"the authority's, at two thirds":          {keys, issued, names, start.Add(2434 * day), true, true},
		"the authority's, where there is none":    {keys, certs.Issued{Certificate: issued.Certificate}, names, start, false, true},
		"both, for another authority":             {newKeys(t), issued, names, start, true, true},
		"both, where the clock was far ahead":     {keys, issue(t, keys, certs.Issued{}, names, start.Add(30*day)), names, start, true, true},
		"both, where another's authority is told": {keys, issue(t, newKeys(t), certs.Issued{}, names, start), names, start, true, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := issue(t, tc.keys, tc.before, tc.names, tc.now)
			if leaf := got.Certificate != tc.before.Certificate; leaf != tc.wantLeaf {
				t.Errorf("another certificate: %v", leaf)
			}
			newest := parse(t, got.Authorities)[0]
			authority := tc.before.Authorities == "" || !newest.Equal(parse(t, tc.before.Authorities)[0])
			if authority != tc.wantNewAuthority {
				t.Errorf("another authority: %v", authority)
			}
			if err := trusts(got.Authorities, got, "localhost", tc.now); err != nil {
				t.Errorf("it is not trusted: %v", err)
			}
			if again := issue(t, tc.keys, got, tc.names, tc.now.Add(time.Second)); again != got {
				t.Error("it is issued again a second later")
			}
		})
	}
}

// A caller that holds what was told last month, or the first file of all, goes on: the key of the authority stays.
func TestCallersOutliveRenewals(t *testing.T) {
	keys := newKeys(t)
	begun := issue(t, keys, certs.Issued{}, names, start)
	issued, told := begun, begun.Authorities
	renewed, overlaps := 0, 0
	for d := 0; d < 20*365; d += 10 {
		now := start.Add(time.Duration(d) * day)
		before := issued
		issued = issue(t, keys, before, names, now)
		if issued.Certificate != before.Certificate {
			renewed++
		}
		if d%30 == 0 {
			told = issued.Authorities
		}
		for what, err := range map[string]error{
			"who has the newest authorities": trusts(issued.Authorities, issued, "localhost", now),
			"who has last month's":           trusts(told, issued, "localhost", now),
			"the workers before they reread": trusts(issued.Authorities, before, "localhost", now),
		} {
			if err != nil {
				t.Fatalf("day %d: %s: %v", d, what, err)
			}
		}
		if now.Before(start.Add(3650*day)) && trusts(begun.Authorities, issued, "localhost", now) != nil {
			t.Fatalf("day %d: who has the first file does not trust the workers", d)
		}
		all := parse(t, issued.Authorities)
		if len(all) > 2 {
			t.Fatalf("day %d: %d authorities are trusted", d, len(all))
		}
		if len(all) == 2 {
			overlaps++
		}
	}
	if renewed < 115 || renewed > 125 || overlaps < 100 {
		t.Errorf("renewed %d times, two authorities %d times", renewed, overlaps)
	}
}

func TestWhatOthersWriteIsNotTrusted(t *testing.T) {
	keys, theirs := newKeys(t), newKeys(t)
	ours, evil := issue(t, keys, certs.Issued{}, names, start), issue(t, theirs, certs.Issued{}, names, start)
	got := issue(
		t,
		keys,
		certs.Issued{Certificate: evil.Certificate, Authorities: evil.Authorities + ours.Authorities + ours.Certificate + "x"},
		names,
		start,
	)
	if got.Authorities != ours.Authorities || got.Certificate == evil.Certificate {
		t.Errorf("got %d authorities", len(parse(t, got.Authorities)))
	}
}

func TestKeysThatAreNoneAreErrorsWithoutThem(t *testing.T) {
	good := newKeys(t)
	for name, tc := range map[string]struct {
		keys certs.Keys
		want string
	}{
		"no authority": {certs.Keys{Workers: good.Workers}, "the authority's key: no private key in PEM"},
		"no workers'":  {certs.Keys{Authority: good.Authority}, "the workers' key: no private key in PEM"},
		"a spoilt one": {certs.Keys{Authority: good.Authority, Workers: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY",
			Bytes: []byte("topsecret")})}, "the workers' key: a private key that cannot be read"},
	} {
		if _, err := certs.Issue(
			tc.keys,
			certs.Issued{},
			names,
			start,
		); err == nil || !strings.Contains(err.Error(), tc.want) ||
			strings.Contains(err.Error(), "topsecret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Other programs are stricter than Go's library, and users have curl.
func TestCurlTrustsTheWorkers(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("there is no curl here")
	}
	keys := newKeys(t)
	issued := issue(t, keys, certs.Issued{}, names, time.Now())
	pair, err := tls.X509KeyPair([]byte(issued.Certificate), keys.Workers)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "answered") }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	defer s.Close()
	_, port, err := net.SplitHostPort(s.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(file, []byte(issued.Authorities), 0o600); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]bool{"localhost": true, "127.0.0.1": true, "demo-api.test.svc": true, "other-api.test.svc": false} {
		out, err := exec.CommandContext(
			t.Context(),
			curl,
			"-sS",
			"--noproxy",
			"*",
			"--cacert",
			file,
			"--resolve",
			host+":"+port+":127.0.0.1",
			"https://"+host+":"+port,
		).CombinedOutput()
		if (err == nil && string(out) == "answered") != want {
			t.Errorf("%s: %v %s", host, err, out)
		}
	}
}
