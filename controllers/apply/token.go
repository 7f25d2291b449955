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
	"github.com/rocketmq-connect/operator/controllers/render"
)

// ErrNoToken means that there is a Secret of the right name that holds no token.
var ErrNoToken = errors.New("not there: add it, or delete the Secret to have one made")

// tokenBytes is the length of a REST token before it is written as text.
const tokenBytes = 32

// Token returns the token of the cluster's REST API, which it makes if there is none. A Secret that exists is never written,
// so users may bring their own; one without the key is ErrNoToken, one of a deleted cluster of the same name ErrGoing.
func (a *Applier) Token(ctx context.Context, owner *v1alpha1.ConnectCluster) (string, error) {
	key := types.NamespacedName{Namespace: owner.Namespace, Name: render.APIName(owner)}
	var secret corev1.Secret
	err := a.live.Get(ctx, key, &secret)
	if apierrors.IsNotFound(err) {
		secret = newToken(owner)
		err = a.client.Create(ctx, &secret, FieldOwner)
	}
	if err != nil {
		return "", fmt.Errorf("making Secret %s: %w", key.Name, err)
	}
	if going(&secret, owner) {
		return "", fmt.Errorf("reading Secret %s: %w", key.Name, ErrGoing)
	}
	token := strings.TrimSpace(string(secret.Data[render.TokenKey])) // as workers read it: files end with a new line
	if token == "" {
		return "", fmt.Errorf("reading the key %s of Secret %s: %w", render.TokenKey, key.Name, ErrNoToken)
	}
	return token, nil
}

func newToken(owner *v1alpha1.ConnectCluster) corev1.Secret {
	random := make([]byte, tokenBytes)
	_, _ = rand.Read(random) // never fails: crypto/rand ends the process instead
	return corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: owner.Namespace, Name: render.APIName(owner), Labels: render.Labels(owner),
			OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(owner, v1alpha1.SchemeGroupVersion.WithKind("ConnectCluster"))},
		},
		Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{render.TokenKey: []byte(base64.RawURLEncoding.EncodeToString(random))},
	}
}
