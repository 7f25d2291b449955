package apply

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/certs"
	"github.com/rocketmq-connect/operator/controllers/render"
)

// ErrNoToken means that there is a Secret of the right name that holds no token.
var ErrNoToken = errors.New("not there: add it, or delete the Secret to have one made")

// tokenBytes is the length of a REST token before it is written as text.
const tokenBytes = 32

// Token returns the token of the cluster's REST API, which it makes if there is none. A Secret that exists is never
// written, so users may bring their own; one without the key is ErrNoToken, one of a deleted cluster of the same name
// ErrGoing.
func (a *Applier) Token(ctx context.Context, owner *v1alpha1.ConnectCluster) (string, error) {
	name := render.APIName(owner)
	data, err := a.secret(ctx, owner, name, newToken)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(data[render.TokenKey])) // as workers read it: files end with a new line
	if token == "" {
		return "", fmt.Errorf("reading the key %s of Secret %s: %w", render.TokenKey, name, ErrNoToken)
	}
	return token, nil
}

// Keys returns the private keys of the cluster's REST API, which it makes if there are none. A Secret that exists is
// never written; one of a deleted cluster of the same name is ErrGoing.
func (a *Applier) Keys(ctx context.Context, owner *v1alpha1.ConnectCluster) (certs.Keys, error) {
	data, err := a.secret(ctx, owner, render.TLSName(owner), newKeys)
	return certs.Keys{Authority: data[render.AuthorityKeyKey], Workers: data[render.WorkersKeyKey]}, err
}

// secret returns what the Secret holds, which is made if there is none.
func (a *Applier) secret(
	ctx context.Context,
	owner *v1alpha1.ConnectCluster,
	name string,
	data func() (map[string][]byte, error),
) (map[string][]byte, error) {
	var secret corev1.Secret
	err := a.live.Get(ctx, types.NamespacedName{Namespace: owner.Namespace, Name: name}, &secret)
	if apierrors.IsNotFound(err) {
		secret = corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: owner.Namespace, Name: name, Labels: render.Labels(owner),
				OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, v1alpha1.SchemeGroupVersion.WithKind("ConnectCluster"))},
			},
			Type: corev1.SecretTypeOpaque,
		}
		if secret.Data, err = data(); err == nil {
			err = a.client.Create(ctx, &secret, FieldOwner)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("making Secret %s: %w", name, err)
	}
	if going(&secret, owner) {
		return nil, fmt.Errorf("reading Secret %s: %w", name, ErrGoing)
	}
	return secret.Data, nil
}

func newToken() (map[string][]byte, error) {
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the process instead
	return map[string][]byte{render.TokenKey: []byte(base64.RawURLEncoding.EncodeToString(random))}, nil
}

func newKeys() (map[string][]byte, error) {
	out := map[string][]byte{}
	for _, name := range []string{render.AuthorityKeyKey, render.WorkersKeyKey} {
		key, err := certs.NewKey()
		if err != nil {
			return nil, err
		}
		out[name] = key
	}
	return out, nil
}
