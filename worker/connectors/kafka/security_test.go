package kafka

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/record"
)

// authority signs itself and is the server's certificate and the client's at once.
func authority(t *testing.T, host string) (tls.Certificate, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		template.IPAddresses = []net.IP{ip}
	} else {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	rawKey, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return tls.Certificate{
			Certificate: [][]byte{der},
			PrivateKey:  key,
		}, cert, string(
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: rawKey}),
		)
}

func file(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pem")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTLS(t *testing.T) {
	server, cert, key := authority(t, "127.0.0.1")
	elsewhere, elsewhereCert, _ := authority(t, "kafka.example.com")
	_, strangerCert, _ := authority(t, "127.0.0.1")
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(cert))
	mutual := &tls.Config{Certificates: []tls.Certificate{server}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool}
	oneWay := func(c tls.Certificate) *tls.Config { return &tls.Config{Certificates: []tls.Certificate{c}} }
	cases := map[string]struct {
		server *tls.Config
		more   []string
		want   string
	}{
		"authorities from a file": {server: oneWay(server), more: []string{keyCALocation, file(t, cert)}},
		"authorities as text":     {server: oneWay(server), more: []string{keyTruststorePEM, cert}},
		"both sides show certificates": {
			server: mutual,
			more:   []string{keyCALocation, file(t, cert), keyCertLocation, file(t, cert), keyKeyLocation, file(t, key)},
		},
		"a host of another name, if accepted": {
			server: oneWay(elsewhere),
			more:   []string{keyTruststorePEM, elsewhereCert, keyEndpointIdent, "none"},
		},
		"a host of another name":       {server: oneWay(elsewhere), more: []string{keyTruststorePEM, elsewhereCert}, want: "not trusted"},
		"an authority that is unknown": {server: oneWay(server), more: []string{keyTruststorePEM, strangerCert}, want: "not trusted"},
		"an unknown authority, any host": {
			server: oneWay(server),
			more:   []string{keyTruststorePEM, strangerCert, keyEndpointIdent, "none"},
			want:   keyCALocation,
		},
		"a file without certificates": {
			server: oneWay(server),
			more:   []string{keyCALocation, file(t, "nothing")},
			want:   "no PEM certificate",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.TLS(tc.server), kfake.SeedTopics(1, "orders"))
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			cfg := connector.Config{"topicNames": "orders", keyBootstrap: cluster.ListenAddrs()[0], keyProtocol: protocolTLS}
			wantPut(t, with(cfg, tc.more...), tc.want)
		})
	}
}

// wantPut opens a sink and puts a record, or wants to fail with a text.
func wantPut(t *testing.T, cfg connector.Config, want string) {
	t.Helper()
	s := &Sink{}
	err := s.Open(limited(t), connectortest.NewWorker(map[string]int{"orders": 1}).Env(0, 1), cfg)
	if err == nil {
		err = s.Put(limited(t), []record.Record{sinkRecord(0, "", "v")})
	}
	if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
		t.Errorf("want %q, got: %v", want, err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSASL(t *testing.T) {
	const password = "s3cret"
	cases := map[string]struct {
		mechanism string
		more      []string
		want      string
	}{
		"PLAIN":                  {mechanismPlain, []string{keyUsername, "alice", keyPassword, password}, ""},
		"SCRAM-SHA-256":          {mechanismSCRAM256, []string{keyUsername, "alice", keyPassword, password}, ""},
		"SCRAM-SHA-512 by JAAS":  {mechanismSCRAM512, []string{keyJAAS, `x required username="alice" password="` + password + `";`}, ""},
		"a wrong password":       {mechanismPlain, []string{keyUsername, "alice", keyPassword, "wr0ng"}, "refused the credentials"},
		"a wrong SCRAM password": {mechanismSCRAM512, []string{keyUsername, "alice", keyPassword, "wr0ng"}, "refused the credentials"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			cluster, err := kfake.NewCluster(
				kfake.NumBrokers(1),
				kfake.EnableSASL(),
				kfake.Superuser(tc.mechanism, "alice", password),
				kfake.SeedTopics(1, "orders"),
			)
			if err != nil {
				t.Fatal(err)
			}
			defer cluster.Close()
			if tc.want != "" {
				// The fake hangs up on a wrong password; Kafka says what is wrong.
				cluster.ControlKey(int16(kmsg.SASLAuthenticate), func(req kmsg.Request) (kmsg.Response, error, bool) {
					cluster.KeepControl()
					resp := req.ResponseKind().(*kmsg.SASLAuthenticateResponse)
					resp.ErrorCode = kerr.SaslAuthenticationFailed.Code
					return resp, nil, true
				})
			}
			cfg := connector.Config{
				"topicNames": "orders",
				keyBootstrap: cluster.ListenAddrs()[0],
				keyProtocol:  protocolSASL,
				keyMechanism: tc.mechanism,
			}
			wantPut(t, with(cfg, tc.more...), tc.want)
		})
	}
	t.Run("none though the broker asks for it", func(t *testing.T) {
		cluster, err := kfake.NewCluster(kfake.NumBrokers(1), kfake.EnableSASL(), kfake.Superuser(mechanismPlain, "alice", password))
		if err != nil {
			t.Fatal(err)
		}
		defer cluster.Close()
		wantPut(t, connector.Config{"topicNames": "orders", keyBootstrap: cluster.ListenAddrs()[0]}, "SASL")
	})
}
