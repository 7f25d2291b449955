package rmq

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/service"
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

	marker bool // it can be neither read nor written
}

// EnsureTopic returns the queues of a topic and creates it first if no broker serves it. A topic that is there stays as
// it is, whatever spec says, also one that can only be written to. It returns once the name server shows the topic.
func (c *Client) EnsureTopic(ctx context.Context, topic string, spec TopicSpec) ([]Queue, error) {
	queues, err := c.Route(ctx, topic)
	if errors.Is(err, ErrNotReadable) {
		if r := c.routes.known(topic); r != nil {
			return slices.Clone(r.writable), nil
		}
	}
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
	c.log.V(1).Info("Creating topic", "topic", topic, "queues", spec.Queues, "brokers", len(brokers))
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
	_, err := c.call(ctx, &request{
		op: "creating topic " + topic, addr: b.Addr, broker: b.Name, cmd: remoting.Command{Code: remoting.CreateTopic, Fields: fields},
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
		if err := service.Sleep(ctx, shownPause); err != nil {
			return nil, err
		}
	}
}

// topicConfig asks for a topic's configuration on a broker.
func (c *Client) topicConfig(q Queue) *request {
	return &request{op: "reading the configuration of topic " + q.Topic, cmd: remoting.Command{
		Code: remoting.TopicConfig, Fields: []remoting.Field{{Name: "topic", Value: c.onWire(q.Topic)}, {Name: "bname", Value: q.Broker}},
	}}
}

// compaction reads the answer to topicConfig.
func compaction(resp *remoting.Command, err error) (bool, error) {
	if err != nil {
		if untold(err) {
			err = nil
		}
		return false, err
	}
	var config struct {
		Attributes map[string]string `json:"attributes"`
	}
	if err := remoting.UnmarshalBody(resp.Body, &config); err != nil {
		return false, fmt.Errorf("reading the configuration of a topic: %w", err)
	}
	return config.Attributes["cleanup.policy"] == "COMPACTION", nil
}

// untold says whether a broker knows no such request, as those before 5.0, or keeps the answer from us.
func untold(err error) bool {
	var b *BrokerError
	return errors.Is(err, ErrAccessDenied) || errors.As(err, &b) && b.Code == remoting.CodeNotSupported
}

// groupConfig is a consumer group as brokers keep it, with their defaults.
type groupConfig struct {
	GroupName                      string `json:"groupName"`
	ConsumeEnable                  bool   `json:"consumeEnable"`
	ConsumeFromMinEnable           bool   `json:"consumeFromMinEnable"`
	ConsumeBroadcastEnable         bool   `json:"consumeBroadcastEnable"`
	RetryQueueNums                 int    `json:"retryQueueNums"`
	RetryMaxTimes                  int    `json:"retryMaxTimes"`
	BrokerID                       int    `json:"brokerId"`
	WhichBrokerWhenConsumeSlowly   int    `json:"whichBrokerWhenConsumeSlowly"`
	NotifyConsumerIdsChangedEnable bool   `json:"notifyConsumerIdsChangedEnable"`
}

// EnsureGroup creates the consumer group on every master that does not have it.
func (c *Client) EnsureGroup(ctx context.Context, group string) error {
	if len(group) > maxTopicName || !topicName.MatchString(group) {
		return fmt.Errorf("creating group %q: want at most %d letters, digits, and the characters %%|_-", group, maxTopicName)
	}
	brokers, err := c.Brokers(ctx)
	if err != nil {
		return fmt.Errorf("creating group %s: %w", group, err)
	}
	if len(brokers) == 0 {
		return fmt.Errorf("creating group %s: no master broker is registered with the name server: %w", group, ErrUnreachable)
	}
	body, err := json.Marshal(groupConfig{
		GroupName: c.onWire(group), ConsumeEnable: true, ConsumeFromMinEnable: true, ConsumeBroadcastEnable: true,
		RetryQueueNums: 1, RetryMaxTimes: 16, WhichBrokerWhenConsumeSlowly: 1, NotifyConsumerIdsChangedEnable: true,
	})
	if err != nil {
		return fmt.Errorf("creating group %s: %w", group, err)
	}
	var failed error
	for _, b := range brokers {
		failed = errors.Join(failed, c.ensureGroup(ctx, b, group, body))
	}
	return failed
}

func (c *Client) ensureGroup(ctx context.Context, b Broker, group string, body []byte) error {
	op := "creating group " + group
	resp, err := c.call(ctx, &request{op: op, addr: b.Addr, broker: b.Name, cmd: remoting.Command{Code: remoting.AllGroups}})
	if err != nil {
		return err
	}
	var have struct {
		Table map[string]json.RawMessage `json:"subscriptionGroupTable"`
	}
	if err := remoting.UnmarshalBody(resp.Body, &have); err != nil {
		return fmt.Errorf("%s on %s: %w", op, b.Addr, err)
	}
	if _, ok := have.Table[c.onWire(group)]; ok {
		return nil
	}
	c.log.V(1).Info("Creating group", "group", group, "broker", b.Name)
	_, err = c.call(ctx, &request{op: op, addr: b.Addr, broker: b.Name, cmd: remoting.Command{Code: remoting.CreateGroup, Body: body}})
	return err
}

// Members lists the client ids that are connected to a master as members of the group, sorted; nil when there are none.
func (c *Client) Members(ctx context.Context, group string) ([]string, error) {
	brokers, err := c.Brokers(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing members of %s: %w", group, err)
	}
	var ids []string
	for _, b := range brokers {
		resp, err := c.call(ctx, &request{
			op: "listing members of " + group, addr: b.Addr, broker: b.Name, accept: []int{remoting.SystemError}, // the answer for "nobody"
			cmd: remoting.Command{Code: remoting.ConsumerList, Fields: []remoting.Field{
				{Name: "consumerGroup", Value: c.onWire(group)}, {Name: "bname", Value: b.Name},
			}},
		})
		if err != nil {
			return nil, err
		}
		if resp.Code != remoting.Success {
			continue
		}
		var body struct {
			IDs []string `json:"consumerIdList"`
		}
		if err := remoting.UnmarshalBody(resp.Body, &body); err != nil {
			return nil, fmt.Errorf("listing members of %s on %s: %w", group, b.Addr, err)
		}
		ids = append(ids, body.IDs...)
	}
	slices.Sort(ids)
	return slices.Compact(ids), nil
}

// Committed is the group's offset on the queue. A 4.9 broker answers 0 for a group that never committed while the queue
// still starts at 0; newer ones say that there is none.
func (c *Client) Committed(ctx context.Context, group string, q Queue) (offset int64, ok bool, err error) {
	resp, err := c.onQueue(ctx, q, &request{
		op: "reading offset of " + group + " on " + q.String(), accept: []int{remoting.QueryNotFound},
		cmd: remoting.Command{Code: remoting.QueryConsumerOffset, Fields: c.queueFields(q,
			remoting.Field{Name: "consumerGroup", Value: c.onWire(group)},
			remoting.Field{Name: "setZeroIfNotFound", Value: "false"})},
	})
	if err != nil || resp.Code == remoting.QueryNotFound {
		return 0, false, err
	}
	if offset, err = resp.Int("offset"); err != nil {
		return 0, false, fmt.Errorf("reading offset of %s on %s: %w", group, q, err)
	}
	return offset, offset >= 0, nil
}

// Commit stores the group's offsets (the next to read) and returns once the brokers answered; the errors of all queues
// that failed are joined.
func (c *Client) Commit(ctx context.Context, group string, offsets map[Queue]int64) error {
	var failed error
	for q, offset := range offsets {
		_, err := c.onQueue(ctx, q, &request{
			op: "committing offset of " + group + " on " + q.String(),
			cmd: remoting.Command{Code: remoting.CommitOffset, Fields: c.queueFields(q,
				remoting.Field{Name: "consumerGroup", Value: c.onWire(group)},
				remoting.Field{Name: "commitOffset", Value: strconv.FormatInt(offset, 10)})},
		})
		failed = errors.Join(failed, err)
		if errors.Is(err, ErrClosed) || ctx.Err() != nil {
			break
		}
	}
	return failed
}

// Offsets are the queue's first offset and the one after its last record.
func (c *Client) Offsets(ctx context.Context, q Queue) (min, max int64, err error) {
	return c.offsets(ctx, q, forControl)
}

func (c *Client) offsets(ctx context.Context, q Queue, purpose string) (min, max int64, err error) {
	// The first is asked before the end, so that min <= max however the queue moves.
	if min, err = c.offset(ctx, q, purpose, remoting.Command{Code: remoting.MinOffset}, "reading first offset of "); err != nil {
		return 0, 0, err
	}
	if max, err = c.offset(ctx, q, purpose, remoting.Command{Code: remoting.MaxOffset}, "reading last offset of "); err != nil {
		return 0, 0, err
	}
	return min, max, nil
}

func (c *Client) offset(ctx context.Context, q Queue, purpose string, cmd remoting.Command, op string) (int64, error) {
	cmd.Fields = c.queueFields(q, cmd.Fields...)
	resp, err := c.onQueue(ctx, q, &request{op: op + q.String(), purpose: purpose, cmd: cmd})
	if err != nil {
		return 0, err
	}
	n, err := resp.Int("offset")
	if err != nil {
		return 0, fmt.Errorf("%s%s: %w", op, q, err)
	}
	return n, nil
}

// OffsetAt is the first offset whose record was stored at or after the time; the end of the queue if there is none.
func (c *Client) OffsetAt(ctx context.Context, q Queue, at time.Time) (int64, error) {
	found, err := c.offset(ctx, q, forControl, remoting.Command{
		Code:   remoting.SearchOffset,
		Fields: []remoting.Field{{Name: "timestamp", Value: strconv.FormatInt(at.UnixMilli(), 10)}},
	}, "searching by time in ")
	if err != nil {
		return 0, err
	}
	min, max, err := c.Offsets(ctx, q)
	if err != nil || found < min || found >= max {
		return found, err
	}
	// A 4.9 broker answers with the last record when all are older.
	p, err := c.pull(ctx, pullRequest{queue: q, group: logGroup, offset: found, max: 1, purpose: forControl})
	if err != nil || len(p.messages) == 0 {
		return found, err
	}
	if first := &p.messages[0]; first.StoredAt.Before(at.Truncate(time.Millisecond)) {
		return first.NextOffset, nil
	}
	return found, nil
}
