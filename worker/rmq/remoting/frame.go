package remoting

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strconv"
	"time"
	"unicode/utf8"
)

// ErrFrame means bytes that are not a frame of the protocol. The connection they came from is of no further use.
var ErrFrame = errors.New("malformed frame")

// Field is one extension field of a header.
type Field struct{ Name, Value string }

// Command is one request or answer.
type Command struct {
	// Code is what a request asks for, or how an answer turned out.
	Code   int
	Flag   int
	Opaque int32
	Remark string
	// Fields are in no order; names do not repeat.
	Fields []Field
	Body   []byte
	// Reset makes giving up a request before its answer close its connection, so that nothing of it is delivered later.
	// A request that times out does so in any case, unless it was Spared. It is not sent.
	Reset bool
	// Longer is called once the connection has taken a request, and again each time that the context which it gave has run
	// out of time: for how long to wait for the answer, or false to give up. It may set Spared. nil: as long as the call's
	// context. It is not sent.
	Longer func() (context.Context, bool)
	// Spared leaves the connection alone when a request that it has taken runs out of time: it is known to work, and what
	// is late harms nobody. It is not sent.
	Spared bool
	// Connected has the request sent only over a connection that is there: none is made for it. It is not sent.
	Connected bool
	// Written is set by a call: when the connection had taken the request's bytes, or as many as it will ever take; zero
	// if it has taken none. It is not sent.
	Written time.Time
	// Conn is the number of the connection that an answer came on: no two connections of a Pool have the same. It is not
	// sent.
	Conn int64
}

// Field returns the value of the named extension field, "" when there is none.
func (c *Command) Field(name string) string {
	for i := range c.Fields {
		if c.Fields[i].Name == name {
			return c.Fields[i].Value
		}
	}
	return ""
}

// Int returns the named field as a number.
func (c *Command) Int(name string) (int64, error) {
	n, err := strconv.ParseInt(c.Field(name), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: field %s: %w", ErrFrame, name, err)
	}
	return n, nil
}

// AppendHead appends all of the frame but its body: lengths, serialization type and JSON header.
func (c *Command) AppendHead(dst []byte) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, 0, 0, 0, 0)
	dst = append(dst, `{"code":`...)
	dst = strconv.AppendInt(dst, int64(c.Code), 10)
	dst = append(dst, `,"extFields":{`...)
	for i := range c.Fields {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, c.Fields[i].Name)
		dst = append(dst, ':')
		dst = appendJSONString(dst, c.Fields[i].Value)
	}
	dst = append(dst, `},"flag":`...)
	dst = strconv.AppendInt(dst, int64(c.Flag), 10)
	dst = append(dst, `,"language":"GO","opaque":`...)
	dst = strconv.AppendInt(dst, int64(c.Opaque), 10)
	if c.Remark != "" {
		dst = append(dst, `,"remark":`...)
		dst = appendJSONString(dst, c.Remark)
	}
	dst = append(dst, `,"serializeTypeCurrentRPC":"JSON","version":`+protocolVersion+`}`...)
	head := len(dst) - start - 8
	binary.BigEndian.PutUint32(dst[start:], uint32(4+head+len(c.Body)))
	binary.BigEndian.PutUint32(dst[start+4:], uint32(head)) // the type byte, 0, is JSON
	return dst
}

const hexDigits = "0123456789abcdef"

// appendJSONString quotes s. Bytes that are not UTF-8 become U+FFFD, as every JSON reader would have it.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); {
		b := s[i]
		if b >= 0x20 && b < utf8.RuneSelf && b != '"' && b != '\\' {
			i++
			continue
		}
		if b < utf8.RuneSelf {
			dst = append(dst, s[from:i]...)
			if b == '"' || b == '\\' {
				dst = append(dst, '\\', b)
			} else {
				dst = append(dst, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
			}
			i++
			from = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(dst, s[from:i]...)
			dst = append(dst, "\ufffd"...)
			from = i + 1
		}
		i += size
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// chunk bounds how much is allocated on the word of a length field alone.
const chunk = 1 << 20

// ReadFrame reads one command. Its body is a part of a buffer that nobody else uses. The error is io.EOF only between
// frames.
func ReadFrame(r io.Reader) (*Command, error) {
	var prefix [4]byte
	if _, err := io.ReadFull(r, prefix[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return nil, fmt.Errorf("%w: cut off in its length", ErrFrame)
		}
		return nil, err
	}
	n := binary.BigEndian.Uint32(prefix[:])
	if n < 4 || n > MaxFrame {
		return nil, fmt.Errorf("%w: %d bytes long", ErrFrame, n)
	}
	payload := make([]byte, min(int(n), chunk))
	for have := 0; ; {
		got, err := io.ReadFull(r, payload[have:])
		if err != nil {
			return nil, fmt.Errorf("reading a frame of %d bytes: %w", n, err)
		}
		if have += got; have == int(n) {
			return DecodeFrame(payload)
		}
		grown := make([]byte, min(int(n), 4*have))
		copy(grown, payload)
		payload = grown
	}
}

// DecodeFrame decodes what follows a frame's length field. The command's body points into payload.
func DecodeFrame(payload []byte) (*Command, error) {
	if len(payload) < 4 {
		return nil, fmt.Errorf("%w: %d bytes", ErrFrame, len(payload))
	}
	mark := binary.BigEndian.Uint32(payload)
	kind, head := mark>>24, int(mark&0xffffff)
	if head > len(payload)-4 {
		return nil, fmt.Errorf("%w: header of %d bytes in a frame of %d", ErrFrame, head, len(payload))
	}
	c := &Command{Body: payload[4+head:]}
	var err error
	switch kind {
	case 0:
		err = decodeJSONHeader(payload[4:4+head], c)
	case 1:
		err = decodeBinaryHeader(payload[4:4+head], c)
	default:
		err = fmt.Errorf("%w: serialization type %d", ErrFrame, kind)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}
