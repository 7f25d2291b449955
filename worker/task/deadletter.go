package task

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/convert"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// deadLetterQueues is how many queues a dead letter topic is made with, as in the older runtimes.
const deadLetterQueues = 8

// maxReason bounds the error text that goes with a dead letter: properties have a size limit.
const maxReason = 1024

// reasonPrefix begins the names of the properties that say why a record is a dead letter, as in the older runtimes.
const reasonPrefix = "__connect.errors."

// deadLetters writes records that a sink cannot take to a topic of their own. It opens its sender on first use.
type deadLetters struct {
	*Runner
	a      Attempt
	topic  string
	sender Sender
}

// put returns once the broker confirmed the record, or cannot store it.
func (d *deadLetters) put(ctx context.Context, m *rmq.Received, stage string, cause error) error {
	if d.sender == nil {
		if _, err := d.client.EnsureTopic(ctx, d.topic, deadLetterQueues); err != nil {
			return fmt.Errorf("ensuring the topic: %w", err)
		}
		gate := func(ctx context.Context) error { return d.wait(ctx, d.a.Gate, d.cfg.SendTimeout) }
		d.sender = d.client.NewSender(gate, d.cfg.MaxBufferedBytes, nil)
	}
	why, own := d.reasons(m, stage, cause), ownProperties(m)
	err := d.send(ctx, m, append(slices.Clone(own), why...))
	if !unstorable(err) {
		return err
	}
	// What is added may be what is too much. Better the record with its key alone than no record.
	kept := slices.DeleteFunc(slices.Clone(own), func(p rmq.Property) bool { return !ofKey(p.Name) })
	left := rmq.Property{Name: reasonPrefix + "properties.left.out", Value: strconv.Itoa(len(own) - len(kept))}
	return d.send(ctx, m, append(append(kept, why...), left))
}

// unstorable says that RocketMQ never stores the message, whoever sends it and when.
func unstorable(err error) bool {
	return errors.Is(err, rmq.ErrTooLarge) || errors.Is(err, rmq.ErrIllegal)
}

func (d *deadLetters) send(ctx context.Context, m *rmq.Received, properties []rmq.Property) error {
	answer := make(chan error, 1)
	msg := rmq.Message{Topic: d.topic, Properties: properties, Body: m.Body, BornAt: m.BornAt}
	if err := d.sender.Send(ctx, msg, func(_ int64, err error) { answer <- err }); err != nil {
		return fmt.Errorf("sending: %w", err)
	}
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// ownProperties are those that the record was sent with.
func ownProperties(m *rmq.Received) []rmq.Property {
	return slices.DeleteFunc(slices.Clone(m.Properties), func(p rmq.Property) bool { return ofBroker(p.Name) })
}

// reasons are the properties that say why the record is here.
func (d *deadLetters) reasons(m *rmq.Received, stage string, cause error) (out []rmq.Property) {
	for _, p := range []rmq.Property{
		{Name: "topic", Value: m.Queue.Topic},
		{Name: "partition", Value: m.Queue.String()},
		{Name: "offset", Value: strconv.FormatInt(m.Offset, 10)},
		{Name: "connector.name", Value: d.a.ID.Connector},
		{Name: "task.id", Value: strconv.Itoa(d.a.ID.Task)},
		{Name: "cluster.id", Value: d.cfg.ClusterID},
		{Name: "stage", Value: stage},
		{Name: "exception.class.name", Value: fmt.Sprintf("%T", cause)},
		{Name: "exception.message", Value: d.reason(cause)},
	} {
		if p.Value != "" {
			out = append(out, rmq.Property{Name: reasonPrefix + p.Name, Value: p.Value})
		}
	}
	return out
}

// reason is the error's text without secrets, control characters and excess.
func (d *deadLetters) reason(cause error) string {
	text := strings.Map(func(r rune) rune {
		if r < ' ' {
			return ' '
		}
		return r
	}, d.a.Scrub(cause.Error()))
	if len(text) > maxReason {
		text = strings.ToValidUTF8(text[:maxReason], "")
	}
	return text
}

// lastWrite is when a record last left this process.
func (d *deadLetters) lastWrite() time.Time {
	if d.sender == nil {
		return time.Time{}
	}
	return d.sender.LastWrite()
}

func (d *deadLetters) close() {
	if d.sender != nil {
		d.sender.Close()
	}
}

// ofKey names the properties that hold a record's key.
func ofKey(name string) bool { return name == convert.PropertyKey || name == "KEYS" }

// ofBroker names the properties that the broker and clients set for each message again.
func ofBroker(name string) bool {
	switch name {
	case "UNIQ_KEY", "WAIT", "MSG_REGION", "TRACE_ON", "CLUSTER", "MIN_OFFSET", "MAX_OFFSET", "INNER_NUM", "DELAY", "TRAN_MSG", "PGROUP":
		return true
	}
	return false
}
