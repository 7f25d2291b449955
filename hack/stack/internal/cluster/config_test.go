package cluster

import (
	"crypto/tls"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/golden"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

func testCluster(t *testing.T, base int) Cluster {
	t.Helper()
	ports, err := layout.NewPorts(base)
	if err != nil {
		t.Fatal(err)
	}
	return Cluster{Layout: layout.Layout{Root: "/c", Base: base}, Ports: ports}
}

func TestConfigurations(t *testing.T) {
	for name, base := range map[string]int{"default": 0, "at-20000": 20000} {
		t.Run(name, func(t *testing.T) {
			c := testCluster(t, base)
			s := newSettings(c.Layout, c.Ports)
			if base != 0 {
				s.Resolvers, s.Snapshotter = "192.0.2.53", "native"
			}
			for _, file := range []string{"containerd.toml", "cni.conflist", "kubelet.yaml", "proxy.yaml", "coredns.yaml", "brokers.yaml"} {
				got, err := render(file, s)
				if err != nil {
					t.Fatal(err)
				}
				golden.Assert(t, name+"/"+file, got)
			}
			var b strings.Builder
			for _, p := range c.Names() {
				spec := c.spec(p)
				b.WriteString(spec.Path + "\n  " + strings.Join(spec.Args, "\n  ") + "\n")
			}
			golden.Assert(t, name+"/processes", b.String())
		})
	}
}

func TestIdentitiesAreMadeOnceAndServeTheirNames(t *testing.T) {
	dir := t.TempDir()
	etc, admin := filepath.Join(dir, "etc"), filepath.Join(dir, "kubeconfig")
	if err := writeIdentities(etc, admin, "10.244.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(admin)
	if err != nil {
		t.Fatal(err)
	}
	if err := writeIdentities(etc, admin, "10.244.0.1:6443"); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(admin); err != nil || string(after) != string(before) {
		t.Errorf("a second run has changed the kubeconfig (%v)", err)
	}
	ca, err := os.ReadFile(filepath.Join(etc, "ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	pair, err := tls.LoadX509KeyPair(filepath.Join(etc, "apiserver.crt"), filepath.Join(etc, "apiserver.key"))
	if err != nil {
		t.Fatal(err)
	}
	for _, host := range []string{"10.244.0.1", "10.96.0.1", "127.0.0.1", "kubernetes.default.svc"} {
		if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
			t.Errorf("the API server's certificate does not serve %s: %v", host, err)
		}
	}
	if info, err := os.Stat(filepath.Join(etc, "tokens.csv")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the tokens are readable by others: %v (%v)", info.Mode(), err)
	}
}

func TestHostResolvers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	content := "# a\nsearch x\nnameserver 127.0.0.53\nnameserver ::1\nnameserver 192.0.2.1\nnameserver\nnameserver " +
		"192.0.2.2\nnameserver 192.0.2.3\nnameserver 192.0.2.4\n"
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, want := hostResolvers(path), "192.0.2.1 192.0.2.2 192.0.2.3"; got != want {
		t.Errorf("resolvers are %q, want %q", got, want)
	}
	if got := hostResolvers(path + ".none"); got != "" {
		t.Errorf("resolvers of a missing file are %q", got)
	}
}
