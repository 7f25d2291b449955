package connectcluster

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/render"
)

// absentAgain is when Secrets are looked for again of which one was not there. Without one, resync is.
const absentAgain = 15 * time.Second

// looks remembers what was found of Secrets: each costs a request, and passes come with each report of the workers.
type looks struct {
	mu   sync.Mutex
	last map[types.NamespacedName]look
}

type look struct {
	uid        types.UID
	generation int64
	at         time.Time
	absent     []string
}

func (l *looks) get(c *v1alpha1.ConnectCluster, now time.Time) (absent []string, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	last := l.last[types.NamespacedName{Namespace: c.Namespace, Name: c.Name}]
	fresh := resync
	if len(last.absent) > 0 {
		fresh = absentAgain
	}
	return last.absent, last.uid == c.UID && last.generation == c.Generation && now.Sub(last.at) < fresh
}

func (l *looks) put(c *v1alpha1.ConnectCluster, now time.Time, absent []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last[types.NamespacedName{Namespace: c.Namespace, Name: c.Name}] = look{uid: c.UID, generation: c.Generation, at: now, absent: absent}
}

func (l *looks) forget(key types.NamespacedName) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.last, key)
}

// lookForSecrets looks which of the Secrets that connectors may refer to are not there. Pods start without them.
func (r *Reconciler) lookForSecrets(ctx context.Context, s *scope, now time.Time) error {
	absent, ok := r.looks.get(s.object, now)
	if !ok {
		absent = []string{}
		for _, secret := range s.object.Spec.Secrets {
			there, err := r.exists(ctx, s.key.Namespace, secret.Name)
			if err != nil {
				return err
			}
			if !there {
				absent = append(absent, secret.Name)
			}
		}
		r.looks.put(s.object, now, absent)
	}
	if len(absent) > 0 {
		s.result.RequeueAfter = min(s.result.RequeueAfter, absentAgain)
	}
	s.seen.AbsentSecrets = absent
	return nil
}

// missingSecret names a Secret that the pods cannot start without and that is not there.
func (r *Reconciler) missingSecret(ctx context.Context, c *v1alpha1.ConnectCluster) (string, error) {
	for _, name := range render.Secrets(c) {
		if there, err := r.exists(ctx, c.Namespace, name); !there || err != nil {
			return name, err
		}
	}
	return "", nil
}

// exists says whether a Secret is there. Only its metadata is asked for: the values are none of the operator's
// business.
func (r *Reconciler) exists(ctx context.Context, namespace, name string) (bool, error) {
	secret := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Secret"}}
	err := r.live.Get(ctx, types.NamespacedName{Namespace: namespace, Name: name}, secret)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("looking for Secret %s: %w", name, err)
	}
	return err == nil, nil
}
