package rest

import (
	"context"
	"net/http"
	"time"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/resource"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// writeTimeout is how long a change may wait for what is stored, and for its own record to come back from RocketMQ.
const writeTimeout = 15 * time.Second

// api answers the routes of the resource API.
type api struct {
	configs    Configs
	members    Members
	catalog    Catalog
	checker    *check.Checker
	connectors *resource.Connectors
	views      *views
	watcher    *watcher
}

// handler answers a request, or returns why it does not; *restapi.Problem says so to the caller.
type handler func(w http.ResponseWriter, r *http.Request) error

// routes are the handlers by pattern, without the API's prefix.
func (a *api) routes() map[string]handler {
	const one = "/connectors/{name}"
	return map[string]handler{
		"GET /cluster":                          a.getCluster,
		"GET /plugins":                          a.getPlugins,
		"PUT /validate":                         a.validate,
		"GET /watch":                            a.watcher.watch,
		"GET /connectors":                       a.listConnectors,
		"POST /connectors":                      within(a.createConnector),
		"GET " + one:                            a.getConnector,
		"PUT " + one:                            within(a.putConnector),
		"DELETE " + one:                         within(a.deleteConnector),
		"PUT " + one + "/state":                 within(a.putState),
		"POST " + one + "/pause":                within(a.setState(states.WantPaused)),
		"POST " + one + "/resume":               within(a.setState(states.WantRunning)),
		"POST " + one + "/stop":                 within(a.setState(states.WantStopped)),
		"POST " + one + "/restart":              within(a.restart),
		"GET " + one + "/status":                a.getStatus,
		"GET " + one + "/tasks":                 a.getTasks,
		"POST " + one + "/tasks/{task}/restart": within(a.restart),
	}
}

// within bounds all that a change waits for by writeTimeout.
func within(h handler) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), writeTimeout)
		defer cancel()
		return h(w, r.WithContext(ctx))
	}
}

func (a *api) getCluster(w http.ResponseWriter, _ *http.Request) error {
	answer.JSON(w, http.StatusOK, a.views.cluster(a.members.View()))
	return nil
}

func (a *api) getPlugins(w http.ResponseWriter, _ *http.Request) error {
	answer.JSON(w, http.StatusOK, plugins(a.catalog.List()))
	return nil
}

func (a *api) listConnectors(w http.ResponseWriter, _ *http.Request) error {
	out := []restapi.Connector{}
	for _, c := range a.configs.All() {
		out = append(out, a.views.connector(c))
	}
	answer.JSON(w, http.StatusOK, out)
	return nil
}

// named returns the connector that the path names.
func (a *api) named(r *http.Request) (store.Connector, error) {
	name := r.PathValue("name")
	c, ok := a.configs.Get(name)
	if !ok {
		return store.Connector{}, answer.NotFound(name)
	}
	return c, nil
}

func (a *api) getConnector(w http.ResponseWriter, r *http.Request) error {
	c, err := a.named(r)
	if err != nil {
		return err
	}
	tag := etag(c.Revision)
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	answer.JSON(w, http.StatusOK, a.views.connector(c))
	return nil
}

func (a *api) createConnector(w http.ResponseWriter, r *http.Request) error {
	var in restapi.Connector
	if err := decode(r, &in); err != nil {
		return err
	}
	stored, err := a.connectors.Create(r.Context(), in, requestID(r))
	return a.answerStored(w, stored, err)
}

func (a *api) putConnector(w http.ResponseWriter, r *http.Request) error {
	req, err := condition(r)
	if err != nil {
		return err
	}
	var in restapi.Connector
	if err := decode(r, &in); err != nil {
		return err
	}
	name := r.PathValue("name")
	if in.Name != "" && in.Name != name {
		return answer.Malformed("name in the body (%q) differs from that in the path (%q)", in.Name, name)
	}
	in.Name = name
	stored, err := a.connectors.Replace(r.Context(), in, req)
	return a.answerStored(w, stored, err)
}

// answerStored answers with the connector as it is after a change.
func (a *api) answerStored(w http.ResponseWriter, c resource.Stored, err error) error {
	if err != nil {
		return err
	}
	shown, status := a.views.connector(c.Connector), http.StatusOK
	shown.Warnings = c.Warnings
	w.Header().Set("ETag", etag(c.Revision))
	if c.Created {
		status = http.StatusCreated
		w.Header().Set("Location", restapi.Prefix+"/connectors/"+c.Name)
	}
	answer.JSON(w, status, shown)
	return nil
}

func (a *api) deleteConnector(w http.ResponseWriter, r *http.Request) error {
	keep := false
	switch v := r.URL.Query().Get("positions"); v {
	case "", "reset":
	case "keep":
		keep = true
	default:
		return answer.Malformed("positions must be keep or reset, not %q", v)
	}
	req, err := condition(r)
	if err != nil {
		return err
	}
	if req.Stated && req.Revision == 0 {
		return answer.Malformed("a deletion cannot be made if-none-match: send If-Match, or neither")
	}
	if err := a.connectors.Remove(r.Context(), r.PathValue("name"), keep, req); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (a *api) putState(w http.ResponseWriter, r *http.Request) error {
	var in restapi.StateRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	if state := states.Wanted(in.State); state.Known() {
		return a.setState(state)(w, r)
	}
	return answer.Invalid([]restapi.FieldError{{Field: "state", Detail: check.StateError(in.State).Error()}})
}

func (a *api) setState(state states.Wanted) handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		req, err := condition(r)
		if err != nil {
			return err
		}
		stored, err := a.connectors.SetState(r.Context(), r.PathValue("name"), state, req)
		return a.answerStored(w, stored, err)
	}
}

func (a *api) restart(w http.ResponseWriter, r *http.Request) error {
	if err := a.connectors.Restart(r.Context(), r.PathValue("name"), r.PathValue("task"), requestID(r)); err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (a *api) getStatus(w http.ResponseWriter, r *http.Request) error {
	c, err := a.named(r)
	if err != nil {
		return err
	}
	view := a.members.View()
	answer.JSON(w, http.StatusOK, a.views.status(c, view, workerNames(view)))
	return nil
}

func (a *api) getTasks(w http.ResponseWriter, r *http.Request) error {
	c, err := a.named(r)
	if err != nil {
		return err
	}
	answer.JSON(w, http.StatusOK, a.views.tasks(c, a.members.View()))
	return nil
}

func (a *api) validate(w http.ResponseWriter, r *http.Request) error {
	var in restapi.Connector
	if err := decode(r, &in); err != nil {
		return err
	}
	before, _ := a.configs.Get(in.Name)
	answer.JSON(w, http.StatusOK, a.checker.Validate(in, before.Config))
	return nil
}
