package broker

import (
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/golden"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

func TestConfigurations(t *testing.T) {
	cases := map[string]struct {
		base    int
		pods    bool
		version string
		acl     bool
	}{
		"host":          {version: fetch.RocketMQ5},
		"pods":          {version: fetch.RocketMQ5, pods: true},
		"pods-at-20000": {version: fetch.RocketMQ5, base: 20000, pods: true},
		"host-acl":      {version: fetch.RocketMQ5, acl: true},
		"host-4.9":      {version: fetch.RocketMQ4},
		"host-4.9-acl":  {version: fetch.RocketMQ4, acl: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ports, err := layout.NewPorts(tc.base)
			if err != nil {
				t.Fatal(err)
			}
			s := Set{Ports: ports, Pods: tc.pods, Version: tc.version, ACL: tc.acl}
			golden.Assert(t, name+"/namesrv.conf", s.nameServerConf())
			golden.Assert(t, name+"/broker.conf", s.brokerConf(s.store("")))
			golden.Assert(t, name+"/server.properties", s.kafkaConf("/data"))
			for _, f := range s.homeFiles() {
				golden.Assert(t, name+"/"+f.path, f.content)
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
