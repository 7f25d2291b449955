//go:build integration

package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile/certtest"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/tlsdial"
)

func TestRocketMQTellsWhatIsWrongWithTLS(t *testing.T) {
	good := tlsFiles()
	if good == nil {
		t.Skip("RMQ_TLS_CA is not set: RocketMQ does not enforce TLS")
	}
	mutual := os.Getenv("RMQ_TLS_CERT") != ""
	other, dir := certtest.New(t), t.TempDir()
	pair := other.Issue("worker", time.Now(), time.Now().Add(time.Hour))
	with := func(change func(f *tlsdial.Files)) *tlsdial.Files {
		f := *good
		change(&f)
		return &f
	}
	cases := map[string]struct {
		files  *tlsdial.Files
		mutual bool // only where clients have to show a certificate
		want   []string
	}{
		"no TLS": {
			nil,
			false,
			[]string{"it closed the connection before it answered anything, as a server does that takes TLS only", "set tlsEnable=true"},
		},
		"another CA": {
			with(func(f *tlsdial.Files) { f.CA = certtest.Write(t, dir, "ca.pem", other.PEM) }),
			false,
			[]string{"not signed by any in tlsCA (" + dir},
		},
		"no CA": {with(func(f *tlsdial.Files) { f.CA = "" }), false, []string{"signed by none of the system's roots: set tlsCA"}},
		"another name": {
			with(func(f *tlsdial.Files) { f.ServerName = "elsewhere.test" }),
			false,
			[]string{`and not for "elsewhere.test": set tlsServerName`},
		},
		"no certificate": {
			with(func(f *tlsdial.Files) { f.Cert, f.Key = "", "" }),
			true,
			[]string{"asks for a client's certificate", "set tlsCert and tlsKey"},
		},
		"a certificate of another CA": {with(func(f *tlsdial.Files) {
			f.Cert, f.Key = certtest.Write(t, dir, "cert.pem", pair.Cert), certtest.Write(t, dir, "key.pem", pair.Key)
		}), true, []string{"does not take the certificate in tlsCert (" + dir}},
		"the name in tlsServerName": {with(func(f *tlsdial.Files) { f.ServerName = "rocketmq.test" }), false, nil},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if tc.mutual && !mutual {
				t.Skip("RMQ_TLS_CERT is not set: RocketMQ asks for no certificate")
			}
			cfg := clusterConfig()
			cfg.TLS = tc.files
			c, err := rmq.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_, err = c.Brokers(t.Context())
			if tc.want == nil {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, rmq.ErrUnreachable) {
				t.Fatalf("got %v", err)
			}
			t.Log(err)
			for _, text := range append(tc.want, "name server "+cfg.NameServers[0]+" unreachable") {
				if !strings.Contains(err.Error(), text) {
					t.Errorf("got  %v\nwant %q", err, text)
				}
			}
		})
	}
}
