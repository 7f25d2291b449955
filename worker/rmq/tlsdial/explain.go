package tlsdial

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Plain explains why a connection without TLS ended before its server said anything.
func Plain(err error) error {
	if errors.Is(err, remoting.ErrFrame) {
		return fmt.Errorf("it answers in another protocol than RocketMQ's; if that is TLS, set tlsEnable=true: %w", err)
	}
	if !hungUp(err) {
		return err
	}
	return fmt.Errorf("it closed the connection before it answered anything, as a server does that takes TLS only "+
		"(then set tlsEnable=true), or one that is stopping: %w", err)
}

// explainer says what a server, or this client, has against a connection.
type explainer struct {
	files Files
	name  string
	stale error
}

// handshake explains why a handshake failed.
func (e explainer) handshake(err error) error {
	return e.also(fmt.Errorf("TLS handshake: %w", e.refusal(err)))
}

// first explains why a connection ended before anything was read.
func (e explainer) first(err error) error {
	if alert, ok := remote(err); ok {
		return e.also(e.alerted(alert, err))
	}
	if hungUp(err) && e.files.Cert == "" {
		return e.also(fmt.Errorf("it closed the connection before it answered anything, as a server does that asks for a client's certificate "+
			"(then set tlsCert and tlsKey), or one that is stopping: %w", err))
	}
	return e.also(err)
}

// also tells of files that are of no use: the connection was made with those of before.
func (e explainer) also(err error) error {
	if e.stale == nil {
		return err
	}
	return fmt.Errorf("%w (with the files of before, for those of now are of no use: %w)", err, e.stale)
}

func (e explainer) refusal(err error) error {
	var (
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
		record    tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &authority):
		return fmt.Errorf("%s: %w", e.untrusted(), err)
	case errors.As(err, &name):
		return fmt.Errorf(
			"its certificate is for %s and not for %q: set tlsServerName to a name that it has, or have the certificate made for this one: %w",
			names(name.Certificate),
			e.name,
			err,
		)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return fmt.Errorf("its certificate has expired or is not valid yet: renew it, and look at the clock here: %w", err)
	case errors.As(err, &record):
		return fmt.Errorf("it answers without TLS: have it speak TLS (tls.server.mode=enforcing or permissive), or set tlsEnable=false: %w", err)
	case hungUp(err):
		return fmt.Errorf("it closed the connection, as a server does that takes no TLS (tls.server.mode=disabled; then set tlsEnable=false) "+
			"or has no certificate, or one that is stopping: %w", err)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no answer in time: %w", err)
	}
	if alert, ok := remote(err); ok {
		return e.alerted(alert, err)
	}
	return err
}

func (e explainer) untrusted() string {
	if e.files.CA == "" {
		return "its certificate is signed by none of the system's roots: set tlsCA to the file with the certificate of who signed it"
	}
	return "its certificate is not signed by any in tlsCA (" + e.files.CA + "): put the certificate of who signed it there"
}

// names are those that a certificate is for.
func names(c *x509.Certificate) string {
	all := append([]string(nil), c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "no name"
	}
	return strings.Join(all, ", ")
}

// alerted explains a server's alert. Most are about the client's certificate, or its absence.
func (e explainer) alerted(alert string, err error) error {
	switch {
	case strings.Contains(alert, "certificate") && e.files.Cert == "":
		return fmt.Errorf("the server asks for a client's certificate: set tlsCert and tlsKey: %w", err)
	case strings.Contains(alert, "handshake failure") && e.files.Cert == "": // of 1.2, whatever is wrong
		return fmt.Errorf("the server refuses, as one does that asks for a client's certificate (then set tlsCert and tlsKey): %w", err)
	case !strings.Contains(alert, "certificate"):
		return fmt.Errorf("the server refuses: %w", err)
	}
	return fmt.Errorf(
		"the server does not take the certificate in tlsCert (%s): have it signed by somebody in the server's tls.server.trustCertPath: %w",
		e.files.Cert,
		err,
	)
}

// remote gives the text of an alert that the server sent.
func remote(err error) (string, bool) {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "remote error" {
		return op.Err.Error(), true
	}
	return "", false
}

func hungUp(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
