package tlsdial

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
)

func TestABadFileIsNamedWithItsKey(t *testing.T) {
	now, dir := time.Now(), t.TempDir()
	ca := certtest.New(t)
	pair, other := ca.Issue("worker", now, now.Add(time.Hour)), ca.Issue("worker", now, now.Add(time.Hour))
	old := ca.Issue("worker", now.Add(-time.Hour), now.Add(-time.Minute))
	early := ca.Issue("worker", now.Add(time.Minute), now.Add(time.Hour))
	write := func(name string, text []byte) string { return certtest.Write(t, dir, name, text) }
	caFile, cert, key := write("ca.pem", ca.PEM), write("cert.pem", pair.Cert), write("key.pem", pair.Key)
	encrypted := "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"
	missing := filepath.Join(dir, "missing.pem")
	cases := map[string]struct {
		files Files
		want  []string // "" is taken
	}{
		"nothing at all":              {Files{}, nil},
		"all of it":                   {Files{CA: caFile, Cert: cert, Key: key, ServerName: "a"}, nil},
		"a CA beside one that is old": {Files{CA: write("both.pem", append(old.Cert, ca.PEM...))}, nil},
		"no file of the CA":           {Files{CA: missing}, []string{"tlsCA: ", missing, "no such file"}},
		"a CA that is no PEM":         {Files{CA: write("junk", []byte("junk"))}, []string{"tlsCA: ", "junk: not PEM: want certificates"}},
		"a key in place of the CA":    {Files{CA: key}, []string{"tlsCA: " + key + ": not PEM"}},
		"a CA that is damaged": {
			Files{CA: write("bad.pem", []byte("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"))},
			[]string{"tlsCA: ", "cannot be read"},
		},
		"a CA that has expired":      {Files{CA: write("old-ca.pem", old.Cert)}, []string{"tlsCA: ", "has expired at "}},
		"no file of the certificate": {Files{Cert: missing, Key: key}, []string{"tlsCert: ", missing}},
		"no file of the key":         {Files{Cert: cert, Key: missing}, []string{"tlsKey: ", missing}},
		"a certificate of no PEM":    {Files{Cert: write("der", []byte{0x30}), Key: key}, []string{"tlsCert: ", "not PEM: want a certificate"}},
		"the two confused":           {Files{Cert: key, Key: cert}, []string{"tlsCert: " + key + ": not PEM"}},
		"a key that is no PEM":       {Files{Cert: cert, Key: write("k", []byte("k"))}, []string{"tlsKey: ", "not PEM: want a private key"}},
		"a key with a password": {
			Files{Cert: cert, Key: write("enc.pem", []byte(encrypted))},
			[]string{"tlsKey: ", "the key is encrypted"},
		},
		"another's key": {
			Files{Cert: cert, Key: write("other.pem", other.Key)},
			[]string{"tlsKey: ", "does not go with the certificate in tlsCert: " + cert},
		},
		"a certificate of before": {
			Files{Cert: write("old.pem", old.Cert), Key: write("old.key", old.Key)},
			[]string{"tlsCert: ", "has expired at "},
		},
		"a certificate of later": {
			Files{Cert: write("early.pem", early.Cert), Key: write("early.key", early.Key)},
			[]string{"tlsCert: ", "is not valid before "},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := tc.files.load(now)
			if (err == nil) != (tc.want == nil) {
				t.Fatalf("got %v", err)
			}
			for _, text := range tc.want {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("got %v, want %q", err, text)
				}
			}
		})
	}
}

func TestAFolderIsNoFile(t *testing.T) {
	if _, err := (Files{CA: t.TempDir()}).load(time.Now()); err == nil || !strings.HasPrefix(err.Error(), "tlsCA: ") {
		t.Errorf("got %v", err)
	}
}
