package queues

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// FirstLook is where the queues of one topic ended when a connector that skips what is there looked at them first. A
// topic that did not exist then has none.
type FirstLook map[rmq.Queue]int64

// noQueue is the stored form of a FirstLook without queues.
const noQueue = "none"

// String is the stored form: "broker-a/0@17 broker-a/1@4", or "none".
func (l FirstLook) String() string {
	if len(l) == 0 {
		return noQueue
	}
	var out []string
	for _, q := range slices.SortedFunc(maps.Keys(l), byBroker) {
		out = append(out, fmt.Sprintf("%s/%d@%d", q.Broker, q.ID, l[q]))
	}
	return strings.Join(out, " ")
}

var errFirstLook = errors.New("not the stored form of a first look at queues")

// ParseFirstLook reads the stored form for a topic.
func ParseFirstLook(topic, text string) (FirstLook, error) {
	out := FirstLook{}
	if text == noQueue {
		return out, nil
	}
	for field := range strings.FieldsSeq(text) {
		broker, rest, _ := strings.Cut(field, "/")
		id, end, _ := strings.Cut(rest, "@")
		q := rmq.Queue{Topic: topic, Broker: broker}
		var err, failed error
		q.ID, err = strconv.Atoi(id)
		out[q], failed = strconv.ParseInt(end, 10, 64)
		if err = errors.Join(err, failed); err != nil {
			return nil, fmt.Errorf("%w: %q: %w", errFirstLook, field, err)
		}
		if broker == "" || q.ID < 0 || out[q] < 0 || len(out) > maxQueues {
			return nil, fmt.Errorf("%w: %q", errFirstLook, field)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("%w: it is empty", errFirstLook)
	}
	return out, nil
}

// firstPrefix begins the names under which FirstLooks are stored beside the offsets.
const firstPrefix = record.InternalPrefix + "first/"

// FirstEntry is the name under which a task stores its FirstLook at a topic.
func FirstEntry(topic string, task int) record.SourcePartition {
	return record.SourcePartition(fmt.Sprintf("%s%s/%d", firstPrefix, topic, task))
}

// FirstLooks are what the tasks of a connector have stored of a topic.
func FirstLooks(stored record.Positions, topic string) (out []FirstLook, err error) {
	for p, text := range stored {
		if !strings.HasPrefix(string(p), firstPrefix+topic+"/") {
			continue
		}
		look, err := ParseFirstLook(topic, string(text))
		if err != nil {
			return nil, fmt.Errorf("reading where the queues of topic %s ended when the connector began: %w", topic, err)
		}
		out = append(out, look)
	}
	return out, nil
}

// EndAt is where a queue begins by what the tasks of a connector saw when they started for the first time. They look
// side by side: a queue that one of them did not see came after it, and begins at its first record, as one that none
// saw does; false says so.
func EndAt(looks []FirstLook, q rmq.Queue) (offset int64, ok bool) {
	for i, look := range looks {
		end, seen := look[q]
		if !seen {
			return 0, false
		}
		if i == 0 || end < offset {
			offset = end
		}
	}
	return offset, len(looks) > 0
}
