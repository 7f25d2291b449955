package broker

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

// instanceFile keeps the options of an instance: commands after "up" find out by themselves what there is.
func instanceFile(l layout.Layout) string { return l.State("rocketmq", "instance.json") }

// Recorded are the options that the instance was last brought up with; there are none before that.
func Recorded(l layout.Layout) (Options, error) {
	var o Options
	b, err := os.ReadFile(instanceFile(l))
	if errors.Is(err, os.ErrNotExist) {
		return o, nil
	}
	if err != nil {
		return o, fmt.Errorf("reading what the instance runs: %w", err)
	}
	if err := json.Unmarshal(b, &o); err != nil {
		return o, fmt.Errorf("reading what the instance runs from %s: %w", instanceFile(l), err)
	}
	return o, nil
}

// Record keeps the options for the commands that follow.
func Record(l layout.Layout, o Options) error {
	b, err := json.MarshalIndent(o, "", "  ")
	if err != nil {
		return fmt.Errorf("recording what the instance runs: %w", err)
	}
	return writeFile(instanceFile(l), string(b)+"\n")
}
