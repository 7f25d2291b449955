package rest

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/keep"
	"github.com/rocketmq-connect/operator/worker/rest/queryconfig"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

func (s *Server) oldReload(r *http.Request) (string, error) {
	if s.backends.Reload == nil { // scripts look for the first word
		return done + "; nothing was reloaded: connectors are built into this worker, and it loads none from pluginPaths", nil
	}
	if err := s.backends.Reload(r.Context()); err != nil {
		return "", fmt.Errorf("reloading plugins: %w", err)
	}
	return done, nil
}

func (s *Server) oldCreate(r *http.Request) (string, error) {
	name := r.PathValue("name")
	cfg, err := queryConfig(r)
	if err != nil {
		return "", err
	}
	if before, ok := s.backends.Configs.Get(name); ok {
		if maps.Equal(before.Config, cfg) { // sent again
			return done, nil
		}
		return "", problem(http.StatusConflict, restapi.ProblemConflict, "Conflict",
			"connector %q exists already: change it with /connectors/update/%s?config={…}", name, name)
	}
	if _, _, missing := keep.Masked(cfg, nil); len(missing) > 0 {
		return "", malformed("%s", errNothingStored(missing[0]))
	}
	return s.oldStore(r, store.Write{Name: name, Config: cfg, State: states.WantRunning, IfRevision: 0})
}

func queryConfig(r *http.Request) (map[string]string, error) {
	cfg, err := queryconfig.Parse(r.URL.RawQuery)
	if err != nil {
		return nil, malformed("%s", err)
	}
	return cfg, nil
}

// oldUpdate puts the given settings over the stored ones; the others stay as they are.
func (s *Server) oldUpdate(r *http.Request) (string, error) {
	c, err := s.oldNamed(r)
	if err != nil {
		return "", err
	}
	changes, err := queryConfig(r)
	if err != nil {
		return "", err
	}
	return s.oldMerge(r, c, changes)
}

func (s *Server) oldTaskNum(r *http.Request) (string, error) {
	c, err := s.oldNamed(r)
	if err != nil {
		return "", err
	}
	num := r.PathValue("num")
	if n, err := strconv.Atoi(num); err != nil || n < 1 || n > config.MaxTasksLimit {
		return "", malformed("the number of tasks must be from 1 to %d, not %q", config.MaxTasksLimit, num)
	}
	key := config.OldTasksKey
	if c.Config[config.MaxTasksKey] != "" { // it is the one that counts
		key = config.MaxTasksKey
	}
	return s.oldMerge(r, c, map[string]string{key: num})
}

func (s *Server) oldMerge(r *http.Request, c store.Connector, changes map[string]string) (string, error) {
	changes, kept, missing := keep.Masked(changes, c.Config)
	if len(missing) > 0 {
		return "", malformed("%s", errNothingStored(missing[0]))
	}
	for key := range c.Config {
		if _, sent := changes[key]; !sent {
			kept = append(kept, key)
		}
	}
	cfg := maps.Clone(c.Config)
	maps.Copy(cfg, changes)
	if maps.Equal(cfg, c.Config) {
		return done, nil
	}
	var found findings
	if found.moved(s.keeps(c.Config, cfg, kept)); len(found.errs) > 0 {
		return "", invalid(found.errs)
	}
	return s.oldStore(r, store.Write{Name: c.Name, Config: cfg, IfRevision: c.Revision})
}

func (s *Server) oldStore(r *http.Request, w store.Write) (string, error) {
	found := s.check(w.Name, w.Config)
	found.hide(redact.New(w.Config, s.policy(w.Config)))
	if len(found.errs) > 0 {
		return "", invalid(found.errs)
	}
	w.RequestID = requestID(r)
	if _, err := s.write(r, w); err != nil {
		return "", err
	}
	return strings.Join(append([]string{done}, found.warnings...), "; "), nil
}

// oldAll does to every connector what oldSingle does to one. The first failure does not keep the others from it.
func (s *Server) oldAll(r *http.Request) (string, error) {
	if _, err := oldVerb(r); err != nil { // a mistake even if there is no connector
		return "", err
	}
	if err := s.sync(r); err != nil {
		return "", err
	}
	var errs []error
	for _, c := range s.backends.Configs.All() {
		errs = append(errs, s.oldApply(r, c.Name, requestID(r)+"-"+c.Name))
	}
	if err := errors.Join(errs...); err != nil {
		return "", s.problemOf(parts(err)[0])
	}
	return done, nil
}

func (s *Server) oldSingle(r *http.Request) (string, error) {
	return done, s.oldApply(r, r.PathValue("name"), requestID(r))
}

// oldApply enables, disables or removes the connector, as the path says.
func (s *Server) oldApply(r *http.Request, name, id string) error {
	state, err := oldVerb(r)
	if err != nil {
		return err
	}
	c, exists := s.backends.Configs.Get(name)
	switch {
	case state == "": // also one that is gone: remove finishes what broke off
		return s.remove(r, removal{name: name, revision: anyRevision, requestID: id})
	case !exists:
		return oldNotFound(name)
	case c.State == state:
		return nil
	}
	_, err = s.write(r, store.Write{Name: name, State: state, IfRevision: anyRevision, RequestID: id})
	return err
}

// oldVerb returns the state that the path asks for; empty: removal.
func oldVerb(r *http.Request) (states.Wanted, error) {
	switch verb := r.PathValue("verb"); verb {
	case "enable":
		return states.WantRunning, nil
	case "disable":
		return states.WantStopped, nil
	case "remove":
		return "", nil
	default:
		return "", problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found", "there is no %q: use enable, disable or remove", verb)
	}
}
