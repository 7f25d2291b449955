package layout

import (
	"reflect"
	"strings"
	"testing"
)

func TestPortsDoNotOverlap(t *testing.T) {
	for _, base := range []int{0, 1024, 20000, highest} {
		p, err := NewPorts(base)
		if err != nil {
			t.Fatal(err)
		}
		owner := map[int]string{p.Broker - 2: "Broker-2", p.Broker + 1: "Broker+1", p.Broker2 - 2: "Broker2-2", p.Broker2 + 1: "Broker2+1"}
		v := reflect.ValueOf(p)
		for i := range v.NumField() {
			name, port := v.Type().Field(i).Name, int(v.Field(i).Int())
			if other, taken := owner[port]; taken {
				t.Errorf("base %d: %s and %s both take port %d", base, other, name, port)
			}
			owner[port] = name
			if base != 0 && (port < base || port >= base+span) {
				t.Errorf("base %d: %s takes port %d, beyond %d ports from the base", base, name, port, span)
			}
		}
	}
}

func TestPortsOfABadBaseAreRefused(t *testing.T) {
	for _, base := range []int{-1, 1, 1023, highest + 1, 70000} {
		if _, err := NewPorts(base); err == nil || !strings.Contains(err.Error(), "--port-base") {
			t.Errorf("NewPorts(%d) fails with %v, want an error that names the flag", base, err)
		}
	}
}

func TestLayout(t *testing.T) {
	cases := map[string]struct {
		cache, home, wantRoot, wantErr string
	}{
		"the cache folder of the environment": {cache: "/c", home: "/h", wantRoot: "/c/rocketmq-connect"},
		"the home folder's cache":             {home: "/h", wantRoot: "/h/.cache/rocketmq-connect"},
		"a relative cache folder is refused":  {cache: "c", wantErr: "absolute"},
		"without either there is no place":    {wantErr: "XDG_CACHE_HOME"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", tc.cache)
			t.Setenv("HOME", tc.home)
			l, err := New(0)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("New fails with %v, want %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || l.Root != tc.wantRoot {
				t.Errorf("New gives %q (%v), want %q", l.Root, err, tc.wantRoot)
			}
		})
	}
}

func TestInstancesKeepTheirStateApart(t *testing.T) {
	a, b := Layout{Root: "/c"}, Layout{Root: "/c", Base: 20000}
	if a.State("x") == b.State("x") || a.Kubeconfig() == b.Kubeconfig() {
		t.Error("two instances share their state or kubeconfig")
	}
	if a.Bin("etcd") != b.Bin("etcd") {
		t.Error("two instances do not share what was built")
	}
	if a.Kubeconfig() != "/c/kubeconfig" {
		t.Errorf("the kubeconfig is %s, want /c/kubeconfig", a.Kubeconfig())
	}
}

func TestDeepCacheFoldersAreRefused(t *testing.T) {
	if err := (Layout{Root: "/root/.cache/rocketmq-connect"}).CheckSockets(); err != nil {
		t.Error(err)
	}
	if err := (Layout{Root: "/" + strings.Repeat("deep/", 20)}).CheckSockets(); err == nil {
		t.Error("a folder too deep for sockets is accepted")
	}
}
