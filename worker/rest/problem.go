package rest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/store"
)

// problemOf says what an error is to the caller. Only here are errors turned into status codes: a conflict with a
// precondition that the caller stated is 412. Answers of 5xx carry no internals beyond what helps the caller.
func (f *front) problemOf(r *http.Request, err error) *restapi.Problem {
	if p := (*restapi.Problem)(nil); errors.As(err, &p) {
		return p
	}
	if c := (*store.ConflictError)(nil); errors.As(err, &c) {
		if req, _ := condition(r); req.Stated {
			return f.conflict(http.StatusPreconditionFailed, c.Current)
		}
		return f.conflict(http.StatusConflict, c.Current)
	}
	switch {
	case errors.Is(err, store.ErrNotFound):
		return answer.Problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found", "the connector does not exist (any more)")
	case errors.Is(err, store.ErrInvalid):
		return answer.Problem(http.StatusUnprocessableEntity, restapi.ProblemInvalid, "Invalid connector", "%s", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return answer.Problem(http.StatusGatewayTimeout, restapi.ProblemTimeout, "Not confirmed in time",
			"RocketMQ did not confirm the change within %s; it may have been stored: read it, or send it again with the same %s",
			writeTimeout, restapi.IdempotencyHeader)
	case errors.Is(err, rmq.ErrUnreachable), errors.Is(err, rmq.ErrAccessDenied), rmq.IsTemporary(err):
		return answer.Problem(http.StatusServiceUnavailable, restapi.ProblemNotReady, "RocketMQ is not available", "%s", err)
	}
	return answer.Problem(http.StatusInternalServerError, restapi.ProblemInternal, "Internal error", "see the worker's log for the request id")
}

// conflict makes the problem of a write that does not replace what it meant to; current is what is stored.
func (f *front) conflict(status int, current store.Connector) *restapi.Problem {
	kind, title := restapi.ProblemConflict, "Conflict"
	if status == http.StatusPreconditionFailed {
		kind, title = restapi.ProblemPrecondition, "Precondition failed"
	}
	if current.Name == "" || current.Deleted || current.Revision == 0 {
		return answer.Problem(status, kind, title, "the connector does not exist (any more)")
	}
	p := answer.Problem(
		status,
		kind,
		title,
		"connector %q exists, at revision %d: to change it, read it, apply the change to that, and PUT it with If-Match: \"%d\"",
		current.Name,
		current.Revision,
		current.Revision,
	)
	shown := f.show(current)
	p.Current = &shown
	return p
}

// failure is the error's problem as it is answered, without the passwords of URLs: what a class says of a config has
// passed the config's own redactor. What is the worker's own fault is logged, since the caller sees only an id.
func (f *front) failure(r *http.Request, err error) restapi.Problem {
	p, clean := *f.problemOf(r, err), redact.Redactor{}.Text
	p.Detail, p.Instance, p.RequestID = clean(p.Detail), clean(r.URL.Path), requestID(r)
	p.Errors = slices.Clone(p.Errors)
	for i, e := range p.Errors {
		p.Errors[i] = restapi.FieldError{Field: clean(e.Field), Detail: clean(e.Detail)}
	}
	if p.Status == http.StatusInternalServerError {
		f.log.Error(errors.New(clean(err.Error())), "Failing a request", "method", r.Method, "path", p.Instance, "requestID", p.RequestID)
	}
	return p
}

// fail answers with the error's problem.
func (f *front) fail(w http.ResponseWriter, r *http.Request, err error) {
	p := f.failure(r, err)
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
