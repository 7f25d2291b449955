package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"slices"
	"strconv"
)

// maxFrame is more than RocketMQ or Kafka send at once.
const maxFrame = 128 << 20

// errFrame means that a server speaks something else.
var errFrame = errors.New("a frame is longer than any server sends")

// Rewrite replaces bytes in what a server sends; the zero value replaces nothing. RocketMQ and Kafka both send frames
// behind a length of four bytes: as old and new are equally long, frames stay what they were.
type Rewrite struct{ pairs []pair }

type pair struct{ old, new []byte }

// RouteTo makes a RocketMQ name server's clients go to other ports of this machine instead of the brokers': ports has
// the one for each broker. All brokers are rewritten wherever they are named, so that it does not matter which of them
// is the master by then.
func RouteTo(ports map[int]int) (Rewrite, error) {
	var r Rewrite
	for _, broker := range slices.Sorted(maps.Keys(ports)) {
		to := ports[broker]
		p := pair{old: []byte("127.0.0.1:" + strconv.Itoa(broker)), new: []byte("127.0.0.1:" + strconv.Itoa(to))}
		if len(p.old) != len(p.new) {
			return Rewrite{}, fmt.Errorf("rewriting routes: ports %d and %d must have as many digits", broker, to)
		}
		if _, taken := ports[to]; taken {
			return Rewrite{}, fmt.Errorf("rewriting routes: port %d is that of a broker, too", to)
		}
		r.pairs = append(r.pairs, p)
	}
	return r, nil
}

// KafkaAt makes a Kafka broker's clients go to another port of this machine than the one it advertises.
func KafkaAt(broker, port int) Rewrite {
	host := func(p int) []byte { return binary.BigEndian.AppendUint32([]byte("127.0.0.1"), uint32(p)) }
	return Rewrite{pairs: []pair{{old: host(broker), new: host(port)}}}
}

// reader returns pieces of what the connection sends: whole frames if there is something to replace.
func (r Rewrite) reader(c net.Conn) func() ([]byte, error) {
	if len(r.pairs) == 0 {
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
		for _, p := range r.pairs {
			frame = bytes.ReplaceAll(frame, p.old, p.new)
		}
		return frame, nil
	}
}
