package remoting

import (
	"encoding/binary"
	"fmt"
	"math"
)

// decodeBinaryHeader reads the ROCKETMQ form: code, language, version, opaque, flag, remark, fields.
func decodeBinaryHeader(b []byte, c *Command) error {
	r := binaryReader{b: b}
	c.Code = int(int16(r.u16()))
	r.take(1) // language
	r.u16()   // version
	c.Opaque = int32(r.u32())
	c.Flag = int(int32(r.u32()))
	c.Remark = string(r.take(int(int32(r.u32()))))
	fields := binaryReader{b: r.take(int(int32(r.u32())))}
	for len(fields.b) > 0 && !fields.broken {
		name := string(fields.take(int(fields.u16())))
		c.Fields = append(c.Fields, Field{name, string(fields.take(int(int32(fields.u32()))))})
	}
	if r.broken || fields.broken {
		return fmt.Errorf("%w: binary header of %d bytes is cut off", ErrFrame, len(b))
	}
	return nil
}

// binaryReader takes big-endian values off a buffer; past its end it gives zeros and is broken.
type binaryReader struct {
	b      []byte
	broken bool
}

func (r *binaryReader) take(n int) []byte {
	if n < 0 || n > len(r.b) {
		r.b, r.broken = nil, true
		return nil
	}
	out := r.b[:n:n]
	r.b = r.b[n:]
	return out
}

func (r *binaryReader) u8() uint8 {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *binaryReader) u16() uint16 {
	if b := r.take(2); b != nil {
		return binary.BigEndian.Uint16(b)
	}
	return 0
}

func (r *binaryReader) u32() uint32 {
	if b := r.take(4); b != nil {
		return binary.BigEndian.Uint32(b)
	}
	return 0
}

func (r *binaryReader) u64() uint64 {
	if b := r.take(8); b != nil {
		return binary.BigEndian.Uint64(b)
	}
	return 0
}

// decodeJSONHeader reads the JSON form. A pull answers every few dozen records, so it is decoded by hand.
func decodeJSONHeader(b []byte, c *Command) error {
	s := scanner{b: b}
	s.object(func(name string) {
		switch name {
		case "code":
			c.Code = int(s.number(math.MinInt32, math.MaxInt32))
		case "flag":
			c.Flag = int(s.number(math.MinInt32, math.MaxInt32))
		case "opaque":
			c.Opaque = int32(s.number(math.MinInt32, math.MaxInt32))
		case "remark":
			c.Remark = s.text()
		case "extFields":
			c.Fields = make([]Field, 0, 8)
			s.object(func(name string) {
				if v := s.text(); !s.null {
					c.Fields = append(c.Fields, Field{name, v})
				}
			})
		default:
			s.skip(0)
		}
	})
	s.space()
	if s.err == nil && len(s.b) > 0 {
		s.fail("something follows the header")
	}
	return s.err
}
