package broker

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// clusterInfo is the request that lists the brokers a name server knows.
const clusterInfo = `{"code":106,"flag":0,"language":"OTHER","opaque":1,"serializeTypeCurrentRPC":"JSON","version":317}`

// maxAnswer is far more than the answer of a cluster of one broker.
const maxAnswer = 1 << 20

// registered is nil once the name server shows the broker. A broker that says that it has started may still be unknown
// there: one that found the name server busy tries again only seconds later.
func registered(ctx context.Context, nameServer, broker string) error {
	d := net.Dialer{Timeout: time.Second}
	c, err := d.DialContext(ctx, "tcp", nameServer)
	if err != nil {
		return fmt.Errorf("asking the name server: %w", err)
	}
	defer c.Close()
	frame := binary.BigEndian.AppendUint32(nil, uint32(4+len(clusterInfo)))
	frame = binary.BigEndian.AppendUint32(frame, uint32(len(clusterInfo)))
	if err := c.SetDeadline(time.Now().Add(3 * time.Second)); err != nil {
		return fmt.Errorf("asking the name server: %w", err)
	}
	if _, err := c.Write(append(frame, clusterInfo...)); err != nil {
		return fmt.Errorf("asking the name server: %w", err)
	}
	var size uint32
	if err := binary.Read(c, binary.BigEndian, &size); err != nil {
		return fmt.Errorf("reading the name server's answer: %w", err)
	}
	if size > maxAnswer {
		return errors.New("reading the name server's answer: it is none")
	}
	answer := make([]byte, size)
	if _, err := io.ReadFull(c, answer); err != nil {
		return fmt.Errorf("reading the name server's answer: %w", err)
	}
	if !strings.Contains(string(answer), `"`+broker+`"`) {
		return fmt.Errorf("the name server does not know %s yet", broker)
	}
	return nil
}
