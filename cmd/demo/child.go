package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/service"
)

// childArg as the first argument makes this program a worker: the demo starts itself again for each, so that killing
// one is killing a process. The second argument is its connect.conf.
const childArg = "worker-of-the-demo"

// child runs a worker until its standard input ends, which it also does when the demo is gone, however that went.
func child(args []string) int {
	if err := work(args); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "worker:", err)
		return 1
	}
	return 0
}

func work(args []string) error {
	if len(args) != 1 {
		return errors.New("this argument is for the demo's own use")
	}
	signal.Ignore(os.Interrupt, syscall.SIGHUP) // the terminal sends them to the demo, too, which decides
	cfg, _, err := config.ReadFile(args[0])
	if err != nil {
		return fmt.Errorf("reading the configuration: %w", err)
	}
	log, err := process.Log()
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	// Nobody waits for this one: the process ends with Run, and standard input may stay open.
	var group service.Group
	group.Go(func() {
		defer stop()
		_, _ = io.Copy(io.Discard, os.Stdin)
	})
	return process.Serve(ctx, cfg, worker.Options{Log: log, Version: "demo"})
}
