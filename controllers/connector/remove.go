package connector

import (
	"context"
	"fmt"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/event"
	"github.com/rocketmq-connect/operator/controllers/feed"
)

// remove takes the connector from the workers and releases the object once they no longer report it. It does not wait
// for a cluster that is gone, or on its way.
func (r *Reconciler) remove(ctx context.Context, s *scope) error {
	switch {
	case !controllerutil.ContainsFinalizer(s.object, v1alpha1.ConnectorFinalizer):
		s.released = true
		return nil
	case s.object.Spec.DeletionPolicy == v1alpha1.DeletionOrphan:
		return r.release(ctx, s, event.FinalizerReleased(s.object, "deletionPolicy is Orphan"))
	case s.cluster == nil:
		return r.release(ctx, s, event.FinalizerReleased(s.object, "its ConnectCluster is gone"))
	case !s.view.Reachable:
		s.seen.Deleting = "waiting for the workers, who are to remove the connector (or set deletionPolicy to Orphan): " + s.view.Problem
		s.result = ctrl.Result{RequeueAfter: rejectedAgain}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if err := s.view.Workers.Delete(ctx, s.object.Name); err != nil {
		s.seen.Deleting = "removing the connector from the workers failed: " + feed.Cause(err)
		return fmt.Errorf("removing the connector from the workers: %w", redacted{err: err, redact: s.redact})
	}
	if s.view.Status != nil {
		s.seen.Deleting = "the workers accepted the removal; waiting for their tasks to end"
		s.result = ctrl.Result{RequeueAfter: lookAgain}
		return nil
	}
	return r.release(ctx, s, event.ConnectorRemoved(s.object))
}

func (r *Reconciler) release(ctx context.Context, s *scope, why event.Event) error {
	from := s.object.DeepCopy()
	controllerutil.RemoveFinalizer(s.object, v1alpha1.ConnectorFinalizer)
	err := r.client.Patch(ctx, s.object, client.MergeFromWithOptions(from, client.MergeFromWithOptimisticLock{}))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("releasing the finalizer: %w", err)
	}
	r.accepted.forget(client.ObjectKeyFromObject(s.object))
	s.released = true
	s.events = append(s.events, why)
	return nil
}
