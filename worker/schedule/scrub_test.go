package schedule

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/store"
)

func TestTextsOfTasksHaveNoSecrets(t *testing.T) {
	const unreachable = "Kafka at kafka-0.kafka:9092 cannot be reached: check kafka.bootstrap.server"
	jaas := map[string]string{"connector.class": "Fake", "kafka.bootstrap.server": "kafka-0.kafka:9092",
		"sasl.jaas.config": `x required username="kafka" password="hunter2";`}
	cases := map[string]struct {
		cfg        map[string]string
		text, want string
	}{
		"the user name of a JAAS line hides nothing": {jaas, unreachable, unreachable},
		"its password is hidden":                     {jaas, "SASL of kafka with hunter2 refused", "SASL of kafka with ******** refused"},
		"what the class says is secret": {
			map[string]string{"connector.class": "Fake", "login": "hunter2"},
			"got hunter2",
			"got ********",
		},
		"what the class does not know": {map[string]string{"connector.class": "Fake", "pin": "4711"}, "got 4711", "got ********"},
		"what the worker itself obeys is shown": {map[string]string{"connector.class": "Fake", "errors.deadletterqueue.topic.name": "dead"},
			"no topic dead for Fake", "no topic dead for Fake"},
		"all of a class that is not known": {map[string]string{"connector.class": "Other", "kafka.bootstrap.server": "kafka-0.kafka:9092"},
			"Other at kafka-0.kafka:9092", "Other at ********"},
		"all without a class":             {map[string]string{"login": "hunter2"}, "got hunter2", "got ********"},
		"a URL that no setting holds":     {nil, "dialing http://ann:hunter2@host", "dialing http://ann:********@host"},
		"long texts are cut":              {nil, strings.Repeat("x", 3000), strings.Repeat("x", maxProblem) + "…"},
		"and not in the middle of a rune": {nil, "x" + strings.Repeat("ä", 3000), "x" + strings.Repeat("ä", maxProblem/2-1) + "…"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := &Scheduler{deps: Deps{Catalog: newWorld(t)}}
			s.redactors = map[string]redactor{}
			j := &job{redactor: s.redactorOf(store.Connector{Config: tc.cfg})}
			if diff := cmp.Diff(tc.want, j.scrub(tc.text)); diff != "" {
				t.Errorf("text (-want +got):\n%s", diff)
			}
		})
	}
}
