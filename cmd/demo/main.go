// Command demo shows RocketMQ Connect at work, with nothing else installed: a RocketMQ and a Kafka in this process, three
// worker processes, and records that go from Kafka through RocketMQ back to Kafka. See docs/try-it.md.
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
	"time"
)

// The exit codes.
const (
	exitFailed  = 1
	exitInvalid = 2
)

func main() {
	if len(os.Args) > 1 && os.Args[1] == childArg {
		os.Exit(child(os.Args[2:]))
	}
	os.Exit(run(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}

type options struct {
	rate   int
	length time.Duration
	kill   time.Duration
}

func run(args []string, stdin, stdout *os.File, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rate, "rate", 500, "how many records to make in a second")
	flags.DurationVar(&o.length, "for", 0, "end after this `time`, wait for the last records and check them; 0: run until q or Ctrl-C")
	flags.DurationVar(&o.kill, "kill-after", 0, "kill worker-2 after this `time`; 0: do not")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitInvalid
	}
	if flags.NArg() > 0 || o.rate < 1 || o.rate > 100_000 || o.length < 0 || o.kill < 0 {
		_, _ = fmt.Fprintln(stderr, "usage: demo [-rate 1..100000] [-for TIME] [-kill-after TIME]")
		return exitInvalid
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	last, err := play(ctx, o, stdin, stdout)
	_, _ = fmt.Fprintln(stdout, last)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "demo:", err)
		return exitFailed
	}
	return 0
}

// play runs the demo and returns its last words.
func play(ctx context.Context, o options, stdin, stdout *os.File) (last string, err error) {
	screen, err := openTerminal(stdin, stdout)
	if err != nil {
		return "", err
	}
	if screen != nil {
		defer func() { err = errors.Join(err, screen.close()) }()
	}
	echo := io.Writer(stdout)
	if screen != nil {
		echo = nil
	}
	d, err := open(ctx, o.rate, echo)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, d.close()) }()
	if err := d.loop(ctx, o, screen, stdout); err != nil {
		return summary(d.frame(ctx)), err
	}
	if o.length == 0 || ctx.Err() != nil {
		return summary(d.frame(context.WithoutCancel(ctx))), nil
	}
	t, err := d.settle(ctx)
	if err == nil && (t.Missing > 0 || t.Damaged > 0) {
		err = fmt.Errorf("%d records are missing and %d are damaged", t.Missing, t.Damaged)
	}
	return summary(d.frame(ctx)), err
}

// loop shows the demo and obeys keys until it is to end.
func (d *demo) loop(ctx context.Context, o options, screen *terminal, stdout io.Writer) error {
	keys := make(chan byte)
	show, every := func(f frame) error { _, err := fmt.Fprintln(stdout, summary(f)); return err }, time.Second
	if screen != nil {
		reading, stop := context.WithCancel(ctx)
		defer stop()
		d.run(func() error { return screen.keys(reading, keys) })
		show, every = screen.draw, sampleEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	end, kill := alarm(o.length), alarm(o.kill)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-end:
			return nil
		case err := <-d.failed:
			return err
		case <-kill:
			if err := d.fleet.kill(1); err != nil {
				return err
			}
			continue
		case key := <-keys:
			if on, err := d.press(ctx, key); !on || err != nil {
				return err
			}
		case <-tick.C:
		}
		if err := show(d.frame(ctx)); err != nil {
			return err
		}
	}
}

// alarm fires once after d; never when d is 0.
func alarm(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}
