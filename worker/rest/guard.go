package rest

import (
	"fmt"
	"net/http"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/certificate"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/service"
)

// refusalInterval is how often the log tells of callers that are refused: any of them can have it told.
const refusalInterval = 30 * time.Second

// refusedTimeout is how long who is refused may go on with its request.
const refusedTimeout = time.Second

// gate lets requests in, and says what becomes of what it decides by.
type gate struct {
	guard    access.Guard
	secured  *certificate.Source // nil: connections are plain
	refusals service.Seldom
	metrics  *metrics
	log      logr.Logger
	// address is what is listened on; clientCA has the authorities of callers' certificates, "" for none.
	address, clientCA string
}

// guarded lets through only what access.Guard does; fail answers with an error, as its dialect has it.
func (g *gate) guarded(next http.Handler, fail func(http.ResponseWriter, *http.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// No page of another origin is to read an answer, whatever made it.
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if refusal := g.refusal(r, time.Now()); refusal != nil {
			g.refuse(w, r, refusal, fail)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refusal returns why the caller may not call, or not go on reading what it is sent.
func (g *gate) refusal(r *http.Request, now time.Time) *access.Refusal {
	if g.secured != nil {
		if err := g.secured.Verify(r.TLS, now); err != nil {
			return access.Untrusted(err)
		}
	}
	return g.guard.Check(r, now)
}

func (g *gate) refuse(
	w http.ResponseWriter,
	r *http.Request,
	refusal *access.Refusal,
	fail func(http.ResponseWriter, *http.Request, error),
) {
	g.metrics.refused.WithLabelValues(refusal.Reason).Inc()
	if held, ok := g.refusals.Pass(time.Now()); ok {
		g.log.Info(
			"Refusing a caller",
			"remote",
			access.Remote(r),
			"reason",
			refusal.Reason,
			"status",
			refusal.Status,
			"detail",
			refusal.Detail,
			"untold",
			held,
		)
	}
	// What is left of a body is read before a connection is used again: who is refused may not take long with it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedTimeout))
	if refusal.Reason == access.ReasonCertificate { // only another connection shows another one
		w.Header().Set("Connection", "close")
	}
	kind, title := restapi.ProblemForbidden, "Forbidden"
	if refusal.Status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="rocketmq-connect"`)
		kind, title = restapi.ProblemUnauthorized, "Unauthorized"
	}
	fail(w, r, answer.Problem(refusal.Status, kind, title, "%s", refusal.Detail))
}

// tokenErr returns why every caller is refused, if the token's file cannot be used.
func (g *gate) tokenErr() error {
	if g.guard.Token == nil {
		return nil
	}
	return g.guard.Token.Err(time.Now())
}

// announce logs who is let in, if that is not only who has a token.
func (g *gate) announce() {
	switch {
	case g.guard.Token != nil:
	case g.guard.Open && g.clientCA != "":
		g.log.Info("Serving REST without a token: whoever shows a certificate of httpTlsClientCA can change connectors", "address", g.address)
	case g.guard.Open:
		g.log.Info("Serving REST without a token: everybody who reaches httpHost can change connectors; set restTokenFile", "address", g.address)
	default:
		g.log.Info("Serving REST without a token: callers on this machine are answered, others get 403; to let them in, set restTokenFile, "+
			"or httpHost to the address to listen on (0.0.0.0 for all)", "address", g.address)
	}
}

// watchToken logs when the token's file becomes unusable, and when it is usable again.
func (g *gate) watchToken(done <-chan struct{}) {
	tick := time.NewTicker(access.TokenInterval)
	defer tick.Stop()
	var before error
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		err := g.tokenErr()
		switch {
		case err != nil && before == nil:
			g.log.Error(err, "Refusing every caller: the token's file cannot be used; put it back")
		case err == nil && before != nil:
			g.log.Info("Letting callers in again: the token's file can be used")
		}
		before = err
	}
}

// watchCertificate reads the certificate's files again and again, and logs what becomes of them.
func (g *gate) watchCertificate(done <-chan struct{}) {
	tick := time.NewTicker(certificate.Interval)
	defer tick.Stop()
	g.metrics.expiry.Set(float64(g.secured.NotAfter().Unix()))
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		before := g.secured.Err()
		changed, err := g.secured.Refresh()
		ends := g.secured.NotAfter()
		g.metrics.expiry.Set(float64(ends.Unix()))
		switch {
		case err != nil && before == nil:
			g.log.Error(err, "Serving the certificate of before: its files cannot be used; mend them", "notAfter", ends)
		case changed:
			g.log.Info("Serving another certificate: its files changed", "notAfter", ends)
		case err == nil && before != nil:
			g.log.Info("The files of the certificate can be used again", "notAfter", ends)
		}
	}
}

// certificateWarnings says what is wrong with the certificate though it is served.
func (g *gate) certificateWarnings() (out []string) {
	if g.secured == nil {
		return nil
	}
	ends := g.secured.NotAfter()
	if err := g.secured.Err(); err != nil {
		out = append(out, fmt.Sprintf("%s: the certificate of before is served, which ends on %s", err, ends.UTC().Format(time.RFC3339)))
	}
	if time.Now().After(ends) {
		out = append(out, "the certificate of httpTlsCert ended on "+ends.UTC().Format(time.RFC3339)+": callers do not trust it")
	}
	return out
}
