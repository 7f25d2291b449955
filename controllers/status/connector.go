package status

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// Connector is what one pass of the connector's reconciler saw.
type Connector struct {
	Object *v1alpha1.Connector
	// ClusterFound is whether the ConnectCluster exists and is not being deleted.
	ClusterFound bool
	// Reachable is whether the workers' watch stream is there.
	Reachable bool
	// ClusterMessage says why not.
	ClusterMessage string
	// NotMounted are the Secrets that the configuration refers to and the cluster is not asked to mount; Mounting those
	// that it is about to.
	NotMounted, Mounting []string
	// Rejected is why the workers refuse the configuration; empty if they do not.
	Rejected string
	// Unreachable is why a call of the workers failed, Busy why they put it off; empty if neither.
	Unreachable, Busy string
	// Pending means that the workers accepted the last change and do not report it yet.
	Pending bool
	// Workers is what the workers report; nil if they do not know the connector.
	Workers *restapi.ConnectorStatus
	// Deleting is what deletion waits for.
	Deleting string
}

// JudgeConnector says what the conditions are to say. Messages are not redacted.
func JudgeConnector(o Connector) Verdict {
	return Judge(o, Verdict{Ready: true, Reason: v1alpha1.ReasonRunning, Message: tasksMessage(o, "run") + warnings(o)},
		beingDeleted, clusterMissing, rejected, clusterUnreachable, secretNotMounted, callFailed, putOff, notReported,
		connectorFailed, tasksFailed, waitingForTasks, idleOnPurpose)
}

// warnings is what the tasks that run have to tell, of the first that has something.
func warnings(o Connector) string {
	if o.Workers == nil {
		return ""
	}
	n, first := 0, restapi.TaskStatus{}
	for _, t := range o.Workers.Tasks {
		if t.Warning == "" {
			continue
		}
		if n++; n == 1 {
			first = t
		}
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("; %d with a warning; task %d on %s: %s", n, first.ID, first.Worker, first.Warning)
}

func beingDeleted(o Connector) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonDeleting, Message: o.Deleting, Phase: Reconciling},
		!o.Object.DeletionTimestamp.IsZero()
}

func clusterMissing(o Connector) (Verdict, bool) {
	return Verdict{
		Reason: v1alpha1.ReasonClusterNotFound,
		Message: fmt.Sprintf(
			"ConnectCluster %s does not exist in namespace %s: create it, or correct spec.clusterRef in a new Connector",
			o.Object.Spec.ClusterRef.Name,
			o.Object.Namespace,
		),
		Phase: Reconciling,
	}, !o.ClusterFound
}

func rejected(o Connector) (Verdict, bool) {
	message := "the workers refuse the configuration: " + o.Rejected
	if o.Workers != nil {
		message += "; the last accepted one stays in use"
	}
	return Verdict{Reason: v1alpha1.ReasonConfigRejected, Message: message, Phase: Stalled}, o.Rejected != ""
}

func clusterUnreachable(o Connector) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonClusterNotReady, Message: o.ClusterMessage, Phase: Reconciling}, !o.Reachable
}

func callFailed(o Connector) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonWorkersUnreachable, Message: o.Unreachable, Phase: Reconciling}, o.Unreachable != ""
}

func putOff(o Connector) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonRebalanceInProgress, Message: o.Busy, Phase: Reconciling}, o.Busy != ""
}

func notReported(o Connector) (Verdict, bool) {
	waiting := o.Pending || o.Workers == nil || o.Workers.Desired != string(o.Object.Spec.State)
	return Verdict{
		Reason: v1alpha1.ReasonProgressing, Message: "the workers accepted the change and have not reported its effect yet", Phase: Reconciling,
	}, waiting
}

// connectorFailed is never Stalled: the owner of a connector retries for as long as it owns it.
func connectorFailed(o Connector) (Verdict, bool) {
	failed := o.Workers.State == restapi.StateFailed || o.Workers.State == restapi.StateRestarting
	return Verdict{
		Reason: v1alpha1.ReasonConnectorFailed, Message: "the connector failed: " + o.Workers.Error,
		Phase: Reconciling, PhaseReason: v1alpha1.ReasonBackingOff,
	}, failed && o.Workers.Error != ""
}

// tasksFailed is Stalled only if there is a failed task that will not be started again by itself.
func tasksFailed(o Connector) (Verdict, bool) {
	var first *restapi.TaskStatus
	failed, given := 0, false
	for i, t := range o.Workers.Tasks {
		if !taskFailed(t) {
			continue
		}
		failed++
		if first == nil {
			first = &o.Workers.Tasks[i]
		}
		given = given || t.State == restapi.StateFailed && t.NextRestart == nil
	}
	if failed == 0 {
		return Verdict{}, false
	}
	v := Verdict{
		Reason:  v1alpha1.ReasonTasksFailed,
		Message: fmt.Sprintf("%d of %d tasks failed; task %d on %s: %s", failed, len(o.Workers.Tasks), first.ID, first.Worker, first.Error),
		Phase:   Reconciling, PhaseReason: v1alpha1.ReasonBackingOff,
	}
	if given {
		v.Phase, v.PhaseReason = Stalled, v1alpha1.ReasonRestartBudgetExhausted
	}
	return v, true
}

func waitingForTasks(o Connector) (Verdict, bool) {
	total, as := len(o.Workers.Tasks), countTasks(o.Workers)
	var message string
	switch o.Object.Spec.State {
	case v1alpha1.ConnectorStopped:
		if total > 0 {
			message = fmt.Sprintf("%d tasks have not stopped yet", total)
		}
	case v1alpha1.ConnectorPaused:
		if int(as.Paused) < total {
			message = tasksMessage(o, "are paused")
		}
	default:
		if total == 0 {
			message = "the connector has not made its tasks yet"
		} else if int(as.Running) < total {
			message = tasksMessage(o, "run")
		}
	}
	return Verdict{Reason: v1alpha1.ReasonWaitingForTasks, Message: message, Phase: Reconciling}, message != ""
}

func idleOnPurpose(o Connector) (Verdict, bool) {
	switch o.Object.Spec.State {
	case v1alpha1.ConnectorPaused:
		return Verdict{Ready: true, Reason: v1alpha1.ReasonPaused, Message: tasksMessage(o, "are paused")}, true
	case v1alpha1.ConnectorStopped:
		return Verdict{Ready: true, Reason: v1alpha1.ReasonStopped, Message: "no tasks; configuration and positions are kept"}, true
	}
	return Verdict{}, false
}

func tasksMessage(o Connector, do string) string {
	return fmt.Sprintf("%s tasks %s", tasksReady(o.Object.Spec.State, o.Workers), do)
}

func taskFailed(t restapi.TaskStatus) bool {
	return t.State == restapi.StateFailed || t.State == restapi.StateRestarting && t.Error != ""
}

// countTasks counts every task once: what is neither running, paused nor failed is unassigned.
func countTasks(w *restapi.ConnectorStatus) v1alpha1.ConnectorTasks {
	c := v1alpha1.ConnectorTasks{Total: int32(len(w.Tasks))}
	for _, t := range w.Tasks {
		switch {
		case taskFailed(t):
			c.Failed++
		case t.State == restapi.StateRunning:
			c.Running++
		case t.State == restapi.StatePaused:
			c.Paused++
		default:
			c.Unassigned++
		}
	}
	return c
}

func tasksReady(state v1alpha1.ConnectorState, w *restapi.ConnectorStatus) string {
	if w == nil {
		return "0/0"
	}
	c := countTasks(w)
	ready := c.Running
	if state == v1alpha1.ConnectorPaused {
		ready = c.Paused
	}
	return fmt.Sprintf("%d/%d", ready, c.Total)
}

// FillConnector writes what the workers report into the status, within its limits. Nil leaves the last report, which is
// the best that is known while the workers cannot be asked.
func FillConnector(s *v1alpha1.ConnectorStatus, state v1alpha1.ConnectorState, w *restapi.ConnectorStatus, redact redact.Redactor) {
	if w == nil {
		return
	}
	counts := countTasks(w)
	s.State, s.Type, s.WorkerID = w.State, w.Kind, w.Worker
	s.Tasks = &counts
	s.TasksReady = tasksReady(state, w)
	s.TaskFailures = taskFailures(w.Tasks, redact)
	s.Topics = topics(w.Topics)
}

func topics(from []string) []string {
	t := slices.Compact(slices.Sorted(slices.Values(from)))
	return t[:min(len(t), v1alpha1.MaxStatusTopics)]
}

func taskFailures(tasks []restapi.TaskStatus, redact redact.Redactor) []v1alpha1.TaskFailure {
	var out []v1alpha1.TaskFailure
	for _, t := range tasks {
		if !taskFailed(t) {
			continue
		}
		if len(out) == v1alpha1.MaxTaskFailures {
			break
		}
		f := v1alpha1.TaskFailure{
			ID: int32(t.ID), WorkerID: t.Worker, Restarts: int32(t.Restarts),
			Message: Shorten(redact.Text(t.Error), v1alpha1.MaxFailureMessage),
		}
		if t.NextRestart != nil {
			next := metav1.NewTime(*t.NextRestart).Rfc3339Copy() // as the API server stores it, or every pass would differ
			f.NextRestartTime = &next
		}
		out = append(out, f)
	}
	return out
}
