package rmq

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

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// LogPlace says where a log topic lies. The zero value takes it wherever it is.
type LogPlace struct {
	// Broker is the only one that will do; "": any.
	Broker string
	// Beside names a log topic on whose broker this one is made if it is not there; "": it is made on the first by name.
	Beside string
}

// EnsureLogTopic returns the one queue of a log topic, which is created if there is none. A topic of any other shape is
// left alone: ErrTopicShape. Every other master gets a marker of it. While the broker on which it was when it was last
// seen is away, or markers alone are to be seen, nothing is created (ErrTopicAway) unless place names a broker.
//
// The broker is believed over the name server: a master that goes on saying for Config.LogGone that it has no such
// topic gets it again.
func (c *Client) EnsureLogTopic(ctx context.Context, topic string, place LogPlace) (Queue, error) {
	r, err := c.lookUp(ctx, topic)
	if errors.Is(err, ErrTopicNotFound) || errors.Is(err, ErrTopicAway) {
		r, err = c.createLog(ctx, topic, place, r)
	}
	if err != nil {
		return Queue{}, err
	}
	if err := logShape(topic, r); err != nil {
		return Queue{}, err
	}
	q := r.queues[0]
	if place.Broker != "" && q.Broker != place.Broker {
		return Queue{}, fmt.Errorf(
			"%w: topic %s lies on broker %s and is wanted on %s: change the setting, or delete the topic if nothing in it is needed",
			ErrTopicShape,
			topic,
			q.Broker,
			place.Broker,
		)
	}
	if err := c.held(ctx, q, r.addrs[q.Broker]); err != nil {
		return Queue{}, err
	}
	c.logs.found(q)
	if brokers, err := c.Brokers(ctx); err == nil { // else the next call says so
		c.mark(ctx, topic, r, brokers)
	}
	return q, nil
}

// createLog makes a log topic. marked is the route of its markers, nil if there are none.
//
// Invariant C1: there is one log. A second one, made while the broker of the first is away, would be a second order of
// events.
func (c *Client) createLog(ctx context.Context, topic string, place LogPlace, marked *route) (*route, error) {
	broker, err := c.site(ctx, topic, place, marked)
	if err != nil {
		return nil, err
	}
	brokers, err := c.targets(ctx, topic, broker)
	if err != nil {
		return nil, err
	}
	if _, err := c.create(ctx, topic, TopicSpec{Queues: 1}, brokers[:1]); err != nil {
		return nil, err
	}
	return c.routes.get(ctx, c, topic)
}

// site names the broker on which a log topic is to be made; "" is the first by name. A broker that held it when it was
// last seen, and that is there without it, has lost it.
func (c *Client) site(ctx context.Context, topic string, place LogPlace, marked *route) (string, error) {
	if place.Broker != "" {
		return place.Broker, nil
	}
	home := c.logs.broker(topic)
	switch brokers, err := c.Brokers(ctx); {
	case err != nil:
		return "", fmt.Errorf("creating topic %s: %w", topic, err)
	case home != "" && !registered(brokers, home):
		return "", fmt.Errorf("looking up topic %s: %w: it was on broker %s when it was last seen", topic, ErrTopicAway, home)
	case home == "" && marked != nil:
		return "", marked.away(topic)
	case place.Beside == "":
		return home, nil
	}
	beside, err := c.lookUp(ctx, place.Beside)
	if err == nil {
		err = logShape(place.Beside, beside)
	}
	if err != nil {
		return "", fmt.Errorf("creating topic %s on the broker of topic %s: %w", topic, place.Beside, err)
	}
	return beside.queues[0].Broker, nil
}

func registered(brokers []Broker, name string) bool {
	return slices.ContainsFunc(brokers, func(b Broker) bool { return b.Name == name })
}

// held is nil if the master that the route names has the log. One that says that it has not may be about to give way to
// one that has: only after a while is the topic made there again. It is the same broker name, so there still is one
// log.
//
// Invariant C4: who has read the log, or published to it, finds that it ends before.
func (c *Client) held(ctx context.Context, q Queue, addr string) error {
	_, end, err := c.offsets(ctx, q, forControl)
	if err == nil { // brokers may know the offsets of what is not there
		_, err = c.pull(ctx, pullRequest{queue: q, group: logGroup, offset: end, max: 1, purpose: forControl})
	}
	var b *BrokerError
	if !errors.As(err, &b) || b.Code != remoting.TopicNotExist {
		if err == nil {
			c.logs.accepted(q)
		}
		return err
	}
	denied := c.logs.refused(q, addr, time.Now())
	if time.Since(denied.since) < c.cfg.LogGone {
		return fmt.Errorf("%s: it is made there again after %s: %w", denied.text(q), c.cfg.LogGone, err)
	}
	c.log.Info("Making a topic again that its broker has lost: what it held is published again as far as workers hold it",
		"topic", q.Topic, "broker", q.Broker, "addr", addr, "since", denied.since.UTC().Format(time.RFC3339))
	if _, err := c.create(ctx, q.Topic, TopicSpec{Queues: 1}, []Broker{{Name: q.Broker, Addr: addr}}); err != nil {
		return err
	}
	c.logs.accepted(q)
	return nil
}

// mark makes a marker of a log on each master that has nothing of it: the same topic, to be neither read nor written.
// The name server goes on showing that while the broker that holds the log is away, and nobody takes the log for one
// that was never made. Nothing depends on a marker while that broker is there: one that fails is left to a later look.
func (c *Client) mark(ctx context.Context, topic string, r *route, brokers []Broker) {
	for _, b := range brokers {
		if r.has(b.Name) || c.logs.unmarkable(b.Name) {
			continue
		}
		refused := c.createTopic(ctx, b, topic, TopicSpec{Queues: 1, marker: true})
		if refused == nil {
			c.logs.marked(b.Name)
			continue
		}
		if ctx.Err() != nil {
			return
		}
		if again, err := c.fetchRoute(ctx, topic); err == nil && again.has(b.Name) {
			continue // somebody else was faster
		}
		if c.logs.unmarked(b.Name) {
			c.log.Info("Going on without a marker: while the broker of the topic is away, this one does not tell that the topic is there",
				"topic", topic, "broker", b.Name, "err", refused.Error())
		}
	}
}

// LogTopics is where log topics are.
type LogTopics struct {
	// Brokers has the broker of each topic that is there.
	Brokers map[string]string
	// Compacting are the topics that keep the last record of each key for ever, on any broker, markers included.
	Compacting []string
}

// TendLogTopics looks log topics over, and makes the markers that are missing: of topics that are there, and of those
// whose broker is away. A topic that is nowhere is left to those who use it. What was found counts also beside an
// error.
func (c *Client) TendLogTopics(ctx context.Context, topics ...string) (LogTopics, error) {
	out := LogTopics{Brokers: map[string]string{}}
	brokers, err := c.Brokers(ctx)
	if err != nil {
		return out, fmt.Errorf("looking after log topics: %w", err)
	}
	c.logs.tryMarkersAgain()
	var failed error
	for _, topic := range topics {
		r, err := c.lookUp(ctx, topic)
		home := c.logs.broker(topic)
		switch {
		case err == nil && logShape(topic, r) == nil:
			out.Brokers[topic] = r.queues[0].Broker
			c.mark(ctx, topic, r, brokers)
		case !errors.Is(err, ErrTopicNotFound) && !errors.Is(err, ErrTopicAway):
			failed = errors.Join(failed, err)
		case home != "" && !registered(brokers, home):
			c.mark(ctx, topic, r, brokers)
		}
		compacts, err := c.compactsAnywhere(ctx, topic, r)
		if failed = errors.Join(failed, err); compacts {
			out.Compacting = append(out.Compacting, topic)
		}
	}
	return out, failed
}

// compactsAnywhere looks at the topic on each of its masters.
func (c *Client) compactsAnywhere(ctx context.Context, topic string, r *route) (bool, error) {
	if r == nil {
		return false, nil
	}
	var failed error
	for _, broker := range r.brokers {
		addr := r.addrs[broker]
		if addr == "" {
			continue // its slave alone
		}
		req := c.topicConfig(Queue{Topic: topic, Broker: broker})
		req.addr, req.broker = addr, broker
		compacts, err := compaction(c.call(ctx, req))
		if compacts {
			return true, nil
		}
		if !errors.Is(err, ErrTopicNotFound) {
			failed = errors.Join(failed, err)
		}
	}
	return false, failed
}

// LogBrokers gives the brokers on which log topics were when they were last seen, for Config.LogBrokers of a later
// client.
func (c *Client) LogBrokers() map[string]string {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	return maps.Clone(c.logs.brokers)
}

// DeniedLogTopics says which brokers deny log topics that the name server shows there, and since when.
func (c *Client) DeniedLogTopics() []string {
	c.logs.mu.Lock()
	defer c.logs.mu.Unlock()
	var out []string
	for q, d := range c.logs.denials {
		if time.Since(d.last) <= c.cfg.LogGone {
			out = append(out, d.text(q))
		}
	}
	slices.Sort(out)
	return out
}

// logTopics is what a client remembers of log topics.
type logTopics struct {
	mu         sync.Mutex
	brokers    map[string]string // by topic
	denials    map[Queue]denial
	markerless map[string]bool // brokers that took no marker, and whether they are left alone until the next look
}

func newLogTopics(brokers map[string]string) *logTopics {
	l := &logTopics{brokers: map[string]string{}, denials: map[Queue]denial{}, markerless: map[string]bool{}}
	maps.Copy(l.brokers, brokers)
	return l
}

// denial is for how long a broker has said that it does not have a log.
type denial struct {
	addr        string
	since, last time.Time
}

func (d denial) text(q Queue) string {
	return fmt.Sprintf("broker %s (%s) says since %s that it has no topic %s, which the name server shows there",
		q.Broker, d.addr, d.since.UTC().Format(time.RFC3339), q.Topic)
}

// denialGap is the longest time between two denials that count as one.
const denialGap = time.Minute

func (l *logTopics) broker(topic string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.brokers[topic]
}

func (l *logTopics) found(q Queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.brokers[q.Topic] = q.Broker
}

// refused notes a denial that came just now.
func (l *logTopics) refused(q Queue, addr string, now time.Time) denial {
	l.mu.Lock()
	defer l.mu.Unlock()
	d, ok := l.denials[q]
	if !ok || now.Sub(d.last) > denialGap {
		d.since = now
	}
	d.addr, d.last = addr, now
	l.denials[q] = d
	return d
}

func (l *logTopics) accepted(q Queue) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.denials, q)
}

// unmarked notes that a broker took no marker, and says whether that is news.
func (l *logTopics) unmarked(broker string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known := l.markerless[broker]
	l.markerless[broker] = true
	return !known
}

func (l *logTopics) marked(broker string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.markerless, broker)
}

func (l *logTopics) unmarkable(broker string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.markerless[broker]
}

func (l *logTopics) tryMarkersAgain() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for broker := range l.markerless {
		l.markerless[broker] = false
	}
}

// logShape is nil when the topic is one queue on one broker, to read and to write. A broker that lets nobody write, or
// read, may change its mind: that is ErrUnreachable, any other shape ErrTopicShape.
func logShape(topic string, r *route) error {
	if len(r.queues) == 1 && slices.Equal(r.queues, r.writable) {
		return nil
	}
	if one := slices.Concat(r.queues, r.writable); len(one) == 1 {
		refuses := "write"
		if len(r.writable) == 1 {
			refuses = "read"
		}
		return fmt.Errorf("topic %s is %w: broker %s lets nobody %s it: give the broker, or the topic, its permission back",
			topic, ErrUnreachable, one[0].Broker, refuses)
	}
	return fmt.Errorf("%w: topic %s has %d readable and %d writable queues: use another name, or delete the topic if nothing in it is needed",
		ErrTopicShape, topic, len(r.queues), len(r.writable))
}

// defaultRetention is how long brokers keep records unless they are told otherwise.
const defaultRetention = 72 * time.Hour

// maxReservedHours is a hundred years: durations end at 292.
const maxReservedHours = 100 * 365 * 24

// Retention is how long the broker keeps the log's records at least; 0 means that the last of each key stays for ever,
// as in a topic that an earlier version made. A broker that does not tell how long counts as one with the default.
func (l *Log) Retention(ctx context.Context) (time.Duration, error) {
	compacts, err := l.compacts(ctx)
	if err != nil || compacts {
		return 0, err
	}
	resp, err := l.c.onQueue(ctx, l.q, &request{
		op: "reading the configuration of broker " + l.q.Broker, cmd: remoting.Command{Code: remoting.BrokerConfig},
	})
	if untold(err) {
		return defaultRetention, nil
	}
	if err != nil {
		return 0, err
	}
	return reservedTime(resp.Body), nil
}

// compacts says whether the topic keeps the last record of each key, as those that an earlier version made.
func (l *Log) compacts(ctx context.Context) (bool, error) {
	return compaction(l.c.onQueue(ctx, l.q, l.c.topicConfig(l.q)))
}

// reservedTime finds the hours for which a broker keeps its files in its configuration, one key=value a line.
func reservedTime(config []byte) time.Duration {
	for line := range strings.Lines(string(config)) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), "fileReservedTime="); ok {
			if hours, err := strconv.Atoi(value); err == nil && hours > 0 {
				return time.Duration(min(hours, maxReservedHours)) * time.Hour
			}
		}
	}
	return defaultRetention
}
