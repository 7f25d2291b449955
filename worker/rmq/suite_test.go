package rmq_test

import (
	"testing"

	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqsuite"
	"github.com/rocketmq-connect/operator/worker/rmq/rmqtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	cases := map[string]struct {
		options []rmqtest.Option
		config  rmq.Config
		pipes   bool
	}{
		"one master":  {},
		"two masters": {options: []rmqtest.Option{rmqtest.Masters("broker-a", "broker-b")}},
		"over pipes":  {options: []rmqtest.Option{rmqtest.OverPipe()}, pipes: true},
		"with access control": {
			options: []rmqtest.Option{rmqtest.WithCredentials("rocketmq", "12345678")},
			config:  rmq.Config{AccessKey: "rocketmq", SecretKey: "12345678", SecurityToken: "token"},
		},
		"as RocketMQ 4.9": {options: []rmqtest.Option{rmqtest.Line4()}},
		"as RocketMQ 4.9 with access control": {
			options: []rmqtest.Option{rmqtest.Line4(), rmqtest.WithCredentials("rocketmq", "12345678")},
			config:  rmq.Config{AccessKey: "rocketmq", SecretKey: "12345678"},
		},
		"in a namespace": {config: rmq.Config{Namespace: "tenant"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rmqsuite.Run(t, func(t *testing.T) *rmq.Client {
				b := rmqtest.Start(t, tc.options...)
				cfg := tc.config
				cfg.NameServers = []string{b.NameServer()}
				if tc.pipes {
					cfg.Dial = b.Dial
				}
				c, err := rmq.Open(cfg)
				if err != nil {
					t.Fatal(err)
				}
				return c
			})
		})
	}
}
