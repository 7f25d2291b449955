package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// tendInterval is the longest time between two looks at the internal topics; workers look at different times.
const tendInterval = 30 * time.Second

func (p *parts) ensureTopics(ctx context.Context) error {
	for _, topic := range p.cfg.Topics.All() {
		place := rmq.LogPlace{Broker: p.cfg.ClusterTopicBroker}
		if topic != p.cfg.Topics.Cluster {
			place.Beside = p.cfg.Topics.Cluster
		}
		if _, err := p.client.EnsureLogTopic(ctx, topic, place); err != nil {
			return fmt.Errorf("preparing topic %s: %w", topic, err)
		}
	}
	return nil
}

// tendTopics looks after the internal topics until ctx ends: brokers come, come back empty, and are upgraded.
func (p *parts) tendTopics(ctx context.Context) error {
	for {
		found, err := p.client.TendLogTopics(ctx, p.cfg.Topics.All()...)
		if err != nil && ctx.Err() == nil {
			p.opts.Log.V(1).Info("Looking after the internal topics again later", "err", err.Error())
		}
		for _, warning := range p.topics.note(warningsOf(found), err == nil) {
			p.opts.Log.Info("Warning about the internal topics", "warning", warning)
		}
		if err := p.topics.save(p.client.LogBrokers()); err != nil && ctx.Err() == nil {
			p.opts.Log.Error(err, "Going on without the file that tells after a restart where the internal topics are")
		}
		if service.Sleep(ctx, tendInterval-rand.N(tendInterval/4)) != nil {
			return nil
		}
	}
}

// warnings are what somebody should do something about while the worker works.
func (p *parts) warnings() []string {
	out := append(p.topics.warnings(), p.client.DeniedLogTopics()...)
	if err := p.client.StaleTLS(); err != nil {
		out = append(
			out,
			"new connections to RocketMQ are made with the TLS files as they were before, because those that are there now are of "+
				"no use: "+err.Error(),
		)
	}
	return out
}

// warningsOf says what is wrong with topics that can be used.
func warningsOf(found rmq.LogTopics) []string {
	var out []string
	if len(found.Compacting) > 0 {
		out = append(
			out,
			fmt.Sprintf("topics %s are compaction topics, as an earlier version made them: RocketMQ 5.3.2 and 5.3.3 with replicas lose other "+
				"people's topics at a failover because of them (apache/rocketmq issue 9403). Replace them before the next one: docs/operations.md, "+
				"\"Topics that an earlier version made compacting\"", strings.Join(found.Compacting, ", ")),
		)
	}
	on := map[string][]string{}
	for topic, broker := range found.Brokers {
		on[broker] = append(on[broker], topic)
	}
	if len(on) > 1 {
		var places []string
		for _, broker := range slices.Sorted(maps.Keys(on)) {
			places = append(places, fmt.Sprintf("%s (%s)", broker, strings.Join(slices.Sorted(slices.Values(on[broker])), ", ")))
		}
		out = append(out, fmt.Sprintf("the internal topics lie on %d brokers, %s: while any of them is away nothing is stored in its topics. "+
			"Bring them together: docs/operations.md, \"Internal topics on several brokers\"", len(on), strings.Join(places, " and ")))
	}
	return out
}

// topicNotes is what a worker notes about its internal topics. The file has where they were, so that a worker which
// starts while their broker is away makes none elsewhere.
type topicNotes struct {
	path, cluster string

	mu         sync.Mutex
	warns      []string
	logged     map[string]bool
	saved      map[string]string
	unsaveable bool
}

// topicFile is the contents of the file.
type topicFile struct {
	V       int    `json:"v"`
	Cluster string `json:"cluster"`
	// Brokers has the broker of each topic.
	Brokers map[string]string `json:"brokers"`
}

const topicFileVersion = 1

func newTopicNotes(cfg config.Worker) *topicNotes {
	return &topicNotes{path: filepath.Join(cfg.StoreDir, "topics.json"), cluster: cfg.ClusterID, logged: map[string]bool{}}
}

// load gives the brokers that the file tells of; a file of another cluster tells nothing.
func (n *topicNotes) load() (map[string]string, error) {
	data, err := os.ReadFile(n.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading where the internal topics were: %w", err)
	}
	var f topicFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, fmt.Errorf("reading where the internal topics were: %s is damaged: %w", n.path, err)
	}
	if f.V != topicFileVersion || f.Cluster != n.cluster {
		return nil, nil
	}
	n.saved = f.Brokers
	return f.Brokers, nil
}

// save writes the file if it says something else. A failure is told once.
func (n *topicNotes) save(brokers map[string]string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if maps.Equal(brokers, n.saved) {
		return nil
	}
	err := replaceFile(n.path, topicFile{V: topicFileVersion, Cluster: n.cluster, Brokers: brokers})
	told := n.unsaveable
	if n.unsaveable = err != nil; err == nil {
		n.saved = brokers
	} else if told {
		return nil
	}
	return err
}

func replaceFile(path string, contents topicFile) error {
	data, err := json.MarshalIndent(contents, "", " ")
	if err != nil {
		return fmt.Errorf("encoding %s: %w", path, err)
	}
	f, err := os.OpenFile(path+".tmp", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	_, err = f.Write(append(data, '\n'))
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return fmt.Errorf("replacing %s: %w", path, err)
	}
	return nil
}

// note keeps the warnings and gives those that were not logged yet. Of a look that saw only a part it takes nothing
// back.
func (n *topicNotes) note(warnings []string, whole bool) (unlogged []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !whole && len(warnings) < len(n.warns) {
		return nil
	}
	n.warns = warnings
	for _, w := range warnings {
		if !n.logged[w] {
			n.logged[w] = true
			unlogged = append(unlogged, w)
		}
	}
	return unlogged
}

func (n *topicNotes) warnings() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.warns)
}
