// Package controllers puts the operator's controllers together.
package controllers

import (
	"context"
	"fmt"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/apply"
	"github.com/rocketmq-connect/operator/controllers/connectcluster"
	"github.com/rocketmq-connect/operator/controllers/connector"
	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/controllers/render"
)

const (
	// recorderName is what events name as their reporter.
	recorderName = "rocketmq-connect-operator"
	// clusterRefIndex finds the Connectors of a ConnectCluster.
	clusterRefIndex = "spec.clusterRef.name"

	firstRetry = 200 * time.Millisecond
	maxRetry   = 30 * time.Second
)

// Options are what the controllers are told.
type Options struct {
	// DefaultWorkerImage is the worker image of clusters that name none.
	DefaultWorkerImage string
	// Peers may call the workers where NetworkPolicies are enforced.
	Peers render.Peers
	// Concurrency is how many objects of a kind are reconciled at the same time; 0: 8.
	Concurrency int
	// Address gives the base URL of a cluster's REST API, for an operator outside the Kubernetes cluster. Nil: its
	// Service's.
	Address func(*v1alpha1.ConnectCluster) string
	// Probe asks workers why they are not ready. Nil: connectcluster.HTTPProbe.
	Probe connectcluster.Probe
	// Dial makes the client of a cluster's REST API. Nil: feed.Dial.
	Dial func(feed.Target) feed.Workers
	// SkipNameValidation lets one process run the controllers more than once, as tests do.
	SkipNameValidation bool
}

// Scheme has every kind that the controllers use.
func Scheme() (*runtime.Scheme, error) {
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("registering Kubernetes' kinds: %w", err)
	}
	if err := v1alpha1.AddToScheme(s); err != nil {
		return nil, fmt.Errorf("registering our kinds: %w", err)
	}
	return s, nil
}

// CacheOptions limit the cache to the operator's own child objects, and to the namespaces, if any are given. Objects of
// other makers are read past it.
func CacheOptions(namespaces []string) cache.Options {
	ours := cache.ByObject{Label: labels.SelectorFromSet(labels.Set{render.ManagedByLabel: render.ManagedBy})}
	o := cache.Options{
		DefaultTransform: cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&appsv1.StatefulSet{}: ours, &corev1.ConfigMap{}: ours, &corev1.Service{}: ours, &corev1.ServiceAccount{}: ours,
			&corev1.Pod{}: ours, &policyv1.PodDisruptionBudget{}: ours, &networkingv1.NetworkPolicy{}: ours,
		},
	}
	for _, ns := range namespaces {
		if o.DefaultNamespaces == nil {
			o.DefaultNamespaces = map[string]cache.Config{}
		}
		o.DefaultNamespaces[ns] = cache.Config{}
	}
	return o
}

// Setup adds the controllers and the hub that feeds them to the manager.
func Setup(ctx context.Context, mgr ctrl.Manager, o Options) error {
	if o.Dial == nil {
		o.Dial = feed.Dial
	}
	hub := feed.New(o.Dial, mgr.GetLogger().WithName("feed"))
	if err := mgr.Add(hub); err != nil {
		return fmt.Errorf("adding the feed: %w", err)
	}
	index := func(obj client.Object) []string {
		if c, ok := obj.(*v1alpha1.Connector); ok {
			return []string{c.Spec.ClusterRef.Name}
		}
		return nil
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.Connector{}, clusterRefIndex, index); err != nil {
		return fmt.Errorf("indexing connectors: %w", err)
	}
	if err := setupClusters(mgr, hub, o); err != nil {
		return fmt.Errorf("setting up the ConnectCluster controller: %w", err)
	}
	if err := setupConnectors(mgr, hub, o); err != nil {
		return fmt.Errorf("setting up the Connector controller: %w", err)
	}
	return nil
}

func (o Options) controller() controller.Options {
	n := o.Concurrency
	if n == 0 {
		n = 8
	}
	return controller.Options{
		MaxConcurrentReconciles: n,
		SkipNameValidation:      &o.SkipNameValidation,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, maxRetry),
	}
}

func setupClusters(mgr ctrl.Manager, hub *feed.Hub, o Options) error {
	r := connectcluster.New(mgr.GetClient(), apply.New(mgr.GetClient(), mgr.GetAPIReader()), hub,
		mgr.GetEventRecorder(recorderName), connectcluster.Options{
			Live: mgr.GetAPIReader(), DefaultImage: o.DefaultWorkerImage, Peers: o.Peers, Address: o.Address, Probe: o.Probe,
		})
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.ConnectCluster{}). // status changes too: a pass may have read a cache without its last write
		Owns(&appsv1.StatefulSet{}).
		Owns(&corev1.ConfigMap{}).
		Owns(&corev1.Service{}).
		Owns(&corev1.ServiceAccount{}).
		Owns(&policyv1.PodDisruptionBudget{}, builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Owns(&networkingv1.NetworkPolicy{}).
		Watches(&corev1.Pod{}, handler.EnqueueRequestsFromMapFunc(clusterOfPod)).
		WatchesRawSource(hub.Clusters()).
		WithOptions(o.controller()).
		Complete(r)
}

// clusterOfPod finds a pod's cluster by its labels: its owner is the StatefulSet.
func clusterOfPod(_ context.Context, pod client.Object) []reconcile.Request {
	name := pod.GetLabels()[render.InstanceLabel]
	if name == "" {
		return nil
	}
	return []reconcile.Request{{NamespacedName: types.NamespacedName{Namespace: pod.GetNamespace(), Name: name}}}
}

func setupConnectors(mgr ctrl.Manager, hub *feed.Hub, o Options) error {
	c := mgr.GetClient()
	names := func(ctx context.Context, cluster types.NamespacedName) ([]string, error) {
		var list v1alpha1.ConnectorList
		if err := c.List(ctx, &list, client.InNamespace(cluster.Namespace), client.MatchingFields{clusterRefIndex: cluster.Name}); err != nil {
			return nil, fmt.Errorf("listing connectors: %w", err)
		}
		out := make([]string, 0, len(list.Items))
		for i := range list.Items {
			out = append(out, list.Items[i].Name)
		}
		return out, nil
	}
	ofCluster := func(ctx context.Context, cluster client.Object) []reconcile.Request {
		found, err := names(ctx, client.ObjectKeyFromObject(cluster))
		if err != nil {
			mgr.GetLogger().Error(err, "Finding the connectors of a cluster", "ConnectCluster", cluster.GetName())
		}
		var out []reconcile.Request
		for _, name := range found {
			out = append(out, reconcile.Request{NamespacedName: types.NamespacedName{Namespace: cluster.GetNamespace(), Name: name}})
		}
		return out
	}
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.Connector{}). // status changes too: a pass may have read a cache without its last write
		Watches(&v1alpha1.ConnectCluster{}, handler.EnqueueRequestsFromMapFunc(ofCluster), builder.WithPredicates(concernsConnectors())).
		WatchesRawSource(hub.Connectors(names)).
		WithOptions(o.controller()).
		Complete(connector.New(c, hub, mgr.GetEventRecorder(recorderName)))
}

// concernsConnectors passes what matters to connectors about their cluster's object; the rest comes from the feed.
func concernsConnectors() predicate.Predicate {
	return predicate.Funcs{
		UpdateFunc: func(e event.UpdateEvent) bool {
			if e.ObjectOld.GetDeletionTimestamp().IsZero() != e.ObjectNew.GetDeletionTimestamp().IsZero() {
				return true
			}
			before, _ := e.ObjectOld.(*v1alpha1.ConnectCluster)
			now, _ := e.ObjectNew.(*v1alpha1.ConnectCluster)
			return before == nil || now == nil || !slices.Equal(before.Spec.Secrets, now.Spec.Secrets) ||
				!slices.Equal(before.Status.MountedSecrets, now.Status.MountedSecrets)
		},
		GenericFunc: func(event.GenericEvent) bool { return false },
	}
}
