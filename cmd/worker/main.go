// Command worker runs one worker of a RocketMQ Connect cluster.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/go-logr/logr"
	"github.com/go-logr/zapr"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connectors"
	"github.com/rocketmq-connect/operator/worker/service"
)

// The exit codes.
const (
	exitFailed  = 1
	exitInvalid = 2
)

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("worker", flag.ContinueOnError)
	flags.SetOutput(stderr)
	path := flags.String("c", "", "the worker's configuration `file` (connect.conf); required")
	showVersion := flags.Bool("version", false, "print the version and exit")
	if err := flags.Parse(args); err != nil {
		return exitInvalid
	}
	switch {
	case *showVersion:
		_, _ = fmt.Fprintln(stdout, version())
		return 0
	case *path == "" || flags.NArg() > 0:
		_, _ = fmt.Fprintln(stderr, "usage: worker -c connect.conf")
		return exitInvalid
	}
	cfg, warnings, err := config.ReadFile(*path)
	if err == nil {
		err = cfg.Validate()
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s cannot be used:\n  %s\n", *path, strings.ReplaceAll(err.Error(), "\n", "\n  "))
		return exitInvalid
	}
	log, audit, flush, err := loggers(cfg)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, err)
		return exitFailed
	}
	defer flush()
	for _, w := range warnings {
		log.Info("Ignoring a setting", "file", *path, "line", w.Line, "key", w.Key, "reason", w.Text)
	}
	if err := work(cfg, log, audit, stdout); err != nil {
		_, _ = fmt.Fprintf(stderr, "worker: %s\n", err)
		return exitFailed
	}
	return 0
}

// work runs the worker until the first SIGTERM or SIGINT, which stops it cleanly; the second ends the process.
func work(cfg config.Worker, log, audit logr.Logger, stdout io.Writer) error {
	ctx, stop := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGTERM, os.Interrupt)
	ended := make(chan struct{})
	var group service.Group
	group.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-ended:
				return
			case sig := <-signals:
				if n > 0 {
					log.Info("Exiting at once", "signal", sig.String())
					os.Exit(exitFailed)
				}
				stop(fmt.Errorf("received %s", sig))
			}
		}
	})
	defer group.Wait()
	defer close(ended)
	defer signal.Stop(signals)
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return worker.Run(ctx, cfg, worker.Options{
		Log: log, Audit: audit, Version: version(), Registerer: registry, Gatherer: registry, Catalog: connectors.Catalog(), Out: stdout,
	})
}

// loggers make the process's log and that of its audit lines, both on standard error. Errors carry no stack traces:
// their texts say where they arose. Audit lines are written whatever logLevel is: ownership is checked by them.
func loggers(cfg config.Worker) (log, audit logr.Logger, flush func(), err error) {
	zcfg := zap.NewProductionConfig()
	zcfg.DisableStacktrace = true
	zcfg.DisableCaller = true
	zcfg.Sampling = nil
	zcfg.EncoderConfig.EncodeTime = zapcore.RFC3339NanoTimeEncoder
	if cfg.LogFormat == "console" {
		zcfg.Encoding = "console"
		zcfg.EncoderConfig.EncodeLevel = zapcore.CapitalLevelEncoder
	}
	level, err := zapcore.ParseLevel(cfg.LogLevel)
	if err != nil {
		return log, audit, nil, fmt.Errorf("setting logLevel: %w", err)
	}
	var built [2]*zap.Logger
	for i, l := range []zapcore.Level{level, zapcore.InfoLevel} {
		zcfg.Level = zap.NewAtomicLevelAt(l)
		if built[i], err = zcfg.Build(); err != nil {
			return log, audit, nil, fmt.Errorf("setting up the log: %w", err)
		}
	}
	flush = func() { _, _ = built[0].Sync(), built[1].Sync() }
	return zapr.NewLogger(built[0]), zapr.NewLogger(built[1]).WithName("audit"), flush, nil
}

// version returns the module's version and the commit that it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" && len(s.Value) >= 12 && (info.Main.Version == "" || info.Main.Version == "(devel)") {
			return "devel-" + s.Value[:12]
		}
	}
	return info.Main.Version
}
