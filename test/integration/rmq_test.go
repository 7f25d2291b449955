//go:build integration

package integration

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqsuite"
)

// nameServers are the real cluster's.
func nameServers() []string {
	if s := os.Getenv("RMQ_NAMESRV"); s != "" {
		return strings.Split(s, ";")
	}
	return []string{"127.0.0.1:9876"}
}

func TestRocketMQ(t *testing.T) {
	rmqsuite.Run(t, func(t *testing.T) *rmq.Client {
		c, err := rmq.Open(rmq.Config{NameServers: nameServers()})
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
}

func TestRocketMQMembers(t *testing.T) {
	c, err := rmq.Open(rmq.Config{NameServers: nameServers()})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rmqsuite.RunMembers(t, c, remoting.TCP(time.Second))
}
