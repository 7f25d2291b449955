package rmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/brokers"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// routeTTL is how long a route is used before it is looked up again behind its users' backs.
const routeTTL = 30 * time.Second

// Permission bits of a topic on a broker.
const (
	permWrite = 2
	permRead  = 4
)

// route is what the name server knows of a topic. It is immutable.
type route struct {
	queues   []Queue           // readable, sorted by (broker, id)
	writable []Queue           // sorted by (broker, id)
	brokers  []string          // that have the topic, also where it is neither
	addrs    map[string]string // of the masters, by broker name
	targets  *Targets
	slaves   []string // brokers of which only slaves are registered
	fetched  time.Time
}

// away is ErrTopicAway if brokers have the topic and none lets it be read or written.
func (r *route) away(topic string) error {
	if len(r.brokers) == 0 || len(r.queues)+len(r.writable) > 0 {
		return nil
	}
	return fmt.Errorf("looking up topic %s: %w: only markers of it are, on %s", topic, ErrTopicAway, strings.Join(r.brokers, ", "))
}

// has reports whether a broker has the topic, or a marker of it. A topic without a route is nowhere.
func (r *route) has(broker string) bool { return r != nil && slices.Contains(r.brokers, broker) }

type routeBody struct {
	QueueDatas []struct {
		BrokerName     string `json:"brokerName"`
		ReadQueueNums  int    `json:"readQueueNums"`
		WriteQueueNums int    `json:"writeQueueNums"`
		Perm           int    `json:"perm"`
	} `json:"queueDatas"`
	BrokerDatas []brokers.Data `json:"brokerDatas"`
}

// maxQueues is more than any broker has of one topic; it keeps a mad route from filling the memory.
const maxQueues = 1 << 16

func parseRoute(topic string, body []byte) (*route, error) {
	var b routeBody
	if err := remoting.UnmarshalBody(body, &b); err != nil {
		return nil, fmt.Errorf("reading the route of topic %s: %w", topic, err)
	}
	r := &route{addrs: map[string]string{}, fetched: time.Now()}
	for _, d := range b.BrokerDatas {
		if addr := d.Master(); addr != "" {
			r.addrs[d.BrokerName] = addr
		} else if len(d.BrokerAddrs) > 0 {
			r.slaves = append(r.slaves, d.BrokerName)
		}
	}
	for _, d := range b.QueueDatas {
		r.brokers = append(r.brokers, d.BrokerName)
		if d.Perm&permRead != 0 {
			r.queues = appendQueues(r.queues, topic, d.BrokerName, d.ReadQueueNums)
		}
		if d.Perm&permWrite != 0 {
			r.writable = appendQueues(r.writable, topic, d.BrokerName, d.WriteQueueNums)
		}
	}
	slices.SortFunc(r.queues, compareQueues)
	slices.SortFunc(r.writable, compareQueues)
	r.targets = &Targets{Queues: r.writable, Brokers: r.brokers}
	return r, nil
}

func appendQueues(qs []Queue, topic, broker string, n int) []Queue {
	for id := range min(n, maxQueues) {
		qs = append(qs, Queue{Topic: topic, Broker: broker, ID: id})
	}
	return qs
}

func compareQueues(a, b Queue) int {
	return cmp.Or(cmp.Compare(a.Topic, b.Topic), cmp.Compare(a.Broker, b.Broker), cmp.Compare(a.ID, b.ID))
}

// fetchRoute asks a name server.
func (c *Client) fetchRoute(ctx context.Context, topic string) (*route, error) {
	question := c.masters.Ask()
	resp, err := c.names.call(ctx, c, request{
		op: "looking up topic " + topic,
		cmd: remoting.Command{Code: remoting.RouteByTopic, Fields: []remoting.Field{
			{Name: "topic", Value: c.onWire(topic)}, {Name: "acceptStandardJsonOnly", Value: "true"},
		}},
	})
	if err != nil {
		return nil, err
	}
	r, err := parseRoute(topic, resp.Body)
	if err == nil {
		c.learn(question, r.addrs)
	}
	return r, err
}

// routeCache keeps routes. An old one is better than none, or than markers alone: brokers are dropped from the name
// server while they restart.
type routeCache struct {
	mu     sync.Mutex
	topics map[string]*routeEntry
}

type routeEntry struct {
	route    *route
	suspect  bool          // look it up before the next use
	fetching chan struct{} // closed when the lookup that runs has ended; nil when none runs
	err      error         // of the last lookup
	beside   *Targets      // of route, with brokers besides that do not have the topic
	besides  *route        // whose targets those are
}

// beside gives the targets of a route with brokers besides that are there and do not have the topic: the same ones for
// as long as both stay as they are.
func (rc *routeCache) beside(topic string, r *route, lacking []string) *Targets {
	all := slices.Concat(r.brokers, lacking)
	rc.mu.Lock()
	defer rc.mu.Unlock()
	e := rc.topics[topic]
	if e == nil {
		e = &routeEntry{}
		rc.topics[topic] = e
	}
	if e.beside == nil || e.besides != r || !slices.Equal(e.beside.Brokers, all) {
		e.beside, e.besides = &Targets{Queues: r.writable, Brokers: all}, r
	}
	return e.beside
}

// get gives the route of a topic. It waits for a lookup only when there is no route yet or the last use failed, and
// falls back on the route it has.
func (rc *routeCache) get(ctx context.Context, c *Client, topic string) (*route, error) {
	known, e, fetching, err := rc.look(c, topic)
	if err != nil || fetching == nil {
		return known, err
	}
	return rc.await(ctx, e, fetching)
}

// latest is get, but waits only when there is no route yet.
func (rc *routeCache) latest(ctx context.Context, c *Client, topic string) (*route, error) {
	known, e, fetching, err := rc.look(c, topic)
	if err != nil || known != nil {
		return known, err
	}
	return rc.await(ctx, e, fetching)
}

// look gives the route that is known, and has it looked up when it is old or in doubt. fetching is not nil when the
// route is not to be used before that has ended.
func (rc *routeCache) look(c *Client, topic string) (known *route, e *routeEntry, fetching chan struct{}, err error) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if e = rc.topics[topic]; e == nil {
		e = &routeEntry{}
		rc.topics[topic] = e
	}
	known = e.route
	if known != nil && !e.suspect && time.Since(known.fetched) < routeTTL {
		return known, e, nil, nil
	}
	if e.fetching == nil {
		done := make(chan struct{})
		if !c.background(func(ctx context.Context) { rc.fetch(ctx, c, topic, e); close(done) }) {
			return nil, e, nil, ErrClosed
		}
		e.fetching = done
	}
	if known == nil || e.suspect {
		fetching = e.fetching
	}
	return known, e, fetching, nil
}

func (rc *routeCache) await(ctx context.Context, e *routeEntry, fetching chan struct{}) (*route, error) {
	select {
	case <-fetching:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if e.route != nil {
		return e.route, nil
	}
	return nil, e.err
}

// fetch looks a route up and keeps the result.
func (rc *routeCache) fetch(ctx context.Context, c *Client, topic string, e *routeEntry) {
	r, err := c.fetchRoute(ctx, topic)
	if err == nil {
		err = r.away(topic)
	}
	rc.mu.Lock()
	defer rc.mu.Unlock()
	e.fetching, e.err, e.suspect = nil, err, false
	switch {
	case err == nil:
		e.route = r
	case e.route != nil: // keep it, and ask again after a while
		old := *e.route
		old.fetched = time.Now()
		e.route = &old
	default:
		delete(rc.topics, topic)
	}
}

// known gives the route that was looked up last, nil for none.
func (rc *routeCache) known(topic string) *route {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if e := rc.topics[topic]; e != nil {
		return e.route
	}
	return nil
}

// put keeps a route that was looked up by the way.
func (rc *routeCache) put(topic string, r *route) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	e := rc.topics[topic]
	if e == nil {
		e = &routeEntry{}
		rc.topics[topic] = e
	}
	e.route, e.suspect = r, false
}

// suspect makes the next get look the route up.
func (rc *routeCache) suspect(topic string) {
	rc.mu.Lock()
	defer rc.mu.Unlock()
	if e := rc.topics[topic]; e != nil {
		e.suspect = true
	}
}

// Route looks up the topic's queues, sorted by (broker, id). Without any it fails with ErrTopicNotFound, or
// ErrTopicAway.
func (c *Client) Route(ctx context.Context, topic string) ([]Queue, error) {
	r, err := c.lookUp(ctx, topic)
	if err != nil {
		return nil, err
	}
	return slices.Clone(r.queues), nil
}

// lookUp gives the route as a name server shows it now, and keeps it. Along with ErrTopicAway it gives a route of
// markers alone, which is not kept.
func (c *Client) lookUp(ctx context.Context, topic string) (*route, error) {
	r, err := c.fetchRoute(ctx, topic)
	if err != nil {
		return nil, err
	}
	if err := r.away(topic); err != nil {
		return r, err
	}
	c.routes.put(topic, r)
	if len(r.queues) == 0 {
		if len(r.writable) > 0 {
			return nil, fmt.Errorf("looking up topic %s: %w", topic, ErrNotReadable)
		}
		return nil, fmt.Errorf("looking up topic %s: no readable queue: %w", topic, ErrTopicNotFound)
	}
	return r, nil
}

// Brokers lists the masters, sorted by name. A proxy does not: ErrNoListing.
func (c *Client) Brokers(ctx context.Context) ([]Broker, error) {
	const op = "listing brokers"
	question := c.masters.Ask()
	resp, err := c.names.call(ctx, c, request{op: op, cmd: remoting.Command{Code: remoting.ClusterInfo}})
	if notSupported(err) {
		return nil, fmt.Errorf("%s: %w: %w", op, ErrNoListing, err)
	}
	if err != nil {
		return nil, err
	}
	out, err := brokers.ParseList(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", op, err)
	}
	addrs := map[string]string{}
	for _, b := range out {
		addrs[b.Name] = b.Addr
	}
	c.masters.List(question, slices.Collect(maps.Keys(addrs)))
	c.learn(question, addrs)
	return out, nil
}

// Settings are how the broker of a queue is configured, as far as it concerns its answers; false where it does not
// tell.
func (c *Client) Settings(ctx context.Context, q Queue) (brokers.Settings, bool, error) {
	resp, err := c.onQueue(ctx, q, &request{
		op: "reading the configuration of broker " + q.Broker, cmd: remoting.Command{Code: remoting.BrokerConfig},
	})
	if untold(err) {
		return brokers.Settings{}, false, nil
	}
	if err != nil {
		return brokers.Settings{}, false, err
	}
	return brokers.ParseSettings(resp.Body), true, nil
}

// notSupported says whether the name servers that could be reached know no such request, and all could be reached.
func notSupported(err error) bool {
	var b *BrokerError
	return errors.As(err, &b) && b.Code == remoting.CodeNotSupported && !errors.Is(err, ErrUnreachable)
}

// learn takes what a name server says of masters. Where one has moved, what is pending at its old address fails at
// once, and is retried at the new one, whatever route it was sent by: a broker that hangs would hold it until its time
// is over.
func (c *Client) learn(question int64, addrs map[string]string) {
	for _, move := range c.masters.Learn(question, addrs) {
		c.log.Info("Dropping connections, for the master is at another address now", "broker", move.Broker, "from", move.From, "to", move.To)
		c.pool.DropAddr(move.From, fmt.Sprintf("the master of broker %s is at %s now", move.Broker, move.To))
	}
}

// watchEvery is how often a client that reads or sends looks where the masters are: parked pulls notice nothing by
// themselves.
const watchEvery = 2 * time.Second

// watch looks where the masters are until ctx ends, or a name server turns out not to tell.
func (c *Client) watch(ctx context.Context) {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
		// Not cut off by ctx: that would cost the connection, and others their requests on it.
		if _, err := c.Brokers(c.ctx); errors.Is(err, ErrNoListing) {
			c.mu.Lock()
			c.watching.inVain = true
			c.mu.Unlock()
			return
		}
	}
}

// watching counts who needs the masters watched. The client's mu guards it.
type watching struct {
	users  int
	stop   context.CancelFunc
	inVain bool // a name server told that it does not tell
}

// watched has the masters watched until the returned function is called.
func (c *Client) watched() (done func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.watching.users++; c.watching.users == 1 && !c.watching.inVain && c.ctx.Err() == nil {
		ctx, stop := context.WithCancel(c.ctx)
		c.watching.stop = stop
		c.group.Go(func() { c.watch(ctx) })
	}
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.watching.users--; c.watching.users == 0 && c.watching.stop != nil {
			c.watching.stop()
		}
	})
}
