package connector

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/event"
	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/worker/redact"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

// ensureFinalizer comes before the first call of the workers, or a deletion in between would leave the connector there.
func (r *Reconciler) ensureFinalizer(ctx context.Context, s *scope) error {
	if controllerutil.ContainsFinalizer(s.object, v1alpha1.ConnectorFinalizer) {
		return nil
	}
	from := s.object.DeepCopy()
	controllerutil.AddFinalizer(s.object, v1alpha1.ConnectorFinalizer)
	if err := r.client.Patch(ctx, s.object, client.MergeFromWithOptions(from, client.MergeFromWithOptimisticLock{})); err != nil {
		return fmt.Errorf("adding the finalizer: %w", err)
	}
	s.before = s.object.DeepCopy()
	return nil
}

// desired is the object in the workers' words.
func desired(c *v1alpha1.Connector) restapi.Connector {
	return restapi.Connector{
		Name: c.Name, Class: c.Spec.Class, State: string(c.Spec.State),
		MaxTasks: int(ptr.Deref(c.Spec.MaxTasks, 1)), Config: c.Spec.Settings(),
	}
}

// push brings the workers to what the object asks for, unless they are known to have it.
func (r *Reconciler) push(ctx context.Context, s *scope) error {
	key := client.ObjectKeyFromObject(s.object)
	want := desired(s.object)
	sum := hash(want)
	switch r.accepted.compare(key, s.object.UID, sum+want.State, s.view) {
	case inSync:
		return nil
	case notReported:
		s.seen.Pending = true
		s.result = ctrl.Result{RequeueAfter: lookAgain}
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// Putting what is there already changes nothing, so a repeated call is harmless, and no read has to come first.
	got, err := s.view.Workers.Put(ctx, want, restclient.AnyRevision)
	if err != nil {
		return r.refused(ctx, s, err)
	}
	r.accepted.remember(key, accepted{uid: s.object.UID, sum: sum + want.State, revision: got.Revision, session: s.view.Session})
	s.seen.Pending = s.view.Status == nil || s.view.Status.Revision < got.Revision
	if s.seen.Pending {
		s.result = ctrl.Result{RequeueAfter: lookAgain}
	}
	s.events = append(s.events, acceptedEvents(s, sum, got)...)
	s.object.Status.AppliedConfigHash = sum
	return nil
}

// acceptedEvents says what the accepted call changed, as far as the last report shows.
func acceptedEvents(s *scope, sum string, got restapi.Connector) []event.Event {
	var out []event.Event
	switch was := s.view.Status; {
	case was != nil && was.Revision >= got.Revision: // a repetition
		return nil
	case was == nil && s.object.Status.AppliedConfigHash == "":
		out = append(out, event.ConnectorCreated(s.object))
	case s.object.Status.AppliedConfigHash != sum:
		out = append(out, event.ConfigUpdated(s.object))
	case was != nil && was.Desired != string(s.object.Spec.State):
		out = append(out, event.StateChanged(s.object))
	}
	if len(got.Warnings) > 0 {
		out = append(out, event.ConfigWarning(s.object, s.redact.Text(strings.Join(got.Warnings, "; "))))
	}
	return out
}

// refused puts a failed call into the scope. Only what a repetition may mend is returned, to be retried with back-off.
func (r *Reconciler) refused(ctx context.Context, s *scope, err error) error {
	switch {
	case restclient.Invalid(err):
		s.seen.Rejected = refusal(err)
		s.result = ctrl.Result{RequeueAfter: rejectedAgain}
		return r.stateOnly(ctx, s)
	case restclient.Conflict(err):
		s.seen.Busy = "the workers put the change off: " + feed.Cause(err)
		s.result = ctrl.Result{RequeueAfter: lookAgain}
		return nil
	}
	s.seen.Unreachable = "calling the workers failed: " + feed.Cause(err)
	return fmt.Errorf("handing the connector to the workers: %w", redacted{err: err, redact: s.redact})
}

// stateOnly lets users pause or stop what runs, also while the configuration they ask for is refused or waits.
func (r *Reconciler) stateOnly(ctx context.Context, s *scope) error {
	state := string(s.object.Spec.State)
	if s.view.Status == nil || s.view.Status.Desired == state {
		return nil
	}
	if _, err := s.view.Workers.SetState(ctx, s.object.Name, state); err != nil && !restclient.NotFound(err) {
		return fmt.Errorf("setting the state of the connector: %w", redacted{err: err, redact: s.redact})
	}
	s.events = append(s.events, event.StateChanged(s.object))
	return nil
}

// refusal is the workers' own words, with the fields that they name.
func refusal(err error) string {
	var p *restapi.Problem
	if !errors.As(err, &p) {
		return err.Error()
	}
	if len(p.Errors) == 0 {
		return p.Error()
	}
	var parts []string
	for _, e := range p.Errors {
		if e.Field != "" && !strings.Contains(e.Detail, e.Field) {
			e.Detail = e.Field + ": " + e.Detail
		}
		parts = append(parts, e.Detail)
	}
	return strings.Join(parts, "; ")
}

// redacted is an error whose text, which the caller logs, has no secrets.
type redacted struct {
	err    error
	redact redact.Redactor
}

func (e redacted) Error() string { return e.redact.Text(e.err.Error()) }
func (e redacted) Unwrap() error { return e.err }

func readyReason(c *v1alpha1.Connector) metav1.Condition {
	return ptr.Deref(meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady), metav1.Condition{})
}
