//go:build topology

package topology

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// The stores' topics lie on another broker than the cluster log, and that one goes: the worker says so, and that it is
// over.
func TestStoresWhoseBrokerIsDownAreTold(t *testing.T) {
	needs(t, "masters")
	id, client := fmt.Sprintf("split-%d", time.Now().UnixNano()), open(t, nameServers())
	for i, topic := range process.InternalTopics(id) {
		place := rmq.LogPlace{Broker: "broker-b"}
		if i == 0 {
			place.Broker = "broker-a"
		}
		if _, err := client.EnsureLogTopic(t.Context(), topic, place); err != nil {
			t.Fatal(err)
		}
	}
	w := worker(t, id, "w1")
	answers(t, w, "/readyz", "the internal topics lie on 2 brokers")
	stack(t, "stop", "rocketmq-broker-b")
	says(t, w, "/readyz", "stores not written: topics "+id)
	says(t, w, "/api/v1/cluster", "records go on flowing")
	stack(t, "start", "rocketmq-broker-b")
	answers(t, w, "/readyz", "ok")
}

// A broker that comes back with an empty disk gets markers from workers that run, so that nobody makes a second cluster
// log there.
func TestABrokerThatComesBackEmptyIsMarked(t *testing.T) {
	needs(t, "masters")
	id, a := fmt.Sprintf("marked-%d", time.Now().UnixNano()), newAdmin(t)
	w := worker(t, id, "w1")
	answers(t, w, "/readyz", "ok")
	stack(t, "stop", "rocketmq-broker-b", "--wipe")
	stack(t, "start", "rocketmq-broker-b")
	eventually(t, func(ctx context.Context) error {
		addrs, err := a.replicas(ctx, "broker-b")
		if err != nil {
			return err
		}
		lacking, err := a.lacks(ctx, addrs["0"], process.InternalTopics(id))
		if err == nil && len(lacking) > 0 {
			err = fmt.Errorf("broker-b has no marker of %q", lacking)
		}
		return err
	})
	answers(t, w, "/readyz", "ok")
}
