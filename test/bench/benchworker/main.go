//go:build linux

// Command benchworker is the worker as its own command wires it, with one more connector class (control.IdleSource),
// and with profiles in the directory that profiled.Variable names.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rocketmq-connect/operator/test/bench/control"
	"github.com/rocketmq-connect/operator/test/bench/profiled"
	"github.com/rocketmq-connect/operator/test/process"
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
	if dir := os.Getenv(profiled.Variable); dir != "" {
		// A worker that is started again has profiles of its own.
		done, err := profiled.Take(dir, fmt.Sprintf("%s-%d", cfg.WorkerID, os.Getpid()))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, done()) }()
	}
	log, err := process.Log() // what it costs to say is part of what is measured
	if err != nil {
		return err
	}
	return process.Serve(ctx, cfg, worker.Options{
		Log: log, Audit: log.WithName("audit"), Version: "bench", Catalog: connectors.Catalog().With(control.IdleSource{}), Out: stdout,
	})
}
