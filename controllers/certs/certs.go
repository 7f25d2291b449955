// Package certs decides what certificates the REST API of a cluster has: from the keys that there are, what was issued
// before, the names and the time. It is pure but for the random numbers of keys, serial numbers and signatures.
package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"strings"
	"time"
)

const (
	// leafLife is how long a certificate of the workers holds, authorityLife one of the authority.
	leafLife      = 90 * 24 * time.Hour
	authorityLife = 10 * 365 * 24 * time.Hour
	// behind is how far the clock of a caller may be behind this one.
	behind = time.Hour
)

const (
	certificateBlock = "CERTIFICATE"
	keyBlock         = "PRIVATE KEY"
)

// ErrKey means that a key is none.
var ErrKey = errors.New("delete the Secret to have keys made")

// Keys are private keys in PEM (PKCS #8): the authority's, and that of all workers of a cluster. They stay as they are,
// so that who renews a certificate need not be able to write a Secret.
type Keys struct{ Authority, Workers []byte }

// Issued is what is public, in PEM.
type Issued struct {
	// Certificate is the workers'.
	Certificate string
	// Authorities are to be trusted: the newest certificate of the authority first, then those of before that still hold.
	Authorities string
}

// NewKey makes a private key.
func NewKey() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encoding a key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: der}), nil
}

// Issue returns what is to be issued now: before itself for as long as it is right for the keys and names and has a
// third of its life left, and otherwise a renewed certificate, of the authority, of the workers, or of both. What
// before holds that the keys did not sign counts as not there: whoever can write it need not be trusted. An error is
// about a key.
func Issue(keys Keys, before Issued, names []string, now time.Time) (Issued, error) {
	authority, err := parseKey(keys.Authority)
	if err != nil {
		return Issued{}, fmt.Errorf("the authority's key: %w: %w", err, ErrKey)
	}
	workers, err := parseKey(keys.Workers)
	if err != nil {
		return Issued{}, fmt.Errorf("the workers' key: %w: %w", err, ErrKey)
	}
	trusted := ownCertificates(before.Authorities, authority, now)
	if len(trusted) == 0 || dueFor(trusted[0], now) {
		made, err := newAuthority(authority, now)
		if err != nil {
			return Issued{}, err
		}
		trusted = append([]*x509.Certificate{made}, trusted...)
	}
	leaf := first(before.Certificate)
	if leaf == nil || !rightFor(leaf, trusted[0], workers, names) || dueFor(leaf, now) {
		if leaf, err = newLeaf(trusted[0], authority, workers, names, now); err != nil {
			return Issued{}, err
		}
	}
	return Issued{Certificate: encode(leaf), Authorities: encode(trusted...)}, nil
}

func parseKey(text []byte) (crypto.Signer, error) {
	block, _ := pem.Decode(text)
	if block == nil || block.Type != keyBlock {
		return nil, errors.New("no private key in PEM (-----BEGIN PRIVATE KEY-----)")
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("a private key that cannot be read") // the text may have parts of it
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a private key that cannot sign (%T)", key)
	}
	return signer, nil
}

// ownCertificates are those of the authority itself that hold now, the newest first.
func ownCertificates(text string, authority crypto.Signer, now time.Time) (out []*x509.Certificate) {
	for _, c := range parse(text) {
		if c.IsCA && samePublic(c.PublicKey, authority) && c.CheckSignatureFrom(c) == nil && now.Before(c.NotAfter) && !now.Before(c.NotBefore) {
			out = append(out, c)
		}
	}
	slices.SortStableFunc(out, func(a, b *x509.Certificate) int { return b.NotAfter.Compare(a.NotAfter) })
	return slices.CompactFunc(out, (*x509.Certificate).Equal)
}

// rightFor reports whether the certificate is the workers', by the authority, and for these names.
func rightFor(leaf, authority *x509.Certificate, workers crypto.Signer, names []string) bool {
	hosts, addresses := split(names)
	sameAddresses := slices.EqualFunc(leaf.IPAddresses, addresses, net.IP.Equal)
	return samePublic(leaf.PublicKey, workers) && leaf.CheckSignatureFrom(authority) == nil && slices.Equal(leaf.DNSNames, hosts) &&
		sameAddresses
}

func samePublic(public any, of crypto.Signer) bool {
	equal, ok := of.Public().(interface{ Equal(crypto.PublicKey) bool })
	return ok && equal.Equal(public)
}

// dueFor reports whether the certificate is to be renewed: it does not hold, or two thirds of its life have gone.
func dueFor(c *x509.Certificate, now time.Time) bool {
	return now.Before(c.NotBefore) || !now.Before(RenewAt(c))
}

// RenewAt is when a certificate is to be renewed.
func RenewAt(c *x509.Certificate) time.Time {
	return c.NotBefore.Add(c.NotAfter.Sub(c.NotBefore) / 3 * 2)
}

func newAuthority(key crypto.Signer, now time.Time) (*x509.Certificate, error) {
	id, err := keyID(key)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		Subject:   pkix.Name{CommonName: "RocketMQ Connect authority " + hex.EncodeToString(id[:8])},
		NotBefore: now.Add(-behind), NotAfter: now.Add(authorityLife),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, SubjectKeyId: id,
	}
	return sign(c, c, key.Public(), key)
}

func newLeaf(authority *x509.Certificate, by, workers crypto.Signer, names []string, now time.Time) (*x509.Certificate, error) {
	hosts, addresses := split(names)
	end := now.Add(leafLife)
	if end.After(authority.NotAfter) {
		end = authority.NotAfter
	}
	return sign(&x509.Certificate{
		Subject:   pkix.Name{CommonName: "RocketMQ Connect worker"},
		NotBefore: now.Add(-behind), NotAfter: end, DNSNames: hosts, IPAddresses: addresses,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}, authority, workers.Public(), by)
}

func sign(c, parent *x509.Certificate, public crypto.PublicKey, by crypto.Signer) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("making a serial number: %w", err)
	}
	c.SerialNumber = serial
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, by)
	if err != nil {
		return nil, fmt.Errorf("signing a certificate: %w", err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("reading a signed certificate: %w", err)
	}
	return out, nil
}

func keyID(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return nil, fmt.Errorf("encoding a public key: %w", err)
	}
	sum := sha256.Sum256(der)
	return sum[:20], nil
}

// split tells addresses from host names; both are sorted, and there once.
func split(names []string) (hosts []string, addresses []net.IP) {
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			addresses = append(addresses, ip)
			continue
		}
		hosts = append(hosts, strings.ToLower(name))
	}
	slices.Sort(hosts)
	slices.SortFunc(addresses, func(a, b net.IP) int { return bytes.Compare(a, b) })
	return slices.Compact(hosts), slices.CompactFunc(addresses, net.IP.Equal)
}

func first(text string) *x509.Certificate {
	if all := parse(text); len(all) > 0 {
		return all[0]
	}
	return nil
}

// parse reads the certificates of a text, and leaves out what is none.
func parse(text string) (out []*x509.Certificate) {
	rest := []byte(text)
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			return out
		}
		if c, err := x509.ParseCertificate(block.Bytes); err == nil && block.Type == certificateBlock {
			out = append(out, c)
		}
	}
}

func encode(all ...*x509.Certificate) string {
	var b strings.Builder
	for _, c := range all {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: certificateBlock, Bytes: c.Raw}))
	}
	return b.String()
}
