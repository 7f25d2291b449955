package rmq

import (
	"context"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// RocketMQ's own properties that are set here.
const (
	propertyKeys   = "KEYS"
	propertyUniqID = "UNIQ_KEY"
)

// memberOverhead is about what a member takes besides its body and its sender's properties.
const memberOverhead = 64

// maxBody is the most that fits a frame which brokers read (16 MiB): they cut the connection on a larger one.
const maxBody = 16<<20 - 64<<10

var errEmptyBody = fmt.Errorf("%w: its body is empty", ErrIllegal)

// encodeMember appends one member of a batch. On an error nothing is appended.
func encodeMember(dst []byte, properties []Property, body []byte, ids *idSource) ([]byte, error) {
	start := len(dst)
	if len(body) == 0 {
		return dst, errEmptyBody
	}
	if len(body) > maxBody {
		return dst, fmt.Errorf("%w: %d bytes are more than any broker takes", ErrTooLarge, len(body))
	}
	dst = remoting.OpenMember(dst, body)
	identified := false
	for i := range properties {
		p := &properties[i]
		if err := checkProperty(p); err != nil {
			return dst[:start], err
		}
		identified = identified || p.Name == propertyUniqID
		dst = remoting.AppendProperty(dst, p.Name, p.Value)
	}
	if !identified {
		dst = append(dst, propertyUniqID...)
		dst = append(dst, remoting.NameEnd)
		dst = ids.append(dst)
		dst = append(dst, remoting.PropertyEnd)
	}
	if !remoting.CloseMember(dst, start, len(body)) {
		return dst[:start], fmt.Errorf("%w: properties take more than %d bytes", ErrTooLarge, remoting.MaxProperties)
	}
	return dst, nil
}

func checkProperty(p *Property) error {
	if p.Name == "" {
		return fmt.Errorf("%w: a property has no name", ErrIllegal)
	}
	for _, s := range [...]string{p.Name, p.Value} {
		if strings.IndexByte(s, remoting.NameEnd) >= 0 || strings.IndexByte(s, remoting.PropertyEnd) >= 0 || !utf8.ValidString(s) {
			return fmt.Errorf("%w: property %q holds bytes 1 or 2, or what is not UTF-8", ErrIllegal, p.Name)
		}
	}
	return nil
}

// idSource makes UNIQ_KEYs in RocketMQ's form: 16 bytes in hex, the address and process as in primitive.CreateUniqID, a
// random number in place of the class loader's, the milliseconds, and a counter. primitive's own counter repeats
// itself within a second at the rates of a connector.
type idSource struct {
	prefix string // 20 hex digits
	// made is when the source was made, and month how far into its month that was. Together with the monotonic clock they
	// give the time of an id in half the time that the wall clock takes, and it never goes back.
	made    time.Time
	month   time.Duration
	counter *atomic.Uint32
}

func newIDSource() idSource {
	var loader [4]byte
	n := rand.Uint32()
	for i := range loader {
		loader[i] = byte(n >> (8 * i))
	}
	now := time.Now()
	return idSource{
		prefix:  primitive.CreateUniqID()[:12] + strings.ToUpper(hex.EncodeToString(loader[:])),
		made:    now,
		month:   now.Sub(time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location())),
		counter: new(atomic.Uint32),
	}
}

const upperHex = "0123456789ABCDEF"

// append appends a new id.
func (s *idSource) append(dst []byte) []byte {
	dst = append(dst, s.prefix...)
	tail := uint64(uint32((s.month+time.Since(s.made)).Milliseconds()))<<16 | uint64(uint16(s.counter.Add(1)))
	for shift := 44; shift >= 0; shift -= 4 {
		dst = append(dst, upperHex[tail>>shift&15])
	}
	return dst
}

// noTopic is the topic after which a broker would model one that it does not have: there is none, so it creates nothing.
const noTopic = "__none__"

// outgoing is an encoded batch of n messages.
type outgoing struct {
	members []byte
	n       int
	born    int64 // ms; 0: now
	// wrote is told when the last byte had been written; nil: nobody is.
	wrote func(time.Time)
}

// send stores a batch on one queue and returns its first offset. A batch of one goes as a single message. The request is
// over, one way or the other, after SendTimeout or at ctx's end, and nothing of it lingers.
func (c *Client) send(ctx context.Context, q Queue, purpose string, o outgoing) (first int64, err error) {
	if o.born == 0 {
		o.born = time.Now().UnixMilli()
	}
	r := request{op: "sending to " + q.Topic, purpose: purpose, timeout: c.cfg.SendTimeout}
	r.cmd = remoting.Command{Code: remoting.SendBatch, Body: o.members, Reset: true}
	properties, batch := "", "true"
	if o.n == 1 {
		body, wire, _, err := remoting.Member(o.members)
		if err != nil {
			return 0, err
		}
		r.cmd.Code, r.cmd.Body = remoting.SendMessageV2, body
		properties, batch = string(wire), "false"
	}
	r.cmd.Fields = append(make([]remoting.Field, 0, 17), // three more when signed
		remoting.Field{Name: "a", Value: c.cfg.ClientID},
		remoting.Field{Name: "b", Value: c.onWire(q.Topic)},
		remoting.Field{Name: "c", Value: noTopic},
		remoting.Field{Name: "d", Value: "0"},
		remoting.Field{Name: "e", Value: strconv.Itoa(q.ID)},
		remoting.Field{Name: "f", Value: "0"},
		remoting.Field{Name: "g", Value: strconv.FormatInt(o.born, 10)},
		remoting.Field{Name: "h", Value: "0"},
		remoting.Field{Name: "i", Value: properties},
		remoting.Field{Name: "j", Value: "0"},
		remoting.Field{Name: "k", Value: "false"},
		remoting.Field{Name: "l", Value: "0"},
		remoting.Field{Name: "m", Value: batch},
		remoting.Field{Name: "n", Value: q.Broker},
	)
	resp, err := c.onQueue(ctx, q, &r)
	if o.wrote != nil && !r.cmd.Written.IsZero() {
		o.wrote(r.cmd.Written)
	}
	if err != nil {
		return 0, err
	}
	if first, err = resp.Int("queueOffset"); err != nil {
		return 0, fmt.Errorf("%s: %w", r.op, err)
	}
	return first, nil
}
