// Command demo shows RocketMQ Connect at work, with nothing else installed: a RocketMQ and a Kafka in this process,
// three worker processes, and records that go from Kafka through RocketMQ back to Kafka. On a terminal it obeys keys
// until it is told to quit; with -for it prints lines, ends by itself, and ends with 1 if a record is missing. See
// docs/try-it.md.
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
	exitFailed      = 1
	exitInvalid     = 2
	exitInterrupted = 130 // as shells have it for SIGINT
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

func (o options) valid() bool {
	return o.rate >= 1 && o.rate <= 100_000 && o.length >= 0 && o.kill >= 0 && (o.length == 0 || o.kill < o.length)
}

func run(args []string, stdin, stdout *os.File, stderr io.Writer) int {
	var o options
	flags := flag.NewFlagSet("demo", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.IntVar(&o.rate, "rate", 500, "how many records to make in a second")
	flags.DurationVar(&o.length, "for", 0,
		"print lines, end this `time` after the first record came back, wait for the last ones and check them; 0: run until q or Ctrl-C")
	flags.DurationVar(&o.kill, "kill-after", 0, "kill worker-2 this `time` after the first record came back; 0: do not")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return exitInvalid
	}
	if flags.NArg() > 0 || !o.valid() { // the line says what each may be
		_, _ = fmt.Fprintln(stderr, "usage: demo [-rate 1..100000] [-for TIME] [-kill-after TIME, less than that of -for]")
		return exitInvalid
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	last, err := play(ctx, o, stdin, stdout)
	_, _ = fmt.Fprintln(stdout, last)
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "demo:", err)
	}
	return exitCode(err)
}

// errInterrupted means that a timed run was ended before its time: nothing is said of the records on their way.
var errInterrupted = errors.New("interrupted before the run was over: nothing is said of the records on their way")

func exitCode(err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errInterrupted):
		return exitInterrupted
	}
	return exitFailed
}

// play runs the demo and returns its last words.
func play(ctx context.Context, o options, stdin, stdout *os.File) (last string, err error) {
	var screen *terminal
	if o.length == 0 { // a run that ends by itself needs nobody at a screen, and leaves its lines behind
		if screen, err = openTerminal(stdin, stdout); err != nil {
			return "", err
		}
	}
	echo := io.Writer(stdout)
	if screen != nil {
		defer func() { err = errors.Join(err, screen.close()) }()
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
	if o.length == 0 {
		return summary(d.frame(context.WithoutCancel(ctx))), nil
	}
	if ctx.Err() != nil {
		return summary(d.frame(context.WithoutCancel(ctx))), errInterrupted
	}
	verdict, err := d.finish(ctx)
	return summary(d.frame(context.WithoutCancel(ctx))) + "\n" + verdict, err
}

// loop shows the demo and obeys keys until it is to end.
func (d *demo) loop(ctx context.Context, o options, screen *terminal, stdout io.Writer) error {
	keys := make(chan byte)
	show, every := func(f frame) error { _, err := fmt.Fprintln(stdout, summary(f)); return err }, lineEvery
	if screen != nil {
		reading, stop := context.WithCancel(ctx)
		defer stop()
		d.run(func() error { return screen.keys(reading, keys) })
		show, every = screen.draw, sampleEvery
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	due := newAlarms(o)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-due.end:
			return nil
		case <-due.late:
			return fmt.Errorf("waiting for the first record to come back: none did within %s", startTimeout)
		case err := <-d.failed:
			return err
		case <-due.kill:
			d.fleet.kill(1)
			continue
		case key := <-keys:
			if on, err := d.press(ctx, key); !on || err != nil {
				return err
			}
		case <-tick.C:
		}
		f := d.frame(ctx)
		due.see(f.Totals)
		if err := show(f); err != nil {
			return err
		}
	}
}

// alarms are what is to happen when. Those of the flags are set by the first record that comes back, so that a slow
// start takes nothing from what they are there to show.
type alarms struct {
	options         options
	set             bool
	late, end, kill <-chan time.Time // nil: never
}

func newAlarms(o options) *alarms {
	a := &alarms{options: o}
	if o.length > 0 {
		a.late = time.After(startTimeout)
	}
	return a
}

func (a *alarms) see(t totals) {
	if a.set || t.Out == 0 {
		return
	}
	a.set, a.late, a.end, a.kill = true, nil, alarm(a.options.length), alarm(a.options.kill)
}

// alarm fires once after d; never when d is 0.
func alarm(d time.Duration) <-chan time.Time {
	if d == 0 {
		return nil
	}
	return time.After(d)
}
