// Package connectcluster makes the workers of ConnectCluster objects, and brings back what they and Kubernetes report.
package connectcluster

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/apply"
	"github.com/rocketmq-connect/operator/controllers/certs"
	"github.com/rocketmq-connect/operator/controllers/event"
	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/status"
)

const (
	// resync is when a cluster is looked at again though nothing seems to have changed: a Secret is not watched.
	resync = 5 * time.Minute
	// askAgain is when workers that are not ready are asked again why.
	askAgain = 10 * time.Second
	// conflictAgain is when a cluster whose name is taken looks whether it still is.
	conflictAgain = 30 * time.Second
)

// Feed is what the reconciler needs of feed.Hub.
type Feed interface {
	Ensure(cluster types.NamespacedName, to feed.Target)
	Drop(cluster types.NamespacedName)
	Cluster(cluster types.NamespacedName) feed.ClusterView
}

// Applier is what the reconciler needs of apply.Applier.
type Applier interface {
	Apply(ctx context.Context, owner *v1alpha1.ConnectCluster, want runtime.ApplyConfiguration) (changed bool, err error)
	Token(ctx context.Context, owner *v1alpha1.ConnectCluster) (string, error)
	Keys(ctx context.Context, owner *v1alpha1.ConnectCluster) (certs.Keys, error)
	Forget(owner types.NamespacedName)
}

// Options are what the reconciler is told.
type Options struct {
	// Live reads past the cache.
	Live client.Reader
	// DefaultImage is the worker image of clusters that name none.
	DefaultImage string
	// Peers may call the workers where NetworkPolicies are enforced.
	Peers render.Peers
	// Address gives the base URL of a cluster's REST API. Nil: its Service's, by what the pods speak.
	Address func(*v1alpha1.ConnectCluster) string
	// Probe asks workers why they are not ready. Nil: HTTPProbe.
	Probe Probe
}

// Reconciler reconciles ConnectClusters. Make one with New.
type Reconciler struct {
	client  client.Client
	live    client.Reader
	applier Applier
	feed    Feed
	events  events.EventRecorder
	options Options
	looks   looks
}

// New makes a Reconciler. c reads from the cache, o.Live past it.
func New(c client.Client, a Applier, f Feed, recorder events.EventRecorder, o Options) *Reconciler {
	if o.Probe == nil {
		o.Probe = HTTPProbe()
	}
	return &Reconciler{
		client:  c,
		live:    o.Live,
		applier: a,
		feed:    f,
		events:  recorder,
		options: o,
		looks:   looks{last: map[types.NamespacedName]look{}},
	}
}

// scope is what one pass has read and found out.
type scope struct {
	object *v1alpha1.ConnectCluster
	before *v1alpha1.ConnectCluster
	key    types.NamespacedName
	token  string // empty: the workers are called as before
	issued certs.Issued

	seen   status.Cluster
	events []event.Event
	result ctrl.Result
}

// Reconcile looks at one ConnectCluster.
func (r *Reconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s, err := r.load(ctx, req)
	if s == nil || err != nil {
		return ctrl.Result{}, err
	}
	err = r.phases(ctx, s)
	if err = errors.Join(err, r.writeStatus(ctx, s)); err != nil {
		return ctrl.Result{}, err
	}
	return s.result, nil
}

func (r *Reconciler) load(ctx context.Context, req ctrl.Request) (*scope, error) {
	object := &v1alpha1.ConnectCluster{}
	err := r.client.Get(ctx, req.NamespacedName, object)
	if client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading the cluster: %w", err)
	}
	if err != nil || !object.DeletionTimestamp.IsZero() {
		// Its children are deleted with it by Kubernetes.
		r.feed.Drop(req.NamespacedName)
		r.applier.Forget(req.NamespacedName)
		r.looks.forget(req.NamespacedName)
		return nil, nil
	}
	return &scope{
		object: object, before: object.DeepCopy(), key: req.NamespacedName,
		seen:   status.Cluster{Object: object, Want: render.Replicas(object)},
		result: ctrl.Result{RequeueAfter: resync},
	}, nil
}

// phases makes what has to be made, and looks at what is there whatever came of that: what runs goes on.
func (r *Reconciler) phases(ctx context.Context, s *scope) error {
	return errors.Join(r.make(ctx, s), r.observe(ctx, s), r.lookForSecrets(ctx, s, time.Now()))
}

func (r *Reconciler) make(ctx context.Context, s *scope) error {
	other, err := r.idTaken(ctx, s.object)
	if err != nil {
		return err
	}
	if other != "" {
		s.seen.Conflict = fmt.Sprintf(
			"clusterId %s belongs to ConnectCluster %s: workers of both would share their topics; set another spec.clusterId in a new "+
				"ConnectCluster",
			render.ClusterID(s.object),
			other,
		)
		s.result = ctrl.Result{RequeueAfter: conflictAgain}
		return nil
	}
	if s.token, s.issued, err = r.access(ctx, s.object); err != nil {
		return r.notApplied(s, err)
	}
	if render.Issuer(s.object) != nil {
		authority, missing, err := r.issuer(ctx, s.object)
		if err != nil {
			s.token = ""
			return r.notApplied(s, err)
		}
		if missing != "" {
			s.token, s.seen.Uncertified, s.result = "", missing, ctrl.Result{RequeueAfter: askAgain}
			return nil
		}
		s.issued.Authorities += authority // our own stays beside it: pods of before the roll have a certificate of it
	}
	sum := sha256.Sum256([]byte(s.token))
	children, err := render.Children(render.Input{
		Cluster:      s.object,
		DefaultImage: r.options.DefaultImage,
		TokenHash:    hex.EncodeToString(sum[:8]),
		Certificates: s.issued,
		Peers:        r.options.Peers,
	})
	if err != nil {
		s.seen.Invalid = err.Error()
		return nil // only another spec helps
	}
	for _, child := range children {
		changed, err := r.applier.Apply(ctx, s.object, child)
		if err != nil {
			return r.notApplied(s, err)
		}
		s.seen.Changed = s.seen.Changed || changed
	}
	return nil
}

// notApplied puts the error into the scope, and returns it if a repetition may mend it.
func (r *Reconciler) notApplied(s *scope, err error) error {
	switch {
	case errors.Is(err, apply.ErrNameTaken), errors.Is(err, apply.ErrNoToken), errors.Is(err, certs.ErrKey):
		s.seen.Conflict = err.Error()
		s.result = ctrl.Result{RequeueAfter: conflictAgain}
		return nil
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		s.seen.Invalid = err.Error()
		return nil
	}
	s.seen.ApplyFailed = err.Error()
	return err
}

// observe reads what became of the children and what the workers report, and keeps the stream to them.
func (r *Reconciler) observe(ctx context.Context, s *scope) error {
	set := &appsv1.StatefulSet{}
	name := types.NamespacedName{Namespace: s.key.Namespace, Name: render.WorkerName(s.object)}
	switch err := r.client.Get(ctx, name, set); {
	case apierrors.IsNotFound(err):
		r.feed.Drop(s.key)
		return nil
	case err != nil:
		return fmt.Errorf("reading the StatefulSet: %w", err)
	}
	if !metav1.IsControlledBy(set, s.object) {
		return nil
	}
	s.seen.StatefulSet = set
	var pods corev1.PodList
	if err := r.client.List(ctx, &pods, client.InNamespace(s.key.Namespace), client.MatchingLabels(render.Selector(s.object))); err != nil {
		return fmt.Errorf("listing the worker pods: %w", err)
	}
	s.seen.Pods = pods.Items
	if set.Status.ReadyReplicas < s.seen.Want {
		s.seen.Unready = r.askUnready(ctx, s.object, pods.Items)
		missing, err := r.missingSecret(ctx, s.object)
		if err != nil {
			return err
		}
		s.seen.MissingSecret = missing
		s.result.RequeueAfter = min(s.result.RequeueAfter, askAgain) // the reason may change without an event
	}
	return r.follow(ctx, s, set.Status.ReadyReplicas > 0)
}

func (r *Reconciler) follow(ctx context.Context, s *scope, ready bool) error {
	switch {
	case !ready:
		r.feed.Drop(s.key)
	case s.token != "":
		r.feed.Ensure(s.key, r.target(s))
	}
	view := r.feed.Cluster(s.key)
	s.seen.ViewMessage = view.Problem
	if !view.Reachable {
		return nil
	}
	s.seen.View, s.seen.Connectors = view.Cluster, view.Connectors
	var objects v1alpha1.ConnectorList
	if err := r.client.List(ctx, &objects, client.InNamespace(s.key.Namespace)); err != nil {
		return fmt.Errorf("listing the connectors: %w", err)
	}
	s.seen.Managed = map[string]bool{}
	for i := range objects.Items {
		if c := &objects.Items[i]; c.Spec.ClusterRef.Name == s.key.Name {
			s.seen.Managed[c.Name] = true
		}
	}
	return nil
}

// writeStatus is the only write of the status, and only if it changed.
func (r *Reconciler) writeStatus(ctx context.Context, s *scope) error {
	st := &s.object.Status
	st.ObservedGeneration = s.object.Generation
	st.ClusterID = render.ClusterID(s.object)
	st.Selector = render.SelectorText(s.object)
	st.Endpoint = render.APIAddress(s.object, render.Scheme(s.object))
	status.FillCluster(st, s.seen)
	status.JudgeCluster(s.seen).Set(&st.Conditions, s.object.Generation)
	status.SetTopics(&st.Conditions, s.seen, s.object.Generation)
	status.SetSecrets(&st.Conditions, s.seen, s.object.Generation)
	if !equality.Semantic.DeepEqual(s.before.Status, *st) {
		if err := r.client.Status().Patch(ctx, s.object, client.MergeFrom(s.before)); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("writing the cluster's status: %w", err)
		}
	}
	event.Send(r.events, append(s.events, changes(s.before, s.object)...)...)
	return nil
}

// changes are the events that follow from what the conditions say now and did not say before.
func changes(before, now *v1alpha1.ConnectCluster) []event.Event {
	ready := func(c *v1alpha1.ConnectCluster) metav1.Condition {
		return ptr.Deref(meta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady), metav1.Condition{})
	}
	was, is := ready(before), ready(now)
	switch {
	case is.Reason == v1alpha1.ReasonRollingUpdate && was.Reason != v1alpha1.ReasonRollingUpdate:
		return []event.Event{event.RollingUpdateStarted(now)}
	case (is.Reason == v1alpha1.ReasonConfigInvalid || is.Reason == v1alpha1.ReasonNameConflict) && is.Message != was.Message:
		return []event.Event{event.ClusterStalled(now, is.Reason, is.Message)}
	}
	return nil
}
