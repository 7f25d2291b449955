//go:build linux

// Package profiled is the worker, wired as its own command wires it, with profiles written when it ends: the shipped binary
// has no way to take any.
package profiled

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

// How finely is sampled.
const (
	heapBytes     = 64 << 10 // allocated from one sample to the next
	blockNanos    = 10_000   // waited from one sample to the next
	mutexFraction = 10       // contended locks for one sample
)

// Run runs a worker until ctx ends, then writes its profiles.
func Run(ctx context.Context, args []string, stdout io.Writer) (err error) {
	flags := flag.NewFlagSet("profiled", flag.ContinueOnError)
	path, to := flags.String("c", "", "configuration"), flags.String("to", "", "directory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	cfg, _, err := config.ReadFile(*path)
	if err != nil {
		return err
	}
	runtime.MemProfileRate = heapBytes
	runtime.SetBlockProfileRate(blockNanos)
	runtime.SetMutexProfileFraction(mutexFraction)
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
		Log: logr.Discard(), Version: "profiled", Registerer: registry, Gatherer: registry, Catalog: connectors.Catalog(), Out: stdout,
	})
	// "allocs" is what was allocated since the start, and what is still in use.
	for profile, suffix := range map[string]string{"allocs": "heap", "block": "block", "mutex": "mutex"} {
		err = errors.Join(err, write(profile, filepath.Join(*to, cfg.WorkerID+"."+suffix)))
	}
	return err
}

func write(profile, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the %s profile: %w", profile, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pprof.Lookup(profile).WriteTo(f, 0)
}
