// Package convert maps records to RocketMQ messages and back. docs/record-mapping.md describes the mapping; it is part
// of what users see and only ever grows.
package convert

import (
	"errors"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// ErrUnmappable means a record or a message that no retry will map: its properties are too large, or its connect-
// properties were damaged.
var ErrUnmappable = errors.New("record cannot be mapped")

// ToMessage maps a source record.
func ToMessage(r *record.Record) (rmq.Message, error) { return rmq.Message{Topic: r.Topic}, nil }

// FromMessage maps a message that was read.
func FromMessage(m *rmq.Received) (record.Record, error) { return record.Record{Topic: m.Queue.Topic}, nil }
