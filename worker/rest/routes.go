package rest

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rest/keep"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// writeTimeout is how long a write may wait for its own record to come back from RocketMQ.
const writeTimeout = 15 * time.Second

// maxFills is how often masked secrets are filled in again because somebody else has changed the connector meanwhile.
const maxFills = 5

// anyRevision is store.Write.IfRevision for whatever is stored.
const anyRevision int64 = -1

// routes registers the resource API.
func (s *Server) routes(handle func(pattern string, h func(http.ResponseWriter, *http.Request) error)) {
	const one = "/connectors/{name}"
	change := func(pattern string, h func(http.ResponseWriter, *http.Request) error) {
		handle(pattern, func(w http.ResponseWriter, r *http.Request) error {
			r, cancel := within(r)
			defer cancel()
			return h(w, r)
		})
	}
	handle("GET /cluster", s.getCluster)
	handle("GET /plugins", s.getPlugins)
	handle("PUT /validate", s.validate)
	handle("GET /watch", s.watch)
	handle("GET /connectors", s.listConnectors)
	change("POST /connectors", s.createConnector)
	handle("GET "+one, s.getConnector)
	change("PUT "+one, s.putConnector)
	change("DELETE "+one, s.deleteConnector)
	change("PUT "+one+"/state", s.putState)
	for verb, state := range map[string]states.Wanted{"pause": states.WantPaused, "resume": states.WantRunning, "stop": states.WantStopped} {
		change("POST "+one+"/"+verb, func(w http.ResponseWriter, r *http.Request) error {
			return s.answerState(w, r, state)
		})
	}
	change("POST "+one+"/restart", s.restart)
	handle("GET "+one+"/status", s.getStatus)
	handle("GET "+one+"/tasks", s.getTasks)
	change("POST "+one+"/tasks/{task}/restart", s.restart)
}

func (s *Server) getCluster(w http.ResponseWriter, _ *http.Request) error {
	answer(w, http.StatusOK, s.clusterView(s.backends.Members.View()))
	return nil
}

func (s *Server) getPlugins(w http.ResponseWriter, _ *http.Request) error {
	answer(w, http.StatusOK, plugins(s.backends.Catalog.List()))
	return nil
}

func (s *Server) listConnectors(w http.ResponseWriter, _ *http.Request) error {
	out := []restapi.Connector{}
	for _, c := range s.backends.Configs.All() {
		out = append(out, s.show(c))
	}
	answer(w, http.StatusOK, out)
	return nil
}

// named returns the connector that the path names.
func (s *Server) named(r *http.Request) (store.Connector, error) {
	name := r.PathValue("name")
	c, ok := s.backends.Configs.Get(name)
	if !ok {
		return store.Connector{}, notFound(name)
	}
	return c, nil
}

// toChange is named for a request that is to change the connector: newest says as of when.
func (s *Server) toChange(r *http.Request, writes func(store.Connector) bool) (store.Connector, error) {
	name := r.PathValue("name")
	c, ok, err := s.newest(r, name, writes)
	if err == nil && !ok {
		err = notFound(name)
	}
	return c, err
}

func (s *Server) getConnector(w http.ResponseWriter, r *http.Request) error {
	c, err := s.named(r)
	if err != nil {
		return err
	}
	tag := etag(c.Revision)
	w.Header().Set("ETag", tag)
	if r.Header.Get("If-None-Match") == tag {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	answer(w, http.StatusOK, s.show(c))
	return nil
}

func (s *Server) createConnector(w http.ResponseWriter, r *http.Request) error {
	var in restapi.Connector
	if err := decode(r, &in); err != nil {
		return err
	}
	write, warnings, err := s.writeOf(in, nil)
	if err != nil {
		return err
	}
	write.IfRevision, write.RequestID = 0, requestID(r)
	return s.answerWrite(w, r, write, warnings, http.StatusCreated)
}

func (s *Server) putConnector(w http.ResponseWriter, r *http.Request) error {
	revision, given, err := condition(r)
	if err != nil {
		return err
	}
	var in restapi.Connector
	if err := decode(r, &in); err != nil {
		return err
	}
	name := r.PathValue("name")
	if in.Name != "" && in.Name != name {
		return malformed("name in the body (%q) differs from that in the path (%q)", in.Name, name)
	}
	in.Name = name
	for range maxFills {
		err = s.replace(w, r, in, revision, given)
		if _, conflict := conflictOf(err); !conflict {
			return err
		}
	}
	return err
}

// replace puts the connector in the place of the stored one. It ends with a conflict if masked secrets were filled in from a
// revision that is the newest no more; one with a revision that the caller stated is a problem already.
func (s *Server) replace(w http.ResponseWriter, r *http.Request, in restapi.Connector, revision int64, given bool) error {
	before, exists, err := s.newest(r, in.Name, func(c store.Connector) bool { return s.replaces(c, in) })
	if err != nil {
		return err
	}
	write, warnings, err := s.writeOf(in, before.Config)
	if err != nil {
		return err
	}
	if exists && (!given || revision == before.Revision) && unchanged(before, write) {
		s.answerStored(w, before, warnings, http.StatusOK)
		return nil
	}
	if !given && keep.HasMask(in.Config) { // an older secret must not replace a newer one
		revision = before.Revision
	}
	write.IfRevision, write.RequestID = revision, requestID(r)
	status := http.StatusOK
	if !exists {
		status = http.StatusCreated
	}
	return s.answerWrite(w, r, write, warnings, status)
}

// write stores within writeTimeout. A conflict with a precondition that the caller stated is 412.
func (s *Server) write(r *http.Request, w store.Write) (store.Connector, error) {
	r, cancel := within(r)
	defer cancel()
	c, err := s.backends.Configs.Put(r.Context(), w)
	if _, conflict := conflictOf(err); conflict || errors.Is(err, store.ErrNotFound) {
		if err := s.sync(r); err != nil {
			return c, err
		}
		c, err = s.backends.Configs.Put(r.Context(), w) // what it was refused for may have been old
	}
	if err == nil {
		s.cfg.Log.Info("Storing a connector", "connector", c.Name, "epoch", c.Epoch, "revision", c.Revision,
			"state", string(c.State), "deleted", c.Deleted, "requestID", w.RequestID)
		return c, nil
	}
	if current, ok := conflictOf(err); ok {
		if _, given, _ := condition(r); given {
			return c, s.conflict(http.StatusPreconditionFailed, current)
		}
	}
	return c, err
}

func (s *Server) answerWrite(w http.ResponseWriter, r *http.Request, write store.Write, warnings []string, status int) error {
	c, err := s.write(r, write)
	if err != nil {
		return err
	}
	s.answerStored(w, c, warnings, status)
	return nil
}

// answerStored answers with the connector as it is stored.
func (s *Server) answerStored(w http.ResponseWriter, c store.Connector, warnings []string, status int) {
	shown := s.show(c)
	shown.Warnings = warnings
	w.Header().Set("ETag", etag(c.Revision))
	if status == http.StatusCreated {
		w.Header().Set("Location", restapi.Prefix+"/connectors/"+c.Name)
	}
	answer(w, status, shown)
}

func (s *Server) deleteConnector(w http.ResponseWriter, r *http.Request) error {
	keep := false
	switch v := r.URL.Query().Get("positions"); v {
	case "", "reset":
	case "keep":
		keep = true
	default:
		return malformed("positions must be keep or reset, not %q", v)
	}
	revision, given, err := condition(r)
	if err != nil {
		return err
	}
	if given && revision == 0 {
		return malformed("a deletion cannot be made if-none-match: send If-Match, or neither")
	}
	if err := s.remove(r, removal{name: r.PathValue("name"), revision: revision, requestID: requestID(r), keep: keep}); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// removal says what to delete.
type removal struct {
	name      string
	revision  int64
	requestID string
	// keep leaves the positions.
	keep bool
}

// remove deletes the connector and, unless keep, forgets its positions: kept ones would make a later connector of the
// same name on another system skip records. A repeated deletion finishes one that broke off between the two steps.
func (s *Server) remove(r *http.Request, del removal) error {
	r, cancel := within(r)
	defer cancel()
	_, exists, err := s.newest(r, del.name, func(store.Connector) bool { return true })
	if err != nil {
		return err
	}
	if exists {
		_, err := s.write(r, store.Write{Name: del.name, Delete: true, IfRevision: del.revision, RequestID: del.requestID})
		switch {
		case errors.Is(err, store.ErrNotFound): // somebody else has deleted it, and may have broken off
			exists = false
		case err != nil:
			return err
		}
	}
	forgotten := false
	if epoch := s.backends.Configs.Epoch(del.name); epoch > 0 && !del.keep {
		if forgotten, err = s.forget(r, del.name, epoch); err != nil {
			return err
		}
	}
	if !exists && !forgotten {
		return notFound(del.name)
	}
	return nil
}

// forget resets the progress of a deleted connector at the epoch of its deletion, and says whether there was any. It does
// so where nothing is stored, too, and whatever kind the connector was: its tasks may still drain, and then store.
//
// Invariant P3: the reset fences them off.
func (s *Server) forget(r *http.Request, name string, epoch int64) (bool, error) {
	found := false
	for _, p := range []Progress{s.backends.Positions, s.backends.Offsets} {
		found = found || len(p.Read(name)) > 0
		err := p.Reset(r.Context(), name, nil, epoch)
		if errors.Is(err, store.ErrFenced) {
			return found, problem(http.StatusConflict, restapi.ProblemConflict, "Conflict", "connector %q was created again "+
				"meanwhile and goes on from the positions that were stored: delete it once more if it is to begin again", name)
		}
		if err != nil {
			return found, fmt.Errorf("forgetting the positions of %s: %w", name, err)
		}
	}
	return found, nil
}

func (s *Server) putState(w http.ResponseWriter, r *http.Request) error {
	var in restapi.StateRequest
	if err := decode(r, &in); err != nil {
		return err
	}
	if state := states.Wanted(in.State); state.Known() {
		return s.answerState(w, r, state)
	}
	return invalid([]restapi.FieldError{{Field: "state", Detail: stateError(in.State).Error()}})
}

func (s *Server) answerState(w http.ResponseWriter, r *http.Request, state states.Wanted) error {
	revision, given, err := condition(r)
	if err != nil {
		return err
	}
	c, err := s.toChange(r, func(c store.Connector) bool { return c.State != state })
	if err != nil {
		return err
	}
	if c.State == state && (!given || revision == c.Revision) {
		s.answerStored(w, c, nil, http.StatusOK)
		return nil
	}
	return s.answerWrite(w, r, store.Write{Name: c.Name, State: state, IfRevision: revision, RequestID: requestID(r)}, nil, http.StatusOK)
}

// restart asks the owners to stop and start one task or all tasks. The answer says only that this was stored.
func (s *Server) restart(w http.ResponseWriter, r *http.Request) error {
	text := r.PathValue("task") // empty: all
	task, notNumber := strconv.Atoi(cmp.Or(text, "-1"))
	has := func(c store.Connector) bool {
		return text == "" || notNumber == nil && task >= 0 && task < len(c.Tasks)
	}
	c, err := s.toChange(r, func(c store.Connector) bool { return has(c) && c.State == states.WantRunning })
	switch {
	case err != nil:
		return err
	case !has(c):
		return problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found",
			"connector %q has no task %q; it has %d, from 0", c.Name, text, len(c.Tasks))
	case c.State != states.WantRunning:
		return problem(http.StatusConflict, restapi.ProblemConflict, "Conflict", "connector %q is %s: only a Running one can be restarted", c.Name, c.State)
	}
	id := requestID(r)
	_, err = s.write(r, store.Write{Name: c.Name, IfRevision: anyRevision, RequestID: id, Restart: &store.Restart{ID: id, Task: task}})
	if err != nil {
		return err
	}
	w.WriteHeader(http.StatusAccepted)
	return nil
}

func (s *Server) getStatus(w http.ResponseWriter, r *http.Request) error {
	c, err := s.named(r)
	if err != nil {
		return err
	}
	view := s.backends.Members.View()
	answer(w, http.StatusOK, s.status(c, view, workerNames(view)))
	return nil
}

func (s *Server) getTasks(w http.ResponseWriter, r *http.Request) error {
	c, err := s.named(r)
	if err != nil {
		return err
	}
	answer(w, http.StatusOK, s.tasks(c, s.backends.Members.View()))
	return nil
}

func (s *Server) tasks(c store.Connector, view cluster.View) []restapi.Task {
	shown, names := s.policy(c.Config), workerNames(view)
	out := make([]restapi.Task, 0, len(c.Tasks))
	for i, cfg := range taskConfigs(c) {
		out = append(out, restapi.Task{TaskStatus: s.unitStatus(c, i, view, names), Config: shown.Config(cfg)})
	}
	return out
}

func (s *Server) validate(w http.ResponseWriter, r *http.Request) error {
	var in restapi.Connector
	if err := decode(r, &in); err != nil {
		return err
	}
	before, _ := s.backends.Configs.Get(in.Name)
	_, warnings, err := s.writeOf(in, before.Config)
	out := restapi.Validation{Valid: err == nil, Warnings: warnings}
	if err != nil {
		out.Errors = s.problemOf(err).Errors
	}
	answer(w, http.StatusOK, out)
	return nil
}
