package rmq

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// maxTopicName is the brokers' limit.
const maxTopicName = 127

var topicName = regexp.MustCompile(`^[%|a-zA-Z0-9_-]+$`)

// How long a topic that was just created is looked for.
const (
	shownWithin = 10 * time.Second
	shownPause  = 50 * time.Millisecond
)

// TopicSpec is the shape of a topic to create.
type TopicSpec struct {
	// Queues is how many each broker gets; at least 1.
	Queues int
	// Broker is the only one that gets the topic; "": all masters do.
	Broker string
	// Compact keeps the last record of each key for ever, on brokers that know it (5.1 and newer); others ignore it.
	Compact bool

	marker bool // it can be neither read nor written
}

// EnsureTopic returns the queues of a topic and creates it first if no broker serves it. A topic that is there stays as
// it is, whatever spec says. It returns once the name server shows the topic.
func (c *Client) EnsureTopic(ctx context.Context, topic string, spec TopicSpec) ([]Queue, error) {
	queues, err := c.Route(ctx, topic)
	if err == nil || !errors.Is(err, ErrTopicNotFound) {
		return queues, err
	}
	brokers, err := c.targets(ctx, topic, spec.Broker)
	if err != nil {
		return nil, err
	}
	return c.create(ctx, topic, spec, brokers)
}

// create makes the topic on the brokers, and returns its queues once the name server shows them.
func (c *Client) create(ctx context.Context, topic string, spec TopicSpec, brokers []Broker) ([]Queue, error) {
	if len(topic) > maxTopicName || !topicName.MatchString(topic) {
		return nil, fmt.Errorf("creating topic %q: want at most %d letters, digits, and the characters %%|_-", topic, maxTopicName)
	}
	if spec.Queues < 1 {
		return nil, fmt.Errorf("creating topic %s: want at least 1 queue, not %d", topic, spec.Queues)
	}
	c.log.V(1).Info("Creating topic", "topic", topic, "queues", spec.Queues, "brokers", len(brokers), "compact", spec.Compact)
	var failed error
	for _, b := range brokers {
		if err := c.createTopic(ctx, b, topic, spec); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	if failed != nil { // it may have failed because somebody else was faster
		if queues, err := c.Route(ctx, topic); err == nil && len(queues) >= spec.Queues*len(brokers) {
			return queues, nil
		}
		return nil, failed
	}
	return c.shown(ctx, topic, spec.Queues*len(brokers))
}

// targets are the brokers to create a topic on.
func (c *Client) targets(ctx context.Context, topic, broker string) ([]Broker, error) {
	brokers, err := c.Brokers(ctx)
	if err != nil {
		return nil, fmt.Errorf("creating topic %s: %w", topic, err)
	}
	if len(brokers) == 0 {
		return nil, fmt.Errorf("creating topic %s: no master broker is registered with the name server: %w", topic, ErrUnreachable)
	}
	if broker == "" {
		return brokers, nil
	}
	names := make([]string, len(brokers))
	for i, b := range brokers {
		if b.Name == broker {
			return brokers[i : i+1], nil
		}
		names[i] = b.Name
	}
	return nil, fmt.Errorf("creating topic %s: broker %q %w: the name server knows %q", topic, broker, ErrUnreachable, names)
}

func (c *Client) createTopic(ctx context.Context, b Broker, topic string, spec TopicSpec) error {
	n, perm := strconv.Itoa(spec.Queues), permRead|permWrite
	if spec.marker {
		perm = 0
	}
	fields := []remoting.Field{
		{Name: "topic", Value: c.onWire(topic)},
		{Name: "defaultTopic", Value: "TBW102"},
		{Name: "readQueueNums", Value: n},
		{Name: "writeQueueNums", Value: n},
		{Name: "perm", Value: strconv.Itoa(perm)},
		{Name: "topicFilterType", Value: "SINGLE_TAG"},
		{Name: "topicSysFlag", Value: "0"},
		{Name: "order", Value: "false"},
		{Name: "bname", Value: b.Name},
	}
	if spec.Compact {
		fields = append(fields, remoting.Field{Name: "attributes", Value: "+cleanup.policy=COMPACTION"})
	}
	_, err := c.call(ctx, &request{
		op: "creating topic " + topic, addr: b.Addr, cmd: remoting.Command{Code: remoting.CreateTopic, Fields: fields},
	})
	return err
}

// shown waits until the name server shows at least n queues of the topic.
func (c *Client) shown(ctx context.Context, topic string, n int) ([]Queue, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, shownWithin,
		fmt.Errorf("creating topic %s: the name server does not show %d queues after %s: %w", topic, n, shownWithin, ErrTopicNotFound))
	defer cancel()
	for {
		queues, err := c.Route(ctx, topic)
		if err == nil && len(queues) >= n {
			return queues, nil
		}
		if err != nil && ctx.Err() == nil && !errors.Is(err, ErrTopicNotFound) && !IsTemporary(err) {
			return nil, err
		}
		if err := pause(ctx, shownPause); err != nil {
			return nil, err
		}
	}
}

// EnsureLogTopic returns the one queue of a log topic, which is created on the named broker, or on the first by name, if
// there is none. A topic of any other shape is left alone: ErrTopicShape. Every other master gets a marker of it. Where
// markers alone are to be seen, the log is on a broker that is away: nothing is created (ErrTopicAway) unless broker says
// where.
func (c *Client) EnsureLogTopic(ctx context.Context, topic, broker string, compact bool) (Queue, error) {
	r, err := c.lookUp(ctx, topic)
	if errors.Is(err, ErrTopicNotFound) || errors.Is(err, ErrTopicAway) {
		r, err = c.createLog(ctx, topic, broker, compact, r)
	}
	if err != nil {
		return Queue{}, err
	}
	if err := logShape(topic, r); err != nil {
		return Queue{}, err
	}
	q := r.queues[0]
	if broker != "" && q.Broker != broker {
		return Queue{}, fmt.Errorf("%w: topic %s lies on broker %s and is wanted on %s: change the setting, or delete the topic if nothing in it is needed",
			ErrTopicShape, topic, q.Broker, broker)
	}
	c.mark(ctx, topic, r, compact)
	return q, nil
}

// createLog makes a log topic. marked is the route of its markers, nil if there are none.
//
// Invariant C1: there is one log. A second one, made while the broker of the first is away, would be a second order of events.
func (c *Client) createLog(ctx context.Context, topic, broker string, compact bool, marked *route) (*route, error) {
	waits := marked != nil && broker == ""
	if waits {
		// A broker that held it when this client last looked, and that is there without it, has lost it.
		known := c.routes.known(topic)
		if known == nil || len(known.queues) != 1 {
			return nil, marked.away(topic)
		}
		broker = known.queues[0].Broker
	}
	brokers, err := c.targets(ctx, topic, broker)
	switch {
	case waits && errors.Is(err, ErrUnreachable):
		return nil, marked.away(topic)
	case err != nil:
		return nil, err
	}
	target := brokers[0]
	// Brokers take no attribute twice: the marker has it.
	spec := TopicSpec{Queues: 1, Compact: compact && !marked.has(target.Name)}
	if _, err := c.create(ctx, topic, spec, brokers[:1]); err != nil {
		return nil, err
	}
	return c.routes.get(ctx, c, topic)
}

// mark makes a marker of a log on each master that has nothing of it: the same topic, to be neither read nor written. The
// name server goes on showing that while the broker that holds the log is away, and nobody takes the log for one that was
// never made. Nothing depends on a marker while that broker is there: one that fails is left to the next client.
func (c *Client) mark(ctx context.Context, topic string, r *route, compact bool) {
	brokers, err := c.Brokers(ctx)
	if err != nil {
		return // the next call says so
	}
	for _, b := range brokers {
		if r.has(b.Name) || c.isUnmarked(b.Name) {
			continue
		}
		refused := c.createTopic(ctx, b, topic, TopicSpec{Queues: 1, Compact: compact, marker: true})
		if refused == nil || ctx.Err() != nil {
			continue
		}
		if again, err := c.fetchRoute(ctx, topic); err == nil && again.has(b.Name) {
			continue // somebody else was faster
		}
		c.setUnmarked(b.Name)
		c.log.Info("Going on without a marker: while the broker of the topic is away, this one does not tell that the topic is there",
			"topic", topic, "broker", b.Name, "err", refused.Error())
	}
}

func (c *Client) isUnmarked(broker string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.unmarked[broker]
	return ok
}

func (c *Client) setUnmarked(broker string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.unmarked[broker] = struct{}{}
}

// logShape is nil when the topic is one queue on one broker, to read and to write.
func logShape(topic string, r *route) error {
	if len(r.queues) == 1 && slices.Equal(r.queues, r.writable) {
		return nil
	}
	return fmt.Errorf("%w: topic %s has %d readable and %d writable queues: use another name, or delete the topic if nothing in it is needed",
		ErrTopicShape, topic, len(r.queues), len(r.writable))
}

// defaultRetention is how long brokers keep records unless they are told otherwise.
const defaultRetention = 72 * time.Hour

// maxReservedHours is a hundred years: durations end at 292.
const maxReservedHours = 100 * 365 * 24

// Retention is how long the broker keeps the log's records at least; 0 means that the last of each key stays for ever. A
// broker that does not tell how long counts as one with the default.
func (l *Log) Retention(ctx context.Context) (time.Duration, error) {
	compacts, err := l.compacts(ctx)
	if err != nil || compacts {
		return 0, err
	}
	resp, err := l.c.onQueue(ctx, l.q, &request{
		op: "reading the configuration of broker " + l.q.Broker, cmd: remoting.Command{Code: remoting.BrokerConfig},
	})
	if untold(err) {
		return defaultRetention, nil
	}
	if err != nil {
		return 0, err
	}
	return reservedTime(resp.Body), nil
}

// compacts says whether the topic keeps the last record of each key.
func (l *Log) compacts(ctx context.Context) (bool, error) {
	op := "reading the configuration of topic " + l.q.Topic
	resp, err := l.c.onQueue(ctx, l.q, &request{op: op, cmd: remoting.Command{
		Code: remoting.TopicConfig, Fields: []remoting.Field{{Name: "topic", Value: l.c.onWire(l.q.Topic)}, {Name: "bname", Value: l.q.Broker}},
	}})
	if untold(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	var config struct {
		Attributes map[string]string `json:"attributes"`
	}
	if err := remoting.UnmarshalBody(resp.Body, &config); err != nil {
		return false, fmt.Errorf("%s: %w", op, err)
	}
	return config.Attributes["cleanup.policy"] == "COMPACTION", nil
}

// untold says whether a broker knows no such request, as those before 5.0, or keeps the answer from us.
func untold(err error) bool {
	var b *BrokerError
	return errors.Is(err, ErrAccessDenied) || errors.As(err, &b) && b.Code == remoting.CodeNotSupported
}

// reservedTime finds the hours for which a broker keeps its files in its configuration, one key=value a line.
func reservedTime(config []byte) time.Duration {
	for line := range strings.Lines(string(config)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "fileReservedTime="); ok {
			if hours, err := strconv.Atoi(value); err == nil && hours > 0 {
				return time.Duration(min(hours, maxReservedHours)) * time.Hour
			}
		}
	}
	return defaultRetention
}
