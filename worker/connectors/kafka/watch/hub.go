// Package watch lets the tasks of a worker that reach Kafka in the same way share one client for what does not move
// records: looking things up, and waiting for news. A task that has nothing to read needs no connection of its own.
package watch

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/rocketmq-connect/operator/worker/service"
)

// Link is an open client of a Hub's own, and how to end it.
type Link struct {
	// Client is made with Options.
	Client *kgo.Client
	// Committed leaves out the records of open and aborted transactions.
	Committed bool
	// Close releases the client without waiting for the brokers.
	Close func()
}

// Pool holds the hubs that are in use. The zero value is ready; it is safe for concurrent use.
type Pool struct {
	mu   sync.Mutex
	hubs map[string]*Hub
}

// Get returns the hub of a key; open makes the client of a new one. The hub is to be given back with Put.
func (p *Pool) Get(key string, open func() (Link, error)) (*Hub, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h := p.hubs[key]
	if h == nil {
		link, err := open()
		if err != nil {
			return nil, err
		}
		h = newHub(key, link)
		if p.hubs == nil {
			p.hubs = make(map[string]*Hub)
		}
		p.hubs[key] = h
	}
	h.users++
	return h, nil
}

// Put gives a hub back. The last one who does closes it.
func (p *Pool) Put(h *Hub) {
	p.mu.Lock()
	h.users--
	last := h.users == 0
	if last {
		delete(p.hubs, h.key)
	}
	p.mu.Unlock()
	if last {
		h.close()
	}
}

// Hub is a client that tasks share. It is safe for concurrent use until it is given back.
type Hub struct {
	key   string
	users int // guarded by the pool

	link   Link
	admin  *kadm.Client
	unfold kgo.Decompressor
	ctx    context.Context // ends with the hub
	end    context.CancelFunc
	tasks  service.Group

	mu       sync.Mutex
	id       string // of the Kafka cluster, once it was asked anything; empty where brokers give none
	lookups  map[string]*lookup
	leaders  map[Partition]int32
	spots    map[Partition]*spot
	fetchers map[int32]*fetcher
	unplaced chan struct{} // capacity 1: a spot has no leader
}

func newHub(key string, link Link) *Hub {
	h := &Hub{
		key: key, link: link, admin: kadm.NewClient(link.Client), lookups: make(map[string]*lookup), leaders: make(map[Partition]int32),
		spots: make(map[Partition]*spot), fetchers: make(map[int32]*fetcher), unplaced: make(chan struct{}, 1),
		unfold: link.Client.OptValue(kgo.WithDecompressor).(kgo.Decompressor), // the client's own: it has its bound
	}
	h.ctx, h.end = context.WithCancel(context.Background())
	h.tasks.Go(h.place)
	return h
}

func (h *Hub) close() {
	h.end()
	h.link.Close()
	h.tasks.Wait()
}

// Admin asks and changes what is no record.
func (h *Hub) Admin() *kadm.Client { return h.admin }

// Ping fails when no broker can be reached.
func (h *Hub) Ping(ctx context.Context) error {
	_, err := h.topics(ctx, nil)
	return err
}

// ID is the Kafka cluster's, once a broker has answered; empty where brokers give none.
func (h *Hub) ID() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.id
}

// lookup is one question for topics, and its answer once done is closed.
type lookup struct {
	asked   time.Time
	done    chan struct{}
	details kadm.TopicDetails
	err     error
}

// serves says whether the answer, or the one to come, is good enough at a time.
func (l *lookup) serves(now time.Time, maxAge time.Duration) bool {
	select {
	case <-l.done:
	default:
		return true
	}
	return l.err == nil && l.details.Error() == nil && now.Sub(l.asked) < maxAge
}

// Topics asks what the topics look like. An answer to somebody else that is not older than maxAge, or on its way, will
// do; it is not to be changed.
func (h *Hub) Topics(ctx context.Context, topics []string, maxAge time.Duration) (kadm.TopicDetails, error) {
	key := strings.Join(slices.Sorted(slices.Values(topics)), ",")
	h.mu.Lock()
	l := h.lookups[key]
	if l == nil || !l.serves(time.Now(), maxAge) {
		l = &lookup{asked: time.Now(), done: make(chan struct{})}
		h.lookups[key] = l
		h.tasks.Go(func() { h.ask(l, topics) })
	}
	h.mu.Unlock()
	select {
	case <-l.done:
		return l.details, l.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (h *Hub) ask(l *lookup, topics []string) {
	defer close(l.done)
	l.details, l.err = h.topics(h.ctx, topics)
	h.mu.Lock()
	defer h.mu.Unlock()
	h.learn(l.details)
}

// topics asks a broker. Neither the client's cache, which may be older than a topic that was recreated, nor the admin's
// request, which fails as a whole for one topic that the user may not see, would do.
func (h *Hub) topics(ctx context.Context, names []string) (kadm.TopicDetails, error) {
	req := kmsg.NewPtrMetadataRequest()
	req.Topics = []kmsg.MetadataRequestTopic{} // nil would be all
	for _, name := range names {
		topic := kmsg.NewMetadataRequestTopic()
		topic.Topic = kmsg.StringPtr(name)
		req.Topics = append(req.Topics, topic)
	}
	resp, err := req.RequestWith(ctx, h.link.Client)
	if err != nil {
		return nil, err
	}
	if resp.ClusterID != nil {
		h.mu.Lock()
		h.id = *resp.ClusterID
		h.mu.Unlock()
	}
	out := make(kadm.TopicDetails, len(resp.Topics))
	for _, t := range resp.Topics {
		if t.Topic == nil {
			continue
		}
		d := kadm.TopicDetail{Topic: *t.Topic, ID: t.TopicID, Partitions: make(kadm.PartitionDetails), Err: kerr.ErrorForCode(t.ErrorCode)}
		for _, p := range t.Partitions {
			d.Partitions[p.Partition] = kadm.PartitionDetail{
				Topic:     *t.Topic,
				Partition: p.Partition,
				Leader:    p.Leader,
				Err:       kerr.ErrorForCode(p.ErrorCode),
			}
		}
		out[*t.Topic] = d
	}
	return out, nil
}

// learn notes who leads the partitions. h.mu is held.
func (h *Hub) learn(details kadm.TopicDetails) {
	for topic, d := range details {
		for number, p := range d.Partitions {
			if p.Err == nil && p.Leader >= 0 {
				h.leaders[Partition{topic, number}] = p.Leader
			}
		}
	}
}
