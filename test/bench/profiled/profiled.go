//go:build linux

// Package profiled is the worker, wired as its own command wires it, with profiles written when it ends: the shipped
// binary has no way to take any.
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

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
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
	done, err := Take(*to, cfg.WorkerID)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, done()) }()
	return process.Serve(ctx, cfg, worker.Options{Log: logr.Discard(), Version: "profiled", Out: stdout})
}

// Variable names the directory of the profiles to the workers of the control part; empty: they take none.
const Variable = "BENCH_PROFILE"

// Take takes profiles until the function that it returns writes them.
func Take(dir, name string) (done func() error, err error) {
	runtime.MemProfileRate = heapBytes
	runtime.SetBlockProfileRate(blockNanos)
	runtime.SetMutexProfileFraction(mutexFraction)
	base := filepath.Join(dir, name)
	cpu, err := os.Create(base + ".cpu")
	if err != nil {
		return nil, fmt.Errorf("writing the CPU profile: %w", err)
	}
	if err := pprof.StartCPUProfile(cpu); err != nil {
		return nil, errors.Join(fmt.Errorf("starting the CPU profile: %w", err), cpu.Close())
	}
	return func() error {
		pprof.StopCPUProfile()
		err := cpu.Close()
		// "allocs" is what was allocated since the start, and what is still in use.
		for profile, suffix := range map[string]string{"allocs": "heap", "block": "block", "mutex": "mutex"} {
			err = errors.Join(err, write(profile, base+"."+suffix))
		}
		return err
	}, nil
}

func write(profile, path string) (err error) {
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("writing the %s profile: %w", profile, err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return pprof.Lookup(profile).WriteTo(f, 0)
}
