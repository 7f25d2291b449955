// Package rmq is the only package that speaks to RocketMQ: administration, ordered logs, sending and reading, through a
// remoting client of its own. Every call honours its context within 100 ms, and closing the Client fails what is
// pending at once.
package rmq

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/brokers"
	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Queue is one queue of a topic on one broker (a master).
type Queue struct {
	Topic, Broker string
	ID            int
}

// String gives topic/broker/id, which is also the name of the queue as a stored partition.
func (q Queue) String() string { return q.Topic + "/" + q.Broker + "/" + strconv.Itoa(q.ID) }

// Broker is a master broker.
type Broker = brokers.Broker

// Property is one user or system property of a message.
type Property = encode.Property

// Message is one message to send.
type Message struct {
	Topic string
	// Queue is the queue of Topic that takes the message; while its broker is away the message waits. The zero value lets
	// the sender choose, in turn, skipping brokers that fail.
	Queue Queue
	// Movable lets another queue take the message when the broker of its own is no longer shown by the name server: the
	// order of the queue is given up. A queue that a broker which is there has given up loses its messages to others in
	// any case.
	Movable    bool
	Properties []Property
	Body       []byte
	// BornAt is the zero time for "now".
	BornAt time.Time
}

// Received is one message that was read.
type Received struct {
	Queue Queue
	// Offset is the message's own; NextOffset is where reading goes on after it.
	Offset, NextOffset int64
	Properties         []Property
	Body               []byte
	BornAt, StoredAt   time.Time
	// Err says why the body could not be decompressed; it is as stored then.
	Err error
}

// Property returns the value of the named property and whether there is one.
func (r *Received) Property(name string) (string, bool) {
	for _, p := range r.Properties {
		if p.Name == name {
			return p.Value, true
		}
	}
	return "", false
}

// Mark names the message.
func (r *Received) Mark() Mark { return Mark{Offset: r.Offset, StoredAt: r.StoredAt.UnixMilli()} }

// Mark names a record that was read: the broker's time tells it from another one that gets its offset once it is lost.
type Mark struct {
	Offset   int64
	StoredAt int64 // ms since 1970
}

// Trail is marks of records that were read of one queue, in their order: the last one, and fewer the further back. By
// it a reader notices that the broker lost the end of the queue, and finds where to go on.
type Trail []Mark

// A trail reaches trailReach records back. Each mark is at most twice as far back as the next one, and trailStep more,
// if there were that many to choose from.
const (
	trailReach = 1 << 28
	trailStep  = 32
)

// Add notes a record. What lies behind it in the queue was read before the queue lost its end, and is forgotten. t must
// not be used any more.
func (t Trail) Add(m Mark) Trail {
	t = append(t.Before(m.Offset), m)
	kept := t[:0]
	for i, old := range t {
		switch n := len(kept); {
		case m.Offset-old.Offset > trailReach:
		case i == len(t)-1 || n == 0:
			kept = append(kept, old)
		case m.Offset-kept[n-1].Offset > 2*(m.Offset-t[i+1].Offset)+trailStep: // else its neighbours are near enough
			kept = append(kept, old)
		}
	}
	return kept
}

// Before keeps the marks below an offset.
func (t Trail) Before(offset int64) Trail {
	for len(t) > 0 && t[len(t)-1].Offset >= offset {
		t = t[:len(t)-1]
	}
	return t
}

// Entry is one record of a Log. The key is stored as the message's KEYS.
type Entry struct {
	Offset   int64
	Key      string
	Value    []byte
	StoredAt time.Time
	// Stray says that the record was not written for this log: it was copied from another one, or carried here by a
	// connector.
	Stray bool
}

// Counts bounds what writers of a log count up, one by one: whoever had written an entry by the time it was stored has
// not counted a thousand a millisecond since 1970. So however high an entry claims to have counted, those that come
// later can go on above it, and the log alone says which do.
func (e Entry) Counts(n int64) bool {
	const fewest, latest = 1 << 32, 1 << 43 // ms: the year 2248
	return n >= 0 && n <= max(fewest, min(e.StoredAt.UnixMilli(), latest)<<10)
}

var (
	// ErrTopicNotFound means no broker serves the topic.
	ErrTopicNotFound = errors.New("topic not found")
	// ErrNotReadable means that brokers have a topic and let it be written to, but not read. It is an ErrTopicNotFound:
	// there is no queue to read.
	ErrNotReadable = fmt.Errorf("no readable queue: %w", ErrTopicNotFound)
	// ErrTopicShape means a topic that must be one queue on one broker is not.
	ErrTopicShape = errors.New("topic is not one queue on one broker")
	// ErrTruncated means a log was asked for at an offset below its first, or beyond its end.
	ErrTruncated = errors.New("log does not hold the offset")
	// ErrTooLarge means a message is larger than the broker takes; its batch-mates are not affected.
	ErrTooLarge = encode.ErrTooLarge
	// ErrIllegal means a message holds what RocketMQ cannot store.
	ErrIllegal = encode.ErrIllegal
	// ErrAccessDenied means the broker refused the credentials or their rights.
	ErrAccessDenied = errors.New("access denied by the broker")
	// ErrUnreachable means no name server, or not the broker in question, could be reached.
	ErrUnreachable = errors.New("unreachable")
	// ErrStalled means a queue takes no message at present: what was sent to it earlier has waited for a second. It is an
	// ErrUnreachable.
	ErrStalled = fmt.Errorf("%w: what was sent to the queue before still waits", ErrUnreachable)
	// ErrNoListing means that the name server's address does not list brokers, as a RocketMQ 5 proxy does not: nothing can
	// be created through it.
	ErrNoListing = errors.New("this address does not list brokers: it answers like a RocketMQ 5 proxy, not like a name server")
	// ErrUnconfirmed means that the broker stored what it was sent, and that its disk or its slaves have not confirmed it
	// in time: it is there and can be read, but is not as safe as the broker is told to make it.
	ErrUnconfirmed = errors.New("stored and not confirmed in time")
	// ErrClosed means the Client, Sender or Reader was closed.
	ErrClosed = errors.New("closed")
	// ErrTopicAway means that a topic is there and that none of the brokers which are registered lets it be read or
	// written: of a log at most markers are to be seen, and not the broker that holds it. It is an ErrUnreachable.
	ErrTopicAway = fmt.Errorf("%w: the broker that holds the topic is not registered with the name server", ErrUnreachable)
	// ErrTopicMoved means that a log is on another broker than before. It is an ErrTopicNotFound.
	ErrTopicMoved = fmt.Errorf("%w where it was", ErrTopicNotFound)
)

// BrokerError is an answer other than success. It matches ErrTopicNotFound (17), ErrTooLarge (13), ErrUnconfirmed (10
// to 12) and ErrAccessDenied (16, and what a 4.9 broker says instead) under errors.Is.
type BrokerError struct {
	// Op is what was asked, for example "create topic orders"; Addr the broker or name server.
	Op, Addr string
	// Broker is the broker's name, where a broker was asked; NameServer says that a name server was.
	Broker     string
	NameServer bool
	Code       int
	Remark     string
	// Why says what a refusal of access means, and which permission is missing; "" for other answers.
	Why string
}

// Error gives the request, the broker, and the answer.
func (e *BrokerError) Error() string {
	return fmt.Sprintf("%s on %s: %s", e.Op, place(e.Broker, e.Addr, e.NameServer), e.Answer())
}

// Answer gives what was answered, and what that means where it is known.
func (e *BrokerError) Answer() string {
	text := fmt.Sprintf("code %d", e.Code)
	if e.Remark != "" {
		text += ": " + e.Remark
	}
	if e.Why != "" {
		return e.Why + " (" + text + ")"
	}
	return text
}

// AwayError is an ErrUnreachable that tells which broker, or name server, could not be reached.
type AwayError struct {
	// Broker is the broker's name, empty where only its address is known; Addr is empty where that is not known.
	Broker, Addr string
	// NameServer says that it is a name server.
	NameServer bool
	Err        error
}

// Error gives the broker and why it cannot be reached.
func (e *AwayError) Error() string {
	return fmt.Sprintf("%s %v: %v", place(e.Broker, e.Addr, e.NameServer), ErrUnreachable, e.Err)
}

// Unwrap gives ErrUnreachable and the cause.
func (e *AwayError) Unwrap() []error { return []error{ErrUnreachable, e.Err} }

// place names a name server, a broker, or whoever is at the address.
func place(broker, addr string, nameServer bool) string {
	switch {
	case nameServer:
		return "name server " + addr
	case broker == "":
		return addr
	case addr == "":
		return "broker " + broker
	}
	return "broker " + broker + " at " + addr
}

// Is matches the sentinel of the code.
func (e *BrokerError) Is(target error) bool {
	switch e.Code {
	case remoting.MessageIllegal:
		return target == ErrTooLarge
	case remoting.NoPermission:
		return target == ErrAccessDenied && !e.readOnly()
	case remoting.TopicNotExist:
		return target == ErrTopicNotFound
	case remoting.FlushDiskTimeout, remoting.SlaveNotAvailable, remoting.FlushSlaveTimeout:
		return target == ErrUnconfirmed
	case remoting.SystemError:
		return target == ErrAccessDenied && e.denied()
	}
	return false
}

// denied says whether a 4.9 broker refused the credentials or their rights: it has no code of its own for that.
func (e *BrokerError) denied() bool { return aclRefusal(e.Code, e.Remark) }

// readOnly says whether the broker lets nothing be written, whoever asks.
func (e *BrokerError) readOnly() bool {
	return e.Code == remoting.NoPermission && strings.Contains(e.Remark, "sending message is forbidden")
}

// noQueue says whether the broker has the topic with fewer queues than the one that was asked for.
func (e *BrokerError) noQueue() bool {
	return (e.Code == remoting.InvalidParameter || e.Code == remoting.SystemError) && strings.Contains(e.Remark, "queueId[")
}

func aclRefusal(code int, remark string) bool {
	return code == remoting.SystemError && strings.Contains(remark, ".AclException:")
}

// IsTemporary says whether the same request may succeed later without anybody's help: the broker was busy, restarting
// or out of reach, or did not store the message as safely as it should.
func IsTemporary(err error) bool {
	if errors.Is(err, ErrUnreachable) {
		return true
	}
	var b *BrokerError
	if !errors.As(err, &b) || b.denied() {
		return false
	}
	if b.readOnly() || b.noQueue() {
		return true
	}
	switch b.Code {
	case remoting.SystemError, remoting.SystemBusy, remoting.FlushDiskTimeout, remoting.SlaveNotAvailable,
		remoting.FlushSlaveTimeout, remoting.ServiceNotAvailable, remoting.FlowControl:
		return true
	}
	return false
}

// Trouble is something that is retried and again in vain.
type Trouble struct {
	// Since is when it began to fail, Alike when it began to fail in the way of Err, the newest failure.
	Since, Alike time.Time
	Err          error
}

// Failing notes what became of something that is retried and again. The zero value is ready; it is safe for concurrent
// use.
type Failing struct {
	mu      sync.Mutex
	trouble Trouble
	newest  time.Time
}

// Failed notes a try that began at a time and failed.
func (f *Failing) Failed(at time.Time, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch t := &f.trouble; {
	case t.Err == nil:
		t.Since, t.Alike = at, at
	case !alike(t.Err, err):
		t.Alike = at
	}
	f.trouble.Err, f.newest = err, at
}

// Worked notes a try that succeeded, or that nobody tries any more.
func (f *Failing) Worked() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.trouble, f.newest = Trouble{}, time.Time{}
}

// Trouble is what goes wrong, and when the newest try began; not ok if the newest one succeeded.
func (f *Failing) Trouble() (t Trouble, newest time.Time, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.trouble, f.newest, f.trouble.Err != nil
}

// alike reports that two failures are one to who waits for their end: their texts may tell other figures.
func alike(a, b error) bool {
	var x, y *BrokerError
	if errors.As(a, &x) && errors.As(b, &y) {
		return x.Addr == y.Addr && x.Code == y.Code
	}
	return trouble(a) == trouble(b)
}
