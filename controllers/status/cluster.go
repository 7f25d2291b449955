package status

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// Cluster is what one pass of the cluster's reconciler saw.
type Cluster struct {
	Object *v1alpha1.ConnectCluster
	// Want is the number of workers that the spec asks for.
	Want int32
	// Conflict, Invalid and ApplyFailed say what kept the child objects from being applied; empty if nothing did.
	Conflict, Invalid, ApplyFailed string
	// Uncertified says what of cert-manager's is not there, without which no pods are made or changed; empty if nothing
	// is.
	Uncertified string
	// Changed says that this pass changed child objects, so that what was read of them may be what they were before.
	Changed bool
	// StatefulSet is nil until it exists.
	StatefulSet *appsv1.StatefulSet
	// Pods are the worker pods; Unready has what some of those that are not ready say themselves, by their names.
	Pods    []corev1.Pod
	Unready map[string]string
	// MissingSecret names the Secret that the pods wait for; empty if there is none.
	MissingSecret string
	// AbsentSecrets are the Secrets of spec.secrets that do not exist; nil if nobody has looked.
	AbsentSecrets []string
	// View is what the workers report; nil without a watch stream. ViewMessage says why there is none.
	View        *restapi.Cluster
	ViewMessage string
	// Connectors are those on the workers; Managed has the names that Connector objects give.
	Connectors []restapi.ConnectorStatus
	Managed    map[string]bool
}

// JudgeCluster says what the conditions are to say.
func JudgeCluster(o Cluster) Verdict {
	ready := Verdict{
		Ready:   true,
		Reason:  v1alpha1.ReasonWorkersReady,
		Message: fmt.Sprintf("%d of %d workers are ready and have joined", o.Want, o.Want),
	}
	return Judge(
		o,
		ready,
		nameTaken,
		cannotRender,
		cannotApply,
		uncertified,
		notSeenYet,
		scaledToZero,
		podsMissing,
		secretMissing,
		rolling,
		logDisputed,
		storesNotWritten,
		podsNotReady,
		noView,
		membersDiffer,
	)
}

func nameTaken(o Cluster) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonNameConflict, Message: o.Conflict, Phase: Stalled}, o.Conflict != ""
}

func cannotRender(o Cluster) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonConfigInvalid, Message: o.Invalid + "; what runs is left as it is", Phase: Stalled}, o.Invalid != ""
}

func cannotApply(o Cluster) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonApplyFailed, Message: o.ApplyFailed, Phase: Reconciling}, o.ApplyFailed != ""
}

func uncertified(o Cluster) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonCertificateNotReady, Message: o.Uncertified, Phase: Reconciling}, o.Uncertified != ""
}

func notSeenYet(o Cluster) (Verdict, bool) {
	seen := !o.Changed && o.StatefulSet != nil && o.StatefulSet.Status.ObservedGeneration >= o.StatefulSet.Generation &&
		o.StatefulSet.Spec.Replicas != nil && *o.StatefulSet.Spec.Replicas == o.Want
	return Verdict{
		Reason:  v1alpha1.ReasonProgressing,
		Message: "the StatefulSet's controller has not seen the change yet",
		Phase:   Reconciling,
	}, !seen
}

func scaledToZero(o Cluster) (Verdict, bool) {
	if left := o.StatefulSet.Status.Replicas; o.Want == 0 && left > 0 {
		return Verdict{Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("%d workers are leaving", left), Phase: Reconciling}, true
	}
	return Verdict{Ready: true, Reason: v1alpha1.ReasonScaledToZero, Message: "no workers are wanted: connectors do not run"}, o.Want == 0
}

func podsMissing(o Cluster) (Verdict, bool) {
	have := o.StatefulSet.Status.Replicas
	return Verdict{
		Reason: v1alpha1.ReasonProgressing, Message: fmt.Sprintf("%d of %d worker pods exist", have, o.Want), Phase: Reconciling,
	}, have != o.Want
}

func secretMissing(o Cluster) (Verdict, bool) {
	hint := "create it with the keys accessKey and secretKey, or correct spec.rocketmq.credentialsSecretRef"
	if ref := o.Object.Spec.RocketMQ.CredentialsSecretRef; ref == nil || ref.Name != o.MissingSecret {
		hint = "create it, or correct spec.rocketmq.tls"
	}
	return Verdict{
		Reason: v1alpha1.ReasonSecretNotFound, Phase: Reconciling,
		Message: fmt.Sprintf("Secret %s does not exist in namespace %s: %s", o.MissingSecret, o.Object.Namespace, hint),
	}, o.MissingSecret != ""
}

func rolling(o Cluster) (Verdict, bool) {
	s := o.StatefulSet
	onDelete := s.Spec.UpdateStrategy.Type == appsv1.OnDeleteStatefulSetStrategyType
	message := fmt.Sprintf("%d of %d workers run the new configuration", s.Status.UpdatedReplicas, o.Want)
	if trouble := troubles(o); trouble != "" {
		message += "; " + trouble
	}
	return Verdict{Reason: v1alpha1.ReasonRollingUpdate, Message: message, Phase: Reconciling},
		!onDelete && s.Status.UpdatedReplicas < o.Want
}

func storesNotWritten(o Cluster) (Verdict, bool) {
	reported := func(v *restapi.Cluster) string { return v.StoresNotWritten }
	message := o.said(restapi.StoresNotWritten, reported)
	return Verdict{Reason: v1alpha1.ReasonStoresNotWritten, Message: message, Phase: Reconciling}, message != ""
}

func logDisputed(o Cluster) (Verdict, bool) {
	message := o.said(restapi.LogDisputed, func(v *restapi.Cluster) string { return v.LogDisputed })
	return Verdict{Reason: v1alpha1.ReasonClusterLogDisputed, Message: message, Phase: Reconciling}, message != ""
}

// said is what the workers report, or, once all of them are unready and no report is read, what one of them says behind
// prefix; empty if nothing is wrong.
func (o Cluster) said(prefix string, reported func(*restapi.Cluster) string) string {
	message := ""
	if o.View != nil {
		message = reported(o.View)
	}
	for _, said := range o.Unready {
		if _, found, ok := strings.Cut(said, prefix); ok {
			message = prefix + found
		}
	}
	return message
}

// SetTopics writes the condition InternalTopicsHealthy. Without a report it stays as it is.
func SetTopics(conditions *[]metav1.Condition, o Cluster, generation int64) {
	switch {
	case o.View == nil:
	case len(o.View.Warnings) == 0:
		meta.RemoveStatusCondition(conditions, v1alpha1.ConditionInternalTopicsHealthy)
	default:
		meta.SetStatusCondition(conditions, metav1.Condition{
			Type: v1alpha1.ConditionInternalTopicsHealthy, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonTopicWarnings,
			Message: Shorten(strings.Join(o.View.Warnings, "; "), v1alpha1.MaxConditionMessage), ObservedGeneration: generation,
		})
	}
}

func podsNotReady(o Cluster) (Verdict, bool) {
	ready := o.StatefulSet.Status.ReadyReplicas
	message := fmt.Sprintf("%d of %d worker pods are ready", ready, o.Want)
	if trouble := troubles(o); trouble != "" {
		message += "; " + trouble
	}
	return Verdict{Reason: v1alpha1.ReasonPodsNotReady, Message: message, Phase: Reconciling}, ready < o.Want
}

func noView(o Cluster) (Verdict, bool) {
	return Verdict{Reason: v1alpha1.ReasonWorkersUnreachable, Message: o.ViewMessage, Phase: Reconciling}, o.View == nil
}

func membersDiffer(o Cluster) (Verdict, bool) {
	joined := int32(len(o.View.Members))
	message := fmt.Sprintf("%d of %d workers have joined", joined, o.Want)
	if joined > o.Want {
		message = fmt.Sprintf("the workers count %d members where %d are wanted: those that left are not given up yet", joined, o.Want)
	}
	return Verdict{Reason: v1alpha1.ReasonMissingMembers, Message: message, Phase: Reconciling}, joined != o.Want
}

// maxUnready is how much of what an unready worker says is shown: which broker says what, and since when, comes late in
// it.
const maxUnready = 600

// troubles says what keeps the first unready pods from being ready, in Kubernetes' own words and the workers' last
// ones.
func troubles(o Cluster) string {
	const most = 3
	var out []string
	for _, p := range slices.SortedFunc(slices.Values(o.Pods), func(a, b corev1.Pod) int { return cmp.Compare(a.Name, b.Name) }) {
		t := cmp.Or(trouble(p), Shorten(o.Unready[p.Name], maxUnready))
		if t != "" && len(out) < most {
			out = append(out, p.Name+": "+t)
		}
	}
	return strings.Join(out, "; ")
}

func trouble(p corev1.Pod) string {
	for _, s := range slices.Concat(p.Status.InitContainerStatuses, p.Status.ContainerStatuses) {
		if w := s.State.Waiting; w != nil && w.Reason != "" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" {
			last := ""
			if t := s.LastTerminationState.Terminated; t != nil && t.Message != "" {
				last = t.Message
			}
			return Shorten(strings.TrimSuffix(w.Reason+": "+cmp.Or(lastLine(last), w.Message), ": "), v1alpha1.MaxFailureMessage)
		}
		if t := s.State.Terminated; t != nil && t.ExitCode != 0 {
			return Shorten(fmt.Sprintf("ended with code %d: %s", t.ExitCode, lastLine(t.Message)), v1alpha1.MaxFailureMessage)
		}
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return Shorten(c.Reason+": "+c.Message, v1alpha1.MaxFailureMessage)
		}
	}
	return ""
}

// lastLine is the one with the reason: a worker's last words before it ends.
func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// FillCluster writes what was seen into the status, within its limits.
func FillCluster(s *v1alpha1.ConnectClusterStatus, o Cluster) {
	if set := o.StatefulSet; set != nil {
		s.Replicas, s.ReadyReplicas, s.UpdatedReplicas = set.Status.Replicas, set.Status.ReadyReplicas, set.Status.UpdatedReplicas
	}
	if len(o.Pods) > 0 {
		s.MountedSecrets = mountedSecrets(o.Pods)
	}
	workers := v1alpha1.WorkersStatus{Expected: o.Want}
	if o.View == nil {
		s.Workers = &workers
		if o.Want == 0 && s.Replicas == 0 {
			nothingRuns(s)
		}
		return
	}
	workers.Joined = int32(len(o.View.Members))
	for _, m := range o.View.Members {
		workers.Members = append(workers.Members, v1alpha1.WorkerMember{WorkerID: m.Worker, Tasks: int32(m.Tasks), Version: m.Version})
	}
	slices.SortFunc(workers.Members, func(a, b v1alpha1.WorkerMember) int { return cmp.Compare(a.WorkerID, b.WorkerID) })
	workers.Members = slices.CompactFunc(workers.Members, func(a, b v1alpha1.WorkerMember) bool { return a.WorkerID == b.WorkerID })
	workers.Members = workers.Members[:min(len(workers.Members), v1alpha1.MaxStatusMembers)]
	s.Workers = &workers
	connectors, tasks := countConnectors(o)
	s.Connectors, s.Tasks = &connectors, &tasks
	s.TasksReady = fmt.Sprintf("%d/%d", tasks.Running, tasks.Total)
}

// nothingRuns corrects the last report of workers that are gone for good: what there is stays, what ran does not.
func nothingRuns(s *v1alpha1.ConnectClusterStatus) {
	if s.Connectors != nil {
		s.Connectors.Running, s.Connectors.Failed = 0, 0
	}
	if s.Tasks != nil {
		s.Tasks.Running, s.Tasks.Failed, s.Tasks.Unassigned = 0, 0, s.Tasks.Total
		s.TasksReady = fmt.Sprintf("0/%d", s.Tasks.Total)
	}
}

func countConnectors(o Cluster) (v1alpha1.ClusterConnectors, v1alpha1.ClusterTasks) {
	all := v1alpha1.ClusterConnectors{Total: int32(len(o.Connectors))}
	var tasks v1alpha1.ClusterTasks
	for i := range o.Connectors {
		c := &o.Connectors[i]
		counts := countTasks(c)
		tasks.Total += counts.Total
		tasks.Running += counts.Running
		tasks.Failed += counts.Failed
		tasks.Unassigned += counts.Unassigned
		if !o.Managed[c.Name] {
			all.Unmanaged++
		}
		switch {
		case counts.Failed > 0 || c.State == restapi.StateFailed:
			all.Failed++
		case c.State == restapi.StateRunning:
			all.Running++
		case c.State == restapi.StatePaused:
			all.Paused++
		case c.State == restapi.StateStopped:
			all.Stopped++
		}
	}
	return all, tasks
}
