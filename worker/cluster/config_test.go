package cluster

import (
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
)

func TestConfigIsChecked(t *testing.T) {
	cases := map[string]struct {
		cfg  Config
		want string // part of the error; empty for none
	}{
		"the defaults are fine":       {Config{WorkerID: "w"}, ""},
		"an id is needed":             {Config{}, "workerId"},
		"a session that is too short": {Config{WorkerID: "w", SessionTimeout: 2 * time.Second}, "sessionTimeout"},
		"a send that takes too long":  {Config{WorkerID: "w", SendTimeout: 4 * time.Second}, "sendTimeout"},
		"heartbeats that are rare":    {Config{WorkerID: "w", HeartbeatInterval: 3 * time.Second}, "heartbeatInterval"},
		"an unknown strategy":         {Config{WorkerID: "w", Allocation: allocate.Params{Strategy: "x"}}, "allocTaskStrategy"},
		"a load factor below one":     {Config{WorkerID: "w", Allocation: allocate.Params{MaxLoadFactor: 0.5}}, "maxLoadFactor"},
		"a delay below zero":          {Config{WorkerID: "w", RebalanceDelay: -1}, "rebalanceDelay"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := New(tc.cfg, nil)
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}
