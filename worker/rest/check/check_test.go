package check

import (
	"testing"

	"github.com/rocketmq-connect/operator/worker/states"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/resttest"
	"github.com/rocketmq-connect/operator/worker/store"
)

func TestFillPutsARequestIntoOneMap(t *testing.T) {
	before := map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1", "login": "hunter2"}
	cases := map[string]struct {
		in          restapi.Connector
		before      map[string]string
		want        store.Write
		wantRefused bool
	}{
		"fields of their own": {
			restapi.Connector{Name: "c", Class: "KafkaSource", MaxTasks: 3, State: "Paused", Config: map[string]string{"name": "c", "poll": "1"}},
			nil,
			store.Write{
				Name:   "c",
				State:  states.WantPaused,
				Config: map[string]string{"connector.class": "KafkaSource", "max.tasks": "3", "poll": "1"},
			},
			false,
		},
		"a mask of what is stored": {
			restapi.Connector{Name: "c", Config: map[string]string{"kafka.bootstrap.server": "h:1", "login": restapi.Mask, "kafka.topics": "u"}},
			before,
			store.Write{Name: "c", Config: map[string]string{"kafka.bootstrap.server": "h:1", "login": "hunter2", "kafka.topics": "u"}},
			false,
		},
		"a mask of what is not": {restapi.Connector{Name: "c", Config: map[string]string{"login": restapi.Mask}}, nil,
			store.Write{Name: "c", Config: map[string]string{"login": restapi.Mask}}, true},
		"a mask that would go elsewhere": {
			restapi.Connector{Name: "c", Config: map[string]string{"kafka.bootstrap.server": "evil:1", "login": restapi.Mask, "kafka.topics": "t"}},
			before,
			store.Write{Name: "c", Config: map[string]string{"kafka.bootstrap.server": "evil:1", "login": "hunter2", "kafka.topics": "t"}},
			true,
		},
		"two classes": {restapi.Connector{Name: "c", Class: "KafkaSink", Config: map[string]string{"connector.class": "KafkaSource"}}, nil,
			store.Write{Name: "c", Config: map[string]string{"connector.class": "KafkaSink"}}, true},
	}
	c := &Checker{Classes: NewClasses(resttest.Kafka())}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := c.Fill(tc.in, tc.before)
			if diff := cmp.Diff(tc.want, got.Write); diff != "" || got.Refused() != tc.wantRefused {
				t.Errorf("refused %t, want %t (-want +got):\n%s", got.Refused(), tc.wantRefused, diff)
			}
		})
	}
}

func TestValidateSaysWhatStoringWould(t *testing.T) {
	valid := map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1"}
	cases := map[string]struct {
		in   restapi.Connector
		want restapi.Validation
	}{
		"valid": {restapi.Connector{Name: "c", Config: valid}, restapi.Validation{Valid: true}},
		"valid, with what has no effect": {
			restapi.Connector{Name: "c", Config: map[string]string{"kafka.topics": "t", "kafka.bootstrap.server": "h:1", "kafka.topic": "u"}},
			restapi.Validation{
				Valid:    true,
				Warnings: []string{"kafka.topic is not a setting of KafkaSource and has no effect; did you mean kafka.topics?"},
			},
		},
		"each fault with its field": {
			restapi.Connector{Name: "a b", State: "paused", Config: map[string]string{"kafka.topics": "t", "poll": "x"}},
			restapi.Validation{Errors: []restapi.FieldError{
				{Field: "name", Detail: `name may only have letters, digits and % | - _, so not the ' ' in "a b"`},
				{Field: "config.kafka.bootstrap.server", Detail: "kafka.bootstrap.server is required by KafkaSource: host:port of the brokers"},
				{Field: "config.poll", Detail: `poll must be a whole number, not "x"`},
				{Field: "state", Detail: `state must be Running, Paused or Stopped, not "paused"`},
			}},
		},
	}
	c := &Checker{Classes: NewClasses(resttest.Kafka())}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, c.Validate(tc.in, nil)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
