package task

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/task/queues"
)

// orderEntry is where the order of a connector's queues is stored, beside its positions.
const orderEntry = record.SourcePartition(record.InternalPrefix + "queues")

// bindingEntry is where it is stored which queues of a topic take the records of a source partition.
func bindingEntry(topic string, p record.SourcePartition) record.SourcePartition {
	return record.SourcePartition(string(orderEntry) + "/" + topic + "/" + string(p))
}

// own leaves out what the worker itself stores.
func own(stored record.Positions) record.Positions {
	out := record.Positions{}
	for p, pos := range stored {
		if !p.Internal() {
			out[p] = pos
		}
	}
	return out
}

// orderOf is the order for a connector: what its config asks for, else what is stored, else the order of ids, unless
// the connector began with an older version, which stored positions alone.
func orderOf(stored record.Positions, asked queues.Order) queues.Order {
	if asked != "" {
		return asked
	}
	if order, err := queues.ParseOrder(string(stored[orderEntry])); err == nil {
		return order
	}
	if len(own(stored)) > 0 {
		return queues.ByBroker
	}
	return queues.ByID
}

// bindings are the queues that the records of a task's partitions take. They are the loop's alone, but for what is to
// be stored.
type bindings struct {
	client  Client
	log     logr.Logger
	order   queues.Order
	move    bool // see settings
	stored  record.Positions
	bound   map[bindKey]*bound
	lineups map[bindText]*lineup
	// refused is since when brokers that are there let nobody write to queues; the zero time for before the attempt began.
	refused map[rmq.Queue]time.Time
	looked  map[string]bool // topics
	newest  map[string]*rmq.Targets
}

type bindKey struct {
	partition record.SourcePartition
	topic     string
}

type bindText struct{ topic, text string }

// lineup is a binding, and what follows of it by the newest look at its topic: the same for all partitions that have
// it.
type lineup struct {
	topic, text string
	binding     queues.Binding
	looked      *rmq.Targets
	// row is the queue for each place; grown has the queues besides that the topic has, and is the lineup itself without
	// any.
	row   []rmq.Queue
	grown *lineup
}

// bound is the queues of one topic for one partition.
type bound struct {
	*lineup
	row    []rmq.Queue
	looked *rmq.Targets
	// shifts says that other queues are to take the partition's records, once none of it is on its way: what comes later
	// must not pass what waits.
	shifts bool
}

func newBindings(client Client, set settings, stored record.Positions, log logr.Logger) *bindings {
	return &bindings{client: client, log: log, order: orderOf(stored, set.order), move: set.move, stored: stored,
		bound: map[bindKey]*bound{}, lineups: map[bindText]*lineup{}, refused: map[rmq.Queue]time.Time{}, looked: map[string]bool{},
		newest: map[string]*rmq.Targets{}}
}

// find gives the queues for a partition's records of a topic. idle says that no record of the partition is on its way.
// entry is what is to be stored of it, if that has changed.
func (b *bindings) find(
	ctx context.Context,
	p record.SourcePartition,
	topic string,
	idle bool,
) (out *bound, entry record.Position, err error) {
	targets, err := b.targets(ctx, topic)
	if err != nil {
		return nil, "", err
	}
	out, before := b.bound[bindKey{p, topic}], ""
	switch {
	case out == nil:
		before, idle = string(b.stored[bindingEntry(topic, p)]), true
		out = &bound{lineup: b.restored(topic, before, targets)}
		b.bound[bindKey{p, topic}] = out
	case out.looked == targets && (!out.shifts || !idle):
		return out, "", nil
	default:
		before = out.text
	}
	next := b.look(b.look(out.lineup, targets).grown, targets)
	out.looked = targets
	if out.shifts = !idle && !same(next.row, out.row); !out.shifts {
		out.lineup, out.row = next, next.row
	}
	if out.text != before {
		entry = record.Position(out.text)
	}
	return out, entry, nil
}

// same compares rows, which are most often one.
func same(a, b []rmq.Queue) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0] || slices.Equal(a, b))
}

// again has topics looked at again: once for all records of a batch.
func (b *bindings) again() { clear(b.newest) }

func (b *bindings) targets(ctx context.Context, topic string) (*rmq.Targets, error) {
	if t := b.newest[topic]; t != nil {
		return t, nil
	}
	t, err := b.client.Targets(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("asking for the queues of topic %q: %w", topic, err)
	}
	b.newest[topic] = t
	return t, nil
}

// restored is a binding as it was stored, in the connector's order.
func (b *bindings) restored(topic, text string, targets *rmq.Targets) *lineup {
	if l := b.lineups[bindText{topic, text}]; l != nil && l.binding.Order() == b.order {
		return l
	}
	if text == "" {
		return b.lineup(topic, queues.Bind(b.order, targets.Queues))
	}
	binding, err := queues.ParseBinding(topic, text)
	if err != nil {
		b.log.Error(err, "Choosing queues again, for the stored ones cannot be read", "topic", topic)
		return b.lineup(topic, queues.Bind(b.order, targets.Queues))
	}
	if binding.Order() != b.order {
		binding = binding.Reordered(b.order, targets.Queues)
	}
	return b.lineup(topic, binding)
}

func (b *bindings) lineup(topic string, binding queues.Binding) *lineup {
	key := bindText{topic, binding.String()}
	if b.lineups[key] == nil {
		b.lineups[key] = &lineup{topic: topic, text: key.text, binding: binding}
	}
	return b.lineups[key]
}

// look brings a lineup up to a look at its topic.
func (b *bindings) look(l *lineup, targets *rmq.Targets) *lineup {
	if l.looked == targets {
		return l
	}
	l.looked, l.grown = targets, l
	if grown, more := l.binding.Grown(targets.Queues); more {
		l.grown = b.lineup(l.topic, grown)
	}
	if row := b.row(l.topic, l.binding, targets, time.Now()); !slices.Equal(row, l.row) {
		l.row = row
	}
	return l
}

// row is the queue for each place of a binding. What a broker that is there has given up for long is replaced, and with
// on.broker.loss=move what lies on a broker that is away. At the start of an attempt nothing of it is on its way, so
// what was given up by then is replaced at once.
func (b *bindings) row(topic string, binding queues.Binding, targets *rmq.Targets, now time.Time) []rmq.Queue {
	gone := func(q rmq.Queue) bool {
		if b.move && !targets.Shows(q.Broker) {
			return true
		}
		if !targets.Gone(q) {
			delete(b.refused, q)
			return false
		}
		since, known := b.refused[q]
		if !known {
			if b.looked[topic] {
				since = now
			}
			b.refused[q] = since
		}
		return now.Sub(since) >= rmq.GivenUpAfter
	}
	row := make([]rmq.Queue, binding.Len())
	for i := range row {
		if row[i] = binding.Queue(i); gone(row[i]) {
			row[i] = targets.Instead(row[i])
		}
	}
	b.looked[topic] = true
	return row
}

// queue is the one for a record, and whether it matters which.
func (b *bound) queue(r *record.Record) (q rmq.Queue, bound bool) {
	choice := r.Queue
	switch {
	case choice >= 0:
	case r.Key != nil:
		choice = queues.KeyChoice(r.Key)
	default:
		return rmq.Queue{}, false
	}
	if len(b.row) == 0 {
		return rmq.Queue{}, true
	}
	return b.row[choice%len(b.row)], true
}

// boundWriter stores positions. Which queues a partition's records take is stored before its first position: a later
// attempt that knew the position alone would send what comes next elsewhere, ahead of what waits.
type boundWriter struct{ Writer }

// Write stores bindings, then positions.
func (w boundWriter) Write(ctx context.Context, changed record.Positions) error {
	bindings := record.Positions{}
	for p, pos := range changed {
		if p.Internal() {
			bindings[p] = pos
		}
	}
	if len(bindings) > 0 {
		if err := w.Writer.Write(ctx, bindings); err != nil || len(bindings) == len(changed) {
			return err
		}
	}
	return w.Writer.Write(ctx, own(changed))
}
