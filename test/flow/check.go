package flow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Result is what a Checker saw of a plan's records.
type Result struct {
	// Read counts all records, Distinct the different ones of the plan, Missing those of the plan never seen.
	Read, Distinct, Missing int
	// Duplicates are repeats with the same content; Corrupt have a known id but other content; Foreign no known id.
	Duplicates, Corrupt, Foreign int
	// Lost counts records that were forgiven, and did not come later; Late those that came, out of order: a broker lost
	// them after it had confirmed them, and they were sent again.
	Lost, Late int
	// OutOfOrder counts first sightings that came after a later record of the same key.
	OutOfOrder int
	// Overtaken counts those that came after a later record of the same partition of the plan, where it has partitions.
	Overtaken int
}

// Intact says whether nothing is missing, changed, foreign or out of order. Duplicates are allowed.
func (r Result) Intact() bool {
	return r.Missing == 0 && r.Corrupt == 0 && r.Foreign == 0 && r.OutOfOrder == 0 && r.Overtaken == 0
}

// String is one line for people.
func (r Result) String() string {
	return fmt.Sprintf("read %d, distinct %d, missing %d, duplicates %d, corrupt %d, foreign %d, out of order %d",
		r.Read, r.Distinct, r.Missing, r.Duplicates, r.Corrupt, r.Foreign, r.OutOfOrder)
}

// Checker compares records with a plan, one after the other, in the order in which they are read per partition.
type Checker struct {
	plan   Plan
	seen   []bool
	newest map[string]int
	front  []int // the newest of each partition, 0 for none
	lost   map[int]bool
	prefix int
	result Result
	// outOfOrder and overtaken are the records that came behind later ones of their key, and of their partition.
	outOfOrder, overtaken []int
}

// NewChecker starts with nothing seen.
func NewChecker(p Plan) *Checker {
	return &Checker{plan: p, seen: make([]bool, p.Records), newest: map[string]int{}, front: make([]int, p.Partitions), lost: map[int]bool{}}
}

// See takes one record that came out.
func (c *Checker) See(r *kgo.Record) {
	c.result.Read++
	id, ok := idOf(r)
	if !ok || id < 0 || id >= c.plan.Records {
		c.result.Foreign++
		return
	}
	if DigestOf(r) != DigestOf(c.plan.Record(r.Topic, id)) {
		c.result.Corrupt++
		return
	}
	if c.seen[id] {
		c.result.Duplicates++
		return
	}
	c.seen[id] = true
	c.result.Distinct++
	forgiven := c.lost[id]
	delete(c.lost, id)
	c.advance()
	c.order(r.Key, id)
	if forgiven {
		c.excuse(id, id+1)
	}
}

// order compares a record that is seen for the first time with those before it.
func (c *Checker) order(of []byte, id int) {
	if len(c.front) > 0 {
		front := &c.front[c.plan.Partition(id)]
		if *front > id {
			c.overtaken = append(c.overtaken, id)
		}
		*front = max(*front, id)
	}
	if of == nil {
		return
	}
	key := string(of)
	if last, ok := c.newest[key]; ok && last > id {
		c.outOfOrder = append(c.outOfOrder, id)
	}
	c.newest[key] = max(c.newest[key], id)
}

// Result counts what is missing so far.
func (c *Checker) Result() Result {
	out := c.result
	out.Missing, out.Lost = c.plan.Records-out.Distinct, len(c.lost)
	out.OutOfOrder, out.Overtaken = len(c.outOfOrder), len(c.overtaken)
	return out
}

// excuse counts those of the records from..to-1 as late that came out of order.
func (c *Checker) excuse(from, to int) {
	late := map[int]bool{}
	for _, ids := range []*[]int{&c.outOfOrder, &c.overtaken} {
		*ids = slices.DeleteFunc(*ids, func(id int) bool {
			excused := id >= from && id < to
			late[id] = late[id] || excused
			return excused
		})
	}
	for _, excused := range late {
		if excused {
			c.result.Late++
		}
	}
}

// Prefix is the first record of the plan that was neither seen yet nor forgiven: all before it were.
func (c *Checker) Prefix() int { return c.prefix }

func (c *Checker) advance() {
	for c.prefix < len(c.seen) && (c.seen[c.prefix] || c.lost[c.prefix]) {
		c.prefix++
	}
}

// Unseen counts the records from..to-1 that were neither seen yet nor forgiven.
func (c *Checker) Unseen(from, to int) (n int) {
	for id := from; id < to; id++ {
		if !c.seen[id] && !c.lost[id] {
			n++
		}
	}
	return n
}

// Forgive lets those of the records from..to-1 that were not seen be lost, and the others have come late: Prefix passes
// over them.
func (c *Checker) Forgive(from, to int) {
	for id := from; id < to; id++ {
		if !c.seen[id] {
			c.lost[id] = true
		}
	}
	c.excuse(from, to)
	c.advance()
}

func idOf(r *kgo.Record) (int, bool) {
	for _, h := range r.Headers {
		if h.Key == "id" {
			id, err := strconv.Atoi(string(h.Value))
			return id, err == nil
		}
	}
	return 0, false
}

// Check reads the Kafka topic from its start until all records of the plan were seen and the topic's end is reached, or
// nothing came for idle.
func Check(ctx context.Context, brokers, topic string, p Plan, idle time.Duration) (Result, error) {
	client, err := kgo.NewClient(kgo.SeedBrokers(brokers), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchMaxBytes(8<<20))
	if err != nil {
		return Result{}, fmt.Errorf("opening the Kafka consumer: %w", err)
	}
	defer client.Close()
	c := NewChecker(p)
	for {
		wait := idle
		if c.result.Distinct == p.Records {
			wait = 2 * time.Second // repeats may still follow the last new record
		}
		pollCtx, cancel := context.WithTimeout(ctx, wait)
		fetches := client.PollFetches(pollCtx)
		cancel()
		if ctx.Err() != nil {
			return c.Result(), ctx.Err()
		}
		if err := fetches.Err0(); errors.Is(err, context.DeadlineExceeded) {
			return c.Result(), nil
		} else if err != nil {
			return c.Result(), fmt.Errorf("reading topic %s: %w", topic, err)
		}
		fetches.EachRecord(c.See)
	}
}
