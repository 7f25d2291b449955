// Package rmq is the only package that speaks to RocketMQ: administration, ordered logs, sending and reading, through a
// remoting client of its own. Every call honours its context within 100 ms, and closing the Client fails what is
// pending at once.
package rmq

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
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

// QueueAny lets the sender choose: by the hash of Key when there is one, else in turn, skipping brokers that fail.
const QueueAny = -1

// Message is one message to send.
type Message struct {
	Topic string
	// Queue is an index over the topic's queues sorted by (broker, id), taken modulo their number, or QueueAny.
	Queue int
	// Key only chooses the queue when Queue is QueueAny. What is stored are Properties and Body.
	Key        []byte
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

// Trail is marks of records that were read of one queue, in their order: the last one, and fewer the further back. By it a
// reader notices that the broker lost the end of the queue, and finds where to go on.
type Trail []Mark

// A trail reaches trailReach records back. Each mark is at most twice as far back as the next one, and trailStep more, if
// there were that many to choose from.
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
}

var (
	// ErrTopicNotFound means no broker serves the topic.
	ErrTopicNotFound = errors.New("topic not found")
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
	// ErrNoListing means that the name server's address does not list brokers, as a RocketMQ 5 proxy does not: nothing can be
	// created through it.
	ErrNoListing = errors.New("this address does not list brokers: it answers like a RocketMQ 5 proxy, not like a name server")
	// ErrUnconfirmed means that the broker stored what it was sent, and that its disk or its slaves have not confirmed it in
	// time: it is there and can be read, but is not as safe as the broker is told to make it.
	ErrUnconfirmed = errors.New("stored and not confirmed in time")
	// ErrClosed means the Client, Sender or Reader was closed.
	ErrClosed = errors.New("closed")
	// ErrTopicAway means that a topic is there and that none of the brokers which are registered lets it be read or written:
	// of a log only markers are to be seen, and not the broker that holds it. It is an ErrUnreachable.
	ErrTopicAway = fmt.Errorf("%w: the broker that holds the topic is not registered with the name server, only markers of it are", ErrUnreachable)
)

// BrokerError is an answer other than success. It matches ErrTopicNotFound (17), ErrTooLarge (13), ErrUnconfirmed (10 to 12) and
// ErrAccessDenied (16, and what a 4.9 broker says instead) under errors.Is.
type BrokerError struct {
	// Op is what was asked, for example "create topic orders"; Addr the broker or name server.
	Op, Addr string
	Code     int
	Remark   string
}

// Error gives the request, the address, and the answer.
func (e *BrokerError) Error() string {
	if e.Remark == "" {
		return fmt.Sprintf("%s on %s: code %d", e.Op, e.Addr, e.Code)
	}
	return fmt.Sprintf("%s on %s: code %d: %s", e.Op, e.Addr, e.Code, e.Remark)
}

// Is matches the sentinel of the code.
func (e *BrokerError) Is(target error) bool {
	switch e.Code {
	case remoting.MessageIllegal:
		return target == ErrTooLarge
	case remoting.NoPermission:
		return target == ErrAccessDenied
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

func aclRefusal(code int, remark string) bool {
	return code == remoting.SystemError && strings.Contains(remark, ".AclException:")
}

// IsTemporary says whether the same request may succeed later without anybody's help: the broker was busy, restarting or
// out of reach, or did not store the message as safely as it should.
func IsTemporary(err error) bool {
	if errors.Is(err, ErrUnreachable) {
		return true
	}
	var b *BrokerError
	if !errors.As(err, &b) || b.denied() {
		return false
	}
	switch b.Code {
	case remoting.SystemError, remoting.SystemBusy, remoting.FlushDiskTimeout, remoting.SlaveNotAvailable,
		remoting.FlushSlaveTimeout, remoting.ServiceNotAvailable, remoting.FlowControl:
		return true
	}
	return false
}
