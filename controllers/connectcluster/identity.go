package connectcluster

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
)

// idTaken returns the cluster that has the same cluster id on the same RocketMQ and the better right to it, as far as
// the operator sees: workers of both would take each other for members of one cluster.
func (r *Reconciler) idTaken(ctx context.Context, c *v1alpha1.ConnectCluster) (string, error) {
	var all v1alpha1.ConnectClusterList
	if err := r.client.List(ctx, &all); err != nil {
		return "", fmt.Errorf("listing clusters: %w", err)
	}
	for i := range all.Items {
		o := &all.Items[i]
		if o.UID == c.UID || render.ClusterID(o) != render.ClusterID(c) || !sharesServer(o, c) {
			continue
		}
		first, err := r.comesFirst(ctx, o, c)
		if err != nil {
			return "", err
		}
		if first {
			return o.Namespace + "/" + o.Name, nil
		}
	}
	return "", nil
}

func sharesServer(a, b *v1alpha1.ConnectCluster) bool {
	return slices.ContainsFunc(a.Spec.RocketMQ.NameServers, func(s string) bool { return slices.Contains(b.Spec.RocketMQ.NameServers, s) })
}

// comesFirst says whether a has the better right to an id: the one that has workers, or else the older one.
func (r *Reconciler) comesFirst(ctx context.Context, a, b *v1alpha1.ConnectCluster) (bool, error) {
	has, err := r.hasWorkers(ctx, a)
	if err != nil {
		return false, err
	}
	had, err := r.hasWorkers(ctx, b)
	if err != nil {
		return false, err
	}
	if has != had {
		return has, nil
	}
	older := cmp.Or(
		a.CreationTimestamp.Compare(b.CreationTimestamp.Time),
		cmp.Compare(a.Namespace, b.Namespace),
		cmp.Compare(a.Name, b.Name),
	)
	return older < 0, nil
}

func (r *Reconciler) hasWorkers(ctx context.Context, c *v1alpha1.ConnectCluster) (bool, error) {
	set := &appsv1.StatefulSet{}
	err := r.client.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: render.WorkerName(c)}, set)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading the StatefulSet of %s/%s: %w", c.Namespace, c.Name, err)
	}
	return !apierrors.IsNotFound(err) && metav1.IsControlledBy(set, c), nil
}
