//go:build linux

// Command benchworker is the worker as its own command wires it, with one more connector class (control.IdleSource), and with
// CPU and heap profiles in the directory that BENCH_PROFILE names: the shipped binary has no way to take any.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/pprof"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"

	"github.com/rocketmq-connect/operator/test/bench/control"
	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connectors"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchworker:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("benchworker", flag.ContinueOnError)
	path := flags.String("c", "", "configuration")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, _, err := config.ReadFile(*path)
	if err != nil {
		return err
	}
	done, err := profiled(os.Getenv("BENCH_PROFILE"), cfg.WorkerID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	log, err := logger()
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return worker.Run(ctx, cfg, worker.Options{
		Log: log, Audit: log.WithName("audit"), Version: "bench", Registerer: registry, Gatherer: registry,
		Catalog: append(connectors.Catalog(), control.IdleSource{}), Out: stdout,
	})
}

// logger is the worker's: what it costs to say is part of what is measured.
func logger() (logr.Logger, error) {
	cfg := zap.NewProductionConfig()
	cfg.DisableStacktrace, cfg.DisableCaller, cfg.Sampling = true, true, nil
	log, err := cfg.Build()
	if err != nil {
		return logr.Logger{}, fmt.Errorf("setting up the log: %w", err)
	}
	return zapr.NewLogger(log), nil
}

// profiled takes profiles until the function that it returns is called; none without a directory. A worker that is started
// again has profiles of its own.
func profiled(dir, name string) (done func() error, err error) {
	if dir == "" {
		return func() error { return nil }, nil
	}
	base := filepath.Join(dir, fmt.Sprintf("%s-%d", name, os.Getpid()))
	runtime.MemProfileRate = 64 << 10
	cpu, err := os.Create(base + ".cpu")
	if err != nil {
		return nil, fmt.Errorf("writing the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the CPU profile: %w", err), cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		return errors.Join(cpu.Close(), writeHeap(base+".heap"))
	}, nil
}

// writeHeap writes what was allocated since the start, and what is still in use.
func writeHeap(path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the heap profile: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pprof.Lookup("allocs").WriteTo(f, 0)
}
