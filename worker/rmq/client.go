package rmq

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/rmq/brokers"
	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/permission"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/tlsdial"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	defaultSendTimeout = 2 * time.Second
	defaultCallTimeout = 3 * time.Second
	defaultLogGone     = 5 * time.Second
)

// What the connections are for: each purpose has its own, so that a long poll or a large batch delays nothing else.
// Senders and Readers add their own.
const (
	forControl = "control"
	forAppend  = "append"
	forRead    = "read"
	forFollow  = "follow"
)

// Config says how to reach a RocketMQ cluster. NameServers is required; everything else has a usable zero value.
type Config struct {
	// NameServers are host:port; the one that answered last is asked first.
	NameServers []string
	// AccessKey, SecretKey and SecurityToken sign every request; all empty: unsigned.
	AccessKey, SecretKey, SecurityToken string
	// Namespace is put before topics and groups on the wire.
	Namespace string
	// ClientID names this process to the brokers: it is the producer group of what is sent.
	ClientID string
	// Log's zero value logs nothing.
	Log logr.Logger
	// SendTimeout bounds one append or batch from its start to its answer; default 2 s.
	SendTimeout time.Duration
	// CallTimeout bounds every other request; default 3 s.
	CallTimeout time.Duration
	// LogGone is for how long the master of a topic that is written to must say that it has none before it is made there
	// again; default 5 s.
	LogGone time.Duration
	// LogBrokers are the brokers on which log topics were when they were last seen, by topic: they are made nowhere else
	// while that broker is away. Client.LogBrokers gives them.
	LogBrokers map[string]string
	// TLS has name servers and brokers reached by TLS; nil: without.
	TLS *tlsdial.Files
	// Dial opens connections; nil: TCP with SO_LINGER 0 and, on Linux, TCP_USER_TIMEOUT = SendTimeout.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client speaks to one RocketMQ cluster. It is safe for concurrent use. One value holds it all, for all of it shares
// the connections, what is known of routes and masters, and one end; its methods are in the files of what they do
// (admin.go, log.go, logtopic.go, pull.go, attempt.go, route.go).
type Client struct {
	cfg     Config
	log     logr.Logger
	secure  *tlsdial.Dialer // nil: no TLS
	pool    *remoting.Pool
	names   nameServers
	routes  routeCache
	masters brokers.Masters
	logs    *logTopics
	ids     encode.IDs
	users   atomic.Int64 // numbers the purposes of Senders and Readers

	ctx    context.Context // ends with Close, cause ErrClosed
	cancel context.CancelCauseFunc

	mu        sync.Mutex
	closers   map[interface{ Close() error }]struct{}
	followers map[Queue]map[*follower]struct{}
	watching  watching
	group     service.Group
}

// Open checks cfg and does no IO but reading the files of TLS.
func Open(cfg Config) (*Client, error) {
	if len(cfg.NameServers) == 0 {
		return nil, errors.New("no name server is configured: give at least one host:port")
	}
	for _, s := range cfg.NameServers {
		if err := checkAddress(s); err != nil {
			return nil, fmt.Errorf("name server %q: %w: want host:port, for example 10.0.0.1:9876", s, err)
		}
	}
	if (cfg.AccessKey == "") != (cfg.SecretKey == "") {
		return nil, errors.New("access key and secret key: one is set and the other is not")
	}
	if cfg.SendTimeout <= 0 {
		cfg.SendTimeout = defaultSendTimeout
	}
	if cfg.CallTimeout <= 0 {
		cfg.CallTimeout = defaultCallTimeout
	}
	if cfg.LogGone <= 0 {
		cfg.LogGone = defaultLogGone
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "connect"
	}
	if cfg.Log.GetSink() == nil {
		cfg.Log = logr.Discard()
	}
	dial := remoting.Dialer(cfg.Dial)
	if dial == nil {
		dial = remoting.TCP(cfg.SendTimeout)
	}
	var secure *tlsdial.Dialer
	if cfg.TLS != nil {
		var err error
		if secure, err = tlsdial.New(*cfg.TLS, dial); err != nil {
			return nil, err
		}
		dial = secure.Dial
	}
	sign := remoting.Credentials{AccessKey: cfg.AccessKey, SecretKey: cfg.SecretKey, SecurityToken: cfg.SecurityToken}
	c := &Client{
		cfg: cfg, log: cfg.Log, secure: secure,
		pool:    remoting.NewPool(dial, cfg.CallTimeout, sign),
		names:   nameServers{addrs: cfg.NameServers},
		routes:  routeCache{topics: map[string]*routeEntry{}},
		logs:    newLogTopics(cfg.LogBrokers),
		ids:     encode.NewIDs(),
		closers: map[interface{ Close() error }]struct{}{}, followers: map[Queue]map[*follower]struct{}{},
	}
	c.ctx, c.cancel = context.WithCancelCause(context.Background())
	return c, nil
}

// StaleTLS says why the files of TLS are of no use any more, nil if they are: connections are then made with those of
// before.
func (c *Client) StaleTLS() error {
	if c.secure == nil {
		return nil
	}
	return c.secure.Stale()
}

func checkAddress(s string) error {
	host, port, err := net.SplitHostPort(s)
	if err != nil {
		return errors.New("not an address")
	}
	if n, err := strconv.Atoi(port); err != nil || n < 1 || n > 65535 || host == "" || strings.ContainsAny(host, "/ ") {
		return errors.New("bad host or port")
	}
	return nil
}

// Close fails what is pending at once, closes the client's Senders and Readers, and waits for its goroutines.
func (c *Client) Close() error {
	c.mu.Lock()
	c.cancel(ErrClosed)
	open := c.closers
	c.closers = map[interface{ Close() error }]struct{}{}
	c.mu.Unlock()
	c.pool.Close()
	var err error
	for closer := range open {
		err = errors.Join(err, closer.Close())
	}
	c.group.Wait()
	return err
}

// opened notes what Close must close. It says false when the client is closed already.
func (c *Client) opened(closer interface{ Close() error }) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.closers[closer] = struct{}{}
	return true
}

func (c *Client) gone(closer interface{ Close() error }) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.closers, closer)
}

// background runs fn in the client's group, unless the client is closed.
func (c *Client) background(fn func(ctx context.Context)) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ctx.Err() != nil {
		return false
	}
	c.group.Go(func() { fn(c.ctx) })
	return true
}

// request is one call: op says what it does, in errors.
type request struct {
	op            string
	addr, purpose string
	broker        string // the name of the broker, where that is asked
	nameServer    bool
	timeout       time.Duration
	cmd           remoting.Command
	// accept are answers besides success that are no errors.
	accept []int
}

// call sends a request and reads its answer. The errors are the context's cause, ErrClosed, ErrUnreachable (which
// leaves open whether the request was carried out) and *BrokerError.
func (c *Client) call(ctx context.Context, r *request) (*remoting.Command, error) {
	timeout := r.timeout
	if timeout == 0 {
		timeout = c.cfg.CallTimeout
	}
	if r.purpose == "" {
		r.purpose = forControl
	}
	limited, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	resp, err := c.pool.Call(limited, r.addr, r.purpose, &r.cmd)
	if err != nil {
		return nil, c.callError(ctx, r, timeout, err)
	}
	if resp.Code == remoting.Success {
		return resp, nil
	}
	if slices.Contains(r.accept, resp.Code) && !aclRefusal(resp.Code, resp.Remark) {
		return resp, nil
	}
	refused := &BrokerError{Op: r.op, Addr: r.addr, Broker: r.broker, NameServer: r.nameServer, Code: resp.Code,
		Remark: strings.TrimSpace(permission.Masked(resp.Remark, c.cfg.AccessKey))}
	if errors.Is(refused, ErrAccessDenied) {
		refused.Why = permission.Explain(r.cmd.Code, resp.Remark)
	}
	return nil, refused
}

func (c *Client) callError(ctx context.Context, r *request, timeout time.Duration, err error) error {
	switch {
	case c.ctx.Err() != nil || errors.Is(err, remoting.ErrPoolClosed):
		return fmt.Errorf("%s: %w", r.op, ErrClosed)
	case ctx.Err() != nil && (r.cmd.Longer == nil || !errors.Is(err, remoting.ErrConnection)): // what waits longer outlives ctx
		return fmt.Errorf("%s: waiting for %s: %w", r.op, place(r.broker, r.addr, r.nameServer), context.Cause(ctx))
	case errors.Is(err, remoting.ErrNoAnswer):
		err = fmt.Errorf("no answer in %s", timeout)
	case c.secure == nil && errors.Is(err, remoting.ErrSilent):
		err = tlsdial.Plain(err)
	}
	return fmt.Errorf("%s: %w", r.op, &AwayError{Broker: r.broker, Addr: r.addr, NameServer: r.nameServer, Err: err})
}

// nameServers tries the one that answered last first.
type nameServers struct {
	addrs []string
	mu    sync.Mutex
	first int
}

// call asks one name server after the other until one answers. A name server that was restarted knows no topics for a
// while, so a "no such topic" is believed only if none knows better.
func (n *nameServers) call(ctx context.Context, c *Client, r request) (*remoting.Command, error) {
	n.mu.Lock()
	first := n.first
	n.mu.Unlock()
	var failed, missing error
	for i := range n.addrs {
		at := (first + i) % len(n.addrs)
		attempt := r
		attempt.addr, attempt.nameServer = n.addrs[at], true
		resp, err := c.call(ctx, &attempt)
		if err == nil {
			n.mu.Lock()
			n.first = at
			n.mu.Unlock()
			return resp, nil
		}
		if errors.Is(err, ErrClosed) || ctx.Err() != nil {
			return nil, err
		}
		if errors.Is(err, ErrTopicNotFound) {
			missing = err
		} else {
			failed = errors.Join(failed, err)
		}
	}
	if missing != nil {
		return nil, missing
	}
	return nil, failed
}

var (
	// errNoMaster means that a queue's broker is not in the route of its topic, errOnlySlave that it is there without its
	// master.
	errNoMaster  = errors.New("its master is not registered with the name server")
	errOnlySlave = errors.New("its master is not registered with the name server, only a slave is")
	// errNoTopic means that the broker is registered, and that the topic is not on it any more.
	errNoTopic = errors.New("it is registered with the name server, and does not have the topic (any more)")
)

// onQueue calls the broker of a queue, where its master is by the newest answer of a name server; a failure, a time-out
// too, makes the next call look the broker up again.
func (c *Client) onQueue(ctx context.Context, q Queue, r *request) (*remoting.Command, error) {
	route, err := c.routes.get(ctx, c, q.Topic)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.op, err)
	}
	addr, ok := route.addrs[q.Broker]
	if !ok {
		c.routes.suspect(q.Topic)
		why := errNoMaster
		if slices.Contains(route.slaves, q.Broker) {
			why = errOnlySlave
		}
		if c.masters.Listed(q.Broker) {
			why = errNoTopic
		}
		return nil, fmt.Errorf("%s: %w", r.op, &AwayError{Broker: q.Broker, Err: why})
	}
	r.addr, r.broker = cmp.Or(c.masters.Addr(q.Broker), addr), q.Broker
	resp, err := c.call(ctx, r)
	if errors.Is(err, ErrUnreachable) || errors.Is(err, ErrTopicNotFound) || errors.Is(err, context.DeadlineExceeded) {
		c.routes.suspect(q.Topic)
	}
	return resp, err
}

// onWire puts the namespace before the name of a topic or group.
func (c *Client) onWire(name string) string {
	if c.cfg.Namespace == "" {
		return name
	}
	return c.cfg.Namespace + "%" + name
}

// queueFields are the fields that name a queue; the 5.x proxy goes by bname.
func (c *Client) queueFields(q Queue, more ...remoting.Field) []remoting.Field {
	return append(more,
		remoting.Field{Name: "topic", Value: c.onWire(q.Topic)},
		remoting.Field{Name: "queueId", Value: strconv.Itoa(q.ID)},
		remoting.Field{Name: "bname", Value: q.Broker})
}
