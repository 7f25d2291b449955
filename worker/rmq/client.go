package rmq

import (
	"context"
	"net"
	"time"

	"github.com/go-logr/logr"
)

// Config says how to reach a RocketMQ cluster. NameServers is required; everything else has a usable zero value.
type Config struct {
	// NameServers are host:port; the first that answers is used until it fails.
	NameServers []string
	// AccessKey, SecretKey and SecurityToken sign every request; all empty: unsigned.
	AccessKey, SecretKey, SecurityToken string
	// Namespace is put before topics and groups on the wire.
	Namespace string
	// ClientID names this process to the brokers.
	ClientID string
	// Log's zero value logs nothing.
	Log logr.Logger
	// SendTimeout bounds one append or batch from its start to its answer; default 2 s.
	SendTimeout time.Duration
	// CallTimeout bounds every other request; default 3 s.
	CallTimeout time.Duration
	// Dial opens connections; nil: TCP with SO_LINGER 0 and, on Linux, TCP_USER_TIMEOUT = SendTimeout.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Client speaks to one RocketMQ cluster. It is safe for concurrent use.
type Client struct{ cfg Config }

// Open checks cfg and does no IO.
func Open(cfg Config) (*Client, error) { return &Client{cfg: cfg}, nil }

// Close fails what is pending at once and waits for the client's goroutines.
func (c *Client) Close() error { return nil }

func (c *Client) Brokers(ctx context.Context) ([]Broker, error)            { return nil, ErrClosed }
func (c *Client) Route(ctx context.Context, topic string) ([]Queue, error) { return nil, ErrClosed }

// TopicSpec is the shape of a topic to create.
type TopicSpec struct {
	Queues  int
	Broker  string // "" = all masters share: each gets Queues
	Compact bool
}

func (c *Client) EnsureTopic(ctx context.Context, topic string, spec TopicSpec) ([]Queue, error) {
	return nil, ErrClosed
}

func (c *Client) EnsureLogTopic(ctx context.Context, topic, broker string, compact bool) (Queue, error) {
	return Queue{}, ErrClosed
}
func (c *Client) EnsureGroup(ctx context.Context, group string) error         { return ErrClosed }
func (c *Client) Members(ctx context.Context, group string) ([]string, error) { return nil, ErrClosed }
func (c *Client) Offsets(ctx context.Context, q Queue) (min, max int64, err error) {
	return 0, 0, ErrClosed
}

func (c *Client) OffsetAt(ctx context.Context, q Queue, at time.Time) (int64, error) {
	return 0, ErrClosed
}

func (c *Client) Committed(ctx context.Context, group string, q Queue) (offset int64, ok bool, err error) {
	return 0, false, ErrClosed
}

func (c *Client) Commit(ctx context.Context, group string, offsets map[Queue]int64) error {
	return ErrClosed
}

// Log is a queue that is used as a totally ordered log.
type Log struct{ q Queue }

func (c *Client) Log(q Queue) *Log { return &Log{q} }

func (l *Log) Append(ctx context.Context, entries ...Entry) (first int64, err error) {
	return 0, ErrClosed
}
func (l *Log) Bounds(ctx context.Context) (min, max int64, err error) { return 0, 0, ErrClosed }
func (l *Log) Read(ctx context.Context, from int64, fn func(Entry) error) (next int64, err error) {
	return 0, ErrClosed
}
func (l *Log) Tail(ctx context.Context, from int64, fn func(Entry) error) error { return ErrClosed }

// SenderConfig bounds a Sender.
type SenderConfig struct {
	// Gate is asked before each batch starts; it blocks while sending is not allowed (lease) and returns an error when it never will be again.
	Gate             func(ctx context.Context) error // nil: open
	MaxBatchRecords  int                             // 512
	MaxBatchBytes    int                             // 1 MiB
	MaxBufferedBytes int                             // 32 MiB; Send blocks above it
	OnBatch          func(records, bytes int, took time.Duration, err error)
}

// Sender sends messages in order per queue.
type Sender struct{}

func (c *Client) NewSender(cfg SenderConfig) *Sender { return &Sender{} }

func (s *Sender) Send(ctx context.Context, m Message, done func(offset int64, err error)) error {
	return ErrClosed
}
func (s *Sender) Flush(ctx context.Context) error { return ErrClosed }
func (s *Sender) Close() error                    { return nil }

// ReaderConfig bounds a Reader.
type ReaderConfig struct {
	Group            string
	MaxBufferedBytes int /* 16 MiB */
	PullsAhead       int /* 2 */
}

// Reader pulls assigned queues ahead.
type Reader struct{}

func (c *Client) NewReader(cfg ReaderConfig) *Reader { return &Reader{} }

func (r *Reader) Assign(offsets map[Queue]int64)                        {}
func (r *Reader) Poll(ctx context.Context, max int) ([]Received, error) { return nil, ErrClosed }
func (r *Reader) Pause(queues ...Queue)                                 {}
func (r *Reader) Resume(queues ...Queue)                                {}
func (r *Reader) Lag() map[Queue]int64                                  { return nil }
func (r *Reader) Close() error                                          { return nil }

// IsTemporary says whether trying again may help: busy or restarting brokers, lost connections, time-outs.
func IsTemporary(err error) bool { return false }
