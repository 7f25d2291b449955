package queues

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Order is how the queues of a topic are put in a row when they are first seen.
type Order string

const (
	// ByID takes the first queue of each broker, then the second of each, so that few partitions use all brokers.
	ByID Order = "id"
	// ByBroker takes all queues of one broker, then all of the next: what connectors have that began with an older
	// version.
	ByBroker Order = "broker"
)

// ParseOrder reads an Order.
func ParseOrder(text string) (Order, error) {
	switch o := Order(text); o {
	case ByID, ByBroker:
		return o, nil
	}
	return "", fmt.Errorf("must be %s or %s, not %q", ByID, ByBroker, text)
}

// Binding is the queues of one RocketMQ topic in a row that only grows: a record asks for a place in it, modulo its
// length, and so keeps its queue while brokers come and go. It is immutable; the zero value has no queue.
type Binding struct {
	order Order
	// steps are the queues as they were seen first: each step is sorted and put behind the ones before.
	steps [][]rmq.Queue
	row   []rmq.Queue
}

// Bind makes a binding of the queues that a topic has.
func Bind(order Order, queues []rmq.Queue) Binding {
	b, _ := Binding{order: order}.Grown(queues)
	return b
}

// Order is how the queues were put in a row.
func (b Binding) Order() Order { return b.order }

// Grown is the binding with the queues that it does not have yet behind the others, and whether there are any.
func (b Binding) Grown(queues []rmq.Queue) (Binding, bool) {
	has := make(map[rmq.Queue]bool, len(b.row)+len(queues))
	for _, q := range b.row {
		has[q] = true
	}
	var fresh []rmq.Queue
	for _, q := range queues {
		if !has[q] {
			has[q], fresh = true, append(fresh, q)
		}
	}
	if len(fresh) == 0 {
		return b, false
	}
	if b.order == ByID {
		slices.SortFunc(fresh, byID)
	} else {
		slices.SortFunc(fresh, byBroker)
	}
	return Binding{order: b.order, steps: append(slices.Clip(b.steps), fresh), row: slices.Concat(b.row, fresh)}, true
}

// Reordered is a binding of the same queues, and of those that the topic has besides, in another order.
func (b Binding) Reordered(order Order, queues []rmq.Queue) Binding {
	return Bind(order, slices.Concat(b.row, queues))
}

// Queue is the one at a place, which is not negative and taken modulo Len. The zero Queue means that there is none.
func (b Binding) Queue(place int) rmq.Queue {
	if len(b.row) == 0 {
		return rmq.Queue{}
	}
	return b.row[place%len(b.row)]
}

// Len is the number of queues in the row.
func (b Binding) Len() int { return len(b.row) }

// String is the stored form: the order, then the steps as ranges of a broker's queue ids, as in
// "id broker-a/0-7,broker-b/0-7 broker-a/8-15".
func (b Binding) String() string {
	var out strings.Builder
	out.WriteString(string(b.order))
	for _, step := range b.steps {
		sorted := slices.SortedFunc(slices.Values(step), byBroker)
		separator := byte(' ')
		for from := 0; from < len(sorted); {
			to := from
			for to+1 < len(sorted) && sorted[to+1].Broker == sorted[from].Broker && sorted[to+1].ID == sorted[to].ID+1 {
				to++
			}
			out.WriteByte(separator)
			fmt.Fprintf(&out, "%s/%d-%d", sorted[from].Broker, sorted[from].ID, sorted[to].ID)
			separator, from = ',', to+1
		}
	}
	return out.String()
}

// maxQueues is more than any topic has; it keeps a damaged text from filling the memory.
const maxQueues = 1 << 16

var errBinding = errors.New("not the stored form of a binding to queues")

// ParseBinding reads the stored form for a topic.
func ParseBinding(topic, text string) (Binding, error) {
	name, rest, _ := strings.Cut(text, " ")
	order, err := ParseOrder(name)
	if err != nil {
		return Binding{}, fmt.Errorf("%w: %w", errBinding, err)
	}
	b := Binding{order: order}
	for step := range strings.FieldsSeq(rest) {
		var queues []rmq.Queue
		for part := range strings.SplitSeq(step, ",") {
			broker, ids, _ := strings.Cut(part, "/")
			low, high, _ := strings.Cut(ids, "-")
			first, err := strconv.Atoi(low)
			last, failed := strconv.Atoi(high)
			if err = errors.Join(err, failed); err != nil {
				return Binding{}, fmt.Errorf("%w: %q: %w", errBinding, part, err)
			}
			if broker == "" || first < 0 || last < first || last-first >= maxQueues || len(queues)+b.Len()+last-first >= maxQueues {
				return Binding{}, fmt.Errorf("%w: %q", errBinding, part)
			}
			for id := first; id <= last; id++ {
				queues = append(queues, rmq.Queue{Topic: topic, Broker: broker, ID: id})
			}
		}
		b, _ = b.Grown(queues)
	}
	return b, nil
}

// KeyChoice is the choice of a record by its key: FNV-1a, so that all workers agree. It is stored data: it never
// changes.
func KeyChoice(key []byte) int {
	h := uint64(14695981039346656037)
	for _, c := range key {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return int(h >> 1)
}
