//go:build linux

// Command bench measures the worker between a real Kafka and a real RocketMQ, next to bare loops that move the same
// records with the usual libraries: on one core, with the brokers on the other, in turns, medians. See
// docs/benchmarks.md.
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
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/rocketmq-connect/operator/test/bench/control"
	"github.com/rocketmq-connect/operator/test/bench/machine"
	"github.com/rocketmq-connect/operator/test/bench/profiled"
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

// environment is where the brokers are. tlsCA is a file if the workers speak TLS with RocketMQ; the bare loops never
// do.
type environment struct{ nameServer, kafka, tlsCA string }

// options are what the command line says.
type options struct {
	runs, records int
	sizes         []int
	parts         map[string]bool
	latency       int
	idle          int
	idleKinds     []kind
	idleEach      []int
	connectors    int
	tls           bool
	profile       string
	markdown      string
}

// The parts of the bench.
const (
	partSource  = "source"
	partSink    = "sink"
	partPeer    = "peer"
	partLatency = "latency"
	partStart   = "start"
	partIdle    = "idle"
	partControl = "control"
)

// The first arguments that make this program a measured process instead.
const (
	argBare     = "bare"
	argProfiled = "profiled"
)

func run(ctx context.Context, args []string, stdin io.Reader, stdout io.Writer) error {
	env := environment{nameServer: os.Getenv("RMQ_NAMESRV"), kafka: os.Getenv("KAFKA_BOOTSTRAP")}
	if len(args) > 0 {
		switch args[0] {
		case argBare:
			return runBare(ctx, env, stdin, stdout)
		case argProfiled:
			return profiled.Run(ctx, args[1:], stdout)
		}
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if env.nameServer == "" || env.kafka == "" && !o.onlyControl() {
		return errors.New("set RMQ_NAMESRV and KAFKA_BOOTSTRAP, or run it by hack/with-brokers.sh")
	}
	if o.tls {
		if env.tlsCA = os.Getenv("RMQ_TLS_CA"); env.tlsCA == "" {
			return errors.New(
				"-tls: set RMQ_TLS_CA, and have RocketMQ take connections with and without TLS (go run -C hack/stack . up --tls " +
					"permissive): the bare loops have none",
			)
		}
	}
	return bench(ctx, env, o, stdout)
}

func parse(args []string) (options, error) {
	flags := flag.NewFlagSet("bench", flag.ContinueOnError)
	o := options{parts: map[string]bool{}}
	flags.IntVar(&o.runs, "runs", 5, "how often each is measured; medians are shown")
	flags.IntVar(&o.records, "records", 0, "records a run; 0: as many as take some seconds, 350,000 of 1 KiB")
	flags.IntVar(&o.latency, "latency-seconds", 10, "how long a latency run takes")
	flags.IntVar(&o.idle, "idle-tasks", 1000, "how many idle tasks are run")
	idleKinds := flags.String("idle-kinds", "source,sink", "kinds of idle tasks, each measured by itself")
	idleEach := flags.String("idle-each", "100,4", "idle tasks a connector, each number measured by itself")
	flags.IntVar(&o.connectors, "control-connectors", 1000, "how many connectors, with five tasks each, the control part has")
	flags.BoolVar(
		&o.tls,
		"tls",
		false,
		"have the worker speak TLS with RocketMQ, trusting RMQ_TLS_CA; the bare loops beside it do not, and the control part has none",
	)
	flags.StringVar(
		&o.profile,
		"profile",
		"",
		"write CPU, heap, block and mutex profiles of the worker to this `directory`; its figures are then a little worse",
	)
	flags.StringVar(&o.markdown, "markdown", "", "write the tables to this `file`, too")
	sizes := flags.String("sizes", "100,1024,16384", "bytes a value, separated by commas")
	parts := flags.String(
		"parts",
		strings.Join([]string{partSource, partSink, partPeer, partLatency, partStart, partIdle, partControl}, ","),
		"what to measure",
	)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	for part := range strings.SplitSeq(*parts, ",") {
		switch part {
		case partSource, partSink, partPeer, partLatency, partStart, partIdle, partControl:
			o.parts[part] = true
		default:
			return o, fmt.Errorf("-parts: there is no %q", part)
		}
	}
	for name := range strings.SplitSeq(*idleKinds, ",") {
		k := kind(name)
		if k != source && k != sink {
			return o, fmt.Errorf("-idle-kinds: there is no %q", name)
		}
		o.idleKinds = append(o.idleKinds, k)
	}
	var err error
	if o.sizes, err = numbers("-sizes", *sizes, 16); err != nil {
		return o, err
	}
	if o.idleEach, err = numbers("-idle-each", *idleEach, 1); err != nil {
		return o, err
	}
	if o.runs < 1 || o.connectors < 1 || o.latency < 2 || o.idle < 0 || o.records < 0 {
		return o, errors.New("-runs and -control-connectors must be at least 1, -latency-seconds 2, the others not negative")
	}
	return o, nil
}

// numbers reads whole numbers separated by commas.
func numbers(name, text string, least int) ([]int, error) {
	var out []int
	for part := range strings.SplitSeq(text, ",") {
		n, err := strconv.Atoi(part)
		if err != nil || n < least {
			return nil, fmt.Errorf("%s: %q is no number from %d on", name, part, least)
		}
		out = append(out, n)
	}
	return out, nil
}

// bench builds the worker, puts everything in its place, and measures.
func bench(ctx context.Context, env environment, o options, stdout io.Writer) (err error) {
	dir, err := os.MkdirTemp("", "connect-bench-")
	if err != nil {
		return fmt.Errorf("making a directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
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
	if o.parts[partPeer] {
		if err := b.peers.fetch(ctx); err != nil {
			return err
		}
	}
	b.say = func(format string, args ...any) { fmt.Fprintf(stdout, format+"\n", args...) }
	report, err := b.all(ctx)
	fmt.Fprint(stdout, "\n", report)
	if err == nil && o.markdown != "" {
		err = os.WriteFile(o.markdown, []byte(report), 0o644)
	}
	return err
}

// workerCommand builds the worker as it is shipped, unless profiles are wanted: then it runs inside this program.
func workerCommand(ctx context.Context, dir, profile string) ([]string, error) {
	if profile != "" {
		self, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("finding this program: %w", err)
		}
		if err := os.MkdirAll(profile, 0o755); err != nil {
			return nil, fmt.Errorf("making the directory of the profiles: %w", err)
		}
		return []string{self, argProfiled, "-to", profile}, nil
	}
	path, err := build(ctx, dir, "cmd/worker")
	return []string{path}, err
}

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
	load := machine.Load()
	versions, err := b.versions(ctx)
	var out strings.Builder
	if err == nil && !b.o.onlyControl() {
		err = b.pinned(ctx, &out)
	}
	if err == nil && b.o.parts[partControl] {
		var text string
		text, err = b.control(ctx)
		fmt.Fprintf(&out, "\n%s", text)
	}
	if b.peers.version != "" {
		versions += ", MirrorMaker " + b.peers.version
	}
	return fmt.Sprintf("%s, %s; %s; load average %s at the start, %s at the end.\n%s",
		machine.Describe(), versions, b.o.repeated(), load, machine.Load(), out.String()), err
}

// repeated says how often each part was measured, for the head of the tables.
func (o options) repeated() string {
	if o.onlyControl() {
		return "one run"
	}
	return fmt.Sprintf("medians of %d, idle tasks and the control path once", o.runs)
}

// pinned measures what is one process's, on a core of its own.
func (b *suite) pinned(ctx context.Context, out *strings.Builder) (err error) {
	restore, err := b.place(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, restore()) }()
	var rounds []round
	for _, size := range b.o.sizes {
		if err == nil && (b.o.parts[partSource] || b.o.parts[partSink] || b.o.parts[partPeer]) {
			var r round
			r, err = b.throughput(ctx, size)
			rounds = append(rounds, r)
		}
	}
	if len(rounds) > 0 {
		fmt.Fprintf(out, "\n%s", throughputTable(rounds))
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
	binary, err := build(ctx, b.workers.dir, "test/bench/benchworker")
	if err != nil {
		return "", err
	}
	if err := os.Setenv(profiled.Variable, b.o.profile); err != nil {
		return "", fmt.Errorf("asking workers for profiles: %w", err)
	}
	return control.Run(ctx, control.Options{
		Binary: binary, Dir: b.workers.dir, NameServer: b.env.nameServer, Cluster: b.id + "-control",
		Workers: 3, Connectors: b.o.connectors, TasksEach: 5, Puts: 200, RMQ: b.rmq, Say: b.say,
	})
}

// onlyControl says that nothing else was asked for: then Kafka is not needed.
func (o options) onlyControl() bool { return len(o.parts) == 1 && o.parts[partControl] }

// versions are those of the programs that take part.
func (b *suite) versions(ctx context.Context) (string, error) {
	brokers, err := b.rmq.Brokers(ctx)
	if err != nil {
		return "", err
	}
	rocketMQ, err := machine.RocketMQ(ctx, brokers[0].Addr)
	if err != nil {
		return "", err
	}
	if b.o.onlyControl() {
		return "RocketMQ " + rocketMQ, nil
	}
	kafka, err := machine.Kafka(ctx, b.admin)
	if err != nil || !b.o.parts[partPeer] {
		return fmt.Sprintf("RocketMQ %s, Kafka %s", rocketMQ, kafka), err
	}
	java, err := machine.Java(ctx)
	return fmt.Sprintf("RocketMQ %s, Kafka %s, Java %s", rocketMQ, kafka, java), err
}
