// Package connector hands Connector objects to the workers of their clusters, and brings back what the workers report.
package connector

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/event"
	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/controllers/status"
	"github.com/rocketmq-connect/operator/worker/redact"
)

const (
	// callTimeout bounds one call of the workers, which answer once their own record came back.
	callTimeout = 10 * time.Second
	// rejectedAgain is when a refused configuration is retried: another worker image may know its class.
	rejectedAgain = time.Minute
	// lookAgain is when a change is looked at again that no report has brought yet.
	lookAgain = 2 * time.Second
)

// Feed is what the reconciler needs of feed.Hub.
type Feed interface {
	Connector(cluster types.NamespacedName, name string) feed.ConnectorView
}

// Reconciler reconciles Connectors. Make one with New.
type Reconciler struct {
	client   client.Client
	feed     Feed
	events   events.EventRecorder
	accepted *memory
}

// New makes a Reconciler. c reads from the cache.
func New(c client.Client, f Feed, recorder events.EventRecorder) *Reconciler {
	return &Reconciler{client: c, feed: f, events: recorder, accepted: newMemory()}
}

// redactor hides secrets by the names of their settings: the operator knows no classes. The workers know them, and what
// they say of a connector has passed a redactor of theirs.
func redactor(c *v1alpha1.Connector) redact.Redactor {
	return redact.New(c.Spec.Settings(), redact.Named)
}

// scope is what one pass has read and found out.
type scope struct {
	object  *v1alpha1.Connector
	before  *v1alpha1.Connector
	cluster *v1alpha1.ConnectCluster // nil if there is none, or none for long
	view    feed.ConnectorView
	redact  redact.Redactor

	seen     status.Connector
	released bool
	events   []event.Event
	result   ctrl.Result
}

// Reconcile looks at one Connector.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s, err := r.load(ctx, req)
	if s == nil || err != nil {
		return ctrl.Result{}, err
	}
	err = r.phases(ctx, s)
	if s.released {
		event.Send(r.events, s.events...)
		return ctrl.Result{}, err
	}
	err = errors.Join(err, r.writeStatus(ctx, s))
	if err != nil {
		return ctrl.Result{}, err
	}
	return s.result, nil
}

func (r *Reconciler) phases(ctx context.Context, s *scope) error {
	if !s.object.DeletionTimestamp.IsZero() {
		return r.remove(ctx, s)
	}
	if err := r.ensureFinalizer(ctx, s); err != nil {
		return err
	}
	if s.cluster == nil || !s.view.Reachable {
		return nil // a report, or the cluster itself, brings the next pass
	}
	s.seen.NotMounted, s.seen.Mounting = unmounted(s.object.Spec.Settings(), s.cluster)
	if len(s.seen.NotMounted)+len(s.seen.Mounting) > 0 {
		return r.stateOnly(ctx, s) // its tasks would fail where the Secret is not, and what runs would stop
	}
	return r.push(ctx, s)
}

func (r *Reconciler) load(ctx context.Context, req ctrl.Request) (*scope, error) {
	object := &v1alpha1.Connector{}
	if err := r.client.Get(ctx, req.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			r.accepted.forget(req.NamespacedName)
			return nil, nil
		}
		return nil, fmt.Errorf("reading the connector: %w", err)
	}
	s := &scope{object: object, before: object.DeepCopy(), redact: redactor(object)}
	key := types.NamespacedName{Namespace: object.Namespace, Name: object.Spec.ClusterRef.Name}
	cluster := &v1alpha1.ConnectCluster{}
	switch err := r.client.Get(ctx, key, cluster); {
	case err == nil && cluster.DeletionTimestamp.IsZero():
		s.cluster = cluster
		s.view = r.feed.Connector(key, object.Name)
	case err != nil && !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("reading the connector's cluster: %w", err)
	}
	s.seen = status.Connector{
		Object: object, ClusterFound: s.cluster != nil,
		Reachable: s.view.Reachable, ClusterMessage: s.view.Problem, Workers: s.view.Status,
	}
	return s, nil
}

// writeStatus is the only write of the status, and only if it changed.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	st := &s.object.Status
	verdict := status.JudgeConnector(s.seen)
	// Invariant S1: what the workers say passes the redactor before it gets into conditions and events.
	verdict.Message = s.redact.Text(verdict.Message)
	status.FillConnector(st, s.object.Spec.State, s.seen.Workers, s.redact)
	st.ObservedGeneration = s.object.Generation
	verdict.Set(&st.Conditions, s.object.Generation)
	s.events = append(s.events, changes(s.before, s.object)...)
	if !equality.Semantic.DeepEqual(s.before.Status, *st) {
		// Every other field of the status is this writer's alone, so a merge patch cannot undo anybody's work.
		if err := r.client.Status().Patch(ctx, s.object, client.MergeFrom(s.before)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("writing the connector's status: %w", err)
		}
	}
	event.Send(r.events, s.events...)
	return nil
}

// changes are the events that follow from what the status says now and did not say before.
func changes(before, now *v1alpha1.Connector) []event.Event {
	var out []event.Event
	was, is := readyReason(before), readyReason(now)
	if is.Reason != was.Reason || is.Message != was.Message {
		switch is.Reason {
		case v1alpha1.ReasonConfigRejected:
			out = append(out, event.ConfigRejected(now, is.Message))
		case v1alpha1.ReasonClusterNotFound:
			out = append(out, event.ClusterNotFound(now))
		case v1alpha1.ReasonSecretNotMounted:
			out = append(out, event.SecretNotMounted(now, is.Message))
		}
	}
	known := map[v1alpha1.TaskFailure]bool{}
	for _, f := range before.Status.TaskFailures {
		known[failureKey(f)] = true
	}
	for _, f := range now.Status.TaskFailures {
		if !known[failureKey(f)] {
			out = append(out, event.TaskFailed(now, f))
		}
	}
	return out
}

// failureKey makes failures equal that differ only in how often and when the task is retried.
func failureKey(f v1alpha1.TaskFailure) v1alpha1.TaskFailure {
	return v1alpha1.TaskFailure{ID: f.ID, WorkerID: f.WorkerID, Message: f.Message}
}
