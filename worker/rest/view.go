package rest

import (
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/rest/answer"
	"github.com/rocketmq-connect/operator/worker/rest/check"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// views turns what is stored and seen into what the API answers.
type views struct {
	classes  *check.Classes
	backends Backends
	// clusterID and workerID are shown.
	clusterID, workerID string
}

// connector is a stored connector.
func (v *views) connector(c store.Connector) restapi.Connector {
	spec := v.classes.Spec(c.Config)
	cfg := check.PolicyOf(spec).Config(c.Config)
	for key := range cfg {
		if config.SetByField(key) {
			delete(cfg, key)
		}
	}
	tasks, err := config.MaxTasks(c.Config)
	if err != nil {
		tasks = 0
	}
	return restapi.Connector{
		Name: c.Name, Class: spec.Class, Kind: string(spec.Kind), State: string(c.State), Config: cfg, MaxTasks: tasks,
		Epoch: c.Epoch, Revision: c.Revision,
	}
}

// status says what the workers see of the connector, by the view given.
func (v *views) status(c store.Connector, view cluster.View, names map[int64]string) restapi.ConnectorStatus {
	spec := v.classes.Spec(c.Config)
	own := v.unit(c, allocate.ConnectorTask, view, names)
	out := restapi.ConnectorStatus{
		Name: c.Name, Class: spec.Class, Kind: string(spec.Kind), State: own.State, Desired: string(c.State), Worker: own.Worker,
		Error: own.Error, Epoch: c.Epoch, Revision: c.Revision, Tasks: make([]restapi.TaskStatus, 0, len(c.Tasks)),
		Topics: topicsOf(c.Config, spec),
	}
	for i := range c.Tasks {
		// A stopped connector has no tasks but those that still have to end.
		if t := v.unit(c, i, view, names); t.State != restapi.StateStopped || t.Worker != "" {
			out.Tasks = append(out.Tasks, t)
		}
	}
	return out
}

// unit joins what the log says about the unit (who owns it) with what its owner wrote last. A status that was not
// written by the present owner at the present epoch is history: the unit is unassigned until its owner speaks.
func (v *views) unit(c store.Connector, task int, view cluster.View, names map[int64]string) restapi.TaskStatus {
	out := restapi.TaskStatus{ID: task, State: restapi.StateUnassigned}
	owner, owned := view.Owners[cluster.Unit{Connector: c.Name, Task: task}]
	if !owned {
		if c.State == states.WantStopped {
			out.State = restapi.StateStopped
		}
		return out
	}
	out.Worker, out.Generation = names[owner.Session], owner.Generation
	st, ok := v.backends.Statuses.Get(c.Name, task)
	if !ok || st.Generation != owner.Generation || st.Epoch != owner.Epoch {
		return out
	}
	out.State, out.Error, out.Warning, out.Restarts = string(st.State), st.Error, st.Warning, st.Restarts
	if !st.NextRestart.IsZero() {
		next := st.NextRestart
		out.NextRestart = &next
	}
	return out
}

// workerNames maps the view's sessions to worker ids.
func workerNames(view cluster.View) map[int64]string {
	names := make(map[int64]string, len(view.Members))
	for _, m := range view.Members {
		names[m.Session] = m.Worker
	}
	return names
}

// topicsOf returns the topics that the config names, sorted, if they may be shown: those that a sink reads, and those
// that a source's records go to. Topics that a rename format makes are left out.
func topicsOf(cfg map[string]string, spec connector.Spec) []string {
	if f := cfg["topic.rename.format"]; f != "" && f != "${topic}" && cfg["topicNames"] == "" {
		return nil
	}
	shown := check.PolicyOf(spec)
	var out []string
	for key, value := range cfg {
		if spec.NamesTopics(key) && !shown.Hides(key, value) {
			out = append(out, connector.SplitTopics(value)...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// tasks are the connector's tasks with their configs.
func (v *views) tasks(c store.Connector, view cluster.View) []restapi.Task {
	shown, names := v.classes.Policy(c.Config), workerNames(view)
	out := make([]restapi.Task, 0, len(c.Tasks))
	for i, cfg := range answer.TaskConfigs(c) {
		out = append(out, restapi.Task{TaskStatus: v.unit(c, i, view, names), Config: shown.Config(cfg)})
	}
	return out
}

// cluster is the view of the cluster; members are sorted by worker id.
func (v *views) cluster(view cluster.View) restapi.Cluster {
	out := restapi.Cluster{ID: v.clusterID, Worker: v.workerID, Joined: view.Joined, Members: make([]restapi.Member, 0, len(view.Members))}
	tasks := map[int64]int{}
	for unit, owner := range view.Owners {
		if unit.Task != allocate.ConnectorTask {
			tasks[owner.Session]++
		}
	}
	for _, m := range view.Members {
		out.Members = append(out.Members, restapi.Member{
			Worker: m.Worker, Session: m.Session, Address: m.Address, Version: m.Version, Eligible: m.Eligible, Tasks: tasks[m.Session],
		})
	}
	if err := v.backends.stored(); err != nil {
		out.StoresNotWritten = err.Error()
	}
	if err := v.backends.disputed(); err != nil {
		out.LogDisputed = err.Error()
	}
	out.Warnings = v.backends.warnings()
	slices.SortFunc(out.Members, func(a, b restapi.Member) int { return strings.Compare(a.Worker, b.Worker) })
	return out
}

// plugins turns the catalog into what the API answers.
func plugins(specs []connector.Spec) []restapi.Plugin {
	out := make([]restapi.Plugin, 0, len(specs))
	for _, spec := range specs {
		p := restapi.Plugin{
			Class:   spec.Class,
			Aliases: spec.Aliases,
			Kind:    string(spec.Kind),
			Version: spec.Version,
			Keys:    make([]restapi.PluginKey, 0, len(spec.Keys)),
		}
		for _, k := range spec.Keys {
			p.Keys = append(p.Keys, restapi.PluginKey{
				Name: k.Name, Type: string(k.Type), Default: k.Default, Required: k.Required, Secret: k.Secret, Enum: k.Enum, Doc: k.Doc,
			})
		}
		out = append(out, p)
	}
	return out
}
