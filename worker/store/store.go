// Package store holds what the workers share beyond membership: connector configs, source positions, sink offsets and
// statuses. Each is a fold over one ordered topic (keyedlog), so every worker holds the same values, and a
// copy in local files restores a topic that was lost.
package store

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

var (
	// ErrFenced means that an equal or newer owner, attempt or epoch has written: the caller must stop what it does.
	ErrFenced = storefold.ErrFenced
	// ErrNotFound means that a write which needs an existing connector met none.
	ErrNotFound = storefold.ErrNotFound
	// ErrInvalid means that what was to be stored can never be stored; the wrapping error says why.
	ErrInvalid = storefold.ErrInvalid
	// ErrConfigLost means that a connector is known at a newer epoch than its config is: the topic lost the newest config.
	ErrConfigLost = storefold.ErrConfigLost
)

// Client opens the topics. RocketMQ makes one of a *rmq.Client.
type Client interface {
	// OpenLog makes sure that the topic exists with exactly one queue on one broker ("" is any), and gives its log.
	OpenLog(ctx context.Context, topic, broker string) (keyedlog.Log, error)
}

// RocketMQ is the Client of a real cluster. Topics that are not there are made on the broker of the topic beside; "" is
// on the first by name.
func RocketMQ(c *rmq.Client, beside string) Client { return rocketMQ{client: c, beside: beside} }

type rocketMQ struct {
	client *rmq.Client
	beside string
}

// OpenLog looks for the topic first and creates it if there is none.
func (r rocketMQ) OpenLog(ctx context.Context, topic, broker string) (keyedlog.Log, error) {
	q, err := r.client.EnsureLogTopic(ctx, topic, rmq.LogPlace{Broker: broker, Beside: r.beside})
	if err != nil {
		return nil, err
	}
	return r.client.Log(q), nil
}

// Topics names the four topics; all are required.
type Topics struct{ Config, Position, Offset, Status string }

// Options says where the stores live.
type Options struct {
	// ClusterID is written into the local files: files of another cluster are never restored.
	ClusterID string
	Topics    Topics
	// ClusterTopic is the cluster's log: the cluster that a config topic belongs to is known by all of its topics.
	ClusterTopic string
	// Broker names the broker of the topics; "" takes any.
	Broker string
	// Dir is <storePathRootDir>/config. It is made with mode 0700. "" keeps no files.
	Dir string
	// FlushInterval is how often changed values go to the local files; 0 means 5 s.
	FlushInterval time.Duration
	// IsOldest says whether this worker is the view's oldest member, which re-publishes values that a refused record
	// hides from compaction. Nil means yes.
	IsOldest func() bool
	// Claimed gives the highest epoch of a connector that the cluster log knows: a connector that lost its config goes on
	// above it. Nil means none.
	Claimed    func(connector string) int64
	Log        logr.Logger
	Registerer prometheus.Registerer
}

const defaultFlushInterval = 5 * time.Second

// Stores are the four stores of one worker.
type Stores struct {
	configs            *Configs
	positions, offsets *Progress
	statuses           *Statuses
	tables             []namedTable
	services           []service.Service
}

// Open checks the options and makes the stores; it does no IO.
func Open(opts Options, client Client) (*Stores, error) {
	if client == nil {
		return nil, errors.New("opening stores: a client is required")
	}
	topics := map[string]bool{}
	for _, topic := range []string{opts.Topics.Config, opts.Topics.Position, opts.Topics.Offset, opts.Topics.Status} {
		if topic == "" || topics[topic] {
			return nil, fmt.Errorf(
				"opening stores: the config, position, offset and status topics must be four different names, not %+v",
				opts.Topics,
			)
		}
		topics[topic] = true
	}
	if opts.IsOldest == nil {
		opts.IsOldest = func() bool { return true }
	}
	if opts.Claimed == nil {
		opts.Claimed = func(string) int64 { return 0 }
	}
	if opts.FlushInterval <= 0 {
		opts.FlushInterval = defaultFlushInterval
	}
	b := &builder{opts: opts, client: client, metrics: keyedlog.NewMetrics(opts.Registerer)}
	s := &Stores{
		configs: &Configs{
			fold:   storefold.NewConfigs(),
			topics: []string{opts.ClusterTopic, opts.Topics.Config, opts.Topics.Position, opts.Topics.Offset, opts.Topics.Status},
		},
		positions: &Progress{fold: storefold.NewProgress(), isOldest: opts.IsOldest},
		offsets:   &Progress{fold: storefold.NewProgress(), isOldest: opts.IsOldest},
		statuses:  &Statuses{fold: storefold.NewStatuses()},
	}
	return s, b.build(s)
}

// Services reads every topic to its end on Start, and follows them and keeps the local files in Run.
func (s *Stores) Services() []service.Service { return s.services }

// Configs gives the store of what the users want.
func (s *Stores) Configs() *Configs { return s.configs }

// Positions gives the store of the sources' progress.
func (s *Stores) Positions() *Progress { return s.positions }

// Offsets gives the store of the sinks' progress.
func (s *Stores) Offsets() *Progress { return s.offsets }

// Statuses gives the store of what the owners say.
func (s *Stores) Statuses() *Statuses { return s.statuses }

type builder struct {
	opts    Options
	client  Client
	metrics *keyedlog.Metrics
	mirror  *mirror
	tables  []namedTable
}

// build makes the tables. Progress is re-published before configs, so that after a loss of all topics no task starts
// from nothing while its position is still to come back.
func (b *builder) build(s *Stores) error {
	b.mirror = newMirror(b.opts)
	topics := b.opts.Topics
	oldest := func(string) bool { return b.opts.IsOldest() }
	var errs [4]error
	s.positions.table, errs[0] = b.table(tableOptions{name: "position", topic: topics.Position, fold: s.positions.fold,
		owns: s.positions.owns, sheets: []*sheet{{name: positionFile, part: s.positions.fold.Sheet()}}})
	s.offsets.table, errs[1] = b.table(tableOptions{name: "offset", topic: topics.Offset, fold: s.offsets.fold,
		owns: s.offsets.owns, sheets: []*sheet{{name: offsetFile, part: s.offsets.fold.Sheet()}}})
	s.statuses.table, errs[2] = b.table(tableOptions{name: "status", topic: topics.Status, fold: s.statuses.fold, owns: oldest})
	s.configs.table, errs[3] = b.table(tableOptions{name: "config", topic: topics.Config, fold: s.configs.fold, owns: oldest,
		settle: 2 * time.Second, sheets: []*sheet{
			{name: connectorFile, part: s.configs.fold.ConnectorSheet(), erasures: s.configs.fold.Erasures},
			{
				name:     taskFile,
				part:     s.configs.fold.TaskSheet(),
				erasures: s.configs.fold.Erasures,
			},
			{name: identityFile, part: s.configs.fold.IdentitySheet()},
		}})
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("opening stores: %w", err)
	}
	s.configs.used = func(name string) (epoch int64) {
		epoch = b.opts.Claimed(name)
		s.positions.table.View(func() { epoch = max(epoch, s.positions.fold.Epoch(name)) })
		s.offsets.table.View(func() { epoch = max(epoch, s.offsets.fold.Epoch(name)) })
		s.statuses.table.View(func() { epoch = max(epoch, s.statuses.fold.Epoch(name)) })
		return epoch
	}
	s.statuses.life = s.configs.life
	tables := []*keyedlog.Table{s.positions.table, s.offsets.table, s.statuses.table, s.configs.table}
	s.services = append(s.services, service.Service{Name: "stores", Start: func(ctx context.Context) error {
		keyedlog.Load(ctx, tables...)
		return nil
	}})
	for _, t := range tables {
		s.services = append(s.services, t.Service())
	}
	s.tables = b.tables
	if b.opts.Dir != "" {
		s.services = append(s.services, b.mirror.service())
	}
	return nil
}

type tableOptions struct {
	name, topic string
	fold        keyedlog.Fold
	owns        func(key string) bool
	settle      time.Duration
	sheets      []*sheet
}

func (b *builder) table(o tableOptions) (*keyedlog.Table, error) {
	options := keyedlog.Options{
		Name: o.name,
		Open: func(ctx context.Context) (keyedlog.Log, error) {
			log, err := b.client.OpenLog(ctx, o.topic, b.opts.Broker)
			if err != nil {
				return nil, fmt.Errorf("topic %s: %w", o.topic, err)
			}
			return log, nil
		},
		Fold: o.fold, Owns: o.owns, Settle: o.settle,
		Log: b.opts.Log.WithValues("topic", o.topic), Metrics: b.metrics,
	}
	if b.opts.Dir != "" && len(o.sheets) > 0 {
		options.Recover = func(end int64) ([]string, int64) { return b.mirror.recover(end, o.sheets...) }
	}
	table, err := keyedlog.New(options)
	for _, s := range o.sheets {
		s.table, s.topic, s.target = table, o.topic, o.fold
	}
	b.mirror.sheets = append(b.mirror.sheets, o.sheets...)
	b.tables = append(b.tables, namedTable{table: table, name: o.name, topic: o.topic})
	return table, err
}

// newID names a write or an owner so that nobody else can have the same name.
func newID() string { return rand.Text() }
