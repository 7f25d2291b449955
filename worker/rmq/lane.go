package rmq

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// noTopic is the topic after which a broker would model one that it does not have: there is none, so it creates nothing.
const noTopic = "__none__"

// outgoing is an encoded batch of n messages.
type outgoing struct {
	members []byte
	n       int
	born    int64 // ms; 0: now
}

// send stores a batch on one queue and returns its first offset. A batch of one goes as a single message. The request is
// over, one way or the other, after SendTimeout or at ctx's end, and nothing of it lingers.
func (c *Client) send(ctx context.Context, q Queue, purpose string, o outgoing) (first int64, err error) {
	if o.born == 0 {
		o.born = time.Now().UnixMilli()
	}
	r := request{op: "sending to " + q.Topic, purpose: purpose, timeout: c.cfg.SendTimeout}
	r.cmd = remoting.Command{Code: remoting.SendBatch, Body: o.members, Reset: true}
	properties, batch := "", "true"
	if o.n == 1 {
		body, wire, _, err := remoting.Member(o.members)
		if err != nil {
			return 0, err
		}
		r.cmd.Code, r.cmd.Body = remoting.SendMessageV2, body
		properties, batch = string(wire), "false"
	}
	r.cmd.Fields = append(make([]remoting.Field, 0, 17), // three more when signed
		remoting.Field{Name: "a", Value: c.cfg.ClientID},
		remoting.Field{Name: "b", Value: c.onWire(q.Topic)},
		remoting.Field{Name: "c", Value: noTopic},
		remoting.Field{Name: "d", Value: "0"},
		remoting.Field{Name: "e", Value: strconv.Itoa(q.ID)},
		remoting.Field{Name: "f", Value: "0"},
		remoting.Field{Name: "g", Value: strconv.FormatInt(o.born, 10)},
		remoting.Field{Name: "h", Value: "0"},
		remoting.Field{Name: "i", Value: properties},
		remoting.Field{Name: "j", Value: "0"},
		remoting.Field{Name: "k", Value: "false"},
		remoting.Field{Name: "l", Value: "0"},
		remoting.Field{Name: "m", Value: batch},
		remoting.Field{Name: "n", Value: q.Broker},
	)
	resp, err := c.onQueue(ctx, q, &r)
	if err != nil {
		return 0, err
	}
	if first, err = resp.Int("queueOffset"); err != nil {
		return 0, fmt.Errorf("%s: %w", r.op, err)
	}
	return first, nil
}
