//go:build linux

package main

import (
	"io"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/broker"
)

func TestAnInstanceKeepsItsTopology(t *testing.T) {
	replicated := broker.Options{Topology: broker.Replicated, Sync: true, Version: "5.3.3", ACL: true}
	cases := map[string]struct {
		args    string
		have    broker.Options
		want    broker.Options
		wantErr string
	}{
		"a new instance is single": {args: "up", want: broker.Options{Topology: broker.Single, Version: "5.3.3"}},
		"a new instance is what is asked for": {
			args: "up --topology masters --acl",
			want: broker.Options{Topology: broker.Masters, Version: "5.3.3", ACL: true},
		},
		"without the flag it stays as it is": {
			args: "up",
			have: replicated,
			want: broker.Options{Topology: broker.Replicated, Sync: true, Version: "5.3.3"},
		},
		"with the flag the slave is not awaited": {
			args: "up --topology replicated",
			have: replicated,
			want: broker.Options{Topology: broker.Replicated, Version: "5.3.3"},
		},
		"sync alone changes the master": {
			args: "up --sync",
			have: broker.Options{Topology: broker.Replicated},
			want: broker.Options{Topology: broker.Replicated, Sync: true, Version: "5.3.3"},
		},
		"another topology is refused": {
			args:    "up --topology masters",
			have:    replicated,
			wantErr: `it has replicated, not masters; run "down" first`,
		},
		"single is another topology too": {args: "up --topology single", have: replicated, wantErr: "it has replicated, not single"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := parse(strings.Fields(tc.args))
			if err != nil {
				t.Fatal(err)
			}
			got, err := c.options(tc.have)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Fatalf("options fails with %v, want %q", err, tc.wantErr)
				}
				return
			}
			if err != nil || got != tc.want {
				t.Errorf("options are %+v (%v), want %+v", got, err, tc.want)
			}
		})
	}
}

// testStack is an instance below a folder of the test, which was brought up with the options if there are any.
func testStack(t *testing.T, o broker.Options) (*stack, *strings.Builder) {
	t.Helper()
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("HTTPS_PROXY", "")
	t.Setenv("https_proxy", "")
	var out strings.Builder
	s, err := newStack(20000, &out, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if o != (broker.Options{}) {
		if err := broker.Record(s.layout, o); err != nil {
			t.Fatal(err)
		}
	}
	return s, &out
}

func TestStatusAndEnvFollowTheTopology(t *testing.T) {
	cases := map[string]struct{ wantNames, wantEnv string }{
		"": {wantNames: "rocketmq-namesrv, rocketmq-broker", wantEnv: "export RMQ_NAMESRV='127.0.0.1:20000'\n"},
		broker.Masters: {
			wantNames: "rocketmq-namesrv, rocketmq-namesrv-2, rocketmq-broker-a, rocketmq-broker-b",
			wantEnv:   "export RMQ_NAMESRV='127.0.0.1:20000;127.0.0.1:20001'\n",
		},
		broker.Replicated: {
			wantNames: "rocketmq-namesrv, rocketmq-broker-a, rocketmq-broker-a-slave",
			wantEnv:   "export RMQ_NAMESRV='127.0.0.1:20000'\n",
		},
		broker.Proxy: {
			wantNames: "rocketmq-namesrv, rocketmq-broker, rocketmq-proxy",
			wantEnv:   "export RMQ_NAMESRV='127.0.0.1:20000'\nexport RMQ_PROXY='127.0.0.1:20003'\n",
		},
	}
	for topology, tc := range cases {
		t.Run("topology "+topology, func(t *testing.T) {
			s, out := testStack(t, broker.Options{Topology: topology})
			c := call{only: []string{partRocketMQ}}
			if err := s.env(c); err != nil || out.String() != tc.wantEnv {
				t.Errorf("env prints %q (%v), want %q", out.String(), err, tc.wantEnv)
			}
			out.Reset()
			if err := s.status(c); err == nil || !strings.Contains(err.Error(), "not running: "+tc.wantNames+";") {
				t.Errorf("status fails with %v, want %s", err, tc.wantNames)
			}
			if got := strings.Count(out.String(), "stopped"); got != strings.Count(tc.wantNames, ",")+1 {
				t.Errorf("status prints %d processes:\n%s", got, out)
			}
		})
	}
}

func TestKubernetesIsRefusedBesideSeveralBrokers(t *testing.T) {
	s, _ := testStack(t, broker.Options{Topology: broker.Masters, Version: "5.3.3"})
	_, err := s.wanted(call{only: []string{partKubernetes}, rocketmq: "5.3.3"})
	if err == nil || !strings.Contains(err.Error(), "with Kubernetes only single runs") {
		t.Errorf("it fails with %v", err)
	}
	if b, err := s.wanted(call{only: []string{partKafka}, rocketmq: "5.3.3"}); err != nil || b.Topology != broker.Masters {
		t.Errorf("Kafka beside them: topology %q (%v), want masters", b.Topology, err)
	}
}

func TestSingleProcessesNeedAnInstance(t *testing.T) {
	s, _ := testStack(t, broker.Options{})
	for what, err := range map[string]error{
		"start": s.start(t.Context(), []string{"rocketmq-broker"}), "stop": s.stop(t.Context(), []string{"rocketmq-broker"}, true),
	} {
		if err == nil || !strings.Contains(err.Error(), "nothing was started on these ports (20000)") {
			t.Errorf("%s fails with %v", what, err)
		}
	}
}
