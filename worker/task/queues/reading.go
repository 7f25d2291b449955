package queues

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Routes is what a name server shows of a sink's topics.
type Routes struct {
	Queues  []rmq.Queue      // of all topics, in order
	Missing map[string]error // why other topics cannot be read
}

// Reading is which queues a sink's task reads, and how far. A topic that was missing when the task started, and ever
// since, is not read though its queues are known: its brokers would refuse.
type Reading struct {
	share  *Share
	absent map[string]bool
	trails map[rmq.Queue]rmq.Trail
}

// NewReading makes the Reading of a task out of tasks. known are the queues with a stored offset, of whatever task.
func NewReading(task, tasks int, known ...rmq.Queue) *Reading {
	return &Reading{share: NewShare(task, tasks, known...), absent: map[string]bool{}, trails: map[rmq.Queue]rmq.Trail{}}
}

// Begin takes the first look at the routes, and returns the queues to read.
func (r *Reading) Begin(shown Routes) []rmq.Queue {
	for topic := range shown.Missing {
		r.absent[topic] = true
	}
	r.share.Step(shown.Queues)
	return r.Queues()
}

// Follow takes a later look, and returns the queues that are read from now on, and those that are not any more.
func (r *Reading) Follow(shown Routes) (add, drop []rmq.Queue) {
	add, drop = r.share.Step(shown.Queues)
	for topic := range r.absent {
		if shown.Missing[topic] != nil {
			continue
		}
		delete(r.absent, topic)
		for _, q := range r.share.Mine() {
			if q.Topic == topic && !slices.Contains(add, q) {
				add = append(add, q)
			}
		}
	}
	return r.present(add), drop
}

// Queues are those that the task reads, sorted by (topic, broker, id).
func (r *Reading) Queues() []rmq.Queue { return r.present(r.share.Mine()) }

func (r *Reading) present(queues []rmq.Queue) []rmq.Queue {
	return slices.DeleteFunc(queues, func(q rmq.Queue) bool { return r.absent[q.Topic] })
}

// Index is a queue's place among all known ones of its topic; Count is how many there are.
func (r *Reading) Index(q rmq.Queue) int  { return r.share.Index(q) }
func (r *Reading) Count(topic string) int { return r.share.Count(topic) }

// Know takes the marks of what was read of a queue before.
func (r *Reading) Know(q rmq.Queue, trail rmq.Trail) { r.trails[q] = trail }

// Trail is the marks of what was read of a queue.
func (r *Reading) Trail(q rmq.Queue) rmq.Trail { return r.trails[q] }

// Reached notes that the sink has what a queue holds up to a message, and returns this place as it is stored.
func (r *Reading) Reached(m *rmq.Received) record.Position {
	if !m.StoredAt.IsZero() {
		r.trails[m.Queue] = r.trails[m.Queue].Add(m.Mark())
	}
	return Offset{Next: m.NextOffset, Trail: r.trails[m.Queue]}.Stored()
}

// Warning tells which topics and whose queues cannot be read just now; empty if all can.
func (r *Reading) Warning(missing map[string]error) string {
	var texts []string
	for _, topic := range slices.Sorted(maps.Keys(missing)) {
		texts = append(texts, fmt.Sprintf("%v; the other topics are read on, and this one is once it can be", missing[topic]))
	}
	brokers := map[string]bool{}
	for _, q := range r.share.Away() {
		if missing[q.Topic] == nil {
			brokers[q.Broker] = true
		}
	}
	if len(brokers) > 0 {
		texts = append(texts, fmt.Sprintf("queues of broker %s are read on once it is registered with the name server again",
			strings.Join(slices.Sorted(maps.Keys(brokers)), ", ")))
	}
	return strings.Join(texts, "; ")
}
