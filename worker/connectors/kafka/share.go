package kafka

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/resume"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka/watch"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
)

// mine reports whether a partition belongs to this task: partitions are dealt round, and each topic begins one task
// further than the one before it, so that topics of one partition do not all meet at the first task. New partitions
// never move old ones.
func (s *Source) mine(topic string, partition int) bool {
	i, _ := slices.BinarySearch(s.set.topics, topic) // sorted
	return (i+partition)%max(s.env.Tasks, 1) == s.env.Task
}

// shown is what Kafka shows of the topics.
type shown struct {
	topics   map[string]resume.Topic
	problems map[string]error // why the others cannot be read
	notes    []string         // what users should know of those that can
}

// lookUp asks for the topics. An answer that is not older than maxAge will do.
func (s *Source) lookUp(ctx context.Context, maxAge time.Duration) (shown, error) {
	details, err := s.hub.Topics(ctx, s.set.topics, maxAge)
	if err != nil {
		return shown{}, s.set.explain(ctx, "looking up the topics", err)
	}
	out := shown{topics: make(map[string]resume.Topic), problems: make(map[string]error)}
	for _, topic := range s.set.topics {
		d, told := details[topic]
		if !told {
			d.Err = kerr.LeaderNotAvailable // a broker that has just started knows nothing
		}
		if d.Err != nil {
			out.problems[topic] = s.set.explainTopic(ctx, topic, d.Err)
			continue
		}
		t := resume.Topic{Name: topic, Partitions: len(d.Partitions)}
		if d.ID != (kadm.TopicID{}) {
			t.ID = base64.RawURLEncoding.EncodeToString(d.ID[:]) // as Kafka's own tools show it
		}
		out.topics[topic] = t
		if headless := leaderless(d.Partitions); len(headless) > 0 {
			out.notes = append(out.notes, fmt.Sprintf("partitions %s of topic %s have no leader in Kafka; they are read on once they have one",
				strings.Trim(fmt.Sprint(headless), "[]"), topic))
		}
	}
	return out, nil
}

func leaderless(partitions kadm.PartitionDetails) (out []int32) {
	for number, p := range partitions {
		if p.Leader < 0 {
			out = append(out, number)
		}
	}
	slices.Sort(out)
	return out
}

// maxTold bounds how many topics' problems are told at once: there may be thousands, in each of a thousand tasks.
const maxTold = 8

// told is the problems by topic, sorted, as far as they are told.
func (sh shown) told() (out []error) {
	topics := slices.Sorted(maps.Keys(sh.problems))
	for _, topic := range topics[:min(len(topics), maxTold)] {
		out = append(out, sh.problems[topic])
	}
	if more := len(topics) - len(out); more > 0 {
		out = append(out, fmt.Errorf("%d more topics cannot be read either", more))
	}
	return out
}

// warn tells users which topics are not read, and why.
func (s *Source) warn(sh shown) {
	texts := slices.Clone(sh.notes)
	for _, err := range sh.told() {
		texts = append(texts, fmt.Sprintf("%v; the other topics are read on, and this one is once it can be", err))
	}
	if text := strings.Join(texts, "; "); text != s.warned {
		s.warned = text
		s.env.Warn(text)
	}
}

// all is the problems as one error.
func (sh shown) all() error { return errors.Join(sh.told()...) }

// ensureTarget makes the RocketMQ topic with as many queues as its Kafka topic has partitions.
func (s *Source) ensureTarget(ctx context.Context, t resume.Topic) error {
	if err := s.env.EnsureTopic(ctx, t.Name, t.Partitions); err != nil {
		return fmt.Errorf("making the RocketMQ topic for Kafka topic %s: %w", t.Name, err)
	}
	return nil
}

// begin finds out where this task's partitions of a topic begin, from a first one on.
func (s *Source) begin(ctx context.Context, t resume.Topic, first int, plan resume.Plan) (news, error) {
	n := news{id: t.ID, former: plan.Former, starts: make(map[watch.Partition]kgo.EpochOffset), progress: make(record.Positions)}
	var unknown []int32
	for p := first; p < t.Partitions; p++ {
		if s.mine(t.Name, p) && plan.Starts[p].Where != resume.AtOffset {
			unknown = append(unknown, int32(p))
		}
	}
	limits, err := s.bounds(ctx, t.Name, unknown)
	if err != nil {
		return news{}, err
	}
	for p := first; p < t.Partitions; p++ {
		if !s.mine(t.Name, p) {
			continue
		}
		start, offset := plan.Starts[p], plan.Starts[p].Offset
		switch start.Where {
		case resume.AtFirst:
			offset = limits[int32(p)].start
		case resume.AtEnd:
			offset = limits[int32(p)].end
			n.progress[resume.Begun(resume.Partition(t.Name, int32(p)))] = resume.Place{Offset: int64(plan.AtEnd), Topic: t.ID}.Position()
		}
		n.starts[watch.Partition{Topic: t.Name, Number: int32(p)}] = kgo.EpochOffset{Epoch: -1, Offset: offset}
		if start.Store {
			// Stored at once: a restart before the first record must not skip what came in between.
			n.progress[resume.Partition(t.Name, int32(p))] = resume.Place{Offset: offset, Topic: t.ID}.Position()
		}
	}
	return n, nil
}

// beginAll begins the topics that are there. It fails if none is.
func (s *Source) beginAll(ctx context.Context) error {
	sh, err := s.lookUp(ctx, s.set.refresh/2)
	if err != nil {
		return err
	}
	for topic, t := range sh.topics {
		plan, err := resume.Of(s.from, t, s.set.reset, false)
		if err != nil {
			return s.unplanned(topic, err)
		}
		var n news
		if err = s.ensureTarget(ctx, t); err == nil {
			n, err = s.begin(ctx, t, 0, plan)
		}
		switch {
		case err == nil:
			s.known[topic] = t
			s.apply(topic, n)
		case errors.Is(err, connector.ErrNotConnected), errors.Is(err, connector.ErrTopicName):
			sh.problems[topic] = err
		default:
			return err
		}
	}
	if len(s.known) == 0 {
		return sh.all()
	}
	s.noteAbsent(sh)
	s.warn(sh)
	return nil
}

// noteAbsent stores of topics that are not there that no partition of theirs was, so that they begin at their first
// record when they come, whatever auto.offset.reset says.
func (s *Source) noteAbsent(sh shown) {
	for topic, problem := range sh.problems {
		name := resume.Partition(topic, 0)
		if errors.Is(problem, kerr.UnknownTopicOrPartition) && s.set.reset == resume.Latest && s.mine(topic, 0) &&
			s.from[name] == "" && s.from[resume.Begun(name)] == "" {
			s.progress[resume.Begun(name)] = resume.Place{}.Position()
		}
	}
}

// unplanned says what to do where auto.offset.reset is none.
func (s *Source) unplanned(topic string, err error) error {
	switch {
	case errors.Is(err, resume.ErrNoPlace):
		return fmt.Errorf("topic %s has no stored position: set %s to %s or %s", topic, keyReset, resume.Earliest, resume.Latest)
	case errors.Is(err, resume.ErrRemade):
		return fmt.Errorf("topic %s was deleted and recreated, and the stored positions are of the former one: set %s to %s or %s, "+
			"which reads it from its first record, or reset the connector's positions", topic, keyReset, resume.Earliest, resume.Latest)
	}
	return err
}

// watchTopics looks at the topics again and again, and when Poll doubts one: for new partitions, topics that go, come
// or are recreated. It notices, too, that Kafka is gone, which neither fetches nor waits tell.
func (s *Source) watchTopics() error {
	tick := time.NewTicker(s.set.refresh)
	defer tick.Stop()
	for {
		maxAge := s.set.refresh / 2
		select {
		case <-s.broken.Done():
			return nil
		case <-tick.C:
		case <-s.fresh.doubt:
			maxAge = 0
		}
		sh, err := s.lookUp(s.broken, maxAge)
		if err != nil {
			return err
		}
		doubted := s.fresh.doubts()
		s.withoutDenied(sh, doubted)
		if err := s.follow(sh, doubted); err != nil {
			return err
		}
		if service.Sleep(s.broken, minRefresh) != nil { // who doubts again and again waits
			return nil
		}
	}
}

// follow tells Poll what has become of each topic. It fails once none can be read and none will by itself.
func (s *Source) follow(sh shown, doubted map[string]error) error {
	hopeless := true
	for _, topic := range s.set.topics {
		_, inDoubt := doubted[topic]
		if t, there := sh.topics[topic]; there {
			if err := s.followTopic(t, inDoubt, sh.problems); err != nil {
				return err
			}
			hopeless = false
			continue
		}
		switch {
		case errors.Is(sh.problems[topic], connector.ErrNotConnected):
			hopeless = false
		case s.known[topic].Name != "" && (inDoubt || !s.gone[topic]):
			s.gone[topic] = true
			s.fresh.put(topic, news{away: true})
		}
	}
	if hopeless {
		return sh.all()
	}
	s.warn(sh)
	return nil
}

// followTopic follows a topic that is there. Why it cannot be begun yet goes to problems.
func (s *Source) followTopic(t resume.Topic, doubted bool, problems map[string]error) (err error) {
	known, n := s.known[t.Name], news{id: t.ID}
	switch {
	case known.Name == "":
		if n, err = s.beginLate(t, problems); err != nil || problems[t.Name] != nil {
			return err
		}
	case !t.Is(known.ID):
		plan, err := resume.Recreated(known.ID, t, s.set.reset)
		if err != nil {
			return s.unplanned(t.Name, err)
		}
		if n, err = s.begin(s.broken, t, 0, plan); err != nil {
			return err
		}
	case t.Partitions > known.Partitions:
		var grown bool
		if n, grown, err = s.grow(t, known.Partitions); err != nil || !grown {
			return err
		}
	case !doubted && !s.gone[t.Name]:
		return nil
	}
	delete(s.gone, t.Name)
	s.known[t.Name] = t
	s.fresh.put(t.Name, n)
	return nil
}

// beginLate begins a topic that was not there when the task started.
func (s *Source) beginLate(t resume.Topic, problems map[string]error) (news, error) {
	plan, err := resume.Of(s.from, t, s.set.reset, true)
	if err != nil {
		return news{}, s.unplanned(t.Name, err)
	}
	var n news
	if err = s.ensureTarget(s.broken, t); err == nil {
		n, err = s.begin(s.broken, t, 0, plan)
	}
	if err != nil {
		problems[t.Name] = err
		return news{}, nil
	}
	s.env.Log.Info("Reading a topic that could not be read before", "topic", t.Name)
	return n, nil
}

// grow begins the partitions that a topic has got besides the known ones, from their first records. What was stored
// when the source was opened counts where it is surely of this topic: it may have been recreated since with fewer
// partitions.
func (s *Source) grow(t resume.Topic, known int) (n news, grown bool, err error) {
	plan, err := resume.Of(resume.Sure(s.from, t), t, resume.Earliest, true)
	if err != nil {
		return news{}, false, s.unplanned(t.Name, err)
	}
	n, err = s.begin(s.broken, t, known, plan)
	if errors.Is(err, connector.ErrNotConnected) {
		s.env.Log.V(1).Info("Looking again later for where new partitions start", "topic", t.Name, "reason", err.Error())
		return news{}, false, nil
	}
	n.former = ""
	for p := range n.starts {
		s.env.Log.Info("Adding a new partition", "partition", resume.Partition(p.Topic, p.Number))
	}
	return n, true, err
}

// news is what has become of a topic.
type news struct {
	away     bool   // it cannot be read
	id       string // else: the topic's id
	former   string // the id of the topic that it stands in for
	starts   map[watch.Partition]kgo.EpochOffset
	progress record.Positions
}

// arrivals hands news from the watch to Poll, and doubts back.
type arrivals struct {
	doubt chan struct{} // capacity 1

	mu        sync.Mutex
	news      []topicNews
	doubted   map[string]error
	interrupt context.CancelFunc
}

type topicNews struct {
	topic string
	news
}

// put hands over, and ends what Poll waits for.
func (a *arrivals) put(topic string, n news) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.news = append(a.news, topicNews{topic, n})
	if a.interrupt != nil {
		a.interrupt()
	}
}

// take returns what has come; from now on interrupt is called when more does.
func (a *arrivals) take(interrupt context.CancelFunc) []topicNews {
	a.mu.Lock()
	defer a.mu.Unlock()
	came := a.news
	a.news, a.interrupt = nil, interrupt
	return came
}

// ask has the watch look at a topic now; denied is not nil if its records are.
func (a *arrivals) ask(topic string, denied error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.doubted == nil {
		a.doubted = make(map[string]error)
	}
	a.doubted[topic] = denied
	service.Signal(a.doubt)
}

func (a *arrivals) doubts() map[string]error {
	a.mu.Lock()
	defer a.mu.Unlock()
	doubted := a.doubted
	a.doubted = nil
	return doubted
}
