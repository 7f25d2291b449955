// Package convert maps records to RocketMQ messages and back, so that what went in comes out: keys, values, headers and
// timestamps. docs/record-mapping.md describes the mapping for users. It is stored data: it may grow, never change.
package convert

import (
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// The properties of the mapping. User headers that start with Prefix travel in PropertyHeaders.
const (
	Prefix            = "connect-"
	PropertyKey       = "connect-key"       // base64 of a key that KEYS cannot hold; "=" for an empty key
	PropertyNull      = "connect-null"      // "1": the value is null
	PropertyEmpty     = "connect-empty"     // "1": the value is empty
	PropertyHeaders   = "connect-headers"   // base64 of the JSON list of all headers
	PropertyOrder     = "connect-order"     // ranks of the headers, when they are not sorted by name
	PropertyTimestamp = "connect-timestamp" // milliseconds since 1970
	PropertyPath      = record.PathHeader   // the topics in which the record has been
)

const (
	propertyKeys = "KEYS"
	// emptyKey cannot be base64. Brokers drop properties without a value, so an empty key needs one.
	emptyKey = "="
	// maxName bounds a key in KEYS and a property's name, in bytes.
	maxName = 255
	// maxProperties leaves 512 bytes of RocketMQ's 32,767 to what clients and brokers add themselves.
	maxProperties = 32_767 - 512
	// overhead is the two separators of an encoded property.
	overhead = 2
)

// ErrUnmappable matches what no retry will map: properties that are too large, or connect- properties that were
// damaged.
var ErrUnmappable = errors.New("record cannot be mapped")

// ToMessage maps a source record, but for its queue. The message shares the record's value. Its error matches
// ErrUnmappable.
func ToMessage(r *record.Record) (rmq.Message, error) {
	m := rmq.Message{Topic: r.Topic, Body: r.Value}
	var scratch [512]byte // with the next line: two allocations for the usual record
	var pieces [16]piece
	b := builder{values: scratch[:0], pieces: pieces[:0]}
	b = b.addKey(r.Key)
	if len(r.Value) == 0 {
		m.Body = []byte{0}
		b = b.add(valueMark(r.Value), "1")
	}
	if !r.Timestamp.IsZero() {
		b.values = strconv.AppendInt(b.values, r.Timestamp.UnixMilli(), 10)
		b = b.end(PropertyTimestamp)
	}
	if r.Path != "" {
		b = b.add(PropertyPath, string(r.Path))
	}
	b, err := b.addHeaders(r.Headers)
	if err != nil {
		return rmq.Message{}, err
	}
	if size := b.size(); size > maxProperties {
		return rmq.Message{}, fmt.Errorf("%w: its key and headers take %d bytes as message properties, and RocketMQ holds %d",
			ErrUnmappable, size, maxProperties)
	}
	m.Properties = b.build()
	return m, nil
}

func valueMark(value []byte) string {
	if value == nil {
		return PropertyNull
	}
	return PropertyEmpty
}

// builder gathers the values of properties in one buffer: one string is allocated for all of them. Its methods return
// the new builder, as append does: through a pointer, the buffers it starts with would move to the heap.
type builder struct {
	values []byte
	pieces []piece
	names  int
}

// piece is a property whose value ends at end in the builder's values.
type piece struct {
	name string
	end  int
}

// end makes what was appended to values since the last call the value of the named property.
func (b builder) end(name string) builder {
	b.pieces = append(b.pieces, piece{name: name, end: len(b.values)})
	b.names += len(name)
	return b
}

func (b builder) add(name, value string) builder {
	b.values = append(b.values, value...)
	return b.end(name)
}

func (b builder) addKey(key []byte) builder {
	switch {
	case key == nil:
		return b
	case len(key) == 0:
		return b.add(PropertyKey, emptyKey)
	case len(key) <= maxName && printable(key, false):
		b.values = append(b.values, key...)
		return b.end(propertyKeys)
	default:
		b.values = base64.StdEncoding.AppendEncode(b.values, key)
		return b.end(PropertyKey)
	}
}

func (b builder) size() int { return len(b.values) + b.names + overhead*len(b.pieces) }

// truncate drops all but the first n properties.
func (b builder) truncate(n int) builder {
	for _, p := range b.pieces[n:] {
		b.names -= len(p.name)
	}
	b.pieces = b.pieces[:n]
	end := 0
	if n > 0 {
		end = b.pieces[n-1].end
	}
	b.values = b.values[:end]
	return b
}

func (b builder) build() []rmq.Property {
	properties := make([]rmq.Property, len(b.pieces))
	values, start := string(b.values), 0
	for i, p := range b.pieces {
		properties[i] = rmq.Property{Name: p.name, Value: values[start:p.end]}
		start = p.end
	}
	return properties
}

// FromMessage maps a message that was read, one of ToMessage's or any other. The record shares the message's body.
// Queue is QueueAny, and Partition and Position are empty: the caller knows them. Its error matches ErrUnmappable.
func FromMessage(m *rmq.Received) (record.Record, error) {
	r := record.Record{Topic: m.Queue.Topic, Queue: record.QueueAny, Value: m.Body, Timestamp: m.BornAt}
	if r.Value == nil {
		r.Value = []byte{}
	}
	var p parsed
	for i := range m.Properties {
		p.take(&r, &m.Properties[i])
	}
	var err error
	if r.Key, err = p.key(); err != nil {
		return record.Record{}, err
	}
	if p.timestamp != "" {
		ms, err := strconv.ParseInt(p.timestamp, 10, 64)
		if err != nil {
			return record.Record{}, damaged(PropertyTimestamp, err)
		}
		r.Timestamp = time.UnixMilli(ms)
	}
	if p.headers != "" {
		if r.Headers, err = decodeHeaders(p.headers); err != nil {
			return r, err
		}
		path, headers := record.TakePath(r.Headers) // an older worker carries it as it finds it
		if r.Headers = headers; r.Path == "" {
			r.Path = path
		}
		return r, nil
	}
	r.Headers = p.userHeaders(m.Properties)
	return r, nil
}

// parsed is what the properties of a message say, apart from its user headers, which are counted first so that one
// allocation holds them all.
type parsed struct {
	connectKey, keys, timestamp, headers, order string
	users, bytes                                int
}

func (p *parsed) take(r *record.Record, each *rmq.Property) {
	switch each.Name {
	case propertyKeys:
		p.keys = each.Value
	case PropertyKey:
		p.connectKey = each.Value
	case PropertyTimestamp:
		p.timestamp = each.Value
	case PropertyHeaders:
		p.headers = each.Value
	case PropertyOrder:
		p.order = each.Value
	case PropertyPath:
		r.Path = record.ParsePath(each.Value)
	case PropertyNull:
		r.Value = nil
	case PropertyEmpty:
		r.Value = []byte{}
	default:
		if isHeader(each.Name) {
			p.users++
			p.bytes += len(each.Value)
		}
	}
}

func (p *parsed) key() ([]byte, error) {
	switch p.connectKey {
	case "":
		if p.keys == "" {
			return nil, nil
		}
		return []byte(p.keys), nil
	case emptyKey:
		return []byte{}, nil
	}
	key, err := base64.StdEncoding.DecodeString(p.connectKey)
	if err != nil {
		return nil, damaged(PropertyKey, err)
	}
	return key, nil
}

// userHeaders returns the user properties as headers. Brokers reorder properties, so the order is by name unless
// connect-order says otherwise.
func (p *parsed) userHeaders(properties []rmq.Property) []record.Header {
	if p.users == 0 {
		return nil
	}
	headers, values := make([]record.Header, 0, p.users), make([]byte, 0, p.bytes)
	for i := range properties {
		if each := &properties[i]; isHeader(each.Name) {
			start := len(values)
			values = append(values, each.Value...)
			headers = append(headers, record.Header{Name: each.Name, Value: values[start:len(values):len(values)]})
		}
	}
	slices.SortStableFunc(headers, func(a, b record.Header) int { return strings.Compare(a.Name, b.Name) })
	return ordered(headers, p.order)
}

func damaged(property string, err error) error {
	return fmt.Errorf("%w: reading its property %s: %w", ErrUnmappable, property, err)
}
