//go:build linux

// Command stack runs a real RocketMQ, a real Kafka and a real one-node Kubernetes on this machine, and takes them down
// again without a trace. See README.md beside it, or run it with "help".
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/rocketmq-connect/operator/hack/stack/internal/daemon"
	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case err != nil && interrupted:
		fmt.Fprintln(os.Stderr, "stack: interrupted; the same command goes on from here, \"down\" removes what runs")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "stack:", err)
		os.Exit(1)
	}
}

// stack is one instance and where to talk about it.
type stack struct {
	layout  layout.Layout
	ports   layout.Ports
	daemons daemon.Folder
	report  *step.Reporter
	fetch   fetch.Fetcher
	out     io.Writer
}

func newStack(base int, out, progress io.Writer) (*stack, error) {
	l, err := layout.New(base)
	if err != nil {
		return nil, err
	}
	ports, err := layout.NewPorts(base)
	if err != nil {
		return nil, err
	}
	report := step.NewReporter(progress)
	return &stack{
		layout: l, ports: ports, report: report, out: out,
		daemons: daemon.Folder{Records: l.State("records"), Logs: l.State("logs")},
		fetch:   fetch.Fetcher{Layout: l, Report: report},
	}, nil
}

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	if c.verb == "help" {
		fmt.Fprint(out, usage)
		return nil
	}
	if err := prepareEnvironment(); err != nil {
		return err
	}
	s, err := newStack(c.base, out, progress)
	if err != nil {
		return err
	}
	return s.commands(ctx, c)[c.verb]()
}

// commands are what there is to call, besides the help.
func (s *stack) commands(ctx context.Context, c call) map[string]func() error {
	return map[string]func() error{
		"up":          func() error { return s.up(ctx, c) },
		"start":       func() error { return s.start(ctx, c.args) },
		"stop":        func() error { return s.stop(ctx, c.args, c.wipe) },
		"down":        func() error { return s.down(ctx) },
		"status":      func() error { return s.status(c) },
		"logs":        func() error { return s.logs(ctx, c.args[0], c.follow) },
		"load-image":  func() error { return s.loadImages(ctx, c.args) },
		"build":       func() error { return s.build(ctx, c) },
		"assets":      func() error { return s.assets(ctx) },
		"mirrormaker": func() error { return s.mirrorMaker(ctx) },
		"image":       func() error { return s.image(ctx, c.outDir) },
		"env":         func() error { return s.env(c) },
	}
}

// prepareEnvironment sets what every program that the stack starts needs: Debian keeps containerd's and iptables'
// programs in folders that a user's PATH may lack, and a proxy must not stand between the parts of the stack.
func prepareEnvironment() error {
	direct := strings.Join([]string{"localhost", layout.Loopback, layout.PodCIDR, layout.ServiceNet, ".svc", ".cluster.local"}, ",")
	if user := cmp.Or(os.Getenv("NO_PROXY"), os.Getenv("no_proxy")); user != "" {
		direct = user + "," + direct
	}
	return errors.Join(
		os.Setenv("PATH", os.Getenv("PATH")+":/usr/local/sbin:/usr/sbin:/sbin"),
		os.Setenv("NO_PROXY", direct),
		os.Setenv("no_proxy", direct),
	)
}

// locked runs fn while no other run of the stack changes the same instance.
func (s *stack) locked(ctx context.Context, fn func(context.Context) error) error {
	path := s.layout.State() + ".lock"
	release, err := step.Lock(ctx, path, func() { s.report.Say("stack", "waiting for another run of the stack (%s)", path) })
	if err != nil {
		return err
	}
	defer release()
	return fn(ctx)
}
