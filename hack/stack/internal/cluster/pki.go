package cluster

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

// validity of certificates: a scratch cluster does not live that long.
const validity = 365 * 24 * time.Hour

// authority signs the certificates of one cluster.
type authority struct {
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// writeIdentities makes the certificates, tokens and kubeconfigs in dir, unless they are there; the admin's kubeconfig
// goes to its own path.
func writeIdentities(dir, admin, server string) error {
	done := filepath.Join(dir, "identities.done")
	if _, err := os.Stat(done); err == nil {
		if _, err := os.Stat(admin); err == nil {
			return nil
		}
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ca, err := newAuthority(dir)
	if err != nil {
		return fmt.Errorf("making the cluster's certificate authority: %w", err)
	}
	if err := ca.issueAll(); err != nil {
		return fmt.Errorf("issuing certificates: %w", err)
	}
	if err := writeTokens(dir, admin, server); err != nil {
		return fmt.Errorf("writing tokens: %w", err)
	}
	return os.WriteFile(done, nil, 0o600)
}

func newAuthority(dir string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{Subject: pkix.Name{CommonName: "rocketmq-connect-stack"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	a := &authority{dir: dir, cert: template, key: key}
	der, err := a.sign(template, key)
	if err != nil {
		return nil, err
	}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return a, nil
}

func (a *authority) issueAll() error {
	return errors.Join(
		writePEM(filepath.Join(a.dir, "ca.crt"), "CERTIFICATE", a.cert.Raw),
		a.issue("sa", pkix.Name{CommonName: "service-accounts"}),
		a.publicKey("sa"),
		a.issue("apiserver", pkix.Name{CommonName: "kube-apiserver"}, "kubernetes", "kubernetes.default", "kubernetes.default.svc",
			"kubernetes.default.svc.cluster.local", "localhost", layout.Loopback, layout.APIService, layout.BridgeIP),
		a.issue("apiserver-kubelet-client", pkix.Name{CommonName: "apiserver-kubelet-client", Organization: []string{"system:masters"}}),
		a.issue("kubelet", pkix.Name{CommonName: "system:node:" + layout.Node, Organization: []string{"system:nodes"}},
			layout.Node, layout.BridgeIP),
	)
}

// issue writes NAME.key and NAME.crt for hosts that are DNS names or addresses.
func (a *authority) issue(name string, subject pkix.Name, hosts ...string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{Subject: subject, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	for _, h := range hosts {
		if ip := net.ParseIP(h); ip != nil {
			c.IPAddresses = append(c.IPAddresses, ip)
		} else {
			c.DNSNames = append(c.DNSNames, h)
		}
	}
	cert, err := a.sign(c, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(writePEM(filepath.Join(a.dir, name+".crt"), "CERTIFICATE", cert),
		writePEM(filepath.Join(a.dir, name+".key"), "EC PRIVATE KEY", private))
}

// sign gives the certificate of key; a template that is the authority's own is signed by itself.
func (a *authority) sign(c *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	c.SerialNumber, c.NotBefore, c.NotAfter = serial, now.Add(-time.Hour), now.Add(validity)
	return x509.CreateCertificate(rand.Reader, c, a.cert, &key.PublicKey, a.key)
}

// publicKey writes NAME.pub from NAME.crt.
func (a *authority) publicKey(name string) error {
	b, err := os.ReadFile(filepath.Join(a.dir, name+".crt"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(b)
	if block == nil {
		return fmt.Errorf("%s.crt holds no certificate", name)
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKIXPublicKey(cert.PublicKey)
	if err != nil {
		return err
	}
	return writePEM(filepath.Join(a.dir, name+".pub"), "PUBLIC KEY", der)
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// writeTokens gives every client of the API server a token and a kubeconfig.
func writeTokens(dir, admin, server string) error {
	ca, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
	if err != nil {
		return err
	}
	var table strings.Builder
	for _, c := range []struct{ path, user, groups string }{
		{admin, "admin", "system:masters"},
		{filepath.Join(dir, "kubelet.kubeconfig"), "system:node:" + layout.Node, "system:nodes"},
		{filepath.Join(dir, "controller-manager.kubeconfig"), "system:kube-controller-manager", ""},
		{filepath.Join(dir, "scheduler.kubeconfig"), "system:kube-scheduler", ""},
		{filepath.Join(dir, "proxy.kubeconfig"), "system:kube-proxy", ""},
	} {
		var secret [24]byte
		if _, err := rand.Read(secret[:]); err != nil {
			return err
		}
		token := hex.EncodeToString(secret[:])
		fmt.Fprintf(&table, "%s,%s,%s,%q\n", token, c.user, c.user, c.groups)
		content, err := render("kubeconfig.yaml", map[string]string{"Server": server, "User": c.user, "Token": token,
			"CA": base64.StdEncoding.EncodeToString(ca)})
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.path, []byte(content), 0o600); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(dir, "tokens.csv"), []byte(table.String()), 0o600)
}
