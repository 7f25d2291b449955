// Package tlsdial puts TLS around connections to RocketMQ, and says what is wrong where a handshake fails. Its texts
// name keys of connect.conf.
package tlsdial

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile"
)

// Files name what TLS is made with. The zero value trusts the system's roots and shows no certificate.
type Files struct {
	// CA (tlsCA) is a PEM file with the certificates of those who sign the servers' ones; empty: the system's roots.
	CA string
	// Cert and Key (tlsCert, tlsKey) are PEM files with the certificate that is shown to servers and its key; both or
	// none.
	Cert, Key string
	// ServerName (tlsServerName) is the name that the servers' certificates must have; empty: the host that is dialled.
	ServerName string
}

// load reads the files. The errors name the key and the path.
func (f Files) load(now time.Time) (*tls.Config, error) {
	cfg := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: f.ServerName}
	if f.CA != "" {
		text, err := pemfile.Read(f.CA)
		if err != nil {
			return nil, fmt.Errorf("tlsCA: %w", err)
		}
		if cfg.RootCAs, err = roots(text, now); err != nil {
			return nil, fmt.Errorf("tlsCA: %s: %w", f.CA, err)
		}
	}
	if f.Cert == "" && f.Key == "" {
		return cfg, nil
	}
	cert, err := pemfile.Read(f.Cert)
	if err != nil {
		return nil, fmt.Errorf("tlsCert: %w", err)
	}
	key, err := pemfile.Read(f.Key)
	if err != nil {
		return nil, fmt.Errorf("tlsKey: %w", err)
	}
	pair, err := f.pair(cert, key, now)
	if err != nil {
		return nil, err
	}
	cfg.Certificates = []tls.Certificate{pair}
	return cfg, nil
}

// errNoPEM means that a file holds no block of the kind that is wanted.
var errNoPEM = errors.New("not PEM")

// roots are the certificates of a file; some of them may have expired, but not all.
func roots(text []byte, now time.Time) (*x509.CertPool, error) {
	pool, n := x509.NewCertPool(), 0
	var stale error
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("a certificate in it cannot be read: %w", err)
		}
		if err := valid(c, now); err != nil {
			stale = err
			continue
		}
		pool.AddCert(c)
		n++
	}
	switch {
	case n > 0:
		return pool, nil
	case stale != nil:
		return nil, stale
	}
	return nil, fmt.Errorf("%w: want certificates between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----", errNoPEM)
}

func (f Files) pair(cert, key []byte, now time.Time) (tls.Certificate, error) {
	if !holds(cert, func(kind string) bool { return kind == "CERTIFICATE" }) {
		return tls.Certificate{}, fmt.Errorf(
			"tlsCert: %s: %w: want a certificate between -----BEGIN CERTIFICATE----- and -----END CERTIFICATE-----",
			f.Cert,
			errNoPEM,
		)
	}
	if holds(key, func(kind string) bool { return kind == "ENCRYPTED PRIVATE KEY" }) {
		return tls.Certificate{}, fmt.Errorf("tlsKey: %s: the key is encrypted: want one without a password", f.Key)
	}
	if !holds(key, isKey) {
		return tls.Certificate{}, fmt.Errorf(
			"tlsKey: %s: %w: want a private key between -----BEGIN PRIVATE KEY----- and -----END PRIVATE KEY-----",
			f.Key,
			errNoPEM,
		)
	}
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil { // its texts show nothing of the key
		return tls.Certificate{}, fmt.Errorf("tlsKey: %s does not go with the certificate in tlsCert: %s: %w", f.Key, f.Cert, err)
	}
	if err := valid(pair.Leaf, now); err != nil {
		return tls.Certificate{}, fmt.Errorf("tlsCert: %s: %w", f.Cert, err)
	}
	return pair, nil
}

func holds(text []byte, wanted func(kind string) bool) bool {
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if wanted(block.Type) {
			return true
		}
	}
	return false
}

func isKey(kind string) bool {
	return kind == "PRIVATE KEY" || kind == "RSA PRIVATE KEY" || kind == "EC PRIVATE KEY"
}

// valid is nil between the two times of a certificate.
func valid(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return fmt.Errorf("the certificate of %q has expired at %s", c.Subject, c.NotAfter.UTC().Format(time.RFC3339))
	case now.Before(c.NotBefore):
		return fmt.Errorf("the certificate of %q is not valid before %s, and it is %s here", c.Subject,
			c.NotBefore.UTC().Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}
