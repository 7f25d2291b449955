// Package access decides whom a worker's REST API answers: by which name it was called, whether a web page of another
// origin made a browser call it, on which machine the caller is, and whether it has the token. Its decisions are pure:
// they follow from the request, the time, and what the token's file held last.
package access

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"
)

// Why a request is refused, as metrics have it.
const (
	ReasonHost       = "host"
	ReasonOrigin     = "origin"
	ReasonRemote     = "remote"
	ReasonNoToken    = "token_missing"
	ReasonWrongToken = "token_wrong"
	ReasonTokenFile  = "token_file"
	// ReasonCertificate is a client certificate that was trusted when its connection was made, and is not any more.
	ReasonCertificate = "certificate"
)

// Refusal says why a request is not answered, and what to do.
type Refusal struct {
	// Status is 401 or 403.
	Status int
	// Reason is one of the constants above.
	Reason string
	// Detail is one line for the caller.
	Detail string
}

func forbidden(reason, format string, args ...any) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Reason: reason, Detail: fmt.Sprintf(format, args...)}
}

// Untrusted refuses a caller whose client certificate is not trusted any more.
func Untrusted(err error) *Refusal {
	return forbidden(ReasonCertificate, "%s: reconnect with a certificate of an authority in the worker's httpTlsClientCA", err)
}

// Guard decides about requests. Without a Token, only callers on the worker's own machine are let in, unless it is
// Open.
type Guard struct {
	// Token is what callers must send; nil: none is asked for.
	Token *Token
	// Open lets in callers of other machines without a token: an address to listen on was named on purpose.
	Open bool
	// Names are the host names by which the worker may be called, besides addresses and loopback names. One that begins
	// with *. stands for all names below the rest.
	Names []string
}

// Check returns why the request is refused; nil: it is answered.
func (g *Guard) Check(r *http.Request, now time.Time) *Refusal {
	if !g.named(r.Host) {
		return forbidden(
			ReasonHost,
			"this worker is not called %s: call it by an address, localhost or its own name, or name this one in httpHostNames",
			clip(r.Host),
		)
	}
	if from := foreign(r); from != "" {
		return forbidden(
			ReasonOrigin,
			"a web page of another origin must not call this worker (%s): call it with curl or a client of your own",
			from,
		)
	}
	if g.Token != nil {
		return g.authorize(r, now)
	}
	if !g.Open && !OnThisMachine(r) {
		return forbidden(
			ReasonRemote,
			"without a token this worker answers callers on its own machine only: set restTokenFile to a file with a token, "+
				"or httpHost to the address to listen on (0.0.0.0 for all) to let in everybody who reaches the port",
		)
	}
	return nil
}

func (g *Guard) authorize(r *http.Request, now time.Time) *Refusal {
	err := g.Token.Check(r, now)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errNoToken):
		return &Refusal{
			http.StatusUnauthorized,
			ReasonNoToken,
			err.Error() + ": send Authorization: Bearer with the token of the worker's restTokenFile",
		}
	case errors.Is(err, errWrongToken):
		return &Refusal{
			http.StatusUnauthorized,
			ReasonWrongToken,
			err.Error() + ": send Authorization: Bearer with the token of the worker's restTokenFile",
		}
	}
	// The caller learns that it is not its fault, and nothing of the worker's files.
	return &Refusal{
		http.StatusUnauthorized,
		ReasonTokenFile,
		"the worker has no token to compare with: its restTokenFile cannot be used, see its log and /readyz",
	}
}

// Remote returns the caller's address without its port, for logs.
func Remote(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	return host
}

// clip quotes what a caller sent, and not all of it.
func clip(s string) string {
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return fmt.Sprintf("%q", s)
}
