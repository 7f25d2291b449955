package rest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// properties is how the older runtimes print a config.
type properties struct {
	Properties map[string]string `json:"properties"`
}

// configInfo is what getConfigInfo and getConnectorTask answer.
type configInfo struct {
	ConnectorConfigs map[string]properties   `json:"connectorConfigs"`
	TaskConfigs      map[string][]properties `json:"taskConfigs"`
}

// allocated is what getAllocatedTask answers.
type allocated struct {
	Pending  []allocatedTask `json:"pendingTasks"`
	Running  []allocatedTask `json:"runningTasks"`
	Stopping []allocatedTask `json:"stoppingTasks"`
	Stopped  []allocatedTask `json:"stoppedTasks"`
	Error    []allocatedTask `json:"errorTasks"`
}

type allocatedTask struct {
	ConnectorName string `json:"connectorName"`
	TaskID        int    `json:"taskId"`
	// Configs is a JSON object in a string, as it always was.
	Configs string `json:"configs"`
	State   string `json:"state"`
}

const done = "success"

// compat serves the routes of the older runtimes: all by GET, short texts or bare JSON. They exist for scripts that are
// written against them; everything new belongs in the resource API.
func (s *Server) compat() http.Handler {
	mux := http.NewServeMux()
	handle := func(path string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle("GET "+path, s.route(path, func(w http.ResponseWriter, r *http.Request) {
			if err := h(w, r); err != nil {
				s.failOld(w, r, err)
			}
		}))
	}
	handle("/getClusterInfo", s.oldClusterInfo)
	handle("/getConfigInfo", s.oldConfigs)
	handle("/getConnectorTask", s.oldConfigs)
	handle("/getConnectorTask/{name}", s.oldConnectorTask)
	handle("/getConnectors", s.oldConnectors)
	handle("/getConnectors/{name}", s.oldConnector)
	handle("/getConnectorsStatus/{name}", s.oldStatus)
	handle("/getAllocatedTask", s.oldAllocated)
	for path, h := range map[string]func(*http.Request) (string, error){
		"/plugin/reload":                   s.oldReload,
		"/connectors/create/{name}":        s.oldChange(s.oldCreate),
		"/connectors/update/{name}":        s.oldChange(s.oldUpdate),
		"/connectors/taskNum/{name}/{num}": s.oldChange(s.oldTaskNum),
		"/connectors/all/{verb}":           s.oldAll,
		"/connectors/single/{name}/{verb}": s.oldChange(s.oldSingle),
	} {
		handle(path, s.changing(h))
	}
	mux.HandleFunc("GET /", func(w http.ResponseWriter, r *http.Request) {
		path := redact.Redactor{}.Text(r.URL.Path)
		text(w, http.StatusNotFound, "Not found: "+path+"; the resource API begins at "+restapi.Prefix)
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if trimmed := strings.TrimRight(r.URL.Path, "/"); trimmed != "" && trimmed != r.URL.Path { // as the older servers took it
			u := *r.URL
			u.Path, u.RawPath = trimmed, ""
			r = r.Clone(r.Context())
			r.URL = &u
		}
		mux.ServeHTTP(w, r)
	})
}

// oldChange has a change decided by all that was stored when the request came.
func (s *Server) oldChange(h func(*http.Request) (string, error)) func(*http.Request) (string, error) {
	return func(r *http.Request) (string, error) {
		r, cancel := within(r)
		defer cancel()
		if err := s.sync(r); err != nil {
			return "", err
		}
		return h(r)
	}
}

// failOld answers with one line that says what was wrong and what to do.
func (s *Server) failOld(w http.ResponseWriter, r *http.Request, err error) {
	p := s.failure(r, err)
	line := "failed! " + p.Detail
	if p.Status == http.StatusInternalServerError {
		line += " " + requestID(r)
	}
	text(w, p.Status, strings.ReplaceAll(line, "\n", " "))
}

func (s *Server) oldClusterInfo(w http.ResponseWriter, _ *http.Request) error {
	ids := []string{}
	for _, m := range s.backends.Members.View().Members {
		ids = append(ids, m.Worker)
	}
	slices.Sort(ids)
	if s.newEnvelope() {
		answer(w, http.StatusOK, map[string]any{"status": http.StatusOK, "body": ids})
		return nil
	}
	answer(w, http.StatusOK, ids)
	return nil
}

func (s *Server) oldConfigs(w http.ResponseWriter, _ *http.Request) error {
	out := configInfo{ConnectorConfigs: map[string]properties{}, TaskConfigs: map[string][]properties{}}
	for _, c := range s.backends.Configs.All() {
		out.ConnectorConfigs[c.Name] = s.oldProperties(c, c.Config)
		out.TaskConfigs[c.Name] = s.oldTasks(c)
	}
	answer(w, http.StatusOK, out)
	return nil
}

// oldProperties is a config of the connector, or of a task of it, as it may be shown.
func (s *Server) oldProperties(c store.Connector, cfg map[string]string) properties {
	return properties{s.policy(c.Config).Config(cfg)}
}

func (s *Server) oldTasks(c store.Connector) []properties {
	out := make([]properties, 0, len(c.Tasks))
	for _, cfg := range taskConfigs(c) {
		out = append(out, s.oldProperties(c, cfg))
	}
	return out
}

func (s *Server) oldConnectors(w http.ResponseWriter, _ *http.Request) error {
	out := map[string]properties{}
	for _, c := range s.backends.Configs.All() {
		out[c.Name] = s.oldProperties(c, c.Config)
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (s *Server) oldConnector(w http.ResponseWriter, r *http.Request) error {
	c, err := s.oldNamed(r)
	if err == nil {
		answer(w, http.StatusOK, s.oldProperties(c, c.Config))
	}
	return err
}

func (s *Server) oldConnectorTask(w http.ResponseWriter, r *http.Request) error {
	c, err := s.oldNamed(r)
	if err != nil {
		return err
	}
	own, err := json.Marshal(s.oldProperties(c, c.Config))
	if err != nil {
		return err
	}
	tasks, err := json.Marshal(s.oldTasks(c))
	if err != nil {
		return err
	}
	text(w, http.StatusOK, fmt.Sprintf("ConnectorConfigs:%s\nTaskConfigs:%s", own, tasks))
	return nil
}

func (s *Server) oldNamed(r *http.Request) (store.Connector, error) {
	name := r.PathValue("name")
	c, ok := s.backends.Configs.Get(name)
	if !ok {
		return c, oldNotFound(name)
	}
	return c, nil
}

func oldNotFound(name string) *restapi.Problem {
	return problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found",
		"there is no connector %q: see /getConnectors, or make it with /connectors/create/%s?config={…}", name, name)
}

func (s *Server) oldStatus(w http.ResponseWriter, r *http.Request) error {
	c, err := s.oldNamed(r)
	switch {
	case err != nil && s.backends.Configs.Epoch(r.PathValue("name")) > 0:
		text(w, http.StatusOK, "removed")
	case err != nil:
		return err
	case c.State == states.WantRunning:
		text(w, http.StatusOK, "enabled")
	default: // a paused one moves nothing either
		text(w, http.StatusOK, "disabled")
	}
	return nil
}

func (s *Server) oldAllocated(w http.ResponseWriter, _ *http.Request) error {
	out := allocated{[]allocatedTask{}, []allocatedTask{}, []allocatedTask{}, []allocatedTask{}, []allocatedTask{}}
	var local []LocalTask
	if s.backends.Local != nil {
		local = s.backends.Local()
	}
	for _, t := range local {
		item := allocatedTask{ConnectorName: t.Connector, TaskID: t.Task, State: strings.ToUpper(string(t.State)), Configs: "{}"}
		if c, ok := s.backends.Configs.Get(t.Connector); ok && t.Task < len(c.Tasks) {
			b, err := json.Marshal(s.policy(c.Config).Config(c.TaskConfig(t.Task)))
			if err != nil {
				return err
			}
			item.Configs = string(b)
		}
		to := out.list(t)
		*to = append(*to, item)
	}
	answer(w, http.StatusOK, out)
	return nil
}

func (a *allocated) list(t LocalTask) *[]allocatedTask {
	switch {
	case t.Stopping:
		return &a.Stopping
	case t.State == states.Running:
		return &a.Running
	case t.State == states.Paused, t.State == states.Stopped:
		return &a.Stopped
	case t.State == states.Failed, t.State == states.Restarting:
		return &a.Error
	}
	return &a.Pending
}
