package rest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/resource"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/strictjson"
)

// maxBody bounds a request's body, in bytes.
const maxBody = 1 << 20

// typed refuses a write that does not say that it is JSON, also one without a body: that is what a page of another
// origin cannot send without asking first, and a worker never says yes.
func typed(r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead ||
		r.Method == http.MethodDelete { // no page sends a DELETE without asking, either
		return nil
	}
	ct := r.Header.Get("Content-Type")
	media, _, err := mime.ParseMediaType(ct)
	if err != nil || media != "application/json" && !strings.HasSuffix(media, "+json") {
		return answer.Problem(http.StatusUnsupportedMediaType, restapi.ProblemMalformed, "Unsupported media type",
			"send Content-Type: application/json, not %q", ct)
	}
	return nil
}

// decode reads the JSON body into out and refuses what out does not know. Its errors are problems that name the field.
func decode(r *http.Request, out any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return decodeProblem(err)
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(out); err != nil {
		return decodeProblem(err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return answer.Malformed("the body has more after its JSON value: send one object")
	}
	if err := strictjson.Unique(body, true); err != nil {
		return answer.Malformed("the body: %s", err)
	}
	return nil
}

func decodeProblem(err error) *restapi.Problem {
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, io.EOF):
		return answer.Malformed("the body is empty: send a JSON object")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return answer.Malformed("the body ends in the middle of the JSON value")
	case errors.As(err, &syntax):
		return answer.Malformed("the body is not JSON: %s at byte %d", syntax, syntax.Offset)
	case errors.As(err, &kind):
		return typeProblem(kind)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return answer.Problem(
			http.StatusRequestTimeout,
			restapi.ProblemMalformed,
			"Body too slow",
			"the body did not come within %s: send it again",
			readTimeout,
		)
	case errors.As(err, &tooLarge):
		return answer.Problem(
			http.StatusRequestEntityTooLarge,
			restapi.ProblemTooLarge,
			"Too large",
			"the body may have at most %d bytes",
			tooLarge.Limit,
		)
	}
	if field, ok := strings.CutPrefix(err.Error(), "json: unknown field "); ok {
		name, unquoteErr := strconv.Unquote(field)
		if unquoteErr != nil {
			name = field
		}
		p := answer.Malformed("unknown field %q; a connector's own settings belong in config", name)
		p.Errors = []restapi.FieldError{{Field: name, Detail: p.Detail}}
		return p
	}
	return answer.Malformed("the body cannot be read: %s", err)
}

func typeProblem(e *json.UnmarshalTypeError) *restapi.Problem {
	want := map[string]string{"string": "a string", "int": "a whole number", "int64": "a whole number", "map": "an object",
		"struct": "an object"}[e.Type.Kind().String()]
	if want == "" {
		want = e.Type.String()
	}
	field := e.Field
	if field == "" {
		field = "the body"
	}
	if field == "config" { // the decoder does not say of which key
		field = "each value of config"
	}
	article := "a"
	if strings.HasPrefix(e.Value, "a") || strings.HasPrefix(e.Value, "o") {
		article = "an"
	}
	p := answer.Malformed("%s must be %s, not %s %s (before byte %d)", field, want, article, e.Value, e.Offset)
	p.Errors = []restapi.FieldError{{Field: e.Field, Detail: p.Detail}}
	return p
}

// condition reads If-Match and If-None-Match: what a change replaces.
func condition(r *http.Request) (resource.Request, error) {
	req := resource.Request{ID: requestID(r), Revision: resource.AnyRevision}
	match, none := strings.TrimSpace(r.Header.Get("If-Match")), strings.TrimSpace(r.Header.Get("If-None-Match"))
	switch {
	case match != "" && none != "":
		return req, answer.Malformed("send If-Match or If-None-Match, not both")
	case none == "*":
		req.Revision, req.Stated = 0, true
		return req, nil
	case none != "" && r.Method != http.MethodGet && r.Method != http.MethodHead:
		return req, answer.Malformed("If-None-Match of a write may only be *")
	case match == "" || match == "*":
		return req, nil
	}
	revision, err := parseETag(match)
	if err != nil {
		return req, answer.Malformed("If-Match must be the ETag of an earlier answer, such as \"12\", not %s", match)
	}
	req.Revision, req.Stated = revision, true
	return req, nil
}

func etag(revision int64) string { return `"` + strconv.FormatInt(revision, 10) + `"` }

func parseETag(s string) (int64, error) {
	inner, ok := strings.CutPrefix(s, `"`)
	inner, closed := strings.CutSuffix(inner, `"`)
	if !ok || !closed {
		return 0, errors.New("not quoted")
	}
	revision, err := strconv.ParseInt(inner, 10, 64)
	if err != nil || revision < 1 {
		return 0, fmt.Errorf("not a revision: %s", inner)
	}
	return revision, nil
}
