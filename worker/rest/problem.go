package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/store"
)

func problem(status int, kind, title, format string, args ...any) *restapi.Problem {
	return &restapi.Problem{Type: kind, Title: title, Status: status, Detail: fmt.Sprintf(format, args...)}
}

func malformed(format string, args ...any) *restapi.Problem {
	return problem(http.StatusBadRequest, restapi.ProblemMalformed, "Malformed request", format, args...)
}

func notFound(name string) *restapi.Problem {
	return problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found",
		"there is no connector %q; GET %s/connectors lists them", name, restapi.Prefix)
}

// invalid makes the problem of a config that was refused.
func invalid(errs []restapi.FieldError) *restapi.Problem {
	details := make([]string, 0, len(errs))
	for _, e := range errs {
		details = append(details, e.Detail)
	}
	p := problem(http.StatusUnprocessableEntity, restapi.ProblemInvalid, "Invalid connector", "%s", strings.Join(details, "; "))
	p.Errors = errs
	return p
}

// problemOf says what an error is to the caller. Only here are errors turned into status codes. Answers of 5xx carry no
// internals beyond what helps the caller.
func (s *Server) problemOf(err error) *restapi.Problem {
	if p := (*restapi.Problem)(nil); errors.As(err, &p) {
		return p
	}
	if current, ok := conflictOf(err); ok {
		return s.conflict(http.StatusConflict, current)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found", "the connector does not exist (any more)")
	case errors.Is(err, store.ErrInvalid):
		return problem(http.StatusUnprocessableEntity, restapi.ProblemInvalid, "Invalid connector", "%s", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return problem(http.StatusGatewayTimeout, restapi.ProblemTimeout, "Not confirmed in time",
			"RocketMQ did not confirm the change within %s; it may have been stored: read it, or send it again with the same %s",
			writeTimeout, restapi.IdempotencyHeader)
	case errors.Is(err, rmq.ErrUnreachable), errors.Is(err, rmq.ErrAccessDenied), rmq.IsTemporary(err):
		return problem(http.StatusServiceUnavailable, restapi.ProblemNotReady, "RocketMQ is not available", "%s", err)
	}
	return problem(http.StatusInternalServerError, restapi.ProblemInternal, "Internal error", "see the worker's log for the request id")
}

// conflictOf returns what is stored, if the error is a conflict.
func conflictOf(err error) (store.Connector, bool) {
	if c := (*store.ConflictError)(nil); errors.As(err, &c) {
		return c.Current, true
	}
	return store.Connector{}, false
}

// conflict makes the problem of a write that does not replace what it meant to; current is what is stored.
func (s *Server) conflict(status int, current store.Connector) *restapi.Problem {
	kind, title := restapi.ProblemConflict, "Conflict"
	if status == http.StatusPreconditionFailed {
		kind, title = restapi.ProblemPrecondition, "Precondition failed"
	}
	if current.Name == "" || current.Deleted || current.Revision == 0 {
		return problem(status, kind, title, "the connector does not exist (any more)")
	}
	p := problem(status, kind, title, "connector %q exists, at revision %d: to change it, read it, apply the change to that, and PUT it with If-Match: \"%d\"",
		current.Name, current.Revision, current.Revision)
	shown := s.show(current)
	p.Current = &shown
	return p
}

// failure is the error's problem as it is answered, without the passwords of URLs: what a class says of a config has passed
// the config's own redactor. What is the worker's own fault is logged, since the caller sees only an id.
func (s *Server) failure(r *http.Request, err error) restapi.Problem {
	p, clean := *s.problemOf(err), redact.Redactor{}.Text
	p.Detail, p.Instance, p.RequestID = clean(p.Detail), clean(r.URL.Path), requestID(r)
	p.Errors = slices.Clone(p.Errors)
	for i, e := range p.Errors {
		p.Errors[i] = restapi.FieldError{Field: clean(e.Field), Detail: clean(e.Detail)}
	}
	if p.Status == http.StatusInternalServerError {
		s.cfg.Log.Error(errors.New(clean(err.Error())), "Failing a request", "method", r.Method, "path", p.Instance, "requestID", p.RequestID)
	}
	return p
}

// fail answers with the error's problem.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := s.failure(r, err)
	if p.Status == http.StatusServiceUnavailable || p.Status == http.StatusTooManyRequests {
		w.Header().Set("Retry-After", "1")
	}
	body, err := json.Marshal(p)
	if err != nil {
		http.Error(w, p.Title, p.Status)
		return
	}
	w.Header().Set("Content-Type", restapi.ProblemMediaType)
	w.WriteHeader(p.Status)
	_, _ = w.Write(append(body, '\n'))
}

// answer writes the value as JSON.
func answer(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "encoding the answer failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}
