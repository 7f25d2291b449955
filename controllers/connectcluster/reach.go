package connectcluster

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/certs"
	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/controllers/render"
)

// access is what it takes to call the workers, and to be called.
func (r *Reconciler) access(ctx context.Context, c *v1alpha1.ConnectCluster) (token string, issued certs.Issued, err error) {
	if token, err = r.applier.Token(ctx, c); err != nil {
		return "", certs.Issued{}, err
	}
	keys, err := r.applier.Keys(ctx, c)
	if err != nil {
		return "", certs.Issued{}, err
	}
	before := &corev1.ConfigMap{}
	// Past the cache: what was issued a moment ago must not be issued again.
	err = r.live.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: render.TLSName(c)}, before)
	if client.IgnoreNotFound(err) != nil {
		return "", certs.Issued{}, fmt.Errorf("reading the certificates: %w", err)
	}
	if !metav1.IsControlledBy(before, c) {
		before = &corev1.ConfigMap{}
	}
	issued, err = certs.Issue(keys, certs.Issued{
		Certificate: before.Data[render.CertificateKey], Authorities: before.Data[render.AuthoritiesKey],
	}, render.CertificateNames(c), time.Now())
	if err != nil {
		return "", certs.Issued{}, fmt.Errorf("reading Secret %s: %w", render.TLSName(c), err)
	}
	return token, issued, nil
}

// issuer asks cert-manager for the workers' certificate and reads its authority. missing says what is not there yet.
func (r *Reconciler) issuer(ctx context.Context, c *v1alpha1.ConnectCluster) (authority, missing string, err error) {
	_, err = r.applier.Apply(ctx, c, render.Certificate(c))
	if meta.IsNoMatchError(err) {
		return "", "spec.api.tls.issuerRef needs cert-manager, which is not installed: there is no kind Certificate of cert-manager.io/v1", nil
	}
	if err != nil {
		return "", "", err
	}
	name := render.IssuedName(c)
	secret := &corev1.Secret{}
	err = r.live.Get(ctx, types.NamespacedName{Namespace: c.Namespace, Name: name}, secret)
	if client.IgnoreNotFound(err) != nil {
		return "", "", fmt.Errorf("reading Secret %s: %w", name, err)
	}
	switch {
	case err != nil || len(secret.Data[render.CertificateKey]) == 0:
		return "", fmt.Sprintf(
			"cert-manager has not issued Secret %s yet: kubectl describe certificate %s says why",
			name,
			render.TLSName(c),
		), nil
	case len(secret.Data[render.AuthoritiesKey]) == 0:
		return "", fmt.Sprintf(
			"Secret %s has no %s: name an issuer in spec.api.tls.issuerRef that tells its authority",
			name,
			render.AuthoritiesKey,
		), nil
	}
	return string(secret.Data[render.AuthoritiesKey]), "", nil
}

// target says where the workers are called.
func (r *Reconciler) target(s *scope) feed.Target {
	out := feed.Target{Token: s.token, Authorities: s.issued.Authorities}
	if r.options.Address != nil {
		out.Address = r.options.Address(s.object)
		return out
	}
	scheme, pod := reach(render.Scheme(s.object), s.seen.Pods)
	out.Address, out.Pod = render.APIAddress(s.object, scheme), pod
	return out
}

// reach says by which scheme the ready pods are called, and which of them if not any: while a roll changes the scheme,
// the Service leads to pods of both. Then one with TLS is called, the newest of a roll, so that the token goes in the
// clear only while no pod takes it otherwise. What a pod speaks is said by the API server, never by who answers.
// Without ready pods it is the scheme of new ones.
func reach(scheme string, pods []corev1.Pod) (_, pod string) {
	seen := map[string]bool{}
	var secured *corev1.Pod
	for i := range pods {
		p := &pods[i]
		if !ready(p) {
			continue
		}
		speaks := render.SchemeOf(p.Annotations)
		seen[speaks] = true
		if speaks == render.HTTPS && (secured == nil || ordinal(p, secured) > 0) {
			secured = p
		}
	}
	switch {
	case seen[render.HTTPS] && seen[render.HTTP]:
		return render.HTTPS, address(secured)
	case seen[render.HTTPS]:
		return render.HTTPS, ""
	case seen[render.HTTP]:
		return render.HTTP, ""
	}
	return scheme, ""
}

func ready(p *corev1.Pod) bool {
	if p.Status.PodIP == "" || !p.DeletionTimestamp.IsZero() {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// ordinal compares the numbers at the end of the names of a StatefulSet's pods: it replaces the highest first.
func ordinal(a, b *corev1.Pod) int {
	return cmp.Or(cmp.Compare(len(a.Name), len(b.Name)), cmp.Compare(a.Name, b.Name))
}

// address is host:port of the pod's REST API.
func address(p *corev1.Pod) string {
	for _, c := range p.Spec.Containers {
		for _, port := range c.Ports {
			if c.Name == render.WorkerContainer && port.Name == render.APIPort {
				return net.JoinHostPort(p.Status.PodIP, strconv.Itoa(int(port.ContainerPort)))
			}
		}
	}
	return ""
}
