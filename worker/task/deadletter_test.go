package task

import (
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	dto "github.com/prometheus/client_model/go"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

var errTooBitter = errors.New("too bitter")

// bitter refuses the records of that value.
func bitter(value string) func(int, []record.Record) error {
	return func(_ int, batch []record.Record) error {
		for i, r := range batch {
			if string(r.Value) == value {
				return &connector.PoisonError{Index: i, Err: errTooBitter}
			}
		}
		return nil
	}
}

// limits answers as a client and its broker do for what they cannot store.
func limits(m rmq.Message) (time.Duration, error) {
	size := 0
	for _, p := range m.Properties {
		if !utf8.ValidString(p.Value) {
			return 0, rmq.ErrIllegal
		}
		size += len(p.Name) + len(p.Value) + 2
	}
	if size > remoting.MaxProperties {
		return 0, rmq.ErrTooLarge
	}
	return 0, nil
}

func TestDeadLetters(t *testing.T) {
	key := rmq.Property{Name: "KEYS", Value: "k"}
	cases := map[string]struct {
		properties  []rmq.Property
		damaged     error    // what is wrong with the record's body
		wantLetters []string // the names and short values of the properties besides those that say why
		wantSkipped float64
	}{
		"properties with room to spare stay": {
			properties:  []rmq.Property{key, {Name: "zone", Value: "eu"}, {Name: "UNIQ_KEY", Value: "1"}},
			wantLetters: []string{"KEYS=k zone=eu"},
		},
		"a body that could not be read goes as it is stored": {
			properties: []rmq.Property{key}, damaged: errors.New("it is damaged"),
			wantLetters: []string{"KEYS=k"},
		},
		"properties that leave no room go, but for the key": {
			properties:  []rmq.Property{key, {Name: "zone", Value: "eu"}, {Name: "big", Value: strings.Repeat("x", 32_700)}},
			wantLetters: []string{"KEYS=k __connect.errors.properties.left.out=2"},
		},
		"properties that RocketMQ would not take again go, but for the key": {
			properties:  []rmq.Property{{Name: "odd", Value: "\xff"}, {Name: "connect-key", Value: "AA=="}},
			wantLetters: []string{"connect-key=AA== __connect.errors.properties.left.out=1"},
		},
		"a record whose key alone leaves no room is skipped": {
			properties:  []rmq.Property{{Name: "KEYS", Value: strings.Repeat("x", 32_700)}},
			wantSkipped: 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHarness(t)
				h.client.answer = limits
				h.client.produce("orders", 0, numbers(1, 9)...)
				m := &h.client.messages[rmq.Queue{Topic: "orders", Broker: "b"}][3]
				m.Properties, m.Err = tc.properties, tc.damaged
				sink := &collecting{put: bitter("4")}
				cfg := connector.Config{"topics": "orders", "errors.tolerance": "all", "errors.deadletterqueue.topic.name": "dead"}
				if err := h.runSink(t, sink, cfg, 5*time.Second); err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(append(numbers(1, 3), numbers(5, 9)...), sink.values()); diff != "" {
					t.Errorf("delivered (-want +got):\n%s", diff)
				}
				if got := h.store.read()["orders/b/0"]; got != "9" {
					t.Errorf("stored %q, want 9", got)
				}
				if diff := cmp.Diff(tc.wantLetters, h.letters(t)); diff != "" {
					t.Errorf("dead letters (-want +got):\n%s", diff)
				}
				var skipped dto.Metric
				if err := h.runner.metrics.skipped.WithLabelValues("c", "sink", "poison").Write(&skipped); err != nil {
					t.Fatal(err)
				}
				if got := skipped.GetCounter().GetValue(); got != tc.wantSkipped {
					t.Errorf("%g records counted as skipped, want %g", got, tc.wantSkipped)
				}
			})
		})
	}
}

// letters gives the properties of each message that was sent, and of those that say why only that something was left
// out.
func (h *harness) letters(t *testing.T) (out []string) {
	t.Helper()
	for _, m := range h.client.sent {
		var own []string
		why := 0
		for _, p := range m.Properties {
			if strings.HasPrefix(p.Name, reasonPrefix) && p.Name != reasonPrefix+"properties.left.out" {
				why++
				continue
			}
			own = append(own, p.Name+"="+p.Value)
		}
		if string(m.Body) != "4" || why < 8 {
			t.Errorf("dead letter %q with %d reasons", m.Body, why)
		}
		out = append(out, strings.Join(own, " "))
	}
	return out
}
