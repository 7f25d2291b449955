package broker

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// request is a command of RocketMQ's protocol.
type request struct {
	Code      int               `json:"code"`
	Flag      int               `json:"flag"`
	Language  string            `json:"language"`
	Opaque    int               `json:"opaque"`
	Serialize string            `json:"serializeTypeCurrentRPC"`
	Version   int               `json:"version"`
	Fields    map[string]string `json:"extFields,omitempty"`
	body      string
}

// The codes of the requests that tell whether a process is ready.
const (
	codeRoute       = 105
	codeClusterInfo = 106
	codeSyncStates  = 1006
)

func newRequest(code int) request {
	return request{Code: code, Language: "OTHER", Opaque: 1, Serialize: "JSON", Version: 317}
}

// maxAnswer is far more than the answer of a cluster of few brokers.
const maxAnswer = 1 << 20

// frame is the request's bytes: the size of all, the size of the header, the header, the body.
func (r request) frame() ([]byte, error) {
	header, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	b := binary.BigEndian.AppendUint32(nil, uint32(4+len(header)+len(r.body)))
	b = binary.BigEndian.AppendUint32(b, uint32(len(header)))
	return append(append(b, header...), r.body...), nil
}

// ask sends one request and returns the body of the answer. An answer with another code than 0 is an error. secure is
// nil without TLS.
func ask(ctx context.Context, secure *tls.Config, address string, r request) (body []byte, err error) {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	defer c.Close()
	if secure != nil {
		c = tls.Client(c, secure)
	}
	frame, err := r.frame()
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	if _, err := c.Write(frame); err != nil {
		return nil, fmt.Errorf("asking %s: %w", address, err)
	}
	var size uint32
	if err := binary.Read(c, binary.BigEndian, &size); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	if size > maxAnswer || size < 4 {
		return nil, fmt.Errorf("reading the answer of %s: it is none", address)
	}
	answer := make([]byte, size)
	if _, err := io.ReadFull(c, answer); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	if body, err = bodyOf(answer); err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", address, err)
	}
	return body, nil
}

// bodyOf takes an answer apart. The first byte of the header's size is the kind of its encoding, 0 for JSON.
func bodyOf(answer []byte) ([]byte, error) {
	size := binary.BigEndian.Uint32(answer)
	answer = answer[4:]
	if int64(size) > int64(len(answer)) {
		return nil, errors.New("its header is longer than itself, or no JSON")
	}
	var header struct {
		Code   int    `json:"code"`
		Remark string `json:"remark"`
	}
	if err := json.Unmarshal(answer[:size], &header); err != nil {
		return nil, err
	}
	if header.Code != 0 {
		return nil, fmt.Errorf("code %d: %s", header.Code, header.Remark)
	}
	return answer[size:], nil
}
