//go:build linux

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/pprof"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connectors"
)

// runProfiled is the worker, wired as its own command wires it, with profiles written when it ends: the shipped binary has
// no way to take any.
func runProfiled(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet(argProfiled, flag.ContinueOnError)
	path, to := flags.String("c", "", "configuration"), flags.String("to", "", "directory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, _, err := config.ReadFile(*path)
	if err != nil {
		return err
	}
	runtime.MemProfileRate = 64 << 10
	cpu, err := os.Create(filepath.Join(*to, cfg.WorkerID+".cpu"))
	if err != nil {
		return fmt.Errorf("writing the CPU profile: %w", err)
	}
	defer func() { err = errors.Join(err, cpu.Close()) }()
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return fmt.Errorf("starting the CPU profile: %w", err)
	}
	defer pprof.StopCPUProfile()
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	err = worker.Run(ctx, cfg, worker.Options{
		Log: logr.Discard(), Version: argProfiled, Registerer: registry, Gatherer: registry, Catalog: connectors.Catalog(), Out: stdout,
	})
	return errors.Join(err, writeHeap(filepath.Join(*to, cfg.WorkerID+".heap")))
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
