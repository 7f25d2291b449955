// Package testenv starts a real API server with our CRDs for tests that have the build tag envtest. KUBEBUILDER_ASSETS
// names the folder with kube-apiserver and etcd.
package testenv

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/rocketmq-connect/operator/controllers"
)

// Server is a running API server.
type Server struct {
	Config *rest.Config
	// Client reads and writes without a cache.
	Client client.Client
}

// Run starts a Server for the tests of a package, runs them, and stops it. It is for TestMain. What use returns, if not
// nil, is called before the server is stopped.
func Run(m *testing.M, use func(*Server) (stop func())) int {
	env := &envtest.Environment{CRDDirectoryPaths: []string{Path("config", "crd")}, ErrorIfCRDPathMissing: true}
	cfg, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv: starting the API server (does KUBEBUILDER_ASSETS name a folder with kube-apiserver and etcd?):", err)
		return 1
	}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "testenv: stopping the API server:", err)
		}
	}()
	s, err := newServer(cfg)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testenv:", err)
		return 1
	}
	if stop := use(s); stop != nil {
		defer stop()
	}
	return m.Run()
}

func newServer(cfg *rest.Config) (*Server, error) {
	scheme, err := controllers.Scheme()
	if err != nil {
		return nil, err
	}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		return nil, fmt.Errorf("making a client: %w", err)
	}
	return &Server{Config: cfg, Client: c}, nil
}

// Namespace makes a namespace of its own for a test.
func (s *Server) Namespace(t testing.TB) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := s.Client.Create(context.Background(), ns); err != nil {
		t.Fatalf("creating a namespace: %v", err)
	}
	return ns.Name
}

// Path is a file of the repository.
func Path(parts ...string) string {
	_, here, _, _ := runtime.Caller(0)
	return filepath.Join(append([]string{filepath.Dir(here), "..", ".."}, parts...)...)
}
