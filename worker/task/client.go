package task

import (
	"context"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// FromClient gives tasks their view of a RocketMQ client.
func FromClient(c *rmq.Client) Client { return client{c} }

type client struct{ *rmq.Client }

// EnsureTopic makes the topic with that many queues on every master if it does not exist.
func (c client) EnsureTopic(ctx context.Context, topic string, queues int) ([]rmq.Queue, error) {
	return c.Client.EnsureTopic(ctx, topic, rmq.TopicSpec{Queues: queues})
}

// NewSender returns a sender that asks gate before each batch.
func (c client) NewSender(gate func(context.Context) error, maxBuffered int, onBatch BatchFunc) Sender {
	return c.Client.NewSender(rmq.SenderConfig{Gate: gate, MaxBufferedBytes: maxBuffered, OnBatch: onBatch})
}

// NewReader returns a reader that has nothing assigned.
func (c client) NewReader(group string, maxBuffered int, trail func(rmq.Queue) rmq.Trail, onGap func(q rmq.Queue, from, to int64)) Reader {
	return c.Client.NewReader(rmq.ReaderConfig{Group: group, MaxBufferedBytes: maxBuffered, Trail: trail, OnGap: onGap})
}
