//go:build linux

// Command bench measures the worker between a real Kafka and a real RocketMQ, next to bare loops that move the same records
// with the usual libraries: on one core, with the brokers on the other, in turns, medians. See docs/benchmarks.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rocketmq-connect/operator/test/bench/control"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdin, os.Stdout)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// environment is where the brokers are.
type environment struct{ nameServer, kafka string }

// options are what the command line says.
type options struct {
	runs, records int
	sizes         []int
	parts         map[string]bool
	latency       int
	idle          int
	connectors    int
	profile       string
	markdown      string
}

// The parts of the bench.
const (
	partSource  = "source"
	partSink    = "sink"
	partLatency = "latency"
	partStart   = "start"
	partIdle    = "idle"
	partControl = "control"
)

// argBare is the first argument that makes this program a measured process instead.
const argBare = "bare"

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	env := environment{nameServer: os.Getenv("RMQ_NAMESRV"), kafka: os.Getenv("KAFKA_BOOTSTRAP")}
	if len(args) > 0 && args[0] == argBare {
		return runBare(ctx, env, stdin, stdout)
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if env.nameServer == "" || env.kafka == "" && !o.onlyControl() {
		return errors.New("set RMQ_NAMESRV and KAFKA_BOOTSTRAP, or run it by hack/with-brokers.sh")
	}
	return bench(ctx, env, o, stdout)
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	o := options{parts: map[string]bool{}}
	flags.IntVar(&o.runs, "runs", 5, "how often each is measured; medians are shown")
	flags.IntVar(&o.records, "records", 0, "records a run; 0: 256 MiB of them, at most 400,000")
	flags.IntVar(&o.latency, "latency-seconds", 10, "how long a latency run takes")
	flags.IntVar(&o.idle, "idle-tasks", 1000, "how many idle tasks are run")
	flags.IntVar(&o.connectors, "control-connectors", 1000, "how many connectors, with five tasks each, the control part has")
	flags.StringVar(&o.profile, "profile", "", "write CPU and heap profiles of the worker to this `directory`; its figures are then a little worse")
	flags.StringVar(&o.markdown, "markdown", "", "write the tables to this `file`, too")
	sizes := flags.String("sizes", "100,1024,16384", "bytes a value, separated by commas")
	parts := flags.String("parts", strings.Join([]string{partSource, partSink, partLatency, partStart, partIdle, partControl}, ","), "what to measure")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for part := range strings.SplitSeq(*parts, ",") {
		switch part {
		case partSource, partSink, partLatency, partStart, partIdle, partControl:
			o.parts[part] = true
		default:
			return o, fmt.Errorf("-parts: there is no %q", part)
		}
	}
	for size := range strings.SplitSeq(*sizes, ",") {
		n, err := strconv.Atoi(size)
		if err != nil || n < 16 {
			return o, fmt.Errorf("-sizes: %q is no number of bytes from 16 on", size)
		}
		o.sizes = append(o.sizes, n)
	}
	if o.runs < 1 || o.connectors < 1 || o.latency < 2 || o.idle < 0 || o.records < 0 {
		return o, errors.New("-runs and -control-connectors must be at least 1, -latency-seconds 2, the others not negative")
	}
	return o, nil
}

// bench builds the worker, puts everything in its place, and measures.
func bench(ctx context.Context, env environment, o options, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "connect-bench-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if err := os.Setenv("BENCH_PROFILE", o.profile); err != nil {
		return fmt.Errorf("asking workers for profiles: %w", err)
	}
	var command []string
	if !o.onlyControl() {
		if command, err = workerCommand(ctx, dir, o.profile); err != nil {
			return err
		}
	}
	b, err := newSuite(env, o, dir, command)
	if err != nil {
		return err
	}
	defer b.close()
	b.say = func(format string, args ...any) { fmt.Fprintf(stdout, format+"\n", args...) }
	report, err := b.all(ctx)
	fmt.Fprint(stdout, "\n", report)
	if err == nil && o.markdown != "" {
		err = os.WriteFile(o.markdown, []byte(report), 0o644)
	}
	return err
}

// workerCommand builds the worker as it is shipped, unless profiles are wanted.
func workerCommand(ctx context.Context, dir, profile string) ([]string, error) {
	pkg := "cmd/worker"
	if profile != "" {
		pkg = benchWorker
	}
	path, err := build(ctx, dir, pkg)
	return []string{path}, err
}

// benchWorker is the worker with the idle class and with profiles.
const benchWorker = "test/bench/benchworker"

// build builds a command of this module as it is shipped.
func build(ctx context.Context, dir, pkg string) (string, error) {
	path := filepath.Join(dir, filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "github.com/rocketmq-connect/operator/"+pkg)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building %s: %w: %s", pkg, err, out)
	}
	return path, nil
}

// place puts this program and the brokers on the core that is not measured. It returns what puts the brokers back.
func (b *suite) place(ctx context.Context) (func() error, error) {
	nothing := func() error { return nil }
	if !canPin() {
		b.say("There is only one core: nothing is pinned.")
		return nothing, nil
	}
	var before unix.CPUSet
	if err := errors.Join(unix.SchedGetaffinity(0, &before), pinProcess(os.Getpid(), core(otherCore))); err != nil {
		return nil, fmt.Errorf("pinning this program: %w", err)
	}
	unpin := func() error { return pinProcess(os.Getpid(), &before) }
	brokers, err := b.rmq.Brokers(ctx)
	if err != nil {
		return nil, errors.Join(err, unpin())
	}
	addrs := append(strings.Split(b.env.nameServer, ";"), strings.Split(b.env.kafka, ",")...)
	for _, broker := range brokers {
		addrs = append(addrs, broker.Addr)
	}
	n, restore, err := pinListeners(addrs)
	if err != nil {
		return nil, errors.Join(err, unpin())
	}
	b.say("Measured processes are on core %d; this program and %d processes of the brokers on core %d.", measuredCore, n, otherCore)
	return func() error { return errors.Join(restore(), unpin()) }, nil
}

// all measures the parts that were asked for, and returns their tables, of what was done before a failure, too.
func (b *suite) all(ctx context.Context) (string, error) {
	var out strings.Builder
	fmt.Fprintf(&out, "%d cores (%s), %s of memory, %s; medians of %d.\n", runtime.NumCPU(), cpuModel(), memory(), runtime.Version(), b.o.runs)
	err := b.pinned(ctx, &out)
	if err == nil && b.o.parts[partControl] {
		var text string
		text, err = b.control(ctx)
		fmt.Fprintf(&out, "\n%s", text)
	}
	return out.String(), err
}

// pinned measures what is one worker's, on a core of its own.
func (b *suite) pinned(ctx context.Context, out *strings.Builder) (err error) {
	if b.o.onlyControl() {
		return nil
	}
	restore, err := b.place(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	var pairs []pair
	for _, k := range []kind{source, sink} {
		for _, size := range b.o.sizes {
			if err == nil && b.o.parts[string(k)] {
				var p pair
				if p, err = b.throughput(ctx, k, size); err == nil {
					pairs = append(pairs, p)
				}
			}
		}
	}
	if len(pairs) > 0 {
		fmt.Fprintf(out, "\n%s", throughputTable(pairs))
	}
	for _, part := range []struct {
		name string
		run  func(context.Context) (string, error)
	}{{partLatency, b.latencies}, {partStart, b.starts}, {partIdle, b.idle}} {
		if err == nil && b.o.parts[part.name] {
			var text string
			if text, err = part.run(ctx); err == nil {
				fmt.Fprintf(out, "\n%s", text)
			}
		}
	}
	return err
}

// control measures a cluster of three workers. They and the brokers share all cores.
func (b *suite) control(ctx context.Context) (string, error) {
	binary, err := build(ctx, b.workers.dir, benchWorker)
	if err != nil {
		return "", err
	}
	return control.Run(ctx, control.Options{
		Binary: binary, Dir: b.workers.dir, NameServer: b.env.nameServer, Cluster: b.id + "-control",
		Workers: 3, Connectors: b.o.connectors, TasksEach: 5, Puts: 200, RMQ: b.rmq, Say: b.say,
	})
}

// onlyControl says that nothing else was asked for: then Kafka is not needed.
func (o options) onlyControl() bool { return len(o.parts) == 1 && o.parts[partControl] }

// cpuModel is the kernel's name of the processor.
func cpuModel() string { return firstOf("/proc/cpuinfo", "model name") }

// memory is the size of the machine's.
func memory() string { return firstOf("/proc/meminfo", "MemTotal") }

// firstOf reads the first line "name: value" of a file.
func firstOf(path, name string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return "unknown"
	}
	for line := range strings.Lines(string(text)) {
		if before, after, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(before) == name {
			return strings.TrimSpace(after)
		}
	}
	return "unknown"
}
