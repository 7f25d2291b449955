package broker

import (
	"cmp"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/golden"
)

func TestConfigurations(t *testing.T) {
	cases := map[string]struct {
		base int
		Options
	}{
		"host":            {Options: Options{Version: fetch.RocketMQ5}},
		"pods":            {Options: Options{Version: fetch.RocketMQ5, Pods: true}},
		"pods-at-20000":   {base: 20000, Options: Options{Version: fetch.RocketMQ5, Pods: true}},
		"host-acl":        {Options: Options{Version: fetch.RocketMQ5, ACL: true}},
		"host-4.9":        {Options: Options{Version: fetch.RocketMQ4}},
		"host-4.9-acl":    {Options: Options{Version: fetch.RocketMQ4, ACL: true}},
		"masters":         {Options: Options{Topology: Masters, Version: fetch.RocketMQ5}},
		"masters-4.9-acl": {Options: Options{Topology: Masters, Version: fetch.RocketMQ4, ACL: true}},
		"host-tls":        {Options: Options{Version: fetch.RocketMQ5, TLS: TLSServer}},
		"host-tls-mutual": {Options: Options{Version: fetch.RocketMQ5, TLS: TLSMutual}},
		"replicated":      {Options: Options{Topology: Replicated, Version: fetch.RocketMQ5}},
		"replicated-sync": {Options: Options{Topology: Replicated, Version: fetch.RocketMQ5, Sync: true}},
		"replicated-4.9":  {Options: Options{Topology: Replicated, Version: fetch.RocketMQ4, Sync: true}},
		"controller":      {base: 20000, Options: Options{Topology: Controller, Version: fetch.RocketMQ5}},
		"controller-acl":  {base: 20000, Options: Options{Topology: Controller, Version: fetch.RocketMQ5, ACL: true}},
		"proxy":           {base: 20000, Options: Options{Topology: Proxy, Version: fetch.RocketMQ5}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := testSet(t, tc.base, cmp.Or(tc.Topology, Single))
			s.Sync, s.Version, s.ACL, s.TLS, s.Pods = tc.Sync, tc.Version, tc.ACL, tc.TLS, tc.Pods
			// Paths count from the folder of all.
			assert := func(file, content string) {
				golden.Assert(t, name+"/"+file, strings.ReplaceAll(content, s.home(), ""))
			}
			for _, n := range s.nodes() {
				assert(n.folder+n.extension, s.conf(n))
				for _, f := range s.homeFiles(n) {
					assert(f.path, f.content)
				}
			}
			if tc.TLS != "" {
				assert("tls.properties", s.tlsConf())
			}
			if tc.Topology == "" {
				assert("server.properties", s.kafkaConf("/data"))
			}
		})
	}
}

func TestKafkaClusterIDsAreAsKafkaWritesThem(t *testing.T) {
	for range 200 {
		id, err := kafkaClusterID()
		if err != nil || len(id) != 22 || id[0] == '-' {
			t.Fatalf("id %q (%v): want 22 characters and no dash ahead", id, err)
		}
	}
}
