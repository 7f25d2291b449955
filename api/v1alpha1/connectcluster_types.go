package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// AllocationStrategy is how connectors and tasks are dealt to workers.
//
// +kubebuilder:validation:Enum=ConsistentHash;Averagely
type AllocationStrategy string

// Allocation strategies.
const (
	// AllocationConsistentHash moves only what a change of the workers makes necessary. It is the default.
	AllocationConsistentHash AllocationStrategy = "ConsistentHash"
	// AllocationAveragely deals everything round the sorted workers again at each change.
	AllocationAveragely AllocationStrategy = "Averagely"
)

// UpdateStrategyType is how worker pods are replaced when their template changes.
//
// +kubebuilder:validation:Enum=RollingUpdate;OnDelete
type UpdateStrategyType string

// Update strategies.
const (
	// UpdateRollingUpdate replaces the pods a few at a time. It is the default.
	UpdateRollingUpdate UpdateStrategyType = "RollingUpdate"
	// UpdateOnDelete replaces a pod only when somebody deletes it.
	UpdateOnDelete UpdateStrategyType = "OnDelete"
)

// InternalTopicsSpec is about the topics through which the workers keep their state. Their names follow from the
// cluster id.
type InternalTopicsSpec struct {
	// broker is the name of the broker that holds the cluster topic; by default it is the first one by name. It has to be
	// set before the first worker starts: a topic that exists is not moved.
	// +optional
	// +kubebuilder:validation:MaxLength=127
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_.-]+$`
	Broker string `json:"broker,omitempty"`
}

// AllocationSpec says which worker should run what.
type AllocationSpec struct {
	// strategy deals connectors and tasks to workers.
	// +optional
	// +default="ConsistentHash"
	Strategy AllocationStrategy `json:"strategy,omitempty"`
	// virtualNodes is the number of points that each worker has on the ring of ConsistentHash.
	// +optional
	// +default=160
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	VirtualNodes *int32 `json:"virtualNodes,omitempty"`
	// maxLoadFactor bounds what one worker may get under ConsistentHash: at most this many times the average. "0" means no
	// bound, otherwise it is at least "1". By default "1.25".
	// +optional
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]?(\.[0-9]{1,3})?|100)$`
	MaxLoadFactor string `json:"maxLoadFactor,omitempty"`
	// rebalanceDelay is how long the work of a worker that left waits for its return before others take it. By default 0s:
	// others take it at once.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s') && duration(self) <= duration('1h')",message="rebalanceDelay must be between 0s and 1h"
	RebalanceDelay *metav1.Duration `json:"rebalanceDelay,omitempty"`
}

// UpdateStrategySpec says how worker pods are replaced when their template or configuration changes.
type UpdateStrategySpec struct {
	// type is RollingUpdate or OnDelete.
	// +optional
	// +default="RollingUpdate"
	Type UpdateStrategyType `json:"type,omitempty"`
	// maxUnavailable is how many pods may be away at the same time during a rolling update.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	MaxUnavailable *int32 `json:"maxUnavailable,omitempty"`
	// drainTimeout is how long a worker may take to finish what it delivers and to hand its tasks over before it ends. By
	// default 60s.
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="drainTimeout must be between 1s and 1h"
	DrainTimeout *metav1.Duration `json:"drainTimeout,omitempty"`
}

// WorkerSetting is the value of a setting in connect.conf: at most 4096 characters on one line.
//
// +kubebuilder:validation:MaxLength=4096
// +kubebuilder:validation:Pattern=`^[^\r\n]*$`
type WorkerSetting string

// ConnectClusterSpec is what a cluster of workers should be.
//
// +kubebuilder:validation:XValidation:rule="has(self.clusterId) == has(oldSelf.clusterId) && (!has(self.clusterId) || self.clusterId == oldSelf.clusterId)",message="clusterId is immutable: it names the topics that hold the cluster's state"
type ConnectClusterSpec struct {
	// replicas is the number of workers. Leave it out of the manifest when something else scales the cluster: a manifest
	// that states it takes it back at each apply.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`

	// image is the worker image. By default the operator's default worker image is used.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^\S+$`
	Image string `json:"image,omitempty"`

	// imagePullPolicy is when the image is pulled; by default as Kubernetes decides.
	// +optional
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`

	// rocketmq says how to reach RocketMQ.
	// +required
	RocketMQ RocketMQSpec `json:"rocketmq"`

	// clusterId names the cluster in RocketMQ: its internal topics are
	// <clusterId>-connector-{cluster,config,position,offset, status}-topic. Two clusters on one RocketMQ must not share
	// it. By default <namespace>-<name>. It cannot be changed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=95
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	ClusterID string `json:"clusterId,omitempty"`

	// secrets are the Secrets that settings of connectors may refer to, as ${secret:<name>:<key>}. Each is mounted into
	// the worker pods, read-only, in /etc/rocketmq-connect/secrets/<name>; the operator never reads its values. One more,
	// or one less, rolls the workers. A Secret that does not exist keeps no pod from starting, and may be made later.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Secrets []MountedSecret `json:"secrets,omitempty"`

	// secretsPolicy says how settings of connectors may hold secrets: AllowInline takes them in the clear, too; with
	// ReferenceOnly the workers refuse a connector that has a secret in the clear.
	// +optional
	// +default="AllowInline"
	SecretsPolicy SecretsPolicy `json:"secretsPolicy,omitempty"`

	// internalTopics is about the topics through which the workers keep their state.
	// +optional
	InternalTopics *InternalTopicsSpec `json:"internalTopics,omitempty"`

	// allocation says which worker should run what.
	// +optional
	Allocation *AllocationSpec `json:"allocation,omitempty"`

	// config holds further worker settings, as in connect.conf. All values are strings: quote numbers and booleans. What
	// other fields of this object say, and what names a worker's files, ports and topics, cannot be set here.
	// +optional
	// +kubebuilder:validation:MaxProperties=128
	// +kubebuilder:validation:XValidation:rule="self.all(k, k.matches('^[A-Za-z][A-Za-z0-9._-]{0,126}$'))",message="keys must start with a letter and have at most 127 letters, digits, '.', '_' and '-'"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['workerId', 'connectClusterId', 'namesrvAddr', 'httpHost', 'httpPort', 'httpHostNames', 'probePort', 'advertisedAddress', 'storePathRootDir']))",message="workerId, connectClusterId, namesrvAddr, httpHost, httpPort, httpHostNames, probePort, advertisedAddress and storePathRootDir are reserved: they follow from other fields"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['clusterStoreTopic', 'configStoreTopic', 'positionStoreTopic', 'offsetStoreTopic', 'statusStoreTopic', 'connectStatusTopic', 'clusterTopicBroker']))",message="the names of the internal topics are reserved: they follow from spec.clusterId; clusterTopicBroker is spec.internalTopics.broker"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['restTokenFile', 'compatRoutes', 'aclEnable', 'accessKey', 'secretKey', 'securityToken', 'credentialsDir']))",message="restTokenFile, compatRoutes, aclEnable, accessKey, secretKey, securityToken and credentialsDir are reserved: credentials come from spec.rocketmq.credentialsSecretRef"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['tlsEnable', 'tlsCA', 'tlsCert', 'tlsKey', 'tlsServerName']))",message="tlsEnable, tlsCA, tlsCert, tlsKey and tlsServerName are reserved: use spec.rocketmq.tls"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['allocTaskStrategy', 'virtualNode', 'maxLoadFactor', 'rebalanceDelay', 'drainTimeout']))",message="allocTaskStrategy, virtualNode, maxLoadFactor, rebalanceDelay and drainTimeout are reserved: use spec.allocation and spec.updateStrategy"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['secretsDir', 'config.secrets']))",message="secretsDir and config.secrets are reserved: use spec.secrets and spec.secretsPolicy"
	// +kubebuilder:validation:XValidation:rule="self.all(k, !(k in ['httpTlsCert', 'httpTlsKey', 'httpTlsClientCA']))",message="httpTlsCert, httpTlsKey and httpTlsClientCA are reserved: use spec.api.tls"
	Config map[string]WorkerSetting `json:"config,omitempty"`

	// resources are the worker container's resources.
	// +optional
	Resources *ResourceRequirements `json:"resources,omitempty"`

	// template adds to the objects that the operator makes.
	// +optional
	Template *TemplateSpec `json:"template,omitempty"`

	// api is about the workers' REST API.
	// +optional
	API *APISpec `json:"api,omitempty"`

	// updateStrategy says how worker pods are replaced.
	// +optional
	UpdateStrategy *UpdateStrategySpec `json:"updateStrategy,omitempty"`
}

// ResourceRequirements are the worker container's requests and limits.
type ResourceRequirements struct {
	// limits are the most that the container may use.
	// +optional
	Limits corev1.ResourceList `json:"limits,omitempty"`
	// requests are what the container is guaranteed.
	// +optional
	Requests corev1.ResourceList `json:"requests,omitempty"`
}

// WorkerMember is one member of the cluster as the workers see it.
type WorkerMember struct {
	// workerId is the worker's id: the name of its pod.
	WorkerID string `json:"workerId"`
	// tasks is the number of tasks that it owns.
	Tasks int32 `json:"tasks"`
	// version is the worker's version.
	// +optional
	Version string `json:"version,omitempty"`
}

// WorkersStatus compares the wanted workers with the members that the workers themselves see.
type WorkersStatus struct {
	// expected is the number of workers that spec.replicas asks for.
	Expected int32 `json:"expected"`
	// joined is the number of members that the workers see.
	Joined int32 `json:"joined"`
	// members lists them by id, 64 at most.
	// +optional
	// +listType=map
	// +listMapKey=workerId
	// +kubebuilder:validation:MaxItems=64
	Members []WorkerMember `json:"members,omitempty"`
}

// ClusterConnectors counts the connectors of a cluster by the state that the workers report.
type ClusterConnectors struct {
	// total is the number of connectors on the workers.
	Total int32 `json:"total"`
	// running is the number of connectors in the state Running.
	Running int32 `json:"running"`
	// paused is the number of connectors in the state Paused.
	Paused int32 `json:"paused"`
	// stopped is the number of connectors in the state Stopped.
	Stopped int32 `json:"stopped"`
	// failed is the number of connectors that failed or have a failed task.
	Failed int32 `json:"failed"`
	// unmanaged is the number of connectors on the workers that no Connector object names.
	Unmanaged int32 `json:"unmanaged"`
}

// ClusterTasks counts the tasks of a cluster.
type ClusterTasks struct {
	// total is the number of tasks.
	Total int32 `json:"total"`
	// running is the number of tasks that run.
	Running int32 `json:"running"`
	// failed is the number of tasks that failed.
	Failed int32 `json:"failed"`
	// unassigned is the number of tasks that no worker owns.
	Unassigned int32 `json:"unassigned"`
}

// ConnectClusterStatus is what was seen of a cluster.
type ConnectClusterStatus struct {
	// observedGeneration is the metadata.generation that this status is about; -1 before the controller has seen the
	// object.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// clusterId is the id in use.
	// +optional
	ClusterID string `json:"clusterId,omitempty"`
	// replicas is the number of worker pods.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`
	// readyReplicas is the number of worker pods that are ready.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`
	// updatedReplicas is the number of worker pods with the newest template.
	// +optional
	UpdatedReplicas int32 `json:"updatedReplicas,omitempty"`
	// selector selects the worker pods; autoscalers read it.
	// +optional
	Selector string `json:"selector,omitempty"`
	// endpoint is the address of the workers' REST API inside the Kubernetes cluster.
	// +optional
	Endpoint string `json:"endpoint,omitempty"`
	// workers compares the wanted workers with the members that the workers see.
	// +optional
	Workers *WorkersStatus `json:"workers,omitempty"`
	// connectors counts the connectors by state.
	// +optional
	Connectors *ClusterConnectors `json:"connectors,omitempty"`
	// tasks counts the tasks.
	// +optional
	Tasks *ClusterTasks `json:"tasks,omitempty"`
	// tasksReady is the number of running tasks and of all tasks, such as "7/8".
	// +optional
	TasksReady string `json:"tasksReady,omitempty"`
	// mountedSecrets lists by name, 128 at most, what every worker pod mounts in /etc/rocketmq-connect/secrets: connectors
	// may refer to these.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=128
	MountedSecrets []string `json:"mountedSecrets,omitempty"`
	// conditions are Ready and, at most one of them, Reconciling or Stalled; InternalTopicsHealthy while the workers warn
	// of their topics; SecretsFound while Secrets of spec.secrets do not exist.
	// +optional
	// +patchMergeKey=type
	// +patchStrategy=merge
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty" patchStrategy:"merge" patchMergeKey:"type"`
}

// ConnectCluster is a set of workers that run Connectors and keep their state in RocketMQ.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:path=connectclusters,shortName=rmqcc,categories=rocketmq-connect
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Desired",type=integer,JSONPath=`.spec.replicas`
// +kubebuilder:printcolumn:name="Pods",type=integer,JSONPath=`.status.readyReplicas`
// +kubebuilder:printcolumn:name="Workers",type=integer,JSONPath=`.status.workers.joined`
// +kubebuilder:printcolumn:name="Connectors",type=integer,JSONPath=`.status.connectors.total`
// +kubebuilder:printcolumn:name="Tasks",type=string,JSONPath=`.status.tasksReady`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.tasks.failed`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",message="metadata.name must be at most 40 lower-case letters, digits and '-', and start with a letter: pods and services are named after it"
type ConnectCluster struct {
	metav1.TypeMeta `json:",inline"`
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is what the cluster should be.
	// +required
	Spec ConnectClusterSpec `json:"spec"`
	// status is what was seen of the cluster.
	// +optional
	// +default={"observedGeneration": -1}
	Status ConnectClusterStatus `json:"status,omitempty"`
}

// ConnectClusterList is a list of ConnectClusters.
//
// +kubebuilder:object:root=true
type ConnectClusterList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	// Items are the ConnectClusters.
	Items []ConnectCluster `json:"items"`
}
