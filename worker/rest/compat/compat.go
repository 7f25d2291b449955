// Package compat serves the routes of the older runtimes: all by GET, short texts or bare JSON. They exist for scripts
// that are written against them, and do not change; everything new belongs in the resource API.
package compat

import (
	"context"
	"net/http"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Resources is what the routes need of the resource side.
type Resources interface {
	// Workers are the ids of the cluster's workers, sorted; empty, not nil, where there are none.
	Workers() []string
	// Get and All give connectors, as this worker has read them; Epoch is 0 for what never was.
	Get(name string) (store.Connector, bool)
	All() []store.Connector
	Epoch(name string) int64
	// Policy says what may be shown of a connector's config, and of its tasks'.
	Policy(cfg map[string]string) redact.Policy
	// Local lists the tasks that this worker has.
	Local() []LocalTask
	// Sync waits until Get and All show all that is stored now.
	Sync(ctx context.Context) error
	// Check checks a config before it is stored: what of it has no effect, and why it is refused.
	Check(name string, cfg map[string]string) (warnings []string, err error)
	// Kept says why after must not keep the values of the kept settings of before.
	Kept(before, after map[string]string, kept []string) error
	// Store carries out a change; Remove deletes a connector and forgets its positions.
	Store(ctx context.Context, w store.Write) error
	Remove(ctx context.Context, name, requestID string) error
	// Reload reads the plugin folders again; not ok: this worker has built-in connectors only.
	Reload(ctx context.Context) (ok bool, err error)
}

// LocalTask is a task that this worker has.
type LocalTask struct {
	Connector string
	Task      int
	State     states.Observed
	// Stopping says that it is being handed over or stopped.
	Stopping bool
}

// Config says what the routes are served over. All fields are required.
type Config struct {
	Resources Resources
	// NewEnvelope has getClusterInfo answer in the newer runtime's envelope.
	NewEnvelope bool
	// Timeout bounds what one change waits for.
	Timeout time.Duration
	// Route is what holds for the route of a path: not before the worker is ready, and counted.
	Route func(path string, next http.HandlerFunc) http.Handler
	// Problem is what an error is to the caller, with the request's id.
	Problem func(r *http.Request, err error) restapi.Problem
	// Refuse answers a caller that is not let in; fail writes the error.
	Refuse func(w http.ResponseWriter, r *http.Request, refusal *access.Refusal, fail func(http.ResponseWriter, *http.Request, error))
	// RequestID names the request over its retries.
	RequestID func(r *http.Request) string
}

// Routes are the routes of the older runtimes.
type Routes struct{ cfg Config }

// New makes the routes.
func New(cfg Config) *Routes { return &Routes{cfg: cfg} }

// Handler serves the routes, and a line for every other path.
func (o *Routes) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle("GET "+path, o.cfg.Route(path, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				o.Fail(w, r, err)
			}
		}))
	}
	handle("/getClusterInfo", o.clusterInfo)
	handle("/getConfigInfo", o.configs)
	handle("/getConnectorTask", o.configs)
	handle("/getConnectorTask/{name}", o.connectorTask)
	handle("/getConnectors", o.connectors)
	handle("/getConnectors/{name}", o.connector)
	handle("/getConnectorsStatus/{name}", o.status)
	handle("/getAllocatedTask", o.allocated)
	for path, h := range map[string]change{
		"/plugin/reload":                   o.reload,
		"/connectors/create/{name}":        o.synced(o.create),
		"/connectors/update/{name}":        o.synced(o.update),
		"/connectors/taskNum/{name}/{num}": o.synced(o.taskNum),
		"/connectors/all/{verb}":           o.all,
		"/connectors/single/{name}/{verb}": o.synced(o.single),
	} {
		handle(path, o.changing(h))
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		path := redact.Redactor{}.Text(r.URL.Path)
		answer.Text(w, http.StatusNotFound, "Not found: "+path+"; the resource API begins at "+restapi.Prefix)
	})
	return trimmed(mux)
}

// trimmed takes slashes from the end of paths, as the older servers took it.
func trimmed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if path := strings.TrimRight(r.URL.Path, "/"); path != "" && path != r.URL.Path {
			u := *r.URL
			u.Path, u.RawPath = path, ""
			r = r.Clone(r.Context())
			r.URL = &u
		}
		next.ServeHTTP(w, r)
	})
}

// Fail answers with one line that says what was wrong and what to do.
func (o *Routes) Fail(w http.ResponseWriter, r *http.Request, err error) {
	p := o.cfg.Problem(r, err)
	line := "failed! " + p.Detail
	if p.Status == http.StatusInternalServerError {
		line += " " + p.RequestID
	}
	answer.Text(w, p.Status, strings.ReplaceAll(line, "\n", " "))
}
