// Package worker wires the parts of a worker: REST first, so that probes are answered from the beginning; then
// RocketMQ, the stores, the cluster and the scheduler. They stop in reverse: tasks are drained and released, the
// session is left.
package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/rest"
	"github.com/rocketmq-connect/operator/worker/rest/certificate"
	"github.com/rocketmq-connect/operator/worker/rest/compat"
	"github.com/rocketmq-connect/operator/worker/rest/limit"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/rmq/tlsdial"
	"github.com/rocketmq-connect/operator/worker/schedule"
	"github.com/rocketmq-connect/operator/worker/secret"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store"
	"github.com/rocketmq-connect/operator/worker/task"
)

// leaveTimeout is what a clean stop may take beyond the draining: releasing, leaving, closing.
const leaveTimeout = 10 * time.Second

// Catalog finds connector classes.
type Catalog interface {
	Find(class string) (connector.Connector, error)
	Implied(cfg map[string]string) (string, error)
	List() []connector.Spec
}

// Options are what a worker gets from its process. All are required.
type Options struct {
	Log logr.Logger
	// Audit gets the lines by which ownership can be checked afterwards.
	Audit logr.Logger
	// Version is shown to the other workers and in the REST API.
	Version    string
	Registerer prometheus.Registerer
	Gatherer   prometheus.Gatherer
	Catalog    Catalog
	// Out gets the line that says that the worker has joined.
	Out io.Writer
}

// Run runs a worker until ctx ends, and stops it cleanly within cfg.DrainTimeout and a little. It returns nil then, and
// otherwise why the worker could not start or go on. A RocketMQ that is away or refuses is waited for.
func Run(ctx context.Context, cfg config.Worker, opts Options) error {
	if err := cfg.Validate(); err != nil {
		return fmt.Errorf("checking the configuration: %w", err)
	}
	cfg = identified(cfg)
	p, err := build(cfg, opts)
	if err != nil {
		return err
	}
	stopping := func() (context.Context, context.CancelFunc) {
		return context.WithTimeout(context.Background(), cfg.DrainTimeout+leaveTimeout)
	}
	opts.Log.Info("Starting a worker", "worker", cfg.WorkerID, "version", opts.Version, "config", cfg.String())
	if len(cfg.PluginPaths) > 0 {
		opts.Log.Info("Ignoring pluginPaths: connectors are built into this worker, and none are loaded from folders",
			"pluginPaths", cfg.PluginPaths, "builtIn", classes(opts.Catalog))
	}
	err = service.Run(ctx, stopping, p.services()...)
	return errors.Join(failures(ctx, err), p.client.Close())
}

// classes lists the classes that connectors may have.
func classes(catalog Catalog) []string {
	var out []string
	for _, spec := range catalog.List() {
		out = append(out, spec.Class)
	}
	return out
}

// failures leaves out of err what only says that ctx ended while the worker was starting.
func failures(ctx context.Context, err error) error {
	if ctx.Err() == nil {
		return err
	}
	joined, ok := err.(interface{ Unwrap() []error }) // a join itself, not what wraps one
	switch {
	case ok:
		var left []error
		for _, e := range joined.Unwrap() {
			left = append(left, failures(ctx, e))
		}
		return errors.Join(left...)
	case errors.Is(err, context.Canceled), errors.Is(err, context.Cause(ctx)):
		return nil
	}
	return err
}

// identified fills in who the worker is and where it is reached.
func identified(cfg config.Worker) config.Worker {
	port := strconv.Itoa(cfg.HTTPPort)
	if cfg.AdvertisedAddress == "" {
		cfg.AdvertisedAddress = net.JoinHostPort(localIP(cfg.NamesrvAddrs), port)
	}
	if cfg.WorkerID == "" {
		host, _, err := net.SplitHostPort(cfg.AdvertisedAddress)
		if err != nil {
			host = localIP(cfg.NamesrvAddrs)
		}
		cfg.WorkerID = host + "@" + port
	}
	return cfg
}

// hostNames are the names by which callers may call the worker: its host's, the one that it tells others, and those of
// the configuration.
func hostNames(cfg config.Worker) []string {
	names := slices.Clone(cfg.HTTPHostNames)
	if own, err := os.Hostname(); err == nil {
		names = append(names, own)
	}
	if told, _, err := net.SplitHostPort(cfg.AdvertisedAddress); err == nil {
		names = append(names, told)
	}
	return append(names, cfg.HTTPHost)
}

// parts are the components of one worker.
type parts struct {
	cfg       config.Worker
	opts      Options
	creds     config.Credentials
	client    *rmq.Client
	stores    *store.Stores
	cluster   *cluster.Cluster
	scheduler *schedule.Scheduler
	server    *rest.Server
	ready     readiness
	topics    *topicNotes
	secrets   *secret.Resolver
}

// build makes everything and does no IO beyond reading the files that the configuration names.
func build(cfg config.Worker, opts Options) (*parts, error) {
	creds, err := cfg.Credentials()
	if err != nil {
		return nil, err
	}
	p := &parts{cfg: cfg, opts: opts, creds: creds, topics: newTopicNotes(cfg)}
	p.secrets = secret.New(secret.Config{Mounted: cfg.SecretsDir, Dirs: cfg.SecretDirs, Env: cfg.SecretEnv})
	p.ready.set(errors.New("starting"), nil)
	known, err := p.topics.load()
	if err != nil {
		opts.Log.Error(err, "Going on without knowing where the internal topics were")
	}
	p.client, err = rmq.Open(rmq.Config{
		NameServers: cfg.NamesrvAddrs, AccessKey: creds.AccessKey, SecretKey: creds.SecretKey, SecurityToken: creds.SecurityToken,
		Namespace: cfg.Namespace, ClientID: clientID(cfg), SendTimeout: cfg.SendTimeout, Log: opts.Log.WithName("rmq"),
		LogGone: cfg.SessionTimeout, LogBrokers: known, TLS: secured(cfg),
	})
	if err != nil {
		return nil, fmt.Errorf("setting up RocketMQ access: %w", err)
	}
	if err = p.buildState(); err == nil {
		err = p.buildWork()
	}
	if err != nil {
		return nil, errors.Join(err, p.client.Close())
	}
	return p, nil
}

// secured is what TLS to RocketMQ is made with, nil without.
func secured(cfg config.Worker) *tlsdial.Files {
	if !cfg.TLSEnable {
		return nil
	}
	return &tlsdial.Files{CA: cfg.TLSCA, Cert: cfg.TLSCert, Key: cfg.TLSKey, ServerName: cfg.TLSServerName}
}

// clientID names this process to the brokers in the characters they take.
func clientID(cfg config.Worker) string {
	b := []byte("connect-" + cfg.ClusterID + "-" + cfg.WorkerID)
	for i, c := range b {
		if config.Name("", string(rune(c))) != nil {
			b[i] = '-'
		}
	}
	return string(b[:min(len(b), 200)])
}

// buildState makes what holds state: the cluster and the stores.
func (p *parts) buildState() error {
	cfg, log := p.cfg, p.opts.Log
	var err error
	p.cluster, err = cluster.New(cluster.Config{
		ClusterID: cfg.ClusterID, WorkerID: cfg.WorkerID, Address: cfg.AdvertisedAddress, Version: p.opts.Version, StoreDir: cfg.StoreDir,
		Stores:            strings.Join(cfg.Topics.All()[1:], ", "),
		HeartbeatInterval: cfg.HeartbeatInterval, SessionTimeout: cfg.SessionTimeout, SendTimeout: cfg.SendTimeout,
		RebalanceDelay: cfg.RebalanceDelay, Log: log.WithName("cluster"), Registerer: p.opts.Registerer,
		Allocation: allocate.Params{Strategy: cfg.Strategy, VirtualNodes: cfg.VirtualNode, MaxLoadFactor: cfg.MaxLoadFactor},
	}, p.openClusterLog)
	if err != nil {
		return fmt.Errorf("setting up the cluster: %w", err)
	}
	p.stores, err = store.Open(store.Options{
		ClusterID: cfg.ClusterID,
		Broker:    cfg.ClusterTopicBroker,
		Dir:       filepath.Join(cfg.StoreDir, "config"),
		Topics: store.Topics{
			Config:   cfg.Topics.Config,
			Position: cfg.Topics.Position,
			Offset:   cfg.Topics.Offset,
			Status:   cfg.Topics.Status,
		},
		ClusterTopic: cfg.Topics.Cluster,
		IsOldest:     p.isOldest,
		Claimed:      p.claimed,
		Log:          log.WithName("store"),
		Registerer:   p.opts.Registerer,
	}, store.RocketMQ(p.client, cfg.Topics.Cluster))
	if err != nil {
		return fmt.Errorf("setting up the stores: %w", err)
	}
	return nil
}

func (p *parts) openClusterLog(ctx context.Context) (cluster.Log, error) {
	q, err := p.client.EnsureLogTopic(ctx, p.cfg.Topics.Cluster, rmq.LogPlace{Broker: p.cfg.ClusterTopicBroker})
	if err != nil {
		return nil, err
	}
	return p.client.Log(q), nil
}

// isOldest reports whether this worker is the view's oldest member.
func (p *parts) isOldest() bool {
	view := p.cluster.View()
	return view.Joined && len(view.Members) > 0 && view.Members[0].Session == view.Self
}

// claimed gives the highest epoch of a connector that was granted, or asked for in vain.
func (p *parts) claimed(connector string) int64 {
	v := p.cluster.View()
	return max(v.Floors[connector], v.Asked[connector])
}

// buildWork makes what works on the state: tasks, scheduler and server.
func (p *parts) buildWork() error {
	cfg, log := p.cfg, p.opts.Log
	runner, err := task.New(task.Config{
		Worker: cfg.WorkerID, ClusterID: cfg.ClusterID, SendTimeout: cfg.SendTimeout, PutMargin: schedule.LeaseMargin(cfg.SessionTimeout),
		FlushInterval: cfg.FlushInterval, Identity: p.stores.Configs().Identity, Internal: cfg.Topics.Internal,
		Now: cluster.Now, Log: log.WithName("task"), Audit: p.opts.Audit, Registerer: p.opts.Registerer,
	}, taskClient{Client: task.FromClient(p.client), createGroups: cfg.AutoCreateGroup})
	if err != nil {
		return fmt.Errorf("setting up tasks: %w", err)
	}
	p.scheduler, err = schedule.New(schedule.Config{
		WorkerID: cfg.WorkerID, SessionTimeout: cfg.SessionTimeout, DrainTimeout: cfg.DrainTimeout, Log: log.WithName("schedule"),
		Registerer: p.opts.Registerer, ReferencesOnly: cfg.ConfigSecrets == config.SecretsReferenceOnly,
	}, schedule.Wire(p.cluster, p.stores, runner, p.opts.Catalog, p.secrets))
	if err != nil {
		return fmt.Errorf("setting up the scheduler: %w", err)
	}
	probes := ""
	if cfg.ProbePort != 0 {
		probes = net.JoinHostPort(cfg.HTTPHost, strconv.Itoa(cfg.ProbePort))
	}
	p.server, err = rest.New(rest.Config{
		ClusterID:   cfg.ClusterID,
		WorkerID:    cfg.WorkerID,
		Listen:      net.JoinHostPort(cfg.HTTPHost, strconv.Itoa(cfg.HTTPPort)),
		Probes:      probes,
		Connections: limit.Limits{All: cfg.HTTPConnections, PerAddress: cfg.HTTPConnectionsPerAddress},
		Streams:     limit.Limits{All: cfg.HTTPStreams, PerAddress: cfg.HTTPStreamsPerAddress},
		TLS:         certificate.Files{Cert: cfg.HTTPTLSCert, Key: cfg.HTTPTLSKey, ClientCA: cfg.HTTPTLSClientCA},
		Names: hostNames(
			cfg,
		),
		TokenFile:      cfg.RESTTokenFile,
		CompatRoutes:   cfg.CompatRoutes,
		Compat:         cfg.RESTCompat,
		Log:            log.WithName("rest"),
		Registerer:     p.opts.Registerer,
		Gatherer:       p.opts.Gatherer,
		ReferencesOnly: cfg.ConfigSecrets == config.SecretsReferenceOnly,
	}, rest.Backends{
		Configs: p.stores.Configs(), Positions: p.stores.Positions(), Offsets: p.stores.Offsets(), Statuses: p.stores.Statuses(),
		Members: p.cluster, Catalog: p.opts.Catalog, CheckSettings: task.CheckSettings(cfg.Topics.Internal), Secrets: p.secrets,
		Ready: p.readyErr, Leased: p.leasedErr, Stored: p.storedErr, Disputed: p.disputedErr,
		Warnings: p.warnings, Local: p.local,
	})
	if err != nil {
		return fmt.Errorf("setting up REST: %w", err)
	}
	return nil
}

// services lists the components in the order in which they start.
func (p *parts) services() []service.Service {
	out := []service.Service{p.server.Service(), {Name: "RocketMQ", Start: p.awaitRocketMQ, Run: p.watchCredentials}, p.comparing()}
	out = append(out, p.starting("reading the stores", p.storesTrouble))
	out = append(out, p.stores.Services()...)
	out = append(out, service.Service{Name: "the cluster's topics", Start: p.checkTopics})
	out = append(
		out,
		p.starting("joining the cluster", p.clusterTrouble),
		p.cluster.Service(),
		service.Service{Name: "internal topics", Run: p.tendTopics},
		p.scheduler.Service(),
	)
	return append(out, service.Service{Name: "boot", Start: p.booted, Stop: p.stopping})
}

// starting notes what the services after it are at; trouble says what they meet.
func (p *parts) starting(what string, trouble func() []string) service.Service {
	return service.Service{Name: what, Start: func(context.Context) error {
		p.ready.set(errors.New(what), trouble)
		return nil
	}}
}

func (p *parts) booted(context.Context) error {
	p.ready.set(nil, nil)
	p.opts.Log.Info("Serving", "worker", p.cfg.WorkerID, "address", p.cfg.AdvertisedAddress)
	if _, err := fmt.Fprintf(p.opts.Out, "The worker [%s] boot success.\n", p.cfg.WorkerID); err != nil {
		return fmt.Errorf("writing the boot line: %w", err)
	}
	return nil
}

func (p *parts) stopping(context.Context) error {
	p.ready.set(errors.New("stopping: tasks are being handed over"), nil)
	p.opts.Log.Info("Stopping a worker", "worker", p.cfg.WorkerID, "drainTimeout", p.cfg.DrainTimeout.String())
	return nil
}

// local lists the tasks that this worker has.
func (p *parts) local() []compat.LocalTask {
	var out []compat.LocalTask
	for _, u := range p.scheduler.Running() {
		if u.Task != allocate.ConnectorTask {
			out = append(out, compat.LocalTask{Connector: u.Connector, Task: u.Task, State: u.State, Stopping: u.Stopping})
		}
	}
	return out
}

// taskClient leaves groups to the administrator when autoCreateGroupEnable is false.
type taskClient struct {
	task.Client
	createGroups bool
}

// EnsureGroup makes the group, if this worker may.
func (c taskClient) EnsureGroup(ctx context.Context, group string) error {
	if !c.createGroups {
		return nil
	}
	return c.Client.EnsureGroup(ctx, group)
}
