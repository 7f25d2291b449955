package rest

import (
	"cmp"
	"net/http"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/access"
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
		if refusal := s.guard.Check(r, time.Now()); refusal != nil {
			s.refuse(w, r, refusal, fail)
			return
		}
		next.ServeHTTP(w, r)
	})
}

func (s *Server) refuse(w http.ResponseWriter, r *http.Request, refusal *access.Refusal, fail failure) {
	s.metrics.refused.WithLabelValues(refusal.Reason).Inc()
	if held, ok := s.refusals.Pass(time.Now()); ok {
		s.cfg.Log.Info("Refusing a caller", "remote", access.Remote(r), "reason", refusal.Reason, "status", refusal.Status, "detail", refusal.Detail, "untold", held)
	}
	// What is left of a body is read before a connection is used again: who is refused may not take long with it.
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedTimeout))
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

// notReady returns why the readiness probe fails.
func (s *Server) notReady() error {
	return cmp.Or(s.backends.Ready(), s.backends.Leased(), s.backends.stored(), s.backends.disputed(), s.tokenErr())
}
