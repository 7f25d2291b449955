package rest

import (
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store"
)

// specOf returns the Spec of the config's class; one with only the class's name when the class is not known here.
func (s *Server) specOf(cfg map[string]string) connector.Spec {
	class, err := config.ClassOf(cfg)
	if err != nil {
		return connector.Spec{}
	}
	if spec, ok := s.specs.Load(class); ok {
		return spec.(connector.Spec)
	}
	found, err := s.backends.Catalog.Find(class)
	if err != nil {
		return connector.Spec{Class: class}
	}
	spec := found.Spec()
	s.specs.Store(class, spec)
	return spec
}

// policy says what of a connector's values may be shown, its tasks' too: those of which its class knows that they are no
// secrets, and the worker's own. Of a class that is not known here, that is only the latter.
//
// Invariant S1: no secret value is in a REST answer.
func (s *Server) policy(cfg map[string]string) redact.Policy {
	spec := s.specOf(cfg)
	return func(key string) bool { return spec.Secret(key, config.Reserved) }
}

// show turns a stored connector into what the API answers.
func (s *Server) show(c store.Connector) restapi.Connector {
	spec := s.specOf(c.Config)
	cfg := s.policy(c.Config).Config(c.Config)
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
func (s *Server) status(c store.Connector, view cluster.View, names map[int64]string) restapi.ConnectorStatus {
	spec := s.specOf(c.Config)
	own := s.unitStatus(c, allocate.ConnectorTask, view, names)
	out := restapi.ConnectorStatus{
		Name: c.Name, Class: spec.Class, Kind: string(spec.Kind), State: own.State, Desired: string(c.State), Worker: own.Worker,
		Error: own.Error, Epoch: c.Epoch, Revision: c.Revision, Tasks: make([]restapi.TaskStatus, 0, len(c.Tasks)),
		Topics: topicsOf(c.Config, s.policy(c.Config)),
	}
	for i := range c.Tasks {
		// A stopped connector has no tasks but those that still have to end.
		if t := s.unitStatus(c, i, view, names); t.State != restapi.StateStopped || t.Worker != "" {
			out.Tasks = append(out.Tasks, t)
		}
	}
	return out
}

// unitStatus joins what the log says about the unit (who owns it) with what its owner wrote last. A status that was not
// written by the present owner at the present epoch is history: the unit is unassigned until its owner speaks.
func (s *Server) unitStatus(c store.Connector, task int, view cluster.View, names map[int64]string) restapi.TaskStatus {
	out := restapi.TaskStatus{ID: task, State: restapi.StateUnassigned}
	owner, owned := view.Owners[cluster.Unit{Connector: c.Name, Task: task}]
	if !owned {
		if c.State == states.WantStopped {
			out.State = restapi.StateStopped
		}
		return out
	}
	out.Worker, out.Generation = names[owner.Session], owner.Generation
	st, ok := s.backends.Statuses.Get(c.Name, task)
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

// topicsOf returns the RocketMQ topics that the config names, sorted, if they may be shown. Topics that a rename format makes
// are left out.
func topicsOf(cfg map[string]string, shown redact.Policy) []string {
	if f := cfg["topic.rename.format"]; f != "" && f != "${topic}" && cfg["topicNames"] == "" {
		return nil
	}
	var out []string
	for _, key := range append(connector.TopicKeys(), "kafka.topics") {
		if !shown.Hides(key, cfg[key]) {
			out = append(out, connector.SplitTopics(cfg[key])...)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// clusterView turns the view into what the API answers; members are sorted by worker id.
func (s *Server) clusterView(view cluster.View) restapi.Cluster {
	out := restapi.Cluster{ID: s.cfg.ClusterID, Worker: s.cfg.WorkerID, Joined: view.Joined, Members: make([]restapi.Member, 0, len(view.Members))}
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
	if err := s.backends.stored(); err != nil {
		out.StoresNotWritten = err.Error()
	}
	if err := s.backends.disputed(); err != nil {
		out.LogDisputed = err.Error()
	}
	out.Warnings = s.backends.warnings()
	slices.SortFunc(out.Members, func(a, b restapi.Member) int { return strings.Compare(a.Worker, b.Worker) })
	return out
}

// plugins turns the catalog into what the API answers.
func plugins(specs []connector.Spec) []restapi.Plugin {
	out := make([]restapi.Plugin, 0, len(specs))
	for _, spec := range specs {
		p := restapi.Plugin{Class: spec.Class, Aliases: spec.Aliases, Kind: string(spec.Kind), Version: spec.Version, Keys: make([]restapi.PluginKey, 0, len(spec.Keys))}
		for _, k := range spec.Keys {
			p.Keys = append(p.Keys, restapi.PluginKey{
				Name: k.Name, Type: string(k.Type), Default: k.Default, Required: k.Required, Secret: k.Secret, Enum: k.Enum, Doc: k.Doc,
			})
		}
		out = append(out, p)
	}
	return out
}

// maxTaskConfigs bounds what answers repeat of a connector's settings for each of its tasks, in bytes.
const maxTaskConfigs = 4 << 20

// taskConfigs are the whole configs of a connector's tasks; what each has besides the connector's where that would be too much.
func taskConfigs(c store.Connector) []map[string]string {
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
