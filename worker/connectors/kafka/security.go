package kafka

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/sasl"
	"github.com/twmb/franz-go/pkg/sasl/plain"
	"github.com/twmb/franz-go/pkg/sasl/scram"

	"github.com/rocketmq-connect/operator/worker/pemfile"
)

const (
	protocolPlain   = "PLAINTEXT"
	protocolTLS     = "SSL"
	protocolSASL    = "SASL_PLAINTEXT"
	protocolSASLTLS = "SASL_SSL"

	mechanismPlain    = "PLAIN"
	mechanismSCRAM256 = "SCRAM-SHA-256"
	mechanismSCRAM512 = "SCRAM-SHA-512"
)

// security is how the brokers are trusted and how they know us.
type security struct {
	tls, anyHost                  bool
	ca, cert, key                 pemSource
	mechanism, username, password string
}

// pemSource is PEM text, or the file that holds it; the zero value is none.
type pemSource struct{ setting, text, file string }

func (p pemSource) isSet() bool { return p.text != "" || p.file != "" }

func (p pemSource) read() ([]byte, error) {
	if p.file == "" {
		return []byte(p.text), nil
	}
	raw, err := pemfile.Read(p.file)
	if err != nil {
		return nil, fmt.Errorf("reading the file of %s: %w", p.setting, err)
	}
	return raw, nil
}

func (r reader) security() security {
	for _, key := range []string{keyTruststoreLocation, keyKeystoreLocation} {
		if r.Text(key) != "" {
			r.Fail("%s: Java key stores cannot be read; give PEM files by %s, %s and %s", key, keyCALocation, keyCertLocation, keyKeyLocation)
		}
	}
	protocol := r.Text(keyProtocol)
	s := security{
		tls: protocol == protocolTLS || protocol == protocolSASLTLS, anyHost: r.Text(keyEndpointIdent) == "none",
		ca: r.pem(keyCALocation, keyTruststorePEM), cert: r.pem(keyCertLocation, keyKeystoreChain), key: r.pem(keyKeyLocation, keyKeystoreKey),
	}
	if s.cert.isSet() != s.key.isSet() {
		r.Fail("%s and %s belong together: set both or none", keyCertLocation, keyKeyLocation)
	}
	if !s.tls && (s.ca.isSet() || s.cert.isSet()) {
		r.Fail("%s is %s, so certificates would not be used: set %s or %s", keyProtocol, protocol, protocolTLS, protocolSASLTLS)
	}
	r.credentials(&s, protocol)
	return s
}

func (r reader) pem(file, text string) pemSource {
	p := pemSource{setting: file, text: r.Text(text), file: r.Text(file)}
	if p.text != "" && p.file != "" {
		r.Fail("%s and %s are both set: set one of them", file, text)
	}
	return p
}

func (r reader) credentials(s *security, protocol string) {
	username, password, jaas := r.Text(keyUsername), r.Text(keyPassword), r.Text(keyJAAS)
	given := username != "" || password != "" || jaas != ""
	if protocol != protocolSASL && protocol != protocolSASLTLS {
		if given {
			r.Fail("%s is %s, so user name and password would not be used: set %s or %s", keyProtocol, protocol, protocolSASL, protocolSASLTLS)
		}
		return
	}
	if jaas != "" {
		var ok bool
		if username, password, ok = parseJAAS(jaas); !ok {
			r.Fail(`%s must hold username="…" and password="…"`, keyJAAS)
			return
		}
	}
	if username == "" || password == "" {
		r.Fail("%s needs %s and %s (or %s)", protocol, keyUsername, keyPassword, keyJAAS)
	}
	s.mechanism, s.username, s.password = r.Text(keyMechanism), username, password
}

// parseJAAS takes the credentials out of Kafka's sasl.jaas.config. Values are quoted; a backslash quotes a character.
func parseJAAS(jaas string) (username, password string, ok bool) {
	option := regexp.MustCompile(`\b(username|password)\s*=\s*"((?:[^"\\]|\\.)*)"`)
	for _, m := range option.FindAllStringSubmatch(jaas, -1) {
		value := regexp.MustCompile(`\\(.)`).ReplaceAllString(m[2], "$1")
		if m[1] == "username" {
			username = value
		} else {
			password = value
		}
	}
	return username, password, username != "" && password != ""
}

// tlsConfig reads the certificates; nil without TLS. pems is what was read.
func (s security) tlsConfig() (cfg *tls.Config, pems [][]byte, err error) {
	if !s.tls {
		return nil, nil, nil
	}
	cfg = &tls.Config{MinVersion: tls.VersionTLS12}
	if s.ca.isSet() {
		raw, err := s.ca.read()
		if err != nil {
			return nil, nil, err
		}
		cfg.RootCAs = x509.NewCertPool()
		if !cfg.RootCAs.AppendCertsFromPEM(raw) {
			return nil, nil, fmt.Errorf("reading %s: %w", s.ca.setting, errors.New("it holds no PEM certificate"))
		}
		pems = append(pems, raw)
	}
	if s.cert.isSet() {
		pair, raw, err := s.keyPair()
		if err != nil {
			return nil, nil, err
		}
		cfg.Certificates = []tls.Certificate{pair}
		pems = append(pems, raw...)
	}
	if s.anyHost {
		acceptAnyHost(cfg)
	}
	return cfg, pems, nil
}

func (s security) keyPair() (pair tls.Certificate, pems [][]byte, err error) {
	chain, err := s.cert.read()
	if err != nil {
		return pair, nil, err
	}
	key, err := s.key.read()
	if err != nil {
		return pair, nil, err
	}
	if pair, err = tls.X509KeyPair(chain, key); err != nil {
		return pair, nil, fmt.Errorf("reading %s and %s: %w", s.cert.setting, s.key.setting, err)
	}
	return pair, [][]byte{chain, key}, nil
}

// acceptAnyHost still verifies the chain, only not the name: crypto/tls offers no such switch of its own.
func acceptAnyHost(cfg *tls.Config) {
	roots := cfg.RootCAs
	cfg.InsecureSkipVerify = true //nolint:gosec // VerifyConnection below checks the chain
	cfg.VerifyConnection = func(state tls.ConnectionState) error {
		opts := x509.VerifyOptions{Roots: roots, Intermediates: x509.NewCertPool()}
		for _, c := range state.PeerCertificates[1:] {
			opts.Intermediates.AddCert(c)
		}
		_, err := state.PeerCertificates[0].Verify(opts)
		return err
	}
}

// saslMechanism returns nil without SASL.
func (s security) saslMechanism() sasl.Mechanism {
	switch strings.ToUpper(s.mechanism) {
	case mechanismPlain:
		return plain.Auth{User: s.username, Pass: s.password}.AsMechanism()
	case mechanismSCRAM256:
		return scram.Auth{User: s.username, Pass: s.password}.AsSha256Mechanism()
	case mechanismSCRAM512:
		return scram.Auth{User: s.username, Pass: s.password}.AsSha512Mechanism()
	}
	return nil
}
