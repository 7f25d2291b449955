package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/chaos/disk"
	"github.com/rocketmq-connect/operator/test/chaos/proxy"
	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/service"
)

// The worker's defaults, by which faults are judged.
const (
	sessionTimeout = 5 * time.Second
	leaseTime      = sessionTimeout / 10 * 9
	drainLimit     = 70 * time.Second
)

// storeSize is what a worker's store gets as a file system of its own, for it to become full.
const storeSize = "2m"

var (
	errEnded   = errors.New("a worker ended by itself")
	errUnclean = errors.New("a worker did not stop cleanly")
)

// member is one worker and its network.
type member struct {
	id     string
	port   int
	link   *proxy.Link
	names  string // the name servers, as the member reaches them
	store  string
	stores int
	log    string
	proc   *process.Worker // nil while it is to be down
	audit  auditLog
}

// fleet is the workers of a run.
type fleet struct {
	dir, binary, cluster string
	brokers              *rig.Stack
	kafka                *proxy.Link
	members              []*member
	own                  ownership
	mounted              []string
	// topicBroker is where the internal topics are to be; empty leaves that to the workers.
	topicBroker string
}

// newFleet is a fleet without members; close it after use.
func newFleet(dir, binary string, b *rig.Stack) *fleet {
	return &fleet{dir: dir, binary: binary, cluster: filepath.Base(dir), brokers: b, kafka: proxy.NewLink()}
}

// enlist gives each of n members a store and a network of its own; none runs yet.
func (f *fleet) enlist(ctx context.Context, n int) error {
	b := f.brokers
	if _, err := f.kafka.Open(ctx, f.kafkaPort(), rig.Address(b.KafkaPort()), proxy.KafkaAt(b.KafkaPort(), f.kafkaPort())); err != nil {
		return err
	}
	for i := range n {
		m := &member{id: fmt.Sprintf("W%d", i+1), port: b.Base + 100 + 10*i, link: proxy.NewLink()}
		m.log = filepath.Join(f.dir, m.id+".log")
		m.audit.path = m.log
		f.members = append(f.members, m)
		if err := m.open(ctx, b); err != nil {
			return err
		}
		if err := f.newStore(m); err != nil {
			return err
		}
	}
	return nil
}

// open makes a member's ways to all name servers and brokers, on the ports behind its own.
func (m *member) open(ctx context.Context, b *rig.Stack) error {
	port := m.port + len(b.NameServers)
	ways := map[int]int{}
	for _, broker := range b.Brokers {
		port++
		ways[b.Base+broker.Port] = port
	}
	route, err := proxy.RouteTo(ways)
	if err != nil {
		return err
	}
	var names []string
	for i, server := range b.Names() {
		name, err := m.link.Open(ctx, m.port+1+i, server, route)
		if err != nil {
			return err
		}
		names = append(names, name)
	}
	m.names = strings.Join(names, ";")
	for broker, way := range ways {
		if _, err := m.link.Open(ctx, way, rig.Address(broker), proxy.Rewrite{}); err != nil {
			return err
		}
	}
	return nil
}

// kafkaPort is where the connectors reach Kafka: their config is the same on all members, and so is that link.
func (f *fleet) kafkaPort() int { return f.brokers.Base + 90 }

// newStore gives a member an empty store, as a host that it never ran on has. Root makes it a small file system.
func (f *fleet) newStore(m *member) error {
	m.stores++
	m.store = filepath.Join(f.dir, fmt.Sprintf("%s-store-%d", m.id, m.stores))
	if !disk.Possible() {
		if err := os.MkdirAll(m.store, 0o750); err != nil {
			return fmt.Errorf("making a store: %w", err)
		}
		return nil
	}
	if err := disk.Mount(m.store, storeSize); err != nil {
		return err
	}
	f.mounted = append(f.mounted, m.store)
	return nil
}

// start runs a member's process in its store.
func (f *fleet) start(m *member) error {
	conf := filepath.Join(f.dir, m.id+".conf")
	err := process.Conf{ID: m.id, ClusterID: f.cluster, NameServers: m.names, StoreDir: m.store, Port: m.port,
		More: fmt.Sprintf("maxLoadFactor=1\nadvertisedAddress=127.0.0.1:%d\n%s", m.port, f.topicLine())}.Write(conf)
	if err != nil {
		return err
	}
	log, err := os.OpenFile(m.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("opening a worker's log: %w", err)
	}
	defer log.Close() // the process has its own
	m.proc, err = process.Start(f.binary, conf, m.port, log, log)
	return err
}

// topicLine says in a worker's configuration where the internal topics are to be.
func (f *fleet) topicLine() string {
	if f.topicBroker == "" {
		return ""
	}
	return "clusterTopicBroker=" + f.topicBroker
}

// kill ends a member's process by SIGKILL.
func (f *fleet) kill(m *member) {
	m.proc.Kill()
	m.proc = nil
	f.own.deaths = append(f.own.deaths, audit.Death{Worker: m.id, At: cluster.Now()})
}

// stop ends a member's process as Kubernetes does.
func (f *fleet) stop(ctx context.Context, m *member) error {
	proc := m.proc
	if err := proc.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, drainLimit)
	defer cancel()
	select {
	case <-proc.Done():
	case <-ctx.Done():
		return fmt.Errorf("%w: %s still runs after %s", errUnclean, m.id, drainLimit)
	}
	m.proc = nil
	f.own.deaths = append(f.own.deaths, audit.Death{Worker: m.id, At: cluster.Now()})
	if code := proc.ExitCode(); code != 0 {
		return fmt.Errorf("%w: %s ended with code %d", errUnclean, m.id, code)
	}
	return nil
}

// freeze stops a member's process for a time.
func (f *fleet) freeze(ctx context.Context, m *member, d time.Duration) error {
	frozen := shut{Worker: m.id, From: cluster.Now()}
	if err := m.proc.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	err := service.Sleep(ctx, d)
	frozen.To = cluster.Now()
	f.own.shuts = append(f.own.shuts, frozen)
	return errors.Join(err, m.proc.Signal(syscall.SIGCONT))
}

// live are the members that are to run.
func (f *fleet) live() []*member {
	return slices.DeleteFunc(slices.Clone(f.members), func(m *member) bool { return m.proc == nil })
}

func (m *member) client() *restclient.Client { return m.proc.Client("") }

// settled waits until all live members see each other and the connectors' tasks run.
func (f *fleet) settled(ctx context.Context, tasks map[string]int) error {
	return wait.Until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		if err := f.noneEnded(); err != nil {
			return err
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		var clients []*restclient.Client
		for _, m := range f.live() {
			clients = append(clients, m.client())
		}
		return process.Whole(ctx, clients, tasks)
	})
}

// noneEnded fails when a process is gone that nobody ended, or said that it panicked.
func (f *fleet) noneEnded() error {
	for _, m := range f.live() {
		if m.proc.Ended() {
			return wait.Final(fmt.Errorf("%w: %s, code %d:\n%s", errEnded, m.id, m.proc.ExitCode(), process.Tail(m.log)))
		}
	}
	return nil
}

// close ends what still runs.
func (f *fleet) close() error {
	for _, m := range f.members {
		if m.proc != nil {
			m.proc.Kill()
		}
		m.link.Close()
	}
	f.kafka.Close()
	var errs []error
	for _, dir := range f.mounted {
		errs = append(errs, disk.Unmount(dir))
	}
	return errors.Join(errs...)
}
