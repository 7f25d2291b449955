package compat

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/access"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/keep"
	"github.com/rocketmq-connect/operator/worker/rest/queryconfig"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

const done = "success"

// anyRevision is store.Write.IfRevision for whatever is stored.
const anyRevision int64 = -1

// change carries out a change, and returns the line that says what it did.
type change func(r *http.Request) (string, error)

// changing answers a route that changes something by GET.
func (o *Routes) changing(h change) func(http.ResponseWriter, *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		if r.Method != http.MethodGet { // the mux sends HEAD here, too
			w.Header().Set("Allow", http.MethodGet)
			return answer.Problem(http.StatusMethodNotAllowed, "about:blank", "Method not allowed", "use GET")
		}
		if refusal := access.Unclear(r); refusal != nil {
			o.cfg.Refuse(w, r, refusal, o.Fail)
			return nil
		}
		line, err := h(r)
		if err == nil {
			answer.Text(w, http.StatusOK, line)
		}
		return err
	}
}

// synced has a change decided by all that was stored when the request came.
func (o *Routes) synced(h change) change {
	return func(r *http.Request) (string, error) {
		r, cancel := o.within(r)
		defer cancel()
		if err := o.cfg.Resources.Sync(r.Context()); err != nil {
			return "", err
		}
		return h(r)
	}
}

// within bounds all that the request waits for.
func (o *Routes) within(r *http.Request) (*http.Request, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(r.Context(), o.cfg.Timeout)
	return r.WithContext(ctx), cancel
}

func (o *Routes) reload(r *http.Request) (string, error) {
	ok, err := o.cfg.Resources.Reload(r.Context())
	switch {
	case err != nil:
		return "", fmt.Errorf("reloading plugins: %w", err)
	case !ok: // scripts look for the first word
		return done + "; nothing was reloaded: connectors are built into this worker, and it loads none from pluginPaths", nil
	}
	return done, nil
}

func (o *Routes) create(r *http.Request) (string, error) {
	name := r.PathValue("name")
	cfg, err := queryConfig(r)
	if err != nil {
		return "", err
	}
	if before, ok := o.cfg.Resources.Get(name); ok {
		if maps.Equal(before.Config, cfg) { // sent again
			return done, nil
		}
		return "", answer.Problem(http.StatusConflict, restapi.ProblemConflict, "Conflict",
			"connector %q exists already: change it with /connectors/update/%s?config={…}", name, name)
	}
	if _, _, missing := keep.Masked(cfg, nil); len(missing) > 0 {
		return "", answer.Malformed("%s", &keep.MissingError{Key: missing[0]})
	}
	return o.store(r, store.Write{Name: name, Config: cfg, State: states.WantRunning, IfRevision: 0})
}

func queryConfig(r *http.Request) (map[string]string, error) {
	cfg, err := queryconfig.Parse(r.URL.RawQuery)
	if err != nil {
		return nil, answer.Malformed("%s", err)
	}
	return cfg, nil
}

// update puts the given settings over the stored ones; the others stay as they are.
func (o *Routes) update(r *http.Request) (string, error) {
	c, err := o.named(r)
	if err != nil {
		return "", err
	}
	changes, err := queryConfig(r)
	if err != nil {
		return "", err
	}
	return o.merge(r, c, changes)
}

func (o *Routes) taskNum(r *http.Request) (string, error) {
	c, err := o.named(r)
	if err != nil {
		return "", err
	}
	num := r.PathValue("num")
	if n, err := strconv.Atoi(num); err != nil || n < 1 || n > config.MaxTasksLimit {
		return "", answer.Malformed("the number of tasks must be from 1 to %d, not %q", config.MaxTasksLimit, num)
	}
	key := config.OldTasksKey
	if c.Config[config.MaxTasksKey] != "" { // it is the one that counts
		key = config.MaxTasksKey
	}
	return o.merge(r, c, map[string]string{key: num})
}

func (o *Routes) merge(r *http.Request, c store.Connector, changes map[string]string) (string, error) {
	changes, kept, missing := keep.Masked(changes, c.Config)
	if len(missing) > 0 {
		return "", answer.Malformed("%s", &keep.MissingError{Key: missing[0]})
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
	if err := o.cfg.Resources.Kept(c.Config, cfg, kept); err != nil {
		return "", err
	}
	return o.store(r, store.Write{Name: c.Name, Config: cfg, IfRevision: c.Revision})
}

func (o *Routes) store(r *http.Request, w store.Write) (string, error) {
	warnings, err := o.cfg.Resources.Check(w.Name, w.Config)
	if err != nil {
		return "", err
	}
	w.RequestID = o.cfg.RequestID(r)
	if err := o.cfg.Resources.Store(r.Context(), w); err != nil {
		return "", err
	}
	return strings.Join(append([]string{done}, warnings...), "; "), nil
}

// all does to every connector what single does to one. A failure does not keep the others from it; the first one is
// told.
func (o *Routes) all(r *http.Request) (string, error) {
	if _, err := verb(r); err != nil { // a mistake even if there is no connector
		return "", err
	}
	bounded, cancel := o.within(r)
	defer cancel()
	if err := o.cfg.Resources.Sync(bounded.Context()); err != nil {
		return "", err
	}
	var first error
	for _, c := range o.cfg.Resources.All() {
		if err := o.each(r, c.Name); err != nil && first == nil {
			first = err
		}
	}
	if first != nil {
		return "", first
	}
	return done, nil
}

// each is apply for one of all connectors, which waits no longer because of the others.
func (o *Routes) each(r *http.Request, name string) error {
	r, cancel := o.within(r)
	defer cancel()
	return o.apply(r, name, o.cfg.RequestID(r)+"-"+name)
}

func (o *Routes) single(r *http.Request) (string, error) {
	return done, o.apply(r, r.PathValue("name"), o.cfg.RequestID(r))
}

// apply enables, disables or removes the connector, as the path says.
func (o *Routes) apply(r *http.Request, name, id string) error {
	state, err := verb(r)
	if err != nil {
		return err
	}
	c, exists := o.cfg.Resources.Get(name)
	switch {
	case state == "": // also one that is gone: remove finishes what broke off
		return o.cfg.Resources.Remove(r.Context(), name, id)
	case !exists:
		return notFound(name)
	case c.State == state:
		return nil
	}
	return o.cfg.Resources.Store(r.Context(), store.Write{Name: name, State: state, IfRevision: anyRevision, RequestID: id})
}

// verb returns the state that the path asks for; empty: removal.
func verb(r *http.Request) (states.Wanted, error) {
	switch verb := r.PathValue("verb"); verb {
	case "enable":
		return states.WantRunning, nil
	case "disable":
		return states.WantStopped, nil
	case "remove":
		return "", nil
	default:
		return "", answer.Problem(
			http.StatusNotFound,
			restapi.ProblemNotFound,
			"Not found",
			"there is no %q: use enable, disable or remove",
			verb,
		)
	}
}
