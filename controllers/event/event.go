// Package event makes the events that users see on their objects: data made by functions, sent by one sender.
package event

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/status"
)

// maxNote is the most characters of an event's text; the API server takes 1,024 bytes.
const maxNote = 250

// Event is one event about an object.
type Event struct {
	Object runtime.Object
	// Type is corev1.EventTypeNormal or corev1.EventTypeWarning.
	Type string
	// Reason is one of the Event constants of v1alpha1, Action what the operator did or tried.
	Reason, Action string
	Message        string
}

// Send hands the events to the recorder, which puts equal ones together.
func Send(to events.EventRecorder, list ...Event) {
	for _, e := range list {
		to.Eventf(e.Object, nil, e.Type, e.Reason, e.Action, "%s", status.Shorten(e.Message, maxNote))
	}
}

func normal(o runtime.Object, reason, action, format string, args ...any) Event {
	return Event{Object: o, Type: corev1.EventTypeNormal, Reason: reason, Action: action, Message: fmt.Sprintf(format, args...)}
}

func warning(o runtime.Object, reason, action, format string, args ...any) Event {
	return Event{Object: o, Type: corev1.EventTypeWarning, Reason: reason, Action: action, Message: fmt.Sprintf(format, args...)}
}

// ConnectorCreated says that the workers accepted a new connector.
func ConnectorCreated(c *v1alpha1.Connector) Event {
	return normal(c, v1alpha1.EventConnectorCreated, "Create", "the workers of %s accepted the connector", c.Spec.ClusterRef.Name)
}

// ConfigUpdated says that the workers accepted a changed configuration.
func ConfigUpdated(c *v1alpha1.Connector) Event {
	return normal(c, v1alpha1.EventConfigUpdated, "Update", "the workers of %s accepted the changed configuration", c.Spec.ClusterRef.Name)
}

// StateChanged says that the workers accepted another desired state.
func StateChanged(c *v1alpha1.Connector) Event {
	return normal(c, v1alpha1.EventStateChanged, "SetState", "the workers of %s accepted the state %s", c.Spec.ClusterRef.Name, c.Spec.State)
}

// ConfigRejected says why the workers refuse the configuration; cause must be redacted.
func ConfigRejected(c *v1alpha1.Connector, cause string) Event {
	return warning(c, v1alpha1.EventConfigRejected, "Update", "%s", cause)
}

// ConfigWarning says which settings have no effect; text must be redacted.
func ConfigWarning(c *v1alpha1.Connector, text string) Event {
	return warning(c, v1alpha1.EventConfigWarning, "Update", "%s", text)
}

// TaskFailed says that a task failed; its message must be redacted.
func TaskFailed(c *v1alpha1.Connector, f v1alpha1.TaskFailure) Event {
	return warning(c, v1alpha1.EventTaskFailed, "Watch", "task %d failed on %s: %s", f.ID, f.WorkerID, f.Message)
}

// ClusterNotFound says that the connector's cluster does not exist.
func ClusterNotFound(c *v1alpha1.Connector) Event {
	return warning(c, v1alpha1.EventClusterNotFound, "Resolve", "ConnectCluster %s does not exist in this namespace", c.Spec.ClusterRef.Name)
}

// SecretNotMounted says which Secret the connector waits for, and what to add to its cluster.
func SecretNotMounted(c *v1alpha1.Connector, text string) Event {
	return warning(c, v1alpha1.EventSecretNotMounted, "Resolve", "%s", text)
}

// ConnectorRemoved says that the workers have removed the connector.
func ConnectorRemoved(c *v1alpha1.Connector) Event {
	return normal(c, v1alpha1.EventConnectorRemoved, "Delete", "the workers of %s removed the connector", c.Spec.ClusterRef.Name)
}

// FinalizerReleased says that the object is released although the workers may still have the connector, and why.
func FinalizerReleased(c *v1alpha1.Connector, why string) Event {
	return normal(c, v1alpha1.EventFinalizerReleased, "Delete", "released without removing the connector from workers: %s", why)
}

// RollingUpdateStarted says that the worker pods are being replaced.
func RollingUpdateStarted(c *v1alpha1.ConnectCluster) Event {
	return normal(
		c,
		v1alpha1.EventRollingUpdateStarted,
		"Roll",
		"the workers' configuration or template changed: replacing pods one after the other",
	)
}

// ClusterStalled says why a cluster cannot be made as its spec asks.
func ClusterStalled(c *v1alpha1.ConnectCluster, reason, message string) Event {
	return warning(c, reason, "Render", "%s", message)
}
