package task

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/setting"
	"github.com/rocketmq-connect/operator/worker/task/queues"
)

// The settings of a connector that the worker itself obeys.
const (
	keyTolerance    = config.ToleranceKey
	keyRetryTimeout = "errors.retry.timeout"
	keyRetryDelay   = "errors.retry.delay.max.ms"
	keyDeadLetter   = config.DeadLetterKey
	keyRename       = "topic.rename.format"
	keyFromWhere    = "consume.from.where"
	keyGroup        = "task.group.id"
	keyOnLoss       = "on.broker.loss"
	keyOrder        = "queue.order"

	fromFirst = "CONSUME_FROM_FIRST_OFFSET"
	fromLast  = "CONSUME_FROM_LAST_OFFSET"

	onLossWait = "wait"
	onLossMove = "move"

	topicPlaceholder = "${topic}"
)

type settings struct {
	tolerateAll bool
	// retryTimeout bounds how long one batch is put again after a failure: 0 not at all, below 0 for ever.
	retryTimeout, retryDelay time.Duration
	deadLetter               string
	rename                   string
	fromLast                 bool
	topics                   []string
	// group is the consumer group whose offsets a sink starts from when it has none of its own; empty for none.
	group string
	// move gives up the order of a source's records rather than wait for a broker that is away.
	move bool
	// order is how the queues of a source's topics are put in a row; empty for what is stored.
	order queues.Order
}

// mirrorOf is the consumer group that shows a sink's offsets in RocketMQ's own tools. Nothing is started from it unless
// the config names it: it outlives a deleted connector, and one recreated must not skip what was read before.
func (s settings) mirrorOf(clusterID, connector string) string {
	if s.group != "" {
		return s.group
	}
	return "connect-" + legalTopic(clusterID) + "-" + legalTopic(connector)
}

// CheckSettings gives the check of the settings that the worker itself obeys; each error begins with its key. internal
// says which topics are a Connect cluster's own.
func CheckSettings(internal func(topic string) bool) func(spec connector.Spec, cfg map[string]string) error {
	return func(spec connector.Spec, cfg map[string]string) error {
		set, err := parseSettings(cfg)
		if err != nil {
			return err
		}
		var errs []error
		for _, key := range spec.Keys {
			for _, origin := range connector.SplitTopics(cfg[key.Name]) {
				if topic := set.target(origin); key.Topics && internal(topic) {
					errs = append(errs, fmt.Errorf("%s: records of %s would go to %s, %w", key.Name, origin, topic, errInternal))
				}
			}
		}
		return errors.Join(append(errs, set.checkTopics(internal))...)
	}
}

var errInternal = errors.New("an internal topic of a Connect cluster, which connectors neither read nor write: its records are configs, " +
	"passwords among them, and rule the cluster; name another topic, or set " + keyRename)

// checkTopics refuses topics that the settings name and that are a Connect cluster's own.
func (s settings) checkTopics(internal func(topic string) bool) error {
	var errs []error
	for _, topic := range s.topics {
		if internal(topic) {
			errs = append(errs, fmt.Errorf("%s: %s is %w", connector.TopicKeys()[0], topic, errInternal))
		}
	}
	if s.deadLetter != "" && internal(s.deadLetter) {
		errs = append(errs, fmt.Errorf("%s: %s is %w", keyDeadLetter, s.deadLetter, errInternal))
	}
	if len(s.topics) == 0 && !strings.Contains(s.rename, topicPlaceholder) && internal(s.target("")) {
		errs = append(errs, fmt.Errorf("%s: %s is %w", keyRename, s.target(""), errInternal))
	}
	return errors.Join(errs...)
}

// workerKeys are the settings with a default. What they hold is checked as it is read.
func workerKeys() connector.Spec {
	return connector.Spec{Keys: []connector.Key{{Name: keyRename, Default: topicPlaceholder}, {Name: keyRetryDelay, Default: "1m"}}}
}

func parseSettings(cfg connector.Config) (settings, error) {
	r := setting.Read(workerKeys(), cfg)
	set := settings{
		group:      r.Value(keyGroup),
		rename:     r.Value(keyRename),
		deadLetter: r.Value(keyDeadLetter),
		topics:     connector.SinkTopics(cfg),
	}
	oneTopicKey(r, cfg)
	set.tolerateAll = r.Either(keyTolerance, "none", "all")
	set.fromLast = r.Either(keyFromWhere, fromFirst, fromLast)
	set.move = r.Either(keyOnLoss, onLossWait, onLossMove)
	if v := r.Value(keyOrder); v != "" {
		var err error
		if set.order, err = queues.ParseOrder(strings.ToLower(v)); err != nil {
			r.Fail("%s %w", keyOrder, err)
		}
	}
	set.retryTimeout = r.Duration(keyRetryTimeout, math.MinInt64)
	if set.retryDelay = r.Duration(keyRetryDelay, math.MinInt64); set.retryDelay <= 0 {
		r.Fail("%s must be longer than nothing, not %q", keyRetryDelay, r.Value(keyRetryDelay))
	}
	if set.group != legalTopic(set.group) {
		r.Fail("%s: %q is no legal consumer group: use letters, digits, -, _, %%, |", keyGroup, set.group)
	}
	if set.deadLetter != legalTopic(set.deadLetter) {
		r.Fail("%s: %q is no legal RocketMQ topic: use letters, digits, -, _, %%, |", keyDeadLetter, set.deadLetter)
	}
	if len(set.deadLetter) > maxTopic {
		r.Fail("%s has %d characters, and RocketMQ allows %d in a topic's name", keyDeadLetter, len(set.deadLetter), maxTopic)
	}
	return set, r.Err()
}

// oneTopicKey refuses two settings that name a sink's topics differently: one of them would be ignored.
func oneTopicKey(r *setting.Reader, cfg connector.Config) {
	first, named := "", []string(nil)
	for _, key := range connector.TopicKeys() {
		topics := connector.SplitTopics(cfg[key])
		switch {
		case len(topics) == 0:
		case first == "":
			first, named = key, topics
		case !slices.Equal(topics, named):
			r.Fail("%s names other topics than %s: set one of them", key, first)
			return
		}
	}
}

// renamed applies topic.rename.format.
func (s settings) renamed(topic string) string {
	return strings.ReplaceAll(s.rename, topicPlaceholder, topic)
}

// target is the RocketMQ topic for a source's topic.
func (s settings) target(topic string) string { return legalTopic(s.renamed(topic)) }

// maxTopic is the longest name of a RocketMQ topic, in bytes.
const maxTopic = 127

// checkTarget refuses a source's topic whose target RocketMQ does not allow.
func (s settings) checkTarget(topic string) error {
	target := s.target(topic)
	switch {
	case target == "":
		return fmt.Errorf("%w: %s=%q makes nothing of %q", connector.ErrTopicName, keyRename, s.rename, topic)
	case len(target) > maxTopic:
		return fmt.Errorf("%w: %q has %d characters, and RocketMQ allows %d; set %s to what makes a shorter one",
			connector.ErrTopicName, target, len(target), maxTopic, keyRename)
	}
	return nil
}

// origin is the RocketMQ topic that a sink knows as the renamed topic.
func (s settings) origin(renamed string) string {
	for _, topic := range s.topics {
		if s.renamed(topic) == renamed {
			return topic
		}
	}
	return renamed
}

// legalTopic replaces what RocketMQ does not allow in a topic's name.
func legalTopic(topic string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', strings.ContainsRune("-_%|", r):
			return r
		}
		return '_'
	}, topic)
}

// RecordError is a record that holds its task up because errors.tolerance is none.
type RecordError struct {
	// Where is the record's place, for example "orders/3 at 1042".
	Where string
	// Stage is what was done with the record: CONVERTER, ROCKETMQ_PRODUCE or TASK_PUT.
	Stage string
	Err   error
}

// Error says which record, why, and which key releases the task on without it.
func (e *RecordError) Error() string {
	return fmt.Sprintf("record of %s cannot be delivered (%s): %v; remove the cause, or set %s=all to leave such records out",
		e.Where, e.Stage, e.Err, keyTolerance)
}

// Unwrap returns the cause.
func (e *RecordError) Unwrap() error { return e.Err }

// The stages of a record, as the older runtimes name them in __connect.errors.stage.
const (
	stageConvert = "CONVERTER"
	stageProduce = "ROCKETMQ_PRODUCE"
	stagePut     = "TASK_PUT"
)
