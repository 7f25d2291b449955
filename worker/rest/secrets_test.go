package rest

import (
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/store"
)

// Every route that shows a config, of both dialects; {} is the connector's name.
var showing = []string{
	"/api/v1/connectors", "/api/v1/connectors/{}", "/api/v1/connectors/{}/tasks", "/api/v1/connectors/{}/status",
	"/getConfigInfo", "/getConnectorTask", "/getConnectorTask/{}", "/getConnectors", "/getConnectors/{}", "/getAllocatedTask",
}

func TestNoRouteShowsWhatMayBeSecret(t *testing.T) {
	const secret = "hunter2"
	cases := map[string]map[string]string{
		"a secret of the class":             {"kafka.topics": "t", "login": secret},
		"a name that says so":               {"kafka.topics": "t", "x.password": secret},
		"a setting that no class knows":     {"kafka.topics": "t", "pin": secret},
		"one that the class passes through": {"kafka.topics": "t", "kafka.client.pin": secret},
		"a URL with a password":             {"kafka.topics": "t", "kafka.bootstrap.server": "http://ann:" + secret + "@h:1"},
		"a broker with a password":          {"kafka.topics": "t", "kafka.bootstrap.server": "ann:" + secret + "@h:1"},
		"all of a class that is not known":  {"connector.class": "Other", "topicNames": secret, "topics": secret, "kafka.topics": secret},
		"all of a config without a class":   {"topicNames": secret},
	}
	for name, cfg := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, func(_ *Config, b *Backends) {
				b.Local = func() []LocalTask { return []LocalTask{{Connector: "src", Task: 0, State: "Running"}} }
			})
			w.configs.set(store.Connector{Name: "src", Config: cfg, State: store.Running, Epoch: 1, Revision: 1, Tasks: []map[string]string{cfg}})
			for _, route := range showing {
				body := w.get(strings.Replace(route, "{}", "src", 1))
				if strings.Contains(body, secret) {
					t.Errorf("%s shows the secret: %s", route, body)
				}
				if !strings.HasSuffix(route, "/status") && !strings.Contains(body, restapi.Mask) {
					t.Errorf("%s shows no mask: %s", route, body)
				}
			}
		})
	}
}
