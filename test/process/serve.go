package process

import (
	"context"
	"fmt"
	"io"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connectors"
)

// Serve runs a worker in this process until ctx ends. What opts leaves open is as in cmd/worker: metrics of its own and
// the built-in classes; but nobody is told that it has joined.
func Serve(ctx context.Context, cfg config.Worker, opts worker.Options) error {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	opts.Registerer, opts.Gatherer = registry, registry
	if opts.Catalog == nil {
		opts.Catalog = connectors.Catalog()
	}
	if opts.Out == nil {
		opts.Out = io.Discard
	}
	return worker.Run(ctx, cfg, opts)
}

// Log is a log as cmd/worker has it, unless it is changed: lines of JSON on standard error, each one, without stack
// traces.
func Log(change ...func(*zap.Config)) (logr.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.DisableStacktrace, cfg.DisableCaller, cfg.Sampling = true, true, nil
	for _, fn := range change {
		fn(&cfg)
	}
	log, err := cfg.Build()
	if err != nil {
		return logr.Logger{}, fmt.Errorf("setting up the log: %w", err)
	}
	return zapr.NewLogger(log), nil
}
