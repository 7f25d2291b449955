package broker

import (
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/golden"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

func TestConfigurations(t *testing.T) {
	cases := map[string]struct {
		base int
		pods bool
	}{
		"host":          {},
		"pods":          {pods: true},
		"pods-at-20000": {base: 20000, pods: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			ports, err := layout.NewPorts(tc.base)
			if err != nil {
				t.Fatal(err)
			}
			s := Set{Ports: ports, Pods: tc.pods}
			golden.Assert(t, name+"/namesrv.conf", s.nameServerConf())
			golden.Assert(t, name+"/broker.conf", s.brokerConf("/store"))
			golden.Assert(t, name+"/server.properties", s.kafkaConf("/data"))
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
