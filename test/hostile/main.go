// Command hostile runs three workers, each held to 512 MiB, on brokers of its own, lets numbered records flow both
// ways, and meanwhile sends what somebody sends who means ill: to the internal topics, to the REST API, to the topics
// that are carried. It says what each worker took of memory, how often each kind was sent, and whether a worker ended,
// a task moved, or a record is missing: then it ends with 1. At last a worker without anything starts on what is left.
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
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/test/flow"
	"github.com/rocketmq-connect/operator/test/hostile/forger"
	"github.com/rocketmq-connect/operator/test/hostile/requests"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

type options struct {
	lasts       time.Duration
	portBase    int
	keepBrokers bool
	only        string
}

func main() {
	var o options
	flag.DurationVar(&o.lasts, "for", 5*time.Minute, "how long what somebody sends in an hour is sent")
	flag.IntVar(&o.portBase, "port-base", 28000, "200 ports from there on, below those that the kernel gives to connections")
	flag.BoolVar(&o.keepBrokers, "keep-brokers", false, "leave the brokers running for the next run")
	flag.StringVar(&o.only, "only", "", "only kinds whose target and name hold this")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "hostile:", err)
		stop()
		os.Exit(1)
	}
}

// patience is how long the cluster may take to settle, and records to come out.
const patience = 5 * time.Minute

// scene is a cluster at work, and who means it ill.
type scene struct {
	options
	began   time.Time
	dir     string
	brokers *rig.Stack
	fleet   *fleet
	rocket  *rmq.Client
	flows   traffic.Flows
	kinds   []*kind
}

func (s *scene) say(format string, args ...any) {
	fmt.Printf("[%6.1f s] %s\n", time.Since(s.began).Seconds(), fmt.Sprintf(format, args...))
}

func run(ctx context.Context, o options) (err error) {
	s := &scene{options: o, began: time.Now()}
	if s.dir, err = os.MkdirTemp("", "hostile-"); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%w\nthe logs are in %s", err, s.dir)
			return
		}
		err = os.RemoveAll(s.dir)
	}()
	topology, err := rig.Named(rig.Single)
	if err != nil {
		return err
	}
	binary := filepath.Join(s.dir, "worker")
	if err := process.Build(ctx, ".", binary); err != nil {
		return err
	}
	if s.brokers, err = rig.New(ctx, ".", s.dir, o.portBase, topology); err != nil {
		return err
	}
	s.say("Starting brokers on the ports from %d on", o.portBase)
	if !o.keepBrokers {
		defer func() { err = errors.Join(err, s.brokers.Down(context.WithoutCancel(ctx))) }()
	}
	if err := s.brokers.Up(ctx); err != nil {
		return err
	}
	if s.rocket, err = rmq.Open(rmq.Config{NameServers: s.brokers.Names()}); err != nil {
		return fmt.Errorf("opening the RocketMQ client: %w", err)
	}
	defer s.rocket.Close()
	if err := softLimit(); err != nil { // for the workers that are started from here on
		return fmt.Errorf("setting GOMEMLIMIT: %w", err)
	}
	s.fleet = newFleet(s.dir, binary, strings.Join(s.brokers.Names(), ";"))
	defer s.fleet.close()
	defer func() { s.flows.Close() }()
	if err := s.begin(ctx); err != nil {
		return err
	}
	return s.play(ctx)
}

const workers = 3

// begin starts the workers, the flow, and the connectors.
func (s *scene) begin(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	for i := range workers {
		if _, err := s.fleet.start(ctx, fmt.Sprintf("W%d", i+1)); err != nil {
			return err
		}
	}
	s.say("%d workers on %d cores, each within %s; load %s; logs in %s", workers, runtime.NumCPU(), s.fleet.held, load(), s.dir)
	if err := s.fleet.settled(ctx, nil); err != nil {
		return err
	}
	topic := filepath.Base(s.dir)
	plan := flow.Plan{Size: 256, Keys: 1000, Seed: 1, Rate: 300}
	way := traffic.Way{Topic: topic, Partitions: 8, BackPartitions: 8}
	stream, err := traffic.Start(context.WithoutCancel(ctx), s.kafka(), way, plan)
	if err != nil {
		return err
	}
	s.flows = append(s.flows, stream)
	carried, err := s.openCarried(ctx)
	if err != nil {
		return err
	}
	for _, c := range slices.Concat(s.pair(topic), carried, s.worker(0).Own()) {
		if err := s.fleet.create(ctx, c); err != nil {
			return err
		}
	}
	return s.flows.Drained(ctx)
}

func (s *scene) kafka() string { return rig.Address(s.brokers.KafkaPort()) }

// play sends all kinds, and judges.
func (s *scene) play(ctx context.Context) error {
	before, err := s.fleet.running()
	if err == nil && len(before) != 2*tasksEach {
		err = fmt.Errorf("%w: %d tasks of the flow run", process.ErrNotWhole, len(before))
	}
	if err != nil {
		return err
	}
	f, err := forger.New(ctx, s.rocket, s.fleet.topic("cluster"), workers)
	if err != nil {
		return err
	}
	s.kinds = append(append(forgedKinds(f), s.storeKinds()...), append(s.requestKinds(), s.carriedKinds()...)...)
	s.say("Sending what somebody sends in an hour within %s; a record flows every %s meanwhile", s.lasts, time.Second/300)
	if err := s.send(ctx); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	s.say("Waiting for the records that are on their way; load %s", load())
	draining, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	drained := s.flows.Drained(draining)
	after, err := s.fleet.running()
	if err != nil {
		return err
	}
	v := verdict{kinds: s.kinds, tally: s.flows.Mark().Sum(), drained: drained, ended: s.fleet.ended()}
	v.moved, v.anew = compare(before, after)
	for _, m := range s.fleet.members {
		v.peaks = append(v.peaks, peak{m.id, m.peak()})
	}
	newcomer, err := s.newcomer(ctx)
	v.peaks = append(v.peaks, newcomer)
	v.newcomer = err
	return v.print(os.Stdout)
}

// newcomer starts a worker that has nothing: it reads all that was sent.
func (s *scene) newcomer(ctx context.Context) (peak, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	begun := time.Now()
	m, err := s.fleet.start(ctx, "W4")
	if err != nil {
		return peak{id: "W4, which started after all that"}, err
	}
	err = wait.Until(ctx, 100*time.Millisecond, func(ctx context.Context) error {
		if m.proc.Ended() {
			return wait.Final(fmt.Errorf("%w: %s, code %d:\n%s", errEnded, m.id, m.proc.ExitCode(), process.Tail(m.log)))
		}
		_, err := m.proc.Get(ctx, "/readyz")
		return err
	})
	s.say("A worker that has nothing was ready after %s", time.Since(begun).Round(10*time.Millisecond))
	return peak{"W4, which started after all that", m.peak()}, err
}

// worker is where requests are sent to, one after the other.
func (s *scene) worker(i int) requests.Worker {
	return requests.Worker{Address: fmt.Sprintf("127.0.0.1:%d", s.fleet.members[i%workers].proc.Port), Token: s.fleet.token, Kafka: s.kafka()}
}

// load is the machine's, as Linux tells it: over one, five and fifteen minutes.
func load() string {
	text, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	return strings.Join(strings.Fields(string(text))[:3], " ")
}
