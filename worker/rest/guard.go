package rest

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/certificate"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// refusalInterval is how often the log tells of callers that are refused: any of them can have it told.
const refusalInterval = 30 * time.Second

// refusedTimeout is how long who is refused may go on with its request.
const refusedTimeout = time.Second

// failure answers with an error, as its dialect has it.
type failure func(w http.ResponseWriter, r *http.Request, err error)

// guarded lets through only what access.Guard does.
func (s *Server) guarded(next http.Handler, fail failure) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// No page of another origin is to read an answer, whatever made it.
		w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if refusal := s.refusal(r, time.Now()); refusal != nil {
			s.refuse(w, r, refusal, fail)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// refusal returns why the caller may not call, or not go on reading what it is sent.
func (s *Server) refusal(r *http.Request, now time.Time) *access.Refusal {
	if s.secured != nil {
		if err := s.secured.Verify(r.TLS, now); err != nil {
			return access.Untrusted(err)
		}
	}
	return s.guard.Check(r, now)
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, refusal *access.Refusal, fail failure) {
	s.metrics.refused.WithLabelValues(refusal.Reason).Inc()
	if held, ok := s.refusals.Pass(time.Now()); ok {
		s.cfg.Log.Info("Refusing a caller", "remote", access.Remote(r), "reason", refusal.Reason, "status", refusal.Status, "detail", refusal.Detail, "untold", held)
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
	fail(w, r, problem(refusal.Status, kind, title, "%s", refusal.Detail))
}

// changing answers a route that changes something by GET with the line of what it did.
func (s *Server) changing(h func(*http.Request) (string, error)) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet { // the mux sends HEAD here, too
			w.Header().Set("Allow", http.MethodGet)
			return problem(http.StatusMethodNotAllowed, "about:blank", "Method not allowed", "use GET")
		}
		if refusal := access.Unclear(r); refusal != nil {
			s.refuse(w, r, refusal, s.failOld)
			return nil
		}
		line, err := h(r)
		if err == nil {
			text(w, http.StatusOK, line)
		}
		return err
	}
}

// tokenErr returns why every caller is refused, if the token's file cannot be used.
func (s *Server) tokenErr() error {
	if s.guard.Token == nil {
		return nil
	}
	return s.guard.Token.Err(time.Now())
}

// announce logs who is let in, if that is not only who has a token.
func (s *Server) announce() {
	switch {
	case s.guard.Token != nil:
	case s.guard.Open && s.cfg.TLS.ClientCA != "":
		s.cfg.Log.Info("Serving REST without a token: whoever shows a certificate of httpTlsClientCA can change connectors", "address", s.cfg.Listen)
	case s.guard.Open:
		s.cfg.Log.Info("Serving REST without a token: everybody who reaches httpHost can change connectors; set restTokenFile", "address", s.cfg.Listen)
	default:
		s.cfg.Log.Info("Serving REST without a token: callers on this machine are answered, others get 403; to let them in, set restTokenFile, "+
			"or httpHost to the address to listen on (0.0.0.0 for all)", "address", s.cfg.Listen)
	}
}

// watchToken logs when the token's file becomes unusable, and when it is usable again.
func (s *Server) watchToken(done <-chan struct{}) {
	tick := time.NewTicker(access.TokenInterval)
	defer tick.Stop()
	var before error
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		err := s.tokenErr()
		switch {
		case err != nil && before == nil:
			s.cfg.Log.Error(err, "Refusing every caller: the token's file cannot be used; put it back")
		case err == nil && before != nil:
			s.cfg.Log.Info("Letting callers in again: the token's file can be used")
		}
		before = err
	}
}

// watchCertificate reads the certificate's files again and again, and logs what becomes of them.
func (s *Server) watchCertificate(done <-chan struct{}) {
	tick := time.NewTicker(certificate.Interval)
	defer tick.Stop()
	s.metrics.expiry.Set(float64(s.secured.NotAfter().Unix()))
	for {
		select {
		case <-done:
			return
		case <-tick.C:
		}
		before := s.secured.Err()
		changed, err := s.secured.Refresh()
		ends := s.secured.NotAfter()
		s.metrics.expiry.Set(float64(ends.Unix()))
		switch {
		case err != nil && before == nil:
			s.cfg.Log.Error(err, "Serving the certificate of before: its files cannot be used; mend them", "notAfter", ends)
		case changed:
			s.cfg.Log.Info("Serving another certificate: its files changed", "notAfter", ends)
		case err == nil && before != nil:
			s.cfg.Log.Info("The files of the certificate can be used again", "notAfter", ends)
		}
	}
}

// certificateWarnings says what is wrong with the certificate though it is served.
func (s *Server) certificateWarnings() (out []string) {
	if s.secured == nil {
		return nil
	}
	ends := s.secured.NotAfter()
	if err := s.secured.Err(); err != nil {
		out = append(out, fmt.Sprintf("%s: the certificate of before is served, which ends on %s", err, ends.UTC().Format(time.RFC3339)))
	}
	if time.Now().After(ends) {
		out = append(out, "the certificate of httpTlsCert ended on "+ends.UTC().Format(time.RFC3339)+": callers do not trust it")
	}
	return out
}

// notReady returns why the readiness probe fails.
func (s *Server) notReady() error {
	return cmp.Or(s.backends.Ready(), s.backends.Leased(), s.backends.stored(), s.backends.disputed(), s.tokenErr())
}
