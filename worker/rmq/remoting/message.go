package remoting

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// ErrMessage means bytes that are not a stored message, or one of a kind that this client does not read.
var ErrMessage = errors.New("undecodable message")

// The bytes that part properties: name NameEnd value PropertyEnd.
const (
	NameEnd     = 1
	PropertyEnd = 2
)

// MaxProperties is how many bytes of properties a message can have: their length is a signed 16-bit number.
const MaxProperties = 32767

// batchHead is the fixed part of a batch member: size, magic, CRC, flag, body length.
const batchHead = 20

// OpenMember begins a member of a batch (SendBatch): AppendProperty calls may follow, then CloseMember.
func OpenMember(dst, body []byte) []byte {
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0) // magic, CRC and flag are the broker's to set
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(body)))
	dst = append(dst, body...)
	return append(dst, 0, 0)
}

// CloseMember fills in the lengths of the member that starts at start and whose body is bodyLen long. It says false if
// the properties are longer than MaxProperties.
func CloseMember(dst []byte, start, bodyLen int) bool {
	properties := len(dst) - start - batchHead - bodyLen - 2
	if properties > MaxProperties {
		return false
	}
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
	binary.BigEndian.PutUint16(dst[start+batchHead+bodyLen:], uint16(properties))
	return true
}

// Member takes the first member off a batch.
func Member(batch []byte) (body, properties, rest []byte, err error) {
	r := binaryReader{b: batch}
	size := int(int32(r.u32()))
	if size < batchHead+2 || size > len(batch) {
		return nil, nil, nil, fmt.Errorf("%w: batch member of %d bytes in %d", ErrMessage, size, len(batch))
	}
	r = binaryReader{b: batch[16:size]}
	body = r.take(int(int32(r.u32())))
	properties = r.take(int(r.u16()))
	if r.broken || len(r.b) > 0 {
		return nil, nil, nil, fmt.Errorf("%w: batch member of %d bytes", ErrMessage, size)
	}
	return body, properties, batch[size:], nil
}

// The two forms of a stored message: the second has a two-byte topic length.
const (
	magicV1 = 0xDAA320A7
	magicV2 = 0xDAA320AB
)

// Bits of a message's sysFlag.
const (
	sysCompressed  = 1
	sysBornHostV6  = 1 << 4
	sysStoreHostV6 = 1 << 5
	sysInnerBatch  = 1 << 7
	sysCompression = 7 << 8
)

// Message is one stored message. Times are milliseconds since 1970. Topic, Properties and Body point into what was
// decoded; Body may be compressed, see Plain.
type Message struct {
	QueueID      int
	Offset       int64
	SysFlag      int
	Born, Stored int64
	Topic        []byte
	Properties   []byte
	Body         []byte
}

// NextMessage takes the first message off the body of a pull's answer.
func NextMessage(stored []byte) (m Message, rest []byte, err error) {
	r := binaryReader{b: stored}
	size := int(int32(r.u32()))
	if size < 8 || size > len(stored) {
		return m, nil, fmt.Errorf("%w: %d bytes of %d", ErrMessage, size, len(stored))
	}
	r = binaryReader{b: stored[4:size]}
	magic := r.u32()
	if magic != magicV1 && magic != magicV2 {
		return m, nil, fmt.Errorf("%w: magic %#x", ErrMessage, magic)
	}
	r.u32() // CRC of the body
	m.QueueID = int(int32(r.u32()))
	r.u32() // flag
	m.Offset = int64(r.u64())
	r.u64() // commit log offset
	m.SysFlag = int(int32(r.u32()))
	m.Born = int64(r.u64())
	r.take(hostLen(m.SysFlag & sysBornHostV6))
	m.Stored = int64(r.u64())
	r.take(hostLen(m.SysFlag & sysStoreHostV6))
	r.u32() // times reconsumed
	r.u64() // prepared transaction offset
	m.Body = r.take(int(int32(r.u32())))
	topic := int(r.u8())
	if magic == magicV2 {
		topic = topic<<8 | int(r.u8())
	}
	m.Topic = r.take(topic)
	m.Properties = r.take(int(r.u16()))
	if r.broken {
		return m, nil, fmt.Errorf("%w: offset %d is cut off", ErrMessage, m.Offset)
	}
	if m.SysFlag&sysInnerBatch != 0 {
		return m, nil, fmt.Errorf("%w: offset %d is an inner batch (topic attribute queue.type=BatchCQ)", ErrMessage, m.Offset)
	}
	return m, stored[size:], nil
}

func hostLen(v6 int) int {
	if v6 != 0 {
		return 20
	}
	return 8
}

// AppendStored appends a message as a broker stores and serves it. Hosts are 127.0.0.1:0.
func AppendStored(dst []byte, m *Message) []byte {
	size := 91 + len(m.Body) + len(m.Topic) + len(m.Properties)
	dst = slices.Grow(dst, size)
	dst = binary.BigEndian.AppendUint32(dst, uint32(size))
	dst = binary.BigEndian.AppendUint32(dst, magicV1)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.QueueID))
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Offset))
	dst = binary.BigEndian.AppendUint64(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(m.SysFlag))
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Born))
	dst = append(dst, 127, 0, 0, 1, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint64(dst, uint64(m.Stored))
	dst = append(dst, 127, 0, 0, 1, 0, 0, 0, 0)
	dst = binary.BigEndian.AppendUint32(dst, 0)
	dst = binary.BigEndian.AppendUint64(dst, 0)
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(m.Body)))
	dst = append(dst, m.Body...)
	dst = append(dst, byte(len(m.Topic)))
	dst = append(dst, m.Topic...)
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(m.Properties)))
	return append(dst, m.Properties...)
}

// AppendProperty appends one property in wire form. Neither part may hold NameEnd or PropertyEnd.
func AppendProperty(dst []byte, name, value string) []byte {
	dst = append(dst, name...)
	dst = append(dst, NameEnd)
	dst = append(dst, value...)
	return append(dst, PropertyEnd)
}

// CountProperties is an upper bound of the properties in wire form.
func CountProperties(properties []byte) int { return bytes.Count(properties, []byte{PropertyEnd}) + 1 }
