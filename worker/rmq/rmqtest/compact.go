package rmqtest

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// CreateCompacting makes a topic of one queue that keeps the last record of each key for ever, as earlier versions made
// four of the internal ones, on the broker at the address. It works on real brokers, too.
func CreateCompacting(ctx context.Context, dial remoting.Dialer, addr, topic string, perm int) error {
	pool := remoting.NewPool(dial, 5*time.Second, remoting.Credentials{})
	defer pool.Close()
	resp, err := pool.Call(ctx, addr, "test", &remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
		{Name: "topic", Value: topic}, {Name: "defaultTopic", Value: "TBW102"}, {Name: "readQueueNums", Value: "1"},
		{Name: "writeQueueNums", Value: "1"}, {Name: "perm", Value: strconv.Itoa(perm)},
		{Name: "topicFilterType", Value: "SINGLE_TAG"}, {Name: "topicSysFlag", Value: "0"}, {Name: "order", Value: "false"},
		{Name: "attributes", Value: "+cleanup.policy=COMPACTION"},
	}})
	if err != nil {
		return fmt.Errorf("creating topic %s on %s: %w", topic, addr, err)
	}
	if resp.Code != remoting.Success {
		return fmt.Errorf("creating topic %s on %s: code %d: %s", topic, addr, resp.Code, resp.Remark)
	}
	return nil
}
