// Command quickstart shows the whole of it on the local stack: the operator from its chart, a ConnectCluster of three
// workers, a Kafka source and a Kafka sink, a million records there and back compared by content, and workers that are
// killed while records flow. It prints what it does and ends with 1 when anything was lost or any task ran twice at
// once.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/test/kube"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

type options struct {
	records, size, rate int
	liveFor             time.Duration
	kafka, nameServer   string
	chart               string
}

func main() {
	var o options
	flag.IntVar(&o.records, "records", 1_000_000, "records to carry there and back")
	flag.IntVar(&o.size, "size", 1024, "bytes of each value")
	flag.IntVar(&o.rate, "rate", 3_000, "records per second while workers are killed")
	flag.DurationVar(&o.liveFor, "live-for", 75*time.Second, "how long records flow while workers are killed")
	flag.StringVar(&o.kafka, "kafka", "127.0.0.1:9092", "Kafka, as this machine reaches it")
	flag.StringVar(&o.nameServer, "name-server", "127.0.0.1:9876", "RocketMQ's name server, as this machine reaches it")
	flag.StringVar(&o.chart, "chart", "charts/rocketmq-connect-operator", "the operator's chart")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		stop()
		os.Exit(1)
	}
}

// demo is one run: its clients and when it began.
type demo struct {
	options
	kube      *kube.Kube
	kafka     *kgo.Client
	rmq       *rmq.Client
	began     time.Time
	ownership *kube.Ownership
}

func run(ctx context.Context, o options) error {
	d := &demo{options: o, began: time.Now()}
	var err error
	if d.kube, err = kube.New(); err != nil {
		return err
	}
	d.kube.Echo = func(line string) { fmt.Println("   ", line) }
	if d.kafka, err = kgo.NewClient(kgo.SeedBrokers(o.kafka), kgo.MetadataMinAge(100*time.Millisecond)); err != nil {
		return fmt.Errorf("opening the Kafka client: %w", err)
	}
	defer d.kafka.Close()
	if d.rmq, err = rmq.Open(rmq.Config{NameServers: []string{o.nameServer}}); err != nil {
		return err
	}
	defer d.rmq.Close()
	if err := d.install(ctx); err != nil {
		return err
	}
	d.ownership = d.kube.WatchOwnership(ctx, kube.Namespace, kube.WorkerSelector, kube.WorkerContainer)
	defer d.ownership.Stop()
	if err := d.thereAndBack(ctx); err != nil {
		return err
	}
	if err := d.killWorkers(ctx); err != nil {
		return err
	}
	d.say("All records arrived, no task ran twice at once. Look around with kubectl; 'make quickstart-down' removes everything.")
	return nil
}

func (d *demo) say(format string, args ...any) {
	fmt.Printf("\n[%5.1f s] %s\n", time.Since(d.began).Seconds(), fmt.Sprintf(format, args...))
}

// progress prints a line that the next one overwrites on a terminal.
func (d *demo) progress(what string, n, of int64) {
	fmt.Printf("    %-34s %9d of %d (%.0f s)\n", what, n, of, time.Since(d.began).Seconds())
}

func (d *demo) install(ctx context.Context) error {
	d.say("Installing the operator")
	if _, err := d.kube.Run(ctx, "", "helm", "upgrade", "--install", "rocketmq-connect-operator", d.chart,
		"--namespace", "rocketmq-connect", "--create-namespace", "--wait", "--timeout", "3m"); err != nil {
		return err
	}
	d.say("Starting a ConnectCluster of three workers")
	if err := d.apply(ctx, kube.ClusterYAML(3)); err != nil {
		return err
	}
	_, err := d.kube.Kubectl(ctx, "wait", "-n", kube.Namespace, "connectcluster/demo", "--for=condition=Ready", "--timeout=180s")
	return err
}

func (d *demo) apply(ctx context.Context, yaml string) error {
	_, err := d.kube.Run(ctx, yaml, "kubectl", "apply", "-f", "-")
	return err
}

func (d *demo) topic(ctx context.Context, name string, partitions int32) error {
	resp, err := kadm.NewClient(d.kafka).CreateTopic(ctx, partitions, 1, nil, name)
	if err != nil {
		return fmt.Errorf("creating Kafka topic %s: %w", name, err)
	}
	return resp.Err
}
