package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
)

// maxFrame is more than RocketMQ or Kafka send at once.
const maxFrame = 128 << 20

// errFrame means that a server speaks something else.
var errFrame = errors.New("a frame is longer than any server sends")

// Rewrite replaces bytes in what a server sends; the zero value replaces nothing. RocketMQ and Kafka both send frames behind
// a length of four bytes: as Old and New are equally long, frames stay what they were.
type Rewrite struct{ Old, New []byte }

// RouteTo makes a RocketMQ name server's clients go to another port of this machine instead of the broker's.
func RouteTo(broker, port int) (Rewrite, error) {
	r := Rewrite{Old: []byte("127.0.0.1:" + strconv.Itoa(broker)), New: []byte("127.0.0.1:" + strconv.Itoa(port))}
	if len(r.Old) != len(r.New) {
		return Rewrite{}, fmt.Errorf("rewriting routes: ports %d and %d must have as many digits", broker, port)
	}
	return r, nil
}

// KafkaAt makes a Kafka broker's clients go to another port of this machine than the one it advertises.
func KafkaAt(broker, port int) Rewrite {
	host := func(p int) []byte { return binary.BigEndian.AppendUint32([]byte("127.0.0.1"), uint32(p)) }
	return Rewrite{Old: host(broker), New: host(port)}
}

// reader returns pieces of what the connection sends: whole frames if there is something to replace.
func (r Rewrite) reader(c net.Conn) func() ([]byte, error) {
	if len(r.Old) == 0 {
		buf := make([]byte, 64<<10)
		return func() ([]byte, error) {
			n, err := c.Read(buf)
			return bytes.Clone(buf[:n]), err
		}
	}
	return func() ([]byte, error) {
		var size [4]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return nil, err
		}
		n := binary.BigEndian.Uint32(size[:])
		if n > maxFrame {
			return nil, errFrame
		}
		frame := make([]byte, 4+n)
		copy(frame, size[:])
		if _, err := io.ReadFull(c, frame[4:]); err != nil {
			return nil, err
		}
		return bytes.ReplaceAll(frame, r.Old, r.New), nil
	}
}
