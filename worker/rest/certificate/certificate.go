// Package certificate gives the TLS settings of a listener as files have them, and follows the files: who renews a
// certificate renews the files under the worker, which goes on serving.
package certificate

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/pemfile"
)

// Interval is how often the files are to be read.
const Interval = 5 * time.Second

// ErrNotTrusted means that a connection was made with a client certificate that is not, or not any more, to be trusted.
var ErrNotTrusted = errors.New("the client certificate is not trusted any more")

// Files are in PEM. All empty: no TLS.
type Files struct {
	// Cert (httpTlsCert) has the certificate and those between it and its authority, Key (httpTlsKey) its private key.
	Cert, Key string
	// ClientCA (httpTlsClientCA) has the authorities of the certificates that callers must show; empty: they show none.
	ClientCA string
}

// Source is what the files held when they last could be used. It is safe for concurrent use.
type Source struct {
	files Files

	mu     sync.RWMutex
	sum    [sha256.Size]byte
	config *tls.Config
	leaf   *x509.Certificate
	err    error // why the files cannot be used now
}

// Open reads the files; without any it returns nil. An error names the key of connect.conf, the file and what is wrong.
func Open(files Files) (*Source, error) {
	if files == (Files{}) {
		return nil, nil
	}
	s := &Source{files: files}
	if _, err := s.Refresh(); err != nil {
		return nil, err
	}
	return s, nil
}

// Refresh reads the files, and reports whether they hold something else than before. What cannot be used is an error,
// and what was read before goes on being served: a certificate that is renewed file by file is not whole for a moment.
func (s *Source) Refresh() (changed bool, err error) {
	raw, err := s.files.read()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.err = err
		return false, err
	}
	sum := raw.sum()
	if s.config != nil && sum == s.sum {
		s.err = nil
		return false, nil
	}
	config, err := raw.config(s.files)
	if s.err = err; err != nil {
		return false, err
	}
	s.sum, s.config, s.leaf = sum, config, config.Certificates[0].Leaf
	return true, nil
}

// Err returns why the files could not be used when they were read last.
func (s *Source) Err() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.err
}

// NotAfter is when the certificate that is served ends.
func (s *Source) NotAfter() time.Time {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.leaf.NotAfter
}

// Config is for a listener: each connection gets what was read last. HTTP/2 is not offered: limits count connections,
// and it would put any number of calls on one.
func (s *Source) Config() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			return s.current(), nil
		},
	}
}

func (s *Source) current() *tls.Config {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.config
}

// Verify returns why a caller is not answered on a connection that it has: its certificate was good when it connected,
// and may have ended since, or its authority may not be trusted any more.
func (s *Source) Verify(state *tls.ConnectionState, now time.Time) error {
	roots := s.current().ClientCAs
	if roots == nil {
		return nil
	}
	if state == nil || len(state.PeerCertificates) == 0 {
		return ErrNotTrusted
	}
	between := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		between.AddCert(c)
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{
		Roots: roots, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotTrusted, err)
	}
	return nil
}

// contents are what the files hold.
type contents struct{ cert, key, clientCA []byte }

func (f Files) read() (c contents, err error) {
	for _, part := range []struct {
		setting, path string
		to            *[]byte
	}{{"httpTlsCert", f.Cert, &c.cert}, {"httpTlsKey", f.Key, &c.key}, {"httpTlsClientCA", f.ClientCA, &c.clientCA}} {
		if part.path == "" {
			continue
		}
		if *part.to, err = pemfile.Read(part.path); err != nil {
			return contents{}, fmt.Errorf("reading %s: %w", part.setting, err)
		}
	}
	return c, nil
}

func (c contents) sum() [sha256.Size]byte {
	all := sha256.New()
	for _, part := range [][]byte{c.cert, c.key, c.clientCA} {
		sum := sha256.Sum256(part)
		all.Write(sum[:])
	}
	return [sha256.Size]byte(all.Sum(nil))
}

// config makes the settings of connections. Sessions are not resumed: each connection shows its certificate to the
// authorities of its time.
func (c contents) config(f Files) (*tls.Config, error) {
	if _, err := certificates("httpTlsCert", f.Cert, c.cert); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(c.cert, c.key)
	if err != nil { // the certificate can be read, so it is about the key; the text has nothing of it
		return nil, fmt.Errorf("reading httpTlsKey: %s is not the private key of %s: %w", f.Key, f.Cert, err)
	}
	out := &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: []string{"http/1.1"}, SessionTicketsDisabled: true, Certificates: []tls.Certificate{pair},
	}
	if f.ClientCA == "" {
		return out, nil
	}
	authorities, err := certificates("httpTlsClientCA", f.ClientCA, c.clientCA)
	if err != nil {
		return nil, err
	}
	out.ClientAuth, out.ClientCAs = tls.RequireAndVerifyClientCert, x509.NewCertPool()
	for _, a := range authorities {
		out.ClientCAs.AddCert(a)
	}
	return out, nil
}

// certificates reads all that a file has.
func certificates(setting, path string, text []byte) (all []*x509.Certificate, err error) {
	for {
		var block *pem.Block
		if block, text = pem.Decode(text); block == nil {
			break
		}
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("reading %s: certificate %d of %s: %w", setting, len(all)+1, path, err)
		}
		all = append(all, c)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("reading %s: %s has no certificate in PEM (-----BEGIN CERTIFICATE-----)", setting, path)
	}
	return all, nil
}
