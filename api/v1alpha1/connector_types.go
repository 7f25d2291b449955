package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ConnectorState is what a connector is wanted to do.
//
// +kubebuilder:validation:Enum=Running;Paused;Stopped
type ConnectorState string

// Desired states of a connector.
const (
	// ConnectorRunning runs the tasks. It is the default.
	ConnectorRunning ConnectorState = "Running"
	// ConnectorPaused keeps the tasks assigned to their workers, but moves no records.
	ConnectorPaused ConnectorState = "Paused"
	// ConnectorStopped has no tasks; configuration and positions are kept.
	ConnectorStopped ConnectorState = "Stopped"
)

// DeletionPolicy is what happens on the workers when a Connector is deleted.
//
// +kubebuilder:validation:Enum=Delete;Orphan
type DeletionPolicy string

// Deletion policies.
const (
	// DeletionDelete removes the connector from the workers. It is the default.
	DeletionDelete DeletionPolicy = "Delete"
	// DeletionOrphan leaves the connector running on the workers.
	DeletionOrphan DeletionPolicy = "Orphan"
)

// ClusterReference names a ConnectCluster of the same namespace.
type ClusterReference struct {
	// name is the ConnectCluster's metadata.name.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Name string `json:"name"`
}

// ConnectorSetting is the value of a connector's setting: at most 16384 characters.
//
// +kubebuilder:validation:MaxLength=16384
type ConnectorSetting string

// ConnectorSpec is what a connector should do, and where.
type ConnectorSpec struct {
	// clusterRef names the ConnectCluster, in the same namespace, that runs this connector. It cannot be changed:
	// positions belong to the cluster. The cluster may be created later than the connector.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="clusterRef is immutable: create a new Connector to move it to another cluster"
	ClusterRef ClusterReference `json:"clusterRef"`

	// class is the connector's class, such as KafkaSource or KafkaSink. The Java runtime's class names work as well.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9._$-]*$`
	Class string `json:"class"`

	// maxTasks is the largest number of tasks that the connector's work is divided into.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	MaxTasks *int32 `json:"maxTasks,omitempty"`

	// state is what the connector should do: Running moves records; Paused keeps its tasks assigned but moves none;
	// Stopped has no tasks, and keeps configuration and positions.
	// +optional
	// +default="Running"
	State ConnectorState `json:"state,omitempty"`

	// config holds the connector's own settings. All values are strings, of at most 16384
	// characters: quote numbers and booleans.
	// +optional
	// +kubebuilder:validation:MaxProperties=512
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) > 0 && size(k) <= 253)",message="keys must have 1 to 253 characters"
	// +kubebuilder:validation:XValidation:rule="!('name' in self)",message="the key name is reserved: the connector's name is metadata.name"
	// +kubebuilder:validation:XValidation:rule="!('connector.class' in self) && !('connector-class' in self)",message="the keys connector.class and connector-class are reserved: use spec.class"
	// +kubebuilder:validation:XValidation:rule="!('tasks.num' in self) && !('max.tasks' in self)",message="the keys tasks.num and max.tasks are reserved: use spec.maxTasks"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('connect.internal.'))",message="keys that start with connect.internal. are reserved for the runtime"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.matches('[[:cntrl:]]'))",message="keys must not have control characters"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !self[k].matches('[\\x00-\\x08\\x0e-\\x1f]'))",message="values must not have control characters other than tabs and line ends"
	Config map[string]ConnectorSetting `json:"config,omitempty"`

	// deletionPolicy says what happens on the workers when this object is deleted: Delete removes the connector there,
	// Orphan leaves it running.
	// +optional
	// +default="Delete"
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`
}

// Settings is config as plain strings.
func (s ConnectorSpec) Settings() map[string]string {
	out := make(map[string]string, len(s.Config))
	for k, v := range s.Config {
		out[k] = string(v)
	}
	return out
}

// ConnectorTasks counts a connector's tasks by what they do.
type ConnectorTasks struct {
	// total is the number of tasks.
	Total int32 `json:"total"`
	// running is the number of tasks that run.
	Running int32 `json:"running"`
	// paused is the number of tasks that are assigned and paused.
	Paused int32 `json:"paused"`
	// failed is the number of tasks that failed; they are started again with back-off.
	Failed int32 `json:"failed"`
	// unassigned is the number of tasks that no worker owns at the moment.
	Unassigned int32 `json:"unassigned"`
}

// TaskFailure is one task that does not run because it failed.
type TaskFailure struct {
	// id is the task's number, from 0.
	ID int32 `json:"id"`
	// workerId is the worker that ran it.
	// +optional
	WorkerID string `json:"workerId,omitempty"`
	// message is the beginning of the failure's text.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Message string `json:"message,omitempty"`
	// restarts is how often the task has been started again by its owner.
	// +optional
	Restarts int32 `json:"restarts,omitempty"`
	// nextRestartTime is when the task is started again; absent if it is not.
	// +optional
	NextRestartTime *metav1.Time `json:"nextRestartTime,omitempty"`
}

// ConnectorStatus is what the workers report of a connector.
type ConnectorStatus struct {
	// observedGeneration is the metadata.generation that this status is about; -1 before the controller has seen the
	// object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// state is the state that the workers report, such as Running, Paused, Stopped or Failed. Decisions should be made
	// from the conditions.
	// +optional
	State string `json:"state,omitempty"`
	// type says which way the records go: Source or Sink.
	// +optional
	Type string `json:"type,omitempty"`
	// workerId is the worker that owns the connector (not its tasks).
	// +optional
	WorkerID string `json:"workerId,omitempty"`
	// tasks counts the tasks by what they do.
	// +optional
	Tasks *ConnectorTasks `json:"tasks,omitempty"`
	// tasksReady is the number of tasks that do what spec.state asks for, and of all tasks, such as "3/4".
	// +optional
	TasksReady string `json:"tasksReady,omitempty"`
	// taskFailures lists failed tasks in the order of their numbers, 16 at most; status.tasks.failed counts them all.
	// +optional
	// +listType=map
	// +listMapKey=id
	// +kubebuilder:validation:MaxItems=16
	TaskFailures []TaskFailure `json:"taskFailures,omitempty"`
	// topics lists the RocketMQ topics that the connector uses, 64 at most.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=64
	Topics []string `json:"topics,omitempty"`
	// appliedConfigHash is the hash of the class, maxTasks and config that the workers accepted last.
	// +optional
	AppliedConfigHash string `json:"appliedConfigHash,omitempty"`
	// conditions are Ready and, at most one of them, Reconciling or Stalled.
	// +optional
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// Connector moves records between RocketMQ and another system, on the workers of a ConnectCluster.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=connectors,shortName=rmqcn,categories=rocketmq-connect
// +kubebuilder:printcolumn:name="Cluster",type=string,JSONPath=`.spec.clusterRef.name`
// +kubebuilder:printcolumn:name="Class",type=string,priority=1,JSONPath=`.spec.class`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Tasks",type=string,JSONPath=`.status.tasksReady`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.tasks.failed`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Worker",type=string,priority=1,JSONPath=`.status.workerId`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be a DNS label: at most 63 lower-case letters, digits and '-'"
type Connector struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the connector should do, and where.
	// +required
	Spec ConnectorSpec `json:"spec"`
	// status is what the workers report.
	// +optional
	// +default={"observedGeneration": -1}
	Status ConnectorStatus `json:"status,omitempty"`
}

// ConnectorList is a list of Connectors.
//
// +kubebuilder:object:root=true
type ConnectorList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	// Items are the Connectors.
	Items []Connector `json:"items"`
}
