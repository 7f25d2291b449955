// Package apply is the only writer of child objects: by server-side apply, with one field owner.
package apply

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"sync"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
)

// FieldOwner is the field manager of everything that the operator applies.
const FieldOwner = client.FieldOwner("rocketmq-connect-operator")

// ErrNameTaken means that a child object's name belongs to an object that something else made.
var ErrNameTaken = errors.New("made by something else: delete or rename it, or rename the ConnectCluster")

// ErrGoing means that a child object belongs to a deleted ConnectCluster of the same name: it is about to be collected.
var ErrGoing = errors.New("left by a deleted ConnectCluster of this name, and not collected yet")

// uncached is the version of an object that the cache does not hold although owner controls it: it has just been made,
// or has lost the labels that the cache selects by, which raises no generation. It is no version that was ever applied.
const uncached = "not in the cache"

// Applier applies child objects. It is safe for concurrent use.
type Applier struct {
	client client.Client
	// live reads past the cache, which holds the operator's own objects only.
	live client.Reader

	mu sync.Mutex
	// applied has what was applied last, so that an object which is as it was left is not sent again.
	applied map[object]mark
}

type object struct {
	gvk schema.GroupVersionKind
	key types.NamespacedName
}

type mark struct {
	owner types.NamespacedName
	uid   types.UID
	sum   [sha256.Size]byte
	// version is that of the object after it was applied: its generation if it has one, which statuses do not raise.
	version string
}

// New makes an Applier. c reads from the cache, live past it.
func New(c client.Client, live client.Reader) *Applier {
	return &Applier{client: c, live: live, applied: map[object]mark{}}
}

// Apply makes the object as wanted. changed says whether it was another object, or none, before. An object that owner
// does not control is left alone: ErrNameTaken, or ErrGoing.
func (a *Applier) Apply(ctx context.Context, owner *v1alpha1.ConnectCluster, want runtime.ApplyConfiguration) (changed bool, err error) {
	text, err := json.Marshal(want)
	if err != nil {
		return false, fmt.Errorf("encoding a child object: %w", err)
	}
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(text, &meta); err != nil {
		return false, fmt.Errorf("decoding a child object: %w", err)
	}
	id := object{gvk: meta.GroupVersionKind(), key: client.ObjectKeyFromObject(&meta)}
	m := mark{owner: client.ObjectKeyFromObject(owner), uid: owner.UID, sum: sha256.Sum256(text)}
	current, err := a.current(ctx, id, owner)
	if err != nil {
		return false, err
	}
	last := a.last(id)
	if current != "" && last.uid == m.uid && last.sum == m.sum && last.version == current {
		return false, nil
	}
	if err := a.client.Apply(ctx, want, FieldOwner, client.ForceOwnership); err != nil {
		return false, fmt.Errorf("applying %s %s: %w", id.gvk.Kind, id.key.Name, err)
	}
	if m.version, err = versionOfApplied(want); err != nil {
		return false, err
	}
	a.remember(id, m)
	return m.version != current, nil
}

// Forget drops what is remembered of an owner's objects.
func (a *Applier) Forget(owner types.NamespacedName) {
	a.mu.Lock()
	defer a.mu.Unlock()
	maps.DeleteFunc(a.applied, func(_ object, m mark) bool { return m.owner == owner })
}

// current is the version of the object as the cache has it; empty if there is none.
func (a *Applier) current(ctx context.Context, id object, owner *v1alpha1.ConnectCluster) (string, error) {
	typed, err := a.client.Scheme().New(id.gvk)
	foreign := runtime.IsNotRegisteredError(err) // of kinds of others nothing is cached
	if err != nil && !foreign {
		return "", fmt.Errorf("making a %s: %w", id.gvk.Kind, err)
	}
	obj, ok := typed.(client.Object)
	if !ok && !foreign {
		return "", fmt.Errorf("%s is no object", id.gvk)
	}
	if !foreign {
		err = a.client.Get(ctx, id.key, obj)
	}
	cached := !foreign && !apierrors.IsNotFound(err)
	if !cached {
		obj = &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: id.gvk.GroupVersion().String(), Kind: id.gvk.Kind}}
		err = a.live.Get(ctx, id.key, obj)
	}
	switch {
	case apierrors.IsNotFound(err):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading %s %s: %w", id.gvk.Kind, id.key.Name, err)
	case going(obj, owner):
		return "", fmt.Errorf("%s %s: %w", id.gvk.Kind, id.key.Name, ErrGoing)
	case !metav1.IsControlledBy(obj, owner):
		return "", fmt.Errorf("%s %s: %w", id.gvk.Kind, id.key.Name, ErrNameTaken)
	case !cached && !foreign:
		return uncached, nil
	}
	return version(obj), nil
}

// going reports that Kubernetes is about to collect the object with another ConnectCluster of owner's name, or by
// itself.
func going(obj client.Object, owner *v1alpha1.ConnectCluster) bool {
	by := metav1.GetControllerOf(obj)
	if by == nil || by.Kind != "ConnectCluster" || by.Name != owner.Name {
		return false
	}
	return by.UID != owner.UID || obj.GetDeletionTimestamp() != nil
}

func (a *Applier) last(id object) mark {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.applied[id]
}

func (a *Applier) remember(id object, m mark) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.applied[id] = m
}

// versionOfApplied reads the answer, which the client has decoded into the configuration that was applied.
func versionOfApplied(answer runtime.ApplyConfiguration) (string, error) {
	text, err := json.Marshal(answer)
	if err != nil {
		return "", fmt.Errorf("encoding an applied object: %w", err)
	}
	var meta metav1.PartialObjectMetadata
	if err := json.Unmarshal(text, &meta); err != nil {
		return "", fmt.Errorf("decoding an applied object: %w", err)
	}
	return version(&meta), nil
}

func version(obj client.Object) string {
	if g := obj.GetGeneration(); g > 0 {
		return "generation " + strconv.FormatInt(g, 10)
	}
	return obj.GetResourceVersion()
}
