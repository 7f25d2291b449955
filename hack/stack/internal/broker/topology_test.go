package broker

import (
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/daemon"
	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// testSet is the brokers of an instance below a folder of the test.
func testSet(t *testing.T, base int, topology string) Set {
	t.Helper()
	ports, err := layout.NewPorts(base)
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	return Set{
		Layout: layout.Layout{Root: root, Base: base}, Ports: ports, Report: step.NewReporter(io.Discard),
		Daemons: daemon.Folder{Records: filepath.Join(root, "records"), Logs: filepath.Join(root, "logs")},
		Options: Options{Topology: topology, Version: fetch.RocketMQ5},
	}
}

func TestTheProcessesOfEachTopology(t *testing.T) {
	want := map[string]struct{ names, nameServers string }{
		Single: {names: "rocketmq-namesrv rocketmq-broker", nameServers: "127.0.0.1:20000"},
		Masters: {
			names:       "rocketmq-namesrv rocketmq-namesrv-2 rocketmq-broker-a rocketmq-broker-b",
			nameServers: "127.0.0.1:20000 127.0.0.1:20001",
		},
		Replicated: {names: "rocketmq-namesrv rocketmq-broker-a rocketmq-broker-a-slave", nameServers: "127.0.0.1:20000"},
		Controller: {
			names:       "rocketmq-namesrv rocketmq-namesrv-2 rocketmq-broker-a-1 rocketmq-broker-a-2",
			nameServers: "127.0.0.1:20000 127.0.0.1:20001",
		},
		Proxy: {names: "rocketmq-namesrv rocketmq-broker rocketmq-proxy", nameServers: "127.0.0.1:20000"},
	}
	for _, topology := range Topologies {
		s := testSet(t, 20000, topology)
		if got := strings.Join(s.RocketMQNames(), " "); got != want[topology].names {
			t.Errorf("%s has %s, want %s", topology, got, want[topology].names)
		}
		if got := strings.Join(s.NameServers(), " "); got != want[topology].nameServers {
			t.Errorf("the name servers of %s are %s, want %s", topology, got, want[topology].nameServers)
		}
		for _, n := range s.nodes() {
			if n.wave > lastWave {
				t.Errorf("%s: %s would never be started", topology, n.name)
			}
		}
	}
}

func TestThePortsOfATopologyDoNotOverlap(t *testing.T) {
	for _, topology := range Topologies {
		for _, base := range []int{0, 20000} {
			s, owner, stores := testSet(t, base, topology), map[int]string{}, map[string]string{}
			for _, name := range s.Names() {
				for _, p := range s.PortsOf(name) {
					if other, taken := owner[p.Port]; taken {
						t.Errorf("%s at %d: %s and %s both take port %d", topology, base, other, name, p.Port)
					}
					owner[p.Port] = name
				}
				for _, path := range s.data(name) {
					if other, taken := stores[path]; taken {
						t.Errorf("%s: %s and %s both keep their data in %s", topology, other, name, path)
					}
					stores[path] = name
				}
				if len(s.PortsOf(name)) == 0 {
					t.Errorf("%s: %s takes no port", topology, name)
				}
			}
		}
	}
}

func TestWhatDoesNotGoTogetherIsRefused(t *testing.T) {
	cases := map[string]struct {
		Options
		wantErr string
	}{
		"sync without a slave": {Options: Options{Topology: Masters, Sync: true}, wantErr: "--sync is for --topology replicated"},
		"sync with a slave":    {Options: Options{Topology: Replicated, Sync: true}},
		"a controller of the older line": {
			Options: Options{Topology: Controller, Version: fetch.RocketMQ4},
			wantErr: "controller needs RocketMQ 5.3.3",
		},
		"a proxy of the older line": {
			Options: Options{Topology: Proxy, Version: fetch.RocketMQ4},
			wantErr: "proxy needs RocketMQ 5.3.3",
		},
		"masters of the older line":          {Options: Options{Topology: Masters, Version: fetch.RocketMQ4, ACL: true}},
		"a proxy with access control":        {Options: Options{Topology: Proxy, ACL: true}, wantErr: "leave --acl out"},
		"an older slave with access control": {Options: Options{Topology: Replicated, Version: fetch.RocketMQ4, ACL: true}, wantErr: "use 5.3.3"},
		"a controller with access control":   {Options: Options{Topology: Controller, Version: fetch.RocketMQ5, ACL: true}},
		"masters with TLS":                   {Options: Options{Topology: Masters, TLS: TLSMutual}},
		"a controller with TLS": {
			Options: Options{Topology: Controller, Version: fetch.RocketMQ5, TLS: TLSServer},
			wantErr: "--tls goes with single and masters",
		},
		"one broker for pods": {Options: Options{Topology: Single, Pods: true}},
		"masters for pods":    {Options: Options{Topology: Masters, Pods: true}, wantErr: "with Kubernetes only single runs"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.Check()
			if tc.wantErr == "" && err != nil || tc.wantErr != "" && (err == nil || !strings.Contains(err.Error(), tc.wantErr)) {
				t.Errorf("Check gives %v, want %q", err, tc.wantErr)
			}
		})
	}
}

func TestAnInstanceKnowsWhatItRuns(t *testing.T) {
	l := layout.Layout{Root: t.TempDir(), Base: 20000}
	if got, err := Recorded(l); err != nil || got != (Options{}) {
		t.Errorf("before all there are %+v (%v)", got, err)
	}
	want := Options{Topology: Replicated, Sync: true, Version: fetch.RocketMQ4, ACL: true}
	if err := Record(l, want); err != nil {
		t.Fatal(err)
	}
	if got, err := Recorded(l); err != nil || got != want {
		t.Errorf("recorded are %+v (%v), want %+v", got, err, want)
	}
	if err := writeFile(instanceFile(l), "{"); err != nil {
		t.Fatal(err)
	}
	if _, err := Recorded(l); err == nil || !strings.Contains(err.Error(), instanceFile(l)) {
		t.Errorf("a broken record gives %v, want an error that names the file", err)
	}
}

func TestStoppingProcessesThatDoNotRun(t *testing.T) {
	s := testSet(t, 20000, Controller)
	for _, name := range s.Names() {
		for _, path := range s.data(name) {
			if err := writeFile(filepath.Join(path, "data"), "x"); err != nil {
				t.Fatal(err)
			}
		}
	}
	left := func() (names []string) {
		for _, name := range s.Names() {
			if slices.ContainsFunc(s.data(name), func(path string) bool { return contains(filepath.Join(path, "data"), "x") == nil }) {
				names = append(names, name)
			}
		}
		return names
	}
	all := left()
	if err := s.StopNames(t.Context(), all, false); err != nil || !slices.Equal(left(), all) || len(all) != 5 {
		t.Errorf("without wipe data are left of %v (%v), want %v", left(), err, all)
	}
	want := []string{"rocketmq-namesrv-2", "rocketmq-broker-a-2"}
	if err := s.StopNames(
		t.Context(),
		[]string{"rocketmq-namesrv", "rocketmq-broker-a-1", "kafka"},
		true,
	); err != nil ||
		!slices.Equal(left(), want) {
		t.Errorf("data are left of %v (%v), want %v", left(), err, want)
	}
	for what, err := range map[string]error{
		"stopping": s.StopNames(t.Context(), []string{"rocketmq-broker-a-2", "rocketmq-broker"}, true),
		"starting": s.StartNames(t.Context(), []string{"rocketmq-broker"}),
	} {
		if err == nil || !strings.Contains(err.Error(), `"rocketmq-broker"; this instance has rocketmq-namesrv, rocketmq-namesrv-2,`) {
			t.Errorf("%s an unknown process fails with %v, want the names", what, err)
		}
	}
	if !slices.Equal(left(), want) {
		t.Error("with an unknown name among them the others were stopped")
	}
}
