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

// missingChecks is how often in a row a topic must be missing before a running task fails: a name server that was restarted
// knows none until its brokers' next report, which may take 30 s.
const (
	missingChecks = 5
	mostQueues    = 1024 // of a topic that is made, on each broker
)

// partition is the stored name of a queue.
func partition(q rmq.Queue) record.SourcePartition { return record.SourcePartition(q.String()) }

func position(offset int64) record.Position { return record.Position(strconv.FormatInt(offset, 10)) }

// markedPosition is a sink's offset in a queue as it is stored: where reading goes on, then marks of what was read, the newest
// first, by which a queue that lost its end is noticed: "700 699@1795282502586 640@1795282501033".
func markedPosition(offset int64, trail rmq.Trail) record.Position {
	b := strconv.AppendInt(nil, offset, 10)
	for _, m := range slices.Backward(trail) {
		b = strconv.AppendInt(append(b, ' '), m.Offset, 10)
		b = strconv.AppendInt(append(b, '@'), m.StoredAt, 10)
	}
	return record.Position(b)
}

var errPosition = errors.New("not an offset, or not one with marks")

func parsePosition(pos record.Position) (offset int64, trail rmq.Trail, err error) {
	first, rest, _ := strings.Cut(string(pos), " ")
	if offset, err = strconv.ParseInt(first, 10, 64); err != nil {
		return 0, nil, fmt.Errorf("%w: %w", errPosition, err)
	}
	for field := range strings.FieldsSeq(rest) {
		at, stored, _ := strings.Cut(field, "@")
		var m rmq.Mark
		var failed error
		m.Offset, err = strconv.ParseInt(at, 10, 64)
		m.StoredAt, failed = strconv.ParseInt(stored, 10, 64)
		if err = errors.Join(err, failed); err != nil {
			return 0, nil, fmt.Errorf("%w: %w", errPosition, err)
		}
		trail = append(trail, m)
	}
	slices.Reverse(trail)
	return offset, trail, nil
}

// parsePartition reads a queue back from its stored name.
func parsePartition(p record.SourcePartition) (rmq.Queue, bool) {
	parts := strings.Split(string(p), "/")
	if len(parts) != 3 || p.Internal() {
		return rmq.Queue{}, false
	}
	id, err := strconv.Atoi(parts[2])
	return rmq.Queue{Topic: parts[0], Broker: parts[1], ID: id}, err == nil
}

// look is what a name server shows of a sink's topics.
type look struct {
	queues  []rmq.Queue      // of all topics, in order
	missing map[string]error // why other topics cannot be read
}

// routes asks for the queues of all topics. It fails if none can be read.
func (r *Runner) routes(ctx context.Context, topics []string) (look, error) {
	out := look{missing: map[string]error{}}
	var problems []error
	for _, topic := range topics {
		queues, err := r.client.Route(ctx, topic)
		switch {
		case err == nil:
			out.queues = append(out.queues, queues...)
			continue
		case errors.Is(err, rmq.ErrNotReadable):
			err = fmt.Errorf("topic %q in RocketMQ can be written to and not read: give it the permission to be read (mqadmin updateTopic -p 6), or correct %q: %w",
				topic, connector.TopicKeys()[0], err)
		case errors.Is(err, rmq.ErrTopicNotFound):
			err = fmt.Errorf("topic %q does not exist in RocketMQ: create it, or correct %q: %w", topic, connector.TopicKeys()[0], err)
		case errors.Is(err, rmq.ErrTopicAway):
			err = fmt.Errorf("topic %q cannot be read at present: %w", topic, err)
			problems = slices.Insert(problems, 0, err) // it is waited for
			out.missing[topic] = err
			continue
		default:
			return look{}, fmt.Errorf("asking for the queues of topic %q: %w", topic, err)
		}
		out.missing[topic] = err
		problems = append(problems, err)
	}
	switch {
	case len(out.missing) < len(topics):
		return out, nil
	case rmq.IsTemporary(problems[0]):
		return look{}, problems[0]
	}
	return look{}, errors.Join(problems...)
}

// firstRoutes is routes for a start. Topics that were read before are waited for if there is no other, as a running task does.
func (s *sinkRun) firstRoutes(ctx context.Context) (found look, err error) {
	again := func(err error) bool {
		return rmq.IsTemporary(err) || errors.Is(err, rmq.ErrTopicNotFound) && s.allRead()
	}
	err = s.patiently(ctx, again, func() error {
		found, err = s.routes(ctx, s.set.topics)
		return err
	})
	return found, err
}

// begun leaves out queues of topics that were not there yet since the task started: their brokers would refuse.
func (s *sinkRun) begun(queues []rmq.Queue) []rmq.Queue {
	return slices.DeleteFunc(slices.Clone(queues), func(q rmq.Queue) bool { return s.absent[q.Topic] })
}

// came adds the queues of this task that belong to topics which were absent and are not missing any more.
func (s *sinkRun) came(add []rmq.Queue, missing map[string]error) []rmq.Queue {
	for topic := range s.absent {
		if _, still := missing[topic]; still {
			continue
		}
		delete(s.absent, topic)
		for _, q := range s.share.Mine() {
			if q.Topic == topic && !slices.Contains(add, q) {
				add = append(add, q)
			}
		}
	}
	return s.begun(add)
}

// warn tells which topics and whose queues cannot be read just now.
func (s *sinkRun) warn(missing map[string]error) {
	var texts []string
	for _, topic := range slices.Sorted(maps.Keys(missing)) {
		texts = append(texts, fmt.Sprintf("%v; the other topics are read on, and this one is once it can be", missing[topic]))
	}
	brokers := map[string]bool{}
	for _, q := range s.share.Away() {
		if missing[q.Topic] == nil {
			brokers[q.Broker] = true
		}
	}
	if len(brokers) > 0 {
		texts = append(texts, fmt.Sprintf("queues of broker %s are read on once it is registered with the name server again",
			strings.Join(slices.Sorted(maps.Keys(brokers)), ", ")))
	}
	s.warnings.set(ofTask, strings.Join(texts, "; "))
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

// ensureTopic makes a topic if it does not exist, on each broker with so many queues, and mostQueues at most: partitions beyond
// them share queues.
func (r *Runner) ensureTopic(ctx context.Context, topic string, queues int) error {
	return r.patiently(ctx, rmq.IsTemporary, func() error {
		_, err := r.client.EnsureTopic(ctx, topic, min(queues, mostQueues))
		return err
	})
}

// known are the queues of the config's topics that have a stored offset, of whatever task.
func (s *sinkRun) known() (out []rmq.Queue) {
	for p := range s.a.Stored() {
		if q, ok := parsePartition(p); ok && slices.Contains(s.set.topics, q.Topic) {
			out = append(out, q)
		}
	}
	return out
}

// read says of which topics a queue has a stored offset.
func (s *sinkRun) read() map[string]bool {
	read := map[string]bool{}
	for _, q := range s.known() {
		read[q.Topic] = true
	}
	return read
}

// allRead says that all topics have been read before.
func (s *sinkRun) allRead() bool {
	read := s.read()
	return !slices.ContainsFunc(s.set.topics, func(topic string) bool { return !read[topic] })
}

// watchRoutes looks at the routes again and again and hands over each answer; fail ends the attempt when a topic is gone.
// A name server forgets the topics of a broker that is away. It does not look while the gate is shut: then the broker most
// likely is.
func (r *Runner) watchRoutes(ctx context.Context, a Attempt, topics []string, fail func(error), found func(look)) {
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
		seen, err := r.recent.routes(topics, r.cfg.RecheckInterval/2, func() (look, error) { return r.routes(ctx, topics) })
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
	look
	at time.Time
}

// routes returns an answer that is younger than maxAge, or asks. It is not to be changed.
func (r *recentRoutes) routes(topics []string, maxAge time.Duration, ask func() (look, error)) (look, error) {
	key, now := strings.Join(topics, ","), time.Now()
	r.mu.Lock()
	answer, known := r.answers[key]
	r.mu.Unlock()
	if known && now.Sub(answer.at) < maxAge {
		return answer.look, nil
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

// starts finds where to read each queue from: our own stored offset, else the group's (a connector that another runtime
// ran), else what consume.from.where says. fresh are the offsets that are not stored yet.
func (s *sinkRun) starts(ctx context.Context, queues []rmq.Queue) (from map[rmq.Queue]int64, fresh record.Positions, err error) {
	stored := s.a.Stored()
	from, fresh = make(map[rmq.Queue]int64, len(queues)), record.Positions{}
	away := map[string]bool{}       // brokers that did not answer
	behind := map[rmq.Queue]int64{} // the records that a new start leaves behind itself, by their queues
	for _, q := range queues {
		pos, known := stored[partition(q)]
		if known {
			if from[q], s.trails[q], err = parsePosition(pos); err != nil {
				return nil, nil, fmt.Errorf("reading the stored offset of queue %s: %w", q, err)
			}
			if away[q.Broker] {
				continue
			}
		}
		low, high, err := s.bounds(ctx, q, known)
		if known && rmq.IsTemporary(err) {
			// The other brokers' queues do not wait for this one: what the checks below find out, the reader does as well.
			s.log.Info("Starting at the stored offset: the broker of the queue cannot be asked", "queue", q.String(),
				"offset", from[q], "reason", err.Error())
			away[q.Broker] = true
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("asking for the offsets of queue %s: %w", q, err)
		}
		if !known {
			if from[q], err = s.firstStart(ctx, q, stored, low, high); err != nil {
				return nil, nil, err
			}
			leave(behind, q, from[q], low, high)
		}
		// With marks, the reader finds out how much of its end a queue lost.
		if offset := from[q]; offset < low || offset > high && len(s.trails[q]) == 0 {
			s.log.Info("Starting at the earliest record: the stored offset is not in the queue any more", "queue", q.String(),
				"offset", offset, "min", low, "max", high)
			s.gap(q, offset, low)
			from[q], known = low, false
		}
		if !known {
			fresh[partition(q)] = position(from[q])
		}
	}
	s.markStarts(ctx, behind, fresh)
	return from, fresh, nil
}

// leave notes the record before a start that lies within a queue.
func leave(behind map[rmq.Queue]int64, q rmq.Queue, from, low, high int64) {
	if from > low && from <= high {
		behind[q] = from - 1
	}
}

// bounds asks for a queue's first offset and its end. Without a stored offset there is no start before the answer.
func (s *sinkRun) bounds(ctx context.Context, q rmq.Queue, known bool) (low, high int64, err error) {
	again := func(err error) bool { return !known && rmq.IsTemporary(err) }
	err = s.patiently(ctx, again, func() (err error) {
		low, high, err = s.client.Offsets(ctx, q)
		return err
	})
	return low, high, err
}

// firstStart is where a queue without an offset of ours begins. What is skipped is what was there when the connector began, and
// nothing that came later: not in a queue that a topic got, nor while the connector was stopped or its tasks could not start.
func (s *sinkRun) firstStart(ctx context.Context, q rmq.Queue, stored record.Positions, low, high int64) (int64, error) {
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

// lookFirst stores where the queues of the topics end that the connector sees for the first time, if it is to skip what is
// there. All queues are noted, and before the first offset: another task may start much later.
func (s *sinkRun) lookFirst(ctx context.Context, shown []rmq.Queue) error {
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
