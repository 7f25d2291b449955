package v1alpha1

// Condition types. They follow kstatus: Ready is always there once the controller has seen the object; at most one of
// Reconciling and Stalled is there, and only with status True.
const (
	// ConditionReady is True when the object does what its spec asks for; a connector that is paused or stopped on
	// purpose is Ready.
	ConditionReady = "Ready"
	// ConditionReconciling is True while work is under way that is expected to end by itself.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when nothing will get better until a person changes something.
	ConditionStalled = "Stalled"
	// ConditionInternalTopicsHealthy is False, and only there then, while a ConnectCluster's workers can work with their
	// internal topics but warn of them. Ready does not depend on it.
	ConditionInternalTopicsHealthy = "InternalTopicsHealthy"
	// ConditionSecretsFound is False, and only there then, while Secrets of a ConnectCluster's spec.secrets do not exist.
	// Ready does not depend on it: connectors that do not refer to them run.
	ConditionSecretsFound = "SecretsFound"
)

// Reasons of a Connector's Ready condition.
const (
	// ReasonRunning means that every task runs on a live worker.
	ReasonRunning = "Running"
	// ReasonPaused means that the spec asks for Paused and no task runs; the tasks stay assigned.
	ReasonPaused = "Paused"
	// ReasonStopped means that the spec asks for Stopped and no task is assigned; config and positions are kept.
	ReasonStopped = "Stopped"
	// ReasonTasksFailed means that at least one task has failed; status.taskFailures says why and when it is retried.
	ReasonTasksFailed = "TasksFailed"
	// ReasonConnectorFailed means that the connector itself failed, before it had tasks to run.
	ReasonConnectorFailed = "ConnectorFailed"
)

// Reasons of a ConnectCluster's Ready condition.
const (
	// ReasonWorkersReady means that every wanted worker pod is ready, runs the current configuration and has joined.
	ReasonWorkersReady = "WorkersReady"
	// ReasonScaledToZero means that the spec asks for no workers and none runs.
	ReasonScaledToZero = "ScaledToZero"
)

// Reasons of the Reconciling condition.
const (
	// ReasonProgressing means that the last change was accepted and its effect is not to be seen yet.
	ReasonProgressing = "Progressing"
	// ReasonRollingUpdate means that worker pods are being replaced one after the other.
	ReasonRollingUpdate = "RollingUpdate"
	// ReasonPodsNotReady means that worker pods exist but are not ready; their events and logs say why.
	ReasonPodsNotReady = "PodsNotReady"
	// ReasonStoresNotWritten means that records flow but positions, offsets, configs or statuses are stored nowhere for
	// longer than a session; the message says which topic, which broker, and since when.
	ReasonStoresNotWritten = "StoresNotWritten"
	// ReasonClusterLogDisputed means that as many workers make one thing of the cluster log as make another: nothing new
	// is started until most agree; the message says who they are and what to do.
	ReasonClusterLogDisputed = "ClusterLogDisputed"
	// ReasonSecretNotFound means that pods wait for a Secret of spec.rocketmq.credentialsSecretRef or spec.rocketmq.tls,
	// which does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretNotMounted means that the connector refers to a Secret that its ConnectCluster's workers do not mount
	// (yet); what ran before goes on. The message says what to add to the ConnectCluster, or that its workers are being
	// replaced.
	ReasonSecretNotMounted = "SecretNotMounted"
	// ReasonCertificateNotReady means that the certificate of spec.api.tls.issuerRef has not been issued, or cert-manager
	// is not installed; what runs goes on.
	ReasonCertificateNotReady = "CertificateNotReady"
	// ReasonMissingMembers means that pods are ready which the workers do not count as members yet.
	ReasonMissingMembers = "MissingMembers"
	// ReasonClusterNotFound means that the ConnectCluster of spec.clusterRef does not exist (yet).
	ReasonClusterNotFound = "ClusterNotFound"
	// ReasonClusterNotReady means that the ConnectCluster exists but has no worker that could answer.
	ReasonClusterNotReady = "ClusterNotReady"
	// ReasonWorkersUnreachable means that the workers' REST API did not answer; it is called again with back-off.
	ReasonWorkersUnreachable = "WorkersUnreachable"
	// ReasonWaitingForTasks means that tasks have not been taken, paused or stopped by their workers yet.
	ReasonWaitingForTasks = "WaitingForTasks"
	// ReasonRebalanceInProgress means that the workers refused a change because another one is under way.
	ReasonRebalanceInProgress = "RebalanceInProgress"
	// ReasonBackingOff means that the connector or tasks of it failed and wait for their next start.
	ReasonBackingOff = "BackingOff"
	// ReasonDeleting means that the object is being deleted and the workers have not released it yet.
	ReasonDeleting = "Deleting"
	// ReasonApplyFailed means that the API server refused or did not answer a change of a child object; it is retried.
	ReasonApplyFailed = "ApplyFailed"
)

// Reasons of the Stalled condition.
const (
	// ReasonConfigRejected means that the workers refused the connector's configuration; what was accepted before stays
	// stored and goes on, unless the workers' own configuration forbids it by now.
	ReasonConfigRejected = "ConfigRejected"
	// ReasonRestartBudgetExhausted means that a task failed and is not started again by itself.
	ReasonRestartBudgetExhausted = "RestartBudgetExhausted"
	// ReasonConfigInvalid means that spec.template or spec.config of a ConnectCluster cannot be rendered.
	ReasonConfigInvalid = "ConfigInvalid"
	// ReasonNameConflict means that an older ConnectCluster has the same clusterId, or a child object's name is taken by
	// an object that something else made.
	ReasonNameConflict = "NameConflict"
)

// Reasons of the InternalTopicsHealthy condition.
const (
	// ReasonTopicWarnings means that the workers warn of internal topics, where what happens to a broker next may cost
	// data, or of TLS files that are of no use, where those of before are used.
	ReasonTopicWarnings = "TopicWarnings"
)

// Reasons of the SecretsFound condition.
const (
	// ReasonSecretsMissing means that Secrets of spec.secrets do not exist; the message names them. Tasks that need them
	// fail.
	ReasonSecretsMissing = "SecretsMissing"
)

// Reasons of events.
const (
	// EventConnectorCreated is sent when the workers accepted a connector for the first time.
	EventConnectorCreated = "ConnectorCreated"
	// EventConfigUpdated is sent when the workers accepted a changed configuration.
	EventConfigUpdated = "ConfigUpdated"
	// EventStateChanged is sent when the workers accepted another desired state.
	EventStateChanged = "StateChanged"
	// EventConfigRejected is sent when the workers refused a configuration.
	EventConfigRejected = "ConfigRejected"
	// EventConfigWarning is sent when the workers accepted a configuration that has settings without effect.
	EventConfigWarning = "ConfigWarning"
	// EventTaskFailed is sent when a task is seen to have failed.
	EventTaskFailed = "TaskFailed"
	// EventConnectorRemoved is sent when the workers have removed a connector whose object is being deleted.
	EventConnectorRemoved = "ConnectorRemoved"
	// EventFinalizerReleased is sent when an object is released without having been removed from the workers.
	EventFinalizerReleased = "FinalizerReleased"
	// EventClusterNotFound is sent when a connector's cluster does not exist.
	EventClusterNotFound = "ClusterNotFound"
	// EventSecretNotMounted is sent when a connector begins to wait for a Secret that its workers do not mount.
	EventSecretNotMounted = "SecretNotMounted"
	// EventRollingUpdateStarted is sent when the worker pods' template changes.
	EventRollingUpdateStarted = "RollingUpdateStarted"
	// EventConfigInvalid is sent when a ConnectCluster cannot be rendered.
	EventConfigInvalid = "ConfigInvalid"
	// EventNameConflict is sent when a ConnectCluster's clusterId or a child's name is taken.
	EventNameConflict = "NameConflict"
)

// ConnectorFinalizer keeps a Connector until the workers have removed it, as spec.deletionPolicy asks.
const ConnectorFinalizer = GroupName + "/connector"

// Limits of what a status may hold, so that it can always be written.
const (
	// MaxTaskFailures is the largest number of entries in a Connector's status.taskFailures.
	MaxTaskFailures = 16
	// MaxFailureMessage is the largest number of characters of one task failure's message.
	MaxFailureMessage = 256
	// MaxConditionMessage is the largest number of characters of a condition's message that the controllers write.
	MaxConditionMessage = 1024
	// MaxStatusTopics is the largest number of entries in a Connector's status.topics.
	MaxStatusTopics = 64
	// MaxStatusMembers is the largest number of entries in a ConnectCluster's status.workers.members.
	MaxStatusMembers = 64
	// MaxStatusSecrets is the largest number of entries in a ConnectCluster's status.mountedSecrets.
	MaxStatusSecrets = 128
)
