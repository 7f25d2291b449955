package rmq

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

// RocketMQ's own properties that are set here.
const (
	propertyKeys   = "KEYS"
	propertyUniqID = "UNIQ_KEY"
)

// memberOverhead is about what a member takes besides its body and its sender's properties.
const memberOverhead = 64

var errEmptyBody = errors.New("message has an empty body, which RocketMQ does not store")

// encodeMember appends one member of a batch. On an error nothing is appended.
func encodeMember(dst []byte, properties []Property, body []byte, ids *idSource) ([]byte, error) {
	start := len(dst)
	if len(body) == 0 {
		return dst, errEmptyBody
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
		return errors.New("message has a property without a name")
	}
	for _, s := range [...]string{p.Name, p.Value} {
		if strings.IndexByte(s, remoting.NameEnd) >= 0 || strings.IndexByte(s, remoting.PropertyEnd) >= 0 || !utf8.ValidString(s) {
			return fmt.Errorf("message property %q holds what RocketMQ cannot store: bytes 1 or 2, or what is not UTF-8", p.Name)
		}
	}
	return nil
}

// idSource makes UNIQ_KEYs in RocketMQ's form: 16 bytes in hex, the address and process as in primitive.CreateUniqID, a
// random number in place of the class loader's, the milliseconds, and a counter. primitive's own counter repeats
// itself within a second at the rates of a connector.
type idSource struct {
	prefix  string // 20 hex digits
	start   time.Time
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
		start:   time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, now.Location()),
		counter: new(atomic.Uint32),
	}
}

const upperHex = "0123456789ABCDEF"

// append appends a new id.
func (s *idSource) append(dst []byte) []byte {
	dst = append(dst, s.prefix...)
	tail := uint64(uint32(time.Since(s.start).Milliseconds()))<<16 | uint64(uint16(s.counter.Add(1)))
	for shift := 44; shift >= 0; shift -= 4 {
		dst = append(dst, upperHex[tail>>shift&15])
	}
	return dst
}
