package restapi

import (
	"fmt"
	"strings"
)

// ProblemMediaType is the content type of a Problem.
const ProblemMediaType = "application/problem+json"

// The types of problems, in Problem.Type.
const (
	ProblemMalformed    = "urn:rocketmq-connect:problem:malformed"
	ProblemInvalid      = "urn:rocketmq-connect:problem:invalid-config"
	ProblemUnauthorized = "urn:rocketmq-connect:problem:unauthorized"
	ProblemForbidden    = "urn:rocketmq-connect:problem:forbidden"
	ProblemTooMany      = "urn:rocketmq-connect:problem:too-many"
	ProblemNotFound     = "urn:rocketmq-connect:problem:not-found"
	ProblemConflict     = "urn:rocketmq-connect:problem:conflict"
	ProblemPrecondition = "urn:rocketmq-connect:problem:precondition-failed"
	ProblemTooLarge     = "urn:rocketmq-connect:problem:too-large"
	ProblemGone         = "urn:rocketmq-connect:problem:revision-gone"
	ProblemNotReady     = "urn:rocketmq-connect:problem:not-ready"
	ProblemTimeout      = "urn:rocketmq-connect:problem:timeout"
	ProblemInternal     = "urn:rocketmq-connect:problem:internal"
)

// Problem is an error answer (RFC 9457). It is an error, so that clients can find it with errors.As.
type Problem struct {
	// Type is one of the Problem constants, or about:blank.
	Type string `json:"type"`
	// Title is the same for all problems of a type; Detail says what was wrong here and what to do.
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`
	// Instance is the request's path; RequestID is in the worker's log, too.
	Instance  string `json:"instance,omitempty"`
	RequestID string `json:"requestId,omitempty"`
	// Errors names each field that was refused.
	Errors []FieldError `json:"errors,omitempty"`
	// Current is the resource as it is, for 409 and 412.
	Current *Connector `json:"current,omitempty"`
}

// FieldError is what is wrong with one field, for example config.kafka.topics.
type FieldError struct {
	Field  string `json:"field,omitempty"`
	Detail string `json:"detail"`
}

// Error gives status, title, detail and fields.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s", p.Status, p.Title)
	if p.Detail != "" {
		b.WriteString(": " + p.Detail)
	}
	if len(p.Errors) > 1 || p.Detail == "" {
		for _, e := range p.Errors {
			b.WriteString("; " + e.Detail)
		}
	}
	return b.String()
}
