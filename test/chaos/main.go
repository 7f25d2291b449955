// Command chaos runs workers on real brokers of its own, breaks one thing after the other while numbered records flow,
// and says whether a record was lost, changed or put out of order, whether a task ever ran on two workers at once, how
// long tasks ran nowhere, and how many records were repeated. With -soak it breaks nothing and watches what grows.
// It ends with 1 on any violation.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

type options struct {
	rounds, from        int
	seed                uint64
	workers, rate, size int
	portBase            int
	keepBrokers         bool
	keepLogs            bool
	soak                time.Duration
	topology            string
	only, out           string
	merge               bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 19, "how many rounds, one fault each")
	flag.Uint64Var(&o.seed, "seed", 1, "what the faults are drawn from")
	flag.IntVar(&o.from, "from", 0, "the first round: a run of 200 rounds can be made of several")
	flag.IntVar(&o.workers, "workers", 3, "workers that run all the time; one more comes and goes")
	flag.IntVar(&o.rate, "rate", 500, "records per second")
	flag.IntVar(&o.size, "size", 256, "bytes of each value")
	flag.IntVar(&o.portBase, "port-base", 28000, "200 ports from there on, below those that the kernel gives to connections")
	flag.BoolVar(&o.keepBrokers, "keep-brokers", false, "leave the brokers running for the next run")
	flag.BoolVar(&o.keepLogs, "keep-logs", false, "keep the logs of a run without violations, too")
	flag.DurationVar(&o.soak, "soak", 0, "no faults: watch what grows for so long")
	flag.StringVar(&o.topology, "topology", rig.Single, "what RocketMQ is made of: single, masters, replicated, controller")
	flag.StringVar(&o.only, "only", "", "rounds of this fault only, or of several in turn: NAME;NAME")
	flag.StringVar(&o.out, "out", "", "a file to which each round's result is added, as a line of JSON")
	flag.BoolVar(&o.merge, "merge", false, "run nothing: print the report of the results in the files that are named")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	do := run
	if o.merge {
		do = func(context.Context, options) error { return merge(flag.Args()) }
	}
	if err := do(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "chaos:", err)
		stop()
		os.Exit(1)
	}
}

// scene is a cluster at work.
type scene struct {
	options
	began time.Time
	dir   string
	fleet *fleet
	pairs []pair
	flows traffic.Flows
	tasks map[string]int
	last  traffic.Tallies // at the end of the round before
}

func (s *scene) say(format string, args ...any) {
	fmt.Printf("[%6.1f s] %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func run(ctx context.Context, o options) (err error) {
	s := &scene{options: o, began: time.Now(), tasks: map[string]int{}}
	topology, err := rig.Named(o.topology)
	if err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "chaos-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe logs are in %s", err, s.dir)
			return
		}
		if o.keepLogs {
			s.say("The logs are in %s", s.dir)
			return
		}
		err = os.RemoveAll(s.dir)
	}()
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	binary := filepath.Join(s.dir, "worker")
	if err := process.Build(ctx, root, binary); err != nil {
		return err
	}
	b, err := rig.New(ctx, root, s.dir, o.portBase, topology)
	if err != nil {
		return err
	}
	if o.only == upgraded {
		b.Use(oldVersion)
	}
	s.say("Starting brokers (%s) on the ports from %d on", o.topology, o.portBase)
	if !o.keepBrokers {
		defer func() { err = errors.Join(err, b.Down(context.WithoutCancel(ctx))) }()
	}
	if err := b.Up(ctx); err != nil {
		return err
	}
	s.pairs = pairs(s.topology, s.topic())
	for _, p := range s.pairs {
		s.tasks[p.named(sourceName)], s.tasks[p.named(sinkName)] = tasksEach, tasksEach
	}
	s.fleet = newFleet(s.dir, binary, b)
	defer func() { err = errors.Join(err, s.fleet.close()) }()
	if err := s.fleet.enlist(ctx, o.workers+1); err != nil {
		return err
	}
	defer func() { s.flows.Close() }()
	if err := s.begin(ctx); err != nil {
		return err
	}
	if o.soak > 0 {
		return s.soakFor(ctx, o.soak)
	}
	return s.play(ctx)
}

// begin starts all workers but the spare one, the flow, and the connectors.
func (s *scene) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	s.say("Starting %d workers, logs in %s (%d cores)", s.workers, s.dir, runtime.NumCPU())
	for _, m := range s.fleet.members[:s.workers] {
		if err := s.fleet.start(m); err != nil {
			return err
		}
	}
	if err := s.fleet.settled(ctx, nil); err != nil {
		return err
	}
	plan := flow.Plan{Size: s.size, Keys: 1000, Seed: s.seed, Rate: s.eachRate()}
	for _, p := range s.pairs {
		f, err := traffic.Start(context.WithoutCancel(ctx), rig.Address(s.fleet.brokers.KafkaPort()), p.Way, plan)
		if err != nil {
			return err
		}
		s.flows = append(s.flows, f)
	}
	return s.connect(ctx)
}

func (s *scene) topic() string { return filepath.Base(s.dir) }

// eachRate is that of one flow.
func (s *scene) eachRate() int { return s.rate / len(s.pairs) }

func (s *scene) connect(ctx context.Context) error {
	client, kafkaAt := s.fleet.members[0].client(), rig.Address(s.fleet.kafkaPort())
	for _, p := range s.pairs {
		for _, conn := range []restapi.Connector{p.source(kafkaAt), p.sink(kafkaAt)} {
			err := wait.Until(ctx, time.Second, func(ctx context.Context) error {
				_, err := client.Put(ctx, conn, restclient.AnyRevision)
				return err
			})
			if err != nil {
				return fmt.Errorf("creating connector %s: %w", conn.Name, err)
			}
			if err := s.fleet.settled(ctx, map[string]int{conn.Name: tasksEach}); err != nil {
				return err
			}
		}
	}
	return s.flows.Drained(ctx)
}

// moduleRoot is the folder of go.mod, from here upwards.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("looking for the module: %w", err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("looking for the module: run this in its folder")
		}
	}
}
