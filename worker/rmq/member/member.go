// Package member encodes messages as members of a RocketMQ batch.
package member

import (
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/apache/rocketmq-client-go/v2/primitive"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Property is one user or system property of a message. Names and values must not hold the bytes 1 and 2.
type Property struct{ Name, Value string }

// PropertyKeys is RocketMQ's own property for the keys of a message.
const PropertyKeys = "KEYS"

const propertyUniqID = "UNIQ_KEY"

// Overhead is about what a member takes besides its body and its sender's properties, in bytes.
const Overhead = 64

// MaxBody is the most that fits a frame which brokers read (16 MiB): they cut the connection on a larger one.
const MaxBody = 16<<20 - 64<<10

var (
	// ErrTooLarge means a message is larger than the broker takes.
	ErrTooLarge = errors.New("message too large")
	// ErrIllegal means a message holds what RocketMQ cannot store.
	ErrIllegal = errors.New("message that RocketMQ cannot store")

	errEmptyBody = fmt.Errorf("%w: its body is empty", ErrIllegal)
)

// Append appends one member of a batch. On an error nothing is appended.
func Append(dst []byte, properties []Property, body []byte, ids *IDs) ([]byte, error) {
	start := len(dst)
	if len(body) == 0 {
		return dst, errEmptyBody
	}
	if len(body) > MaxBody {
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

// IDs makes UNIQ_KEYs in RocketMQ's form: 16 bytes in hex, the address and process as in primitive.CreateUniqID, a
// random number in place of the class loader's, the milliseconds, and a counter. primitive's own counter repeats
// itself within a second at the rates of a connector.
type IDs struct {
	prefix string // 20 hex digits
	// made is when the source was made, and month how far into its month that was. Together with the monotonic clock they
	// give the time of an id in half the time that the wall clock takes, and it never goes back.
	made    time.Time
	month   time.Duration
	counter *atomic.Uint32
}

// NewIDs makes a source of ids for one process.
func NewIDs() IDs {
	var loader [4]byte
	n := rand.Uint32()
	for i := range loader {
		loader[i] = byte(n >> (8 * i))
	}
	now := time.Now()
	return IDs{
		prefix:  primitive.CreateUniqID()[:12] + strings.ToUpper(hex.EncodeToString(loader[:])),
		made:    now,
		month:   now.Sub(time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location())),
		counter: new(atomic.Uint32),
	}
}

const upperHex = "0123456789ABCDEF"

// append appends a new id.
func (s *IDs) append(dst []byte) []byte {
	dst = append(dst, s.prefix...)
	tail := uint64(uint32((s.month+time.Since(s.made)).Milliseconds()))<<16 | uint64(uint16(s.counter.Add(1)))
	for shift := 44; shift >= 0; shift -= 4 {
		dst = append(dst, upperHex[tail>>shift&15])
	}
	return dst
}
