//go:build integration

package integration

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqsuite"
	"github.com/rocketmq-connect/operator/worker/rmq/tlsdial"
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
		c, err := rmq.Open(clusterConfig())
		if err != nil {
			t.Fatal(err)
		}
		return c
	})
}

// clusterConfig signs requests if RMQ_ACCESS_KEY and RMQ_SECRET_KEY are set, and speaks TLS if RMQ_TLS_CA is.
func clusterConfig() rmq.Config {
	return rmq.Config{
		NameServers: nameServers(), AccessKey: os.Getenv("RMQ_ACCESS_KEY"), SecretKey: os.Getenv("RMQ_SECRET_KEY"), TLS: tlsFiles(),
	}
}

// tlsFiles are nil without TLS.
func tlsFiles() *tlsdial.Files {
	if os.Getenv("RMQ_TLS_CA") == "" {
		return nil
	}
	return &tlsdial.Files{CA: os.Getenv("RMQ_TLS_CA"), Cert: os.Getenv("RMQ_TLS_CERT"), Key: os.Getenv("RMQ_TLS_KEY")}
}

// dialer dials as the clients of clusterConfig do.
func dialer(t *testing.T) remoting.Dialer {
	t.Helper()
	plain, files := remoting.TCP(time.Second), tlsFiles()
	if files == nil {
		return plain
	}
	d, err := tlsdial.New(*files, plain)
	if err != nil {
		t.Fatal(err)
	}
	return d.Dial
}

func TestRocketMQRefusesOtherCredentials(t *testing.T) {
	signed := clusterConfig()
	if signed.AccessKey == "" {
		t.Skip("RMQ_ACCESS_KEY is not set: the broker has no access control")
	}
	cases := map[string]func(*rmq.Config){
		"unsigned":     func(c *rmq.Config) { c.AccessKey, c.SecretKey = "", "" },
		"wrong secret": func(c *rmq.Config) { c.SecretKey += "x" },
	}
	for name, change := range cases {
		t.Run(name, func(t *testing.T) {
			cfg := signed
			change(&cfg)
			c, err := rmq.Open(cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if _, err := c.Members(t.Context(), "refused"); !errors.Is(err, rmq.ErrAccessDenied) {
				t.Errorf("members: %v", err)
			}
			if _, err := c.EnsureTopic(t.Context(), "refused", rmq.TopicSpec{Queues: 1}); !errors.Is(err, rmq.ErrAccessDenied) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestRocketMQMembers(t *testing.T) {
	cfg := clusterConfig()
	c, err := rmq.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	rmqsuite.RunMembers(t, c, dialer(t), remoting.Credentials{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey})
}
