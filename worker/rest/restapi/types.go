// Package restapi holds the values of the worker's resource API (/api/v1): what the server sends and what the operator
// and other clients read. It has no behaviour beyond names and small accessors.
package restapi

import (
	"time"

	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/states"
)

// Prefix is where the resource API begins.
const Prefix = "/api/v1"

// Mask stands for a secret config value in every answer. Sent back in a PUT it keeps the stored value.
const Mask = redact.Mask

// IdempotencyHeader carries an id of the caller's choice: a write that is sent again with the id it had is answered as
// the first one was.
const IdempotencyHeader = "Idempotency-Key"

// The states of connectors and tasks. Running, Paused and Stopped can be asked for; the others are only observed.
const (
	StateRunning = string(states.Running)
	// StatePaused keeps tasks with their workers but moves nothing.
	StatePaused = string(states.Paused)
	// StateStopped has no tasks; config and positions are kept.
	StateStopped = string(states.Stopped)
	StateFailed  = string(states.Failed)
	// StateUnassigned means that no worker has it just now.
	StateUnassigned = string(states.Unassigned)
	// StateRestarting means that it failed and waits for its next attempt.
	StateRestarting = string(states.Restarting)
)

// Connector is a connector's wanted configuration.
type Connector struct {
	// Name is unique in the cluster: RocketMQ's characters for names (letters, digits, % | - _), at most 120.
	Name string `json:"name"`
	// Class is the connector class. Empty in a request: taken from config or inferred from its keys.
	Class string `json:"class,omitempty"`
	// Kind is Source or Sink. Answers only; ignored in requests.
	Kind string `json:"kind,omitempty"`
	// State is what was asked for: Running, Paused or Stopped. Empty in a request: Running for a new connector, else
	// what it was.
	State string `json:"state,omitempty"`
	// Config holds the connector's own settings, without class and number of tasks. Secret values are Mask.
	Config map[string]string `json:"config"`
	// MaxTasks is how many tasks the connector may have. 0 in a request: 1.
	MaxTasks int `json:"maxTasks,omitempty"`
	// Epoch is the version of config and task set; Revision that of the whole resource, and its ETag. Answers only.
	Epoch    int64 `json:"epoch,omitempty"`
	Revision int64 `json:"revision,omitempty"`
	// Warnings names settings that have no effect. Answers to writes only.
	Warnings []string `json:"warnings,omitempty"`
}

// StateRequest is the body of PUT connectors/{name}/state.
type StateRequest struct {
	State string `json:"state"`
}

// ConnectorStatus is what the workers see of a connector.
type ConnectorStatus struct {
	Name  string `json:"name"`
	Class string `json:"class,omitempty"`
	Kind  string `json:"kind,omitempty"`
	// State is observed; Desired is what was asked for.
	State   string `json:"state"`
	Desired string `json:"desired"`
	// Worker has the connector itself; empty when none has.
	Worker string `json:"worker,omitempty"`
	// Error says why the connector itself (not a task) failed.
	Error    string       `json:"error,omitempty"`
	Epoch    int64        `json:"epoch"`
	Revision int64        `json:"revision"`
	Tasks    []TaskStatus `json:"tasks"`
	// Topics are the RocketMQ topics that the config names.
	Topics []string `json:"topics,omitempty"`
}

// TaskStatus is what the workers see of a task.
type TaskStatus struct {
	ID         int    `json:"id"`
	State      string `json:"state"`
	Worker     string `json:"worker,omitempty"`
	Generation int64  `json:"generation,omitempty"`
	Error      string `json:"error,omitempty"`
	// Warning is what there is to know of a task that runs: records that wait for a broker, for example.
	Warning string `json:"warning,omitempty"`
	// Restarts counts the automatic restarts of this owner; NextRestart is when the next one is due, nil when none is.
	Restarts    int        `json:"restarts,omitempty"`
	NextRestart *time.Time `json:"nextRestart,omitempty"`
}

// Task is a task with its config (secret values masked).
type Task struct {
	TaskStatus
	Config map[string]string `json:"config"`
}

// Cluster is the view of the worker that answers.
type Cluster struct {
	// ID is the connectClusterId.
	ID string `json:"id"`
	// Worker is the id of the worker that answers; Joined says whether it is a live member.
	Worker  string   `json:"worker"`
	Joined  bool     `json:"joined"`
	Members []Member `json:"members"`
	// StoresNotWritten says which stores take nothing for longer than a session, and why; empty while they do.
	StoresNotWritten string `json:"storesNotWritten,omitempty"`
	// LogDisputed says who makes something else of the cluster log while nobody can tell who is wrong; empty otherwise.
	LogDisputed string `json:"logDisputed,omitempty"`
	// Warnings says what is wrong with the internal topics though the workers can work with them.
	Warnings []string `json:"warnings,omitempty"`
}

// StoresNotWritten is what Cluster.StoresNotWritten begins with, and what an unready worker says then after "not ready:
// ".
const StoresNotWritten = "stores not written: "

// LogDisputed is the same for Cluster.LogDisputed.
const LogDisputed = "cluster log disputed: "

// Member is a live worker.
type Member struct {
	Worker  string `json:"worker"`
	Session int64  `json:"session"`
	// Address is host:port of its REST API.
	Address string `json:"address,omitempty"`
	Version string `json:"version,omitempty"`
	// Eligible is false while the worker comes and goes too often to be given tasks.
	Eligible bool `json:"eligible"`
	// Tasks is how many tasks it owns.
	Tasks int `json:"tasks"`
}

// Plugin is a connector class that can be used.
type Plugin struct {
	Class   string      `json:"class"`
	Aliases []string    `json:"aliases,omitempty"`
	Kind    string      `json:"kind"`
	Version string      `json:"version,omitempty"`
	Keys    []PluginKey `json:"keys"`
}

// PluginKey is one setting of a class.
type PluginKey struct {
	Name     string   `json:"name"`
	Type     string   `json:"type"`
	Default  string   `json:"default,omitempty"`
	Required bool     `json:"required,omitempty"`
	Secret   bool     `json:"secret,omitempty"`
	Enum     []string `json:"enum,omitempty"`
	Doc      string   `json:"doc,omitempty"`
}

// Validation is the answer of PUT validate.
type Validation struct {
	Valid    bool         `json:"valid"`
	Errors   []FieldError `json:"errors,omitempty"`
	Warnings []string     `json:"warnings,omitempty"`
}

// The types of watch events. A stream that begins again sends snapshot, then cluster and one connector event each for
// the whole state, then synced; a resumed one sends the changes missed, then synced.
const (
	// EventSnapshot says that the whole state follows: forget what you hold.
	EventSnapshot = "snapshot"
	// EventConnector brings the status of a connector that is new or changed.
	EventConnector = "connector"
	// EventDeleted names a connector that is gone.
	EventDeleted = "deleted"
	// EventCluster brings the new view.
	EventCluster = "cluster"
	// EventSynced says that everything up to now was sent.
	EventSynced = "synced"
	// EventPing shows that the stream lives.
	EventPing = "ping"
)

// WatchEvent is one line of the watch stream (NDJSON).
type WatchEvent struct {
	// Revision is where to resume: ?from=Revision. It belongs to the worker process that sent it; another answers 410.
	Revision int64  `json:"revision"`
	Type     string `json:"type"`
	// Name is the connector's, for connector and deleted.
	Name      string           `json:"name,omitempty"`
	Connector *ConnectorStatus `json:"connector,omitempty"`
	Cluster   *Cluster         `json:"cluster,omitempty"`
}
