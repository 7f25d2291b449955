package setting_test

import (
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/setting"
)

// clock is a connector class; what moves its records is left out here. A whole connector is the example of package
// connectortest.
type clock struct{}

func (clock) Spec() connector.Spec {
	return connector.Spec{Class: "Clock", Kind: connector.KindSource, Version: "1.0.0", Keys: []connector.Key{
		{Name: "clock.topic", Type: connector.String, Required: true, Doc: "the topic that gets the time"},
		{Name: "clock.tick", Type: connector.Duration, Default: "1s", Doc: "how often it gets it"},
		{Name: "clock.utc", Type: connector.Bool, Doc: "whether the time is UTC"},
		{Name: "clock.zone", Type: connector.String, Doc: "the time zone, for example Europe/Berlin"},
	}}
}

type clockSettings struct {
	topic, zone string
	tick        time.Duration
	utc         bool
}

// read is what Validate and Open do with a config.
func (c clock) read(cfg connector.Config) (clockSettings, error) {
	r := setting.Read(c.Spec(), cfg)
	s := clockSettings{topic: r.Text("clock.topic"), zone: r.Text("clock.zone"), tick: r.Duration("clock.tick", time.Millisecond),
		utc: r.Bool("clock.utc")}
	if s.utc && s.zone != "" {
		r.Fail("clock.zone would not be used, for clock.utc is true: set one of them")
	}
	return s, r.Err()
}

func (c clock) Validate(cfg connector.Config) error {
	_, err := c.read(cfg)
	return err
}

func ExampleRead() {
	s, err := clock{}.read(connector.Config{"clock.topic": "time", "clock.tick": "250"})
	fmt.Println(s.topic, s.tick, err)
	fmt.Println(clock{}.Validate(connector.Config{"clock.tick": "0", "clock.utc": "true", "clock.zone": "Europe/Berlin"}))
	// Output:
	// time 250ms <nil>
	// clock.topic is required by Clock: the topic that gets the time
	// clock.tick must be at least 1ms, not 0s
	// clock.zone would not be used, for clock.utc is true: set one of them
}
