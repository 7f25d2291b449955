// Package connector is what a connector author implements. A Connector describes itself, checks a config and divides it
// into tasks; its Source or Sink moves the records of one task. The worker calls every method of one Source or Sink
// from one goroutine at a time, turns panics into failures of that task, and owns retries, positions and delivery.
//
// When each method is called, under which context, and what the worker does without the optional ones:
// docs/development.md. Package setting reads configs; package connectortest holds a connector to all this, and has a
// whole one as its example.
package connector

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"

	"github.com/rocketmq-connect/operator/worker/record"
)

// Kind says which way a connector moves records.
type Kind string

const (
	// KindSource connectors read another system and write to RocketMQ.
	KindSource Kind = "Source"
	// KindSink connectors read RocketMQ and write to another system.
	KindSink Kind = "Sink"
)

var (
	// ErrNotConnected means the other system cannot be reached just now: the worker closes and opens the task again with
	// back-off.
	ErrNotConnected = errors.New("not connected")
	// ErrEndOfSource means the source has no more records and never will: the task drains and stops. It is no failure.
	ErrEndOfSource = errors.New("end of source")
	// ErrTopicName means that RocketMQ allows no topic of that name. Nothing helps but another name.
	ErrTopicName = errors.New("no name for a RocketMQ topic")
)

// Config is a connector's or a task's settings, with values in the place of references to secrets. Values are never
// logged: they may be secrets.
type Config map[string]string

// Connector is one class that a Connector resource or a REST call can name.
type Connector interface {
	// Spec describes the class: its name, kind and settings. It is constant.
	Spec() Spec
	// Validate checks settings that Spec cannot express. It does no IO; its error names the key and what to do.
	Validate(cfg Config) error
	// Tasks divides the work into at most maxTasks task configs, one at least. It may ask the other system, within ctx.
	// The task configs are stored: secrets that references stand for may be in them under the key that they have in cfg,
	// and nowhere else.
	Tasks(ctx context.Context, cfg Config, maxTasks int) ([]Config, error)
}

// SourceConnector is a Connector of KindSource.
type SourceConnector interface {
	Connector
	// NewSource makes the source of one task. It does no IO.
	NewSource() Source
}

// SinkConnector is a Connector of KindSink.
type SinkConnector interface {
	Connector
	// NewSink makes the sink of one task. It does no IO.
	NewSink() Sink
}

// Env is what the worker tells a task about itself.
type Env struct {
	// ClusterID names the Connect cluster.
	ClusterID string
	// Connector is the connector's name; Task is the task's index, from 0; Tasks is how many there are.
	Connector   string
	Task, Tasks int
	Log         logr.Logger
	// Skipped counts records that the connector left out on purpose (a loop, a tombstone it cannot carry); each call
	// needs a reason from a small fixed set. Never nil.
	Skipped func(reason string, n int)
	// Warn tells users what the task goes on without, in one text for all of it; empty once there is nothing. It is shown
	// with the task's status. Never nil, and safe for concurrent use.
	Warn func(text string)
	// QueueCount asks how many queues a RocketMQ topic has; 0 when it does not exist. Never nil. A sink names the topic
	// that it reads (the one in Record.Partition). It must not be called from Poll or Put for each record.
	QueueCount func(ctx context.Context, topic string) (int, error)
	// EnsureTopic makes a RocketMQ topic with that many queues if it does not exist. Never nil. A source names the topic
	// as in its records: topic.rename.format is the worker's to apply, here and there.
	EnsureTopic func(ctx context.Context, topic string, queues int) error
}

// Source reads one task's share of another system.
type Source interface {
	// Open connects and goes on from the stored positions of the whole connector (a task uses its own share). The
	// context ends with the call, not with the task.
	Open(ctx context.Context, env Env, cfg Config, from record.Positions) error
	// Poll blocks until it has at least one record or ctx ends, and then returns what it has. Records of one
	// Partition come in order. When ctx ends it returns within 100 ms; what it read but did not return is read again
	// after the next Open, and so is what it returned when the task was stopping.
	Poll(ctx context.Context) ([]record.Record, error)
	// Close releases everything. It is called once for each Open that was tried, failed ones too, and once where an
	// attempt ended before it came to one. Its context ends after 5 s. While it does not return, the task stays where it
	// is.
	Close(ctx context.Context) error
}

// Committer is implemented by sources that tell their system how far the worker has stored positions.
type Committer interface {
	// Commit is called after the positions in upTo were stored: between polls, and at the end of an attempt. An error is
	// logged and counted; nothing is repeated for it.
	Commit(ctx context.Context, upTo record.Positions) error
}

// Pauser is implemented by sources that can leave single partitions alone while they read the others. While the records
// of a partition cannot be sent, because the broker of their queue is away, a source without it is not polled at all.
type Pauser interface {
	// Pause names all partitions of which Poll is to return nothing until the next call; nil is none. It is called between
	// Polls. The context of a Poll of a Pauser may end at any time and Poll be called again: nothing is lost by that.
	Pause(partitions []record.SourcePartition)
}

// Progressed is implemented by sources that read past records without returning them (filtered, skipped), so that what
// they skipped is not read again after every start. Poll of such a source may return no records before its context
// ends.
type Progressed interface {
	// Progressed is called after each Poll. Its positions may be stored once everything returned until now is delivered;
	// nil when none changed since the last call.
	Progressed() record.Positions
}

// Sink writes one task's share of RocketMQ queues to another system.
type Sink interface {
	// Open connects. The context ends with the call.
	Open(ctx context.Context, env Env, cfg Config) error
	// Put hands over a batch in queue order. Record.Topic is the target, already renamed. It may buffer. After ctx has
	// ended nothing of the batch may still be delivered: the task's lease is over and another worker may run it.
	Put(ctx context.Context, batch []record.Record) error
	// Flush returns nil when everything that was put is durable. An error says that some of it may not be: the worker
	// opens the sink again and puts everything after the last successful Flush once more.
	Flush(ctx context.Context) error
	// Close releases everything, buffered records included. It is called as that of a Source is.
	Close(ctx context.Context) error
}

// Placed is implemented by sinks to topics that others read, and may carry back: records that have been in one are left
// out, and the others come with their path, which the sink writes with them. Sources of such a system set Record.Path.
type Placed interface {
	// Place names the topic that takes the records of a Record.Topic. It is asked once Open has returned nil.
	Place(topic string) record.Place
}

// LastWriter is implemented by sinks that know exactly when they last delivered something. Without it a delivery counts
// as under way until its Put or Flush came back, which in a process that was frozen is long after the lease.
type LastWriter interface {
	// LastWrite is when bytes of records last left this process, with Go's monotonic reading; zero before the first. It is
	// called also after Close.
	LastWrite() time.Time
}

// PoisonError is Put's answer for a record that no retry will deliver; the worker applies errors.tolerance to it. The
// records before Index were taken. Those after it are put again, though some may be delivered already: duplicates are
// possible, gaps are not.
type PoisonError struct {
	// Index is the record's place in the batch given to Put.
	Index int
	Err   error
}

// Error says which record and why.
func (e *PoisonError) Error() string { return "record cannot be delivered: " + e.Err.Error() }

// Unwrap returns the cause.
func (e *PoisonError) Unwrap() error { return e.Err }
