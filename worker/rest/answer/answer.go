// Package answer makes and writes what the worker's HTTP routes answer: JSON, lines of text, and problems (RFC 9457).
package answer

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// JSON writes the value.
func JSON(w http.ResponseWriter, status int, value any) {
	body, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "encoding the answer failed", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n'))
}

// Text writes one line, or lines.
func Text(w http.ResponseWriter, status int, line string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(line + "\n"))
}

// Problem makes a problem of a kind, one of restapi's Problem constants, with its title and a detail.
func Problem(status int, kind, title, format string, args ...any) *restapi.Problem {
	return &restapi.Problem{Type: kind, Title: title, Status: status, Detail: fmt.Sprintf(format, args...)}
}

// Malformed makes the problem of a request that cannot be read.
func Malformed(format string, args ...any) *restapi.Problem {
	return Problem(http.StatusBadRequest, restapi.ProblemMalformed, "Malformed request", format, args...)
}

// NotFound makes the problem of a connector that does not exist.
func NotFound(name string) *restapi.Problem {
	return Problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found",
		"there is no connector %q; GET %s/connectors lists them", name, restapi.Prefix)
}

// Invalid makes the problem of a config that was refused.
func Invalid(errs []restapi.FieldError) *restapi.Problem {
	details := make([]string, 0, len(errs))
	for _, e := range errs {
		details = append(details, e.Detail)
	}
	p := Problem(http.StatusUnprocessableEntity, restapi.ProblemInvalid, "Invalid connector", "%s", strings.Join(details, "; "))
	p.Errors = errs
	return p
}

// maxTaskConfigs bounds what answers repeat of a connector's settings for each of its tasks, in bytes.
const maxTaskConfigs = 4 << 20

// TaskConfigs are the whole configs of a connector's tasks, which callers must not change; what each has besides the
// connector's where that would be too much.
func TaskConfigs(c store.Connector) []map[string]string {
	size := 0
	for k, v := range c.Config {
		size += len(k) + len(v)
	}
	if size*len(c.Tasks) > maxTaskConfigs {
		return c.Tasks
	}
	out := make([]map[string]string, len(c.Tasks))
	for i := range out {
		out[i] = c.TaskConfig(i)
	}
	return out
}
