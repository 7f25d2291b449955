package broker

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

// What RocketMQ takes when it has certificates of the instance's CA.
const (
	TLSServer     = "server"     // anybody who speaks TLS
	TLSMutual     = "mutual"     // who speaks TLS and shows a certificate of that CA
	TLSPermissive = "permissive" // connections with TLS and without
)

// TLSModes lists them.
var TLSModes = []string{TLSServer, TLSMutual, TLSPermissive}

// TLSNames are those that the certificate of all servers has, besides the address.
var TLSNames = []string{"localhost", "rocketmq.test"}

// certificateLife is longer than an instance lives.
const certificateLife = 365 * 24 * time.Hour

// TLSFile is the path of a file that programs use to reach an instance with TLS: ca.pem, client.pem, client.key.
func (s Set) TLSFile(name string) string { return s.home("tls", name) }

// tlsFlags have a process take TLS, and where it takes nothing else use it for what it asks itself.
func (s Set) tlsFlags() []string {
	switch s.TLS {
	case "":
		return nil
	case TLSPermissive:
		return []string{"-Dtls.server.mode=permissive", "-Dtls.config.file=" + s.TLSFile("tls.properties")}
	}
	return []string{"-Dtls.server.mode=enforcing", "-Dtls.enable=true", "-Dtls.config.file=" + s.TLSFile("tls.properties")}
}

// tlsConf is the file that says which certificates the processes use.
func (s Set) tlsConf() string {
	need := "none"
	if s.TLS == TLSMutual {
		need = "require"
	}
	return properties(
		"tls.test.mode.enable=false",
		"tls.server.certPath="+s.TLSFile("server.pem"),
		"tls.server.keyPath="+s.TLSFile("server.key"),
		"tls.server.need.client.auth="+need,
		"tls.server.authClient=true",
		"tls.server.trustCertPath="+s.TLSFile("ca.pem"),
		"tls.client.certPath="+s.TLSFile("client.pem"),
		"tls.client.keyPath="+s.TLSFile("client.key"),
		"tls.client.authServer=true",
		"tls.client.trustCertPath="+s.TLSFile("ca.pem"),
	)
}

// ensureTLS writes the configuration, and makes the instance's certificates the first time.
func (s Set) ensureTLS() error {
	if s.TLS == "" {
		return nil
	}
	if err := writeFile(s.TLSFile("tls.properties"), s.tlsConf()); err != nil {
		return err
	}
	if _, err := os.Stat(s.TLSFile("client.key")); err == nil { // the last one
		return nil
	}
	ca, err := newAuthority()
	if err != nil {
		return fmt.Errorf("making certificates: %w", err)
	}
	files := []homeFile{{"ca.pem", encoded("CERTIFICATE", ca.cert.Raw)}}
	for _, name := range []string{"server", "client"} {
		cert, key, err := ca.issue(name)
		if err != nil {
			return fmt.Errorf("making certificates: %w", err)
		}
		files = append(files, homeFile{name + ".pem", cert}, homeFile{name + ".key", key})
	}
	for _, f := range files {
		if err := writeFile(s.TLSFile(f.path), f.content); err != nil {
			return err
		}
	}
	return nil
}

// clientTLS is for what the stack itself asks; nil without TLS.
func (s Set) clientTLS() (*tls.Config, error) {
	if s.TLS == "" {
		return nil, nil
	}
	ca, err := os.ReadFile(s.TLSFile("ca.pem"))
	if err != nil {
		return nil, err
	}
	pair, err := tls.LoadX509KeyPair(s.TLSFile("client.pem"), s.TLSFile("client.key"))
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(ca) {
		return nil, errors.New("ca.pem holds no certificate")
	}
	return &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots, Certificates: []tls.Certificate{pair}, ServerName: TLSNames[0]}, nil
}

// authority is a CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority() (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	template := certificate("local stack")
	template.IsCA, template.BasicConstraintsValid, template.KeyUsage = true, true, x509.KeyUsageCertSign
	raw, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	cert, err := x509.ParseCertificate(raw)
	return authority{cert, key}, err
}

// issue makes a certificate and its key, both as PEM.
func (a authority) issue(name string) (cert, key string, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", "", err
	}
	template := certificate(name)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	template.DNSNames, template.IPAddresses = TLSNames, []net.IP{net.ParseIP(layout.Loopback), net.ParseIP(layout.BridgeIP)}
	raw, err := x509.CreateCertificate(rand.Reader, template, a.cert, private.Public(), a.key)
	if err != nil {
		return "", "", err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private) // the only form that Netty reads
	return encoded("CERTIFICATE", raw), encoded("PRIVATE KEY", pkcs8), err
}

func certificate(name string) *x509.Certificate {
	now := time.Now()
	return &x509.Certificate{SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: name},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(certificateLife)}
}

func encoded(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
