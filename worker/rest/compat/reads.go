package compat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
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

func (o *Routes) clusterInfo(w http.ResponseWriter, _ *http.Request) error {
	ids := o.cfg.Resources.Workers()
	if o.cfg.NewEnvelope {
		answer.JSON(w, http.StatusOK, map[string]any{"status": http.StatusOK, "body": ids})
		return nil
	}
	answer.JSON(w, http.StatusOK, ids)
	return nil
}

func (o *Routes) configs(w http.ResponseWriter, _ *http.Request) error {
	out := configInfo{ConnectorConfigs: map[string]properties{}, TaskConfigs: map[string][]properties{}}
	for _, c := range o.cfg.Resources.All() {
		out.ConnectorConfigs[c.Name] = o.properties(c, c.Config)
		out.TaskConfigs[c.Name] = o.tasks(c)
	}
	answer.JSON(w, http.StatusOK, out)
	return nil
}

// properties is a config of the connector, or of a task of it, as it may be shown.
func (o *Routes) properties(c store.Connector, cfg map[string]string) properties {
	return properties{o.cfg.Resources.Policy(c.Config).Config(cfg)}
}

func (o *Routes) tasks(c store.Connector) []properties {
	out := make([]properties, 0, len(c.Tasks))
	for _, cfg := range answer.TaskConfigs(c) {
		out = append(out, o.properties(c, cfg))
	}
	return out
}

func (o *Routes) connectors(w http.ResponseWriter, _ *http.Request) error {
	out := map[string]properties{}
	for _, c := range o.cfg.Resources.All() {
		out[c.Name] = o.properties(c, c.Config)
	}
	answer.JSON(w, http.StatusOK, out)
	return nil
}

func (o *Routes) connector(w http.ResponseWriter, r *http.Request) error {
	c, err := o.named(r)
	if err == nil {
		answer.JSON(w, http.StatusOK, o.properties(c, c.Config))
	}
	return err
}

func (o *Routes) connectorTask(w http.ResponseWriter, r *http.Request) error {
	c, err := o.named(r)
	if err != nil {
		return err
	}
	own, err := json.Marshal(o.properties(c, c.Config))
	if err != nil {
		return err
	}
	tasks, err := json.Marshal(o.tasks(c))
	if err != nil {
		return err
	}
	answer.Text(w, http.StatusOK, fmt.Sprintf("ConnectorConfigs:%s\nTaskConfigs:%s", own, tasks))
	return nil
}

func (o *Routes) named(r *http.Request) (store.Connector, error) {
	name := r.PathValue("name")
	c, ok := o.cfg.Resources.Get(name)
	if !ok {
		return c, notFound(name)
	}
	return c, nil
}

func notFound(name string) *restapi.Problem {
	return answer.Problem(http.StatusNotFound, restapi.ProblemNotFound, "Not found",
		"there is no connector %q: see /getConnectors, or make it with /connectors/create/%s?config={…}", name, name)
}

func (o *Routes) status(w http.ResponseWriter, r *http.Request) error {
	c, err := o.named(r)
	switch {
	case err != nil && o.cfg.Resources.Epoch(r.PathValue("name")) > 0:
		answer.Text(w, http.StatusOK, "removed")
	case err != nil:
		return err
	case c.State == states.WantRunning:
		answer.Text(w, http.StatusOK, "enabled")
	default: // a paused one moves nothing either
		answer.Text(w, http.StatusOK, "disabled")
	}
	return nil
}

func (o *Routes) allocated(w http.ResponseWriter, _ *http.Request) error {
	out := allocated{[]allocatedTask{}, []allocatedTask{}, []allocatedTask{}, []allocatedTask{}, []allocatedTask{}}
	for _, t := range o.cfg.Resources.Local() {
		item := allocatedTask{ConnectorName: t.Connector, TaskID: t.Task, State: strings.ToUpper(string(t.State)), Configs: "{}"}
		if c, ok := o.cfg.Resources.Get(t.Connector); ok && t.Task < len(c.Tasks) {
			b, err := json.Marshal(o.cfg.Resources.Policy(c.Config).Config(c.TaskConfig(t.Task)))
			if err != nil {
				return err
			}
			item.Configs = string(b)
		}
		to := out.list(t)
		*to = append(*to, item)
	}
	answer.JSON(w, http.StatusOK, out)
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
