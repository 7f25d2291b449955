//go:build envtest

package controllers_test

import (
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/rocketmq-connect/operator/api/v1alpha1"
	"github.com/rocketmq-connect/operator/controllers/certs"
	"github.com/rocketmq-connect/operator/controllers/render"
	"github.com/rocketmq-connect/operator/controllers/testobj"
)

// secured has the workers of demo speak TLS with this certificate, and calls them there.
func (f *fixture) secured(pair tls.Certificate) {
	f.Helper()
	s := httptest.NewUnstartedServer(f.workers.server.Config.Handler)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	s.StartTLS()
	f.Cleanup(func() { s.CloseClientConnections(); s.Close() })
	addresses.Store(f.ns, s.URL)
}

// issued is what the pods of demo are given.
func (f *fixture) issued() (pair tls.Certificate) {
	f.Helper()
	conf, secret := &corev1.ConfigMap{}, &corev1.Secret{}
	f.eventually("the certificate of the workers", func() error {
		err := errors.Join(f.get("demo-api-tls", conf), f.get("demo-api-tls", secret))
		if err == nil {
			pair, err = tls.X509KeyPair([]byte(conf.Data[render.CertificateKey]), secret.Data[render.WorkersKeyKey])
		}
		return err
	})
	return pair
}

func TestTheOperatorCallsWorkersOverTLSAndTrustsTheirAuthorityOnly(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := testobj.Cluster("demo").Obj()
	f.create(c, testobj.Connector("orders").Obj())
	look := func() {
		f.change(c, func() { metav1.SetMetaDataAnnotation(&c.ObjectMeta, "look", rand.Text()) })
	}
	f.issued()
	key, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	other, err := certs.Issue(certs.Keys{Authority: key, Workers: key}, certs.Issued{}, render.CertificateNames(c), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	pair, err := tls.X509KeyPair([]byte(other.Certificate), key)
	if err != nil {
		t.Fatal(err)
	}
	f.secured(pair)
	look()
	f.pods("demo", 3)
	f.eventually("another's certificate to be told", func() error {
		got := f.wantCluster("demo", "False/WorkersUnreachable|Reconciling/WorkersUnreachable")
		if message := got.Status.Conditions[0].Message; !strings.Contains(message, "their certificate is not trusted") {
			return errors.New(message)
		}
		return nil
	})
	f.secured(f.issued())
	look()
	f.settled("demo", 3, "True/WorkersReady")
	f.wantConnector("orders", "True/Running")
}

func TestCertificatesAreIssuedOnceAndKeptRight(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.ready()
	conf, secret := &corev1.ConfigMap{}, &corev1.Secret{}
	if err := errors.Join(f.get("demo-api-tls", conf), f.get("demo-api-tls", secret)); err != nil {
		t.Fatal(err)
	}
	if _, err := tls.X509KeyPair([]byte(conf.Data[render.CertificateKey]), secret.Data[render.WorkersKeyKey]); err != nil {
		t.Errorf("the workers cannot serve what they are given: %v", err)
	}
	issued := maps.Clone(conf.Data)
	f.change(c, func() { c.Spec.Config = map[string]v1alpha1.WorkerSetting{"logLevel": "debug"} })
	f.settled("demo", 3, "True/WorkersReady")
	if err := f.get("demo-api-tls", conf); err != nil || !maps.Equal(conf.Data, issued) {
		t.Errorf("another certificate was issued (%v)", err)
	}
	theirs, err := certs.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	evil, err := certs.Issue(certs.Keys{Authority: theirs, Workers: theirs}, certs.Issued{}, []string{"localhost"}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	f.change(conf, func() { conf.Data[render.AuthoritiesKey] += evil.Authorities })
	f.eventually("the other authority to be gone", func() error {
		if err := f.get("demo-api-tls", conf); err != nil || !maps.Equal(conf.Data, issued) {
			return fmt.Errorf("still there (%w)", err)
		}
		return nil
	})
	f.change(c, func() { c.Spec.API = &v1alpha1.APISpec{HostNames: []string{"connect.example.com"}} })
	f.eventually("a certificate with another name", func() error {
		if err := f.get("demo-api-tls", conf); err != nil || conf.Data[render.CertificateKey] == issued[render.CertificateKey] {
			return fmt.Errorf("still the same (%w)", err)
		}
		return nil
	})
	if conf.Data[render.AuthoritiesKey] != issued[render.AuthoritiesKey] {
		t.Error("callers have to trust another authority for it")
	}
	// Keys that were taken away are recreated once the cluster is looked at, and what they sign follows.
	if err := api.Client.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	f.change(c, func() { c.Spec.Config = nil })
	f.eventually("other keys and their certificate", func() error {
		if err := errors.Join(f.get("demo-api-tls", secret), f.get("demo-api-tls", conf)); err != nil {
			return err
		}
		_, err := tls.X509KeyPair([]byte(conf.Data[render.CertificateKey]), secret.Data[render.WorkersKeyKey])
		return err
	})
}

// certificateKind is cert-manager's, as far as it matters here.
func certificateKind() *unstructured.Unstructured {
	const text = `{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": {"name": "certificates.cert-manager.io"},
		"spec": {
			"group": "cert-manager.io", "scope": "Namespaced", "names": {"kind": "Certificate", "listKind": "CertificateList", "plural": "certificates", "singular": "certificate"},
			"versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}]
		}}`
	out := &unstructured.Unstructured{}
	if err := out.UnmarshalJSON([]byte(text)); err != nil {
		panic(err)
	}
	return out
}

func TestCertManagerIssuesWhereTheSpecNamesAnIssuer(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	cluster := testobj.Cluster("demo").With(func(c *v1alpha1.ConnectCluster) {
		c.Spec.API = &v1alpha1.APISpec{TLS: &v1alpha1.APITLSSpec{IssuerRef: &v1alpha1.IssuerReference{Name: "ours"}}}
	}).Obj()
	f.create(cluster)
	look := func() { // nothing of cert-manager's is watched
		f.change(cluster, func() { metav1.SetMetaDataAnnotation(&cluster.ObjectMeta, "look", rand.Text()) })
	}
	waits := func(why string) {
		t.Helper()
		look()
		f.eventually("the cluster to say: "+why, func() error {
			c := f.wantCluster("demo", "False/CertificateNotReady|Reconciling/CertificateNotReady")
			if message := c.Status.Conditions[0].Message; !strings.Contains(message, why) {
				return fmt.Errorf("it says %s", message)
			}
			return nil
		})
		if err := f.get("demo-worker", &appsv1.StatefulSet{}); !apierrors.IsNotFound(err) {
			t.Errorf("pods are made that cannot start: %v", err)
		}
	}
	waits("needs cert-manager, which is not installed")
	if err := api.Client.Create(t.Context(), certificateKind()); err != nil {
		t.Fatal(err)
	}
	waits("cert-manager has not issued Secret demo-api-issued yet")
	asked := &unstructured.Unstructured{}
	asked.SetGroupVersionKind(schema.GroupVersionKind{Group: "cert-manager.io", Version: "v1", Kind: "Certificate"})
	if err := f.get("demo-api-tls", asked); err != nil || metav1.GetControllerOf(asked) == nil {
		t.Fatalf("it was not asked for: %v", err)
	}
	if kind, _, _ := unstructured.NestedString(asked.Object, "spec", "issuerRef", "kind"); kind != "Issuer" {
		t.Errorf("it was asked for of a %s", kind)
	}
	issued := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "demo-api-issued"},
		Data:       map[string][]byte{render.CertificateKey: []byte("c"), render.WorkersKeyKey: []byte("k")},
	}
	f.create(issued)
	waits("Secret demo-api-issued has no ca.crt")
	f.change(issued, func() { issued.Data[render.AuthoritiesKey] = []byte("a") })
	look()
	f.pods("demo", 3)
	f.wantCluster("demo", "True/WorkersReady")
	told := &corev1.ConfigMap{}
	if err := f.get("demo-api-tls", told); err != nil || !strings.HasSuffix(told.Data[render.AuthoritiesKey], "-----END CERTIFICATE-----\na") {
		t.Errorf("callers are not told the issuer's authority beside the cluster's (%v)", err)
	}
	before := told.ResourceVersion
	look()
	f.wantCluster("demo", "True/WorkersReady")
	if err := f.get("demo-api-tls", told); err != nil || told.ResourceVersion != before {
		t.Errorf("it is told again in each pass (%v)", err)
	}
}
