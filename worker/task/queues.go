package task

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
	"github.com/rocketmq-connect/operator/worker/task/queues"
)

// missingChecks is how often in a row a topic must be missing before a running task fails: a name server that was
// restarted knows none until its brokers' next report, which may take 30 s.
const (
	missingChecks = 5
	mostQueues    = 1024 // of a topic that is made, on each broker
)

func position(offset int64) record.Position { return record.Position(strconv.FormatInt(offset, 10)) }

// routes asks for the queues of all topics. It fails if none can be read.
func (r *Runner) routes(ctx context.Context, topics []string) (queues.Routes, error) {
	out := queues.Routes{Missing: map[string]error{}}
	var problems []error
	for _, topic := range topics {
		of, err := r.client.Route(ctx, topic)
		switch {
		case err == nil:
			out.Queues = append(out.Queues, of...)
			continue
		case errors.Is(err, rmq.ErrNotReadable):
			err = fmt.Errorf(
				"topic %q in RocketMQ can be written to and not read: give it the permission to be read (mqadmin updateTopic -p 6), or correct %q: %w",
				topic,
				connector.TopicKeys()[0],
				err,
			)
		case errors.Is(err, rmq.ErrTopicNotFound):
			err = fmt.Errorf("topic %q does not exist in RocketMQ: create it, or correct %q: %w", topic, connector.TopicKeys()[0], err)
		case errors.Is(err, rmq.ErrTopicAway):
			err = fmt.Errorf("topic %q cannot be read at present: %w", topic, err)
			problems = slices.Insert(problems, 0, err) // it is waited for
			out.Missing[topic] = err
			continue
		default:
			return queues.Routes{}, fmt.Errorf("asking for the queues of topic %q: %w", topic, err)
		}
		out.Missing[topic] = err
		problems = append(problems, err)
	}
	switch {
	case len(out.Missing) < len(topics):
		return out, nil
	case rmq.IsTemporary(problems[0]):
		return queues.Routes{}, problems[0]
	}
	return queues.Routes{}, errors.Join(problems...)
}

// routeNews hands the newest look at the routes from the goroutine that looks to the loop. It is safe for concurrent
// use.
type routeNews struct {
	mu    sync.Mutex
	found *queues.Routes
	// interrupt ends what the loop waits for.
	interrupt context.CancelFunc
}

func (n *routeNews) put(found queues.Routes) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.found = &found; n.interrupt != nil {
		n.interrupt()
	}
}

// take returns what was found since the last call; nil for nothing.
func (n *routeNews) take() *queues.Routes {
	n.mu.Lock()
	defer n.mu.Unlock()
	found := n.found
	n.found = nil
	return found
}

// whileWaiting has interrupt called when routes are found, and at once if some were.
func (n *routeNews) whileWaiting(interrupt context.CancelFunc) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.interrupt = interrupt; n.found != nil {
		interrupt()
	}
}

// patiently retries what fails while a broker or name server starts again, for as long as a running task outlives it.
// Starting the task again would try more and more seldom.
func (r *Runner) patiently(ctx context.Context, again func(error) bool, do func() error) error {
	for begun := time.Now(); ; {
		err := do()
		late := time.Since(begun) >= missingChecks*r.cfg.RecheckInterval
		if err == nil || !again(err) || late || service.Sleep(ctx, 500*time.Millisecond) != nil {
			return err
		}
	}
}

// ensureTopic makes a topic if it does not exist, on each broker with so many queues, and mostQueues at most:
// partitions beyond them share queues.
func (r *Runner) ensureTopic(ctx context.Context, topic string, queues int) error {
	return r.patiently(ctx, rmq.IsTemporary, func() error {
		_, err := r.client.EnsureTopic(ctx, topic, min(queues, mostQueues))
		return err
	})
}

// watchRoutes looks at the routes again and again and hands over each answer; fail ends the attempt when a topic is
// gone. A name server forgets the topics of a broker that is away. It does not look while the gate is shut: then the
// broker most likely is.
func (r *Runner) watchRoutes(ctx context.Context, a Attempt, topics []string, fail func(error), found func(queues.Routes)) {
	ticker := time.NewTicker(r.cfg.RecheckInterval)
	defer ticker.Stop()
	missing := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if a.Gate.Wait(ctx, 0) != nil {
			return
		}
		seen, err := r.recent.routes(topics, r.cfg.RecheckInterval/2, func() (queues.Routes, error) { return r.routes(ctx, topics) })
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, rmq.ErrTopicNotFound):
			if missing++; missing >= missingChecks {
				fail(err)
				return
			}
		case err != nil:
			r.logger(a).V(1).Info("Looking for new queues failed; going on with the known ones", "reason", err.Error())
		default:
			missing = 0
			found(seen)
		}
	}
}

// recentRoutes are the answers that tasks of a worker got to the same question lately.
type recentRoutes struct {
	mu      sync.Mutex
	answers map[string]recentRoute
}

type recentRoute struct {
	queues.Routes
	at time.Time
}

// routes returns an answer that is younger than maxAge, or asks. It is not to be changed.
func (r *recentRoutes) routes(topics []string, maxAge time.Duration, ask func() (queues.Routes, error)) (queues.Routes, error) {
	key, now := strings.Join(topics, ","), time.Now()
	r.mu.Lock()
	answer, known := r.answers[key]
	r.mu.Unlock()
	if known && now.Sub(answer.at) < maxAge {
		return answer.Routes, nil
	}
	seen, err := ask()
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.answers, func(_ string, a recentRoute) bool { return now.Sub(a.at) >= maxAge })
	if err == nil {
		if r.answers == nil {
			r.answers = map[string]recentRoute{}
		}
		r.answers[key] = recentRoute{seen, now}
	}
	return seen, err
}

// starts finds where a sink task starts to read.
type starts struct {
	*attempt
	group string // of the reader
}

// routes are those at the start. Topics that were read before are waited for if there is no other, as a running task
// does.
func (s *starts) routes(ctx context.Context) (found queues.Routes, err error) {
	again := func(err error) bool {
		return rmq.IsTemporary(err) || errors.Is(err, rmq.ErrTopicNotFound) && s.allRead()
	}
	err = s.patiently(ctx, again, func() error {
		found, err = s.Runner.routes(ctx, s.set.topics)
		return err
	})
	return found, err
}

// known are the queues of the config's topics that have a stored offset, of whatever task.
func (s *starts) known() (out []rmq.Queue) {
	for p := range s.a.Stored() {
		if q, ok := queues.ParsePartition(p); ok && slices.Contains(s.set.topics, q.Topic) {
			out = append(out, q)
		}
	}
	return out
}

// read says of which topics a queue has a stored offset.
func (s *starts) read() map[string]bool {
	read := map[string]bool{}
	for _, q := range s.known() {
		read[q.Topic] = true
	}
	return read
}

// allRead says that all topics have been read before.
func (s *starts) allRead() bool {
	read := s.read()
	return !slices.ContainsFunc(s.set.topics, func(topic string) bool { return !read[topic] })
}

// store finds the offsets to start at and stores those that were not known, so that a restart begins at the same place.
func (s *starts) store(ctx context.Context, reading *queues.Reading, of []rmq.Queue) (map[rmq.Queue]int64, error) {
	from, fresh, err := s.find(ctx, reading, of)
	if err != nil || len(fresh) == 0 {
		return from, err
	}
	if err := s.a.Writer.Write(ctx, fresh); err != nil {
		return nil, fmt.Errorf("storing the offsets to start at: %w", err)
	}
	return from, nil
}

// find says where to read each queue from: our own stored offset, else the group's (a connector that another runtime
// ran), else what consume.from.where says. fresh are the offsets that are not stored yet.
func (s *starts) find(
	ctx context.Context,
	reading *queues.Reading,
	of []rmq.Queue,
) (from map[rmq.Queue]int64, fresh record.Positions, err error) {
	stored := s.a.Stored()
	from, fresh = make(map[rmq.Queue]int64, len(of)), record.Positions{}
	away := map[string]bool{}       // brokers that did not answer
	behind := map[rmq.Queue]int64{} // the records that a new start leaves behind itself, by their queues
	for _, q := range of {
		var at queues.Offset
		pos, known := stored[queues.Partition(q)]
		if known {
			if at, err = queues.ParseOffset(pos); err != nil {
				return nil, nil, fmt.Errorf("reading the stored offset of queue %s: %w", q, err)
			}
			reading.Know(q, at.Trail)
			if from[q] = at.Next; away[q.Broker] {
				continue
			}
		}
		low, high, err := s.bounds(ctx, q, known)
		if known && rmq.IsTemporary(err) {
			// The other brokers' queues do not wait for this one: what the checks below find out, the reader does as well.
			s.log.Info("Starting at the stored offset: the broker of the queue cannot be asked", "queue", q.String(),
				"offset", at.Next, "reason", err.Error())
			away[q.Broker] = true
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("asking for the offsets of queue %s: %w", q, err)
		}
		if !known {
			if at.Next, err = s.first(ctx, q, stored, low, high); err != nil {
				return nil, nil, err
			}
			if before, ok := at.Before(low, high); ok {
				behind[q] = before
			}
		}
		var held bool
		if from[q], held = at.Held(low, high); !held {
			s.log.Info("Starting at the earliest record: the stored offset is not in the queue any more", "queue", q.String(),
				"offset", at.Next, "min", low, "max", high)
			s.gap(q, at.Next, low)
		}
		if !known || !held {
			fresh[queues.Partition(q)] = position(from[q])
		}
	}
	s.mark(ctx, reading, behind, fresh)
	return from, fresh, nil
}

// bounds asks for a queue's first offset and its end. Without a stored offset there is no start before the answer.
func (s *starts) bounds(ctx context.Context, q rmq.Queue, known bool) (low, high int64, err error) {
	again := func(err error) bool { return !known && rmq.IsTemporary(err) }
	err = s.patiently(ctx, again, func() (err error) {
		low, high, err = s.client.Offsets(ctx, q)
		return err
	})
	return low, high, err
}

// first is where a queue without an offset of ours begins. What is skipped is what was there when the connector began,
// and nothing that came later: not in a queue that a topic got, nor while the connector was stopped or its tasks could
// not start.
func (s *starts) first(ctx context.Context, q rmq.Queue, stored record.Positions, low, high int64) (int64, error) {
	if s.set.group != "" {
		offset, ok, err := s.client.Committed(ctx, s.set.group, q)
		if err != nil {
			return 0, fmt.Errorf("asking for the offset of group %s in queue %s: %w", s.set.group, q, err)
		}
		if ok {
			return offset, nil // whoever asked looks whether the queue holds it
		}
	}
	if s.set.fromLast {
		looks, err := queues.FirstLooks(stored, q.Topic)
		if end, there := queues.EndAt(looks, q); err != nil || there {
			return end, err
		}
	}
	return low, nil
}

// lookFirst stores where the queues of the topics end that the connector sees for the first time, if it is to skip what
// is there. All queues are noted, and before the first offset: another task may start much later.
func (s *starts) lookFirst(ctx context.Context, shown []rmq.Queue) error {
	stored, read, fresh := s.a.Stored(), s.read(), record.Positions{}
	for _, topic := range s.set.topics {
		looks, err := queues.FirstLooks(stored, topic)
		if err != nil {
			return err
		}
		if len(looks) > 0 || read[topic] {
			continue
		}
		look := queues.FirstLook{}
		for _, q := range shown {
			if q.Topic != topic {
				continue
			}
			if _, look[q], err = s.bounds(ctx, q, false); err != nil {
				return fmt.Errorf("asking for the offsets of queue %s: %w", q, err)
			}
		}
		fresh[queues.FirstEntry(topic, s.a.ID.Task)] = record.Position(look.String())
	}
	if len(fresh) == 0 {
		return nil
	}
	if err := s.a.Writer.Write(ctx, fresh); err != nil {
		return fmt.Errorf("storing where the queues end: %w", err)
	}
	return nil
}

// markTimeout is how long marks of new starts are waited for.
const markTimeout = 2 * time.Second

// mark reads the records before new starts, for marks of them: by an offset alone nobody can tell later that the topic
// is another one. A queue that does not answer in time begins without.
func (s *starts) mark(ctx context.Context, reading *queues.Reading, behind map[rmq.Queue]int64, fresh record.Positions) {
	if len(behind) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, markTimeout)
	defer cancel()
	reader := s.client.NewReader(s.group, s.cfg.MaxBufferedBytes, reading.Trail, func(rmq.Queue, int64, int64) {})
	defer reader.Close()
	reader.Assign(behind)
	for missing := len(behind); missing > 0 && ctx.Err() == nil; {
		batch, err := reader.Poll(ctx, maxPutRecords)
		if err != nil {
			s.log.V(1).Info("Starting without marks of what is left behind", "queues", missing, "reason", err.Error())
			return
		}
		for _, m := range batch {
			if offset, wanted := behind[m.Queue]; wanted && offset == m.Offset {
				trail := rmq.Trail{m.Mark()}
				reading.Know(m.Queue, trail)
				fresh[queues.Partition(m.Queue)] = queues.Offset{Next: offset + 1, Trail: trail}.Stored()
				missing--
			}
		}
	}
}
