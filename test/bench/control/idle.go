package control

import (
	"context"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
)

// IdleSource is a connector class whose tasks do nothing at all: what is left is the worker's own cost.
type IdleSource struct{}

const (
	idleClass = "BenchIdle"
	// idleNote is a setting without effect, so that there is a config to change.
	idleNote = "bench.note"
)

// Spec describes the class.
func (IdleSource) Spec() connector.Spec {
	return connector.Spec{Class: idleClass, Kind: connector.KindSource, Version: "1",
		Keys: []connector.Key{{Name: idleNote, Type: connector.String, Doc: "Any text."}}}
}

// Validate refuses nothing.
func (IdleSource) Validate(connector.Config) error { return nil }

// Tasks gives as many tasks as there may be.
func (IdleSource) Tasks(_ context.Context, _ connector.Config, limit int) ([]connector.Config, error) {
	out := make([]connector.Config, limit)
	for i := range out {
		out[i] = connector.Config{}
	}
	return out, nil
}

// NewSource makes one.
func (IdleSource) NewSource() connector.Source { return idle{} }

type idle struct{}

// Open connects to nothing.
func (idle) Open(context.Context, connector.Env, connector.Config, record.Positions) error {
	return nil
}

// Poll waits for its end.
func (idle) Poll(ctx context.Context) ([]record.Record, error) {
	<-ctx.Done()
	return nil, nil
}

// Close has nothing to release.
func (idle) Close(context.Context) error { return nil }
