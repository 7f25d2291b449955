// Package forger writes to a cluster log in the name of the workers that live.
package forger

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/test/hostile/forge"
	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Forger reads the cluster log as a worker does, so that what it writes there in the name of others is not void.
type Forger struct {
	client   *rmq.Client
	topic    string
	sessions int
	stop     context.CancelFunc
	ended    chan error

	mu   sync.Mutex
	fold *fold.Fold
	// forged has the sequence with which a session was last forged: it is left alone until it has written again itself.
	forged map[int64]int64
}

// ErrNobody means that fewer sessions live than there are to be.
var ErrNobody = errors.New("the sessions to forge are not there")

// New reads a log from its start, until so many sessions live.
func New(ctx context.Context, client *rmq.Client, topic string, sessions int) (*Forger, error) {
	queues, err := client.Route(ctx, topic)
	if err != nil {
		return nil, fmt.Errorf("looking up the cluster topic: %w", err)
	}
	f := &Forger{client: client, topic: topic, sessions: sessions, fold: fold.New(), ended: make(chan error, 1), forged: map[int64]int64{}}
	reading, stop := context.WithCancel(ctx)
	f.stop = stop
	go func() { f.ended <- client.Log(queues[0]).Follow(reading, 0, 0, f.step) }()
	return f, wait.Until(ctx, 50*time.Millisecond, func(context.Context) error {
		_, err := f.target(0)
		return err
	})
}

func (f *Forger) step(e rmq.Entry) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.fold.Step(e)
	return err
}

// Close ends reading; its error says that the log lost records, or could not be read.
func (f *Forger) Close() error {
	f.stop()
	if err := <-f.ended; !errors.Is(err, context.Canceled) {
		return fmt.Errorf("reading the cluster log: %w", err)
	}
	return nil
}

// Heard waits until each session that lives has been heard again, and fails if one of them is gone.
func (f *Forger) Heard(ctx context.Context) error {
	f.mu.Lock()
	before := f.fold.Sessions()
	f.mu.Unlock()
	return wait.Until(ctx, 50*time.Millisecond, func(context.Context) error {
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, was := range before {
			switch now, live := f.fold.Session(was.ID); {
			case !live:
				return wait.Final(fmt.Errorf("%w: %s is gone", ErrNobody, was.Worker))
			case now.Heartbeat == was.Heartbeat:
				return fmt.Errorf("%w: %s is not heard any more", ErrNobody, was.Worker)
			}
		}
		return nil
	})
}

// target is one of the sessions, in turn.
func (f *Forger) target(i int) (forge.Target, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	sessions := f.fold.Sessions()
	if len(sessions) < f.sessions {
		return forge.Target{}, ErrNobody
	}
	return forge.Target{Session: sessions[i%len(sessions)], AsOf: f.fold.Offset(), Log: f.fold.Log()}, nil
}

// Send writes the i-th records of a kind, and says how many those were.
func (f *Forger) Send(ctx context.Context, k forge.InLog, i int) (int, error) {
	t, err := f.target(i)
	if err != nil {
		return 0, err
	}
	return Append(ctx, f.client, f.topic, k.Make(t, i))
}

// WrongDigest forges one heartbeat, of a session that has written one since it was forged before: two in a row would be
// a vote.
func (f *Forger) WrongDigest(ctx context.Context, i int) (int, error) {
	t, err := f.target(i)
	if err != nil {
		return 0, err
	}
	f.mu.Lock()
	last := f.forged[t.Session.ID]
	fresh := t.Session.Sequence > last+1
	if fresh {
		f.forged[t.Session.ID] = t.Session.Sequence + 1
	}
	f.mu.Unlock()
	if !fresh {
		return 0, nil
	}
	return Append(ctx, f.client, f.topic, forge.WrongDigest(t))
}

// Append stores records in an internal topic, as a worker does, and says how many those were.
func Append(ctx context.Context, client *rmq.Client, topic string, entries []rmq.Entry) (int, error) {
	queues, err := client.Route(ctx, topic)
	if err != nil {
		return 0, fmt.Errorf("looking up %s: %w", topic, err)
	}
	if _, err := client.Log(queues[0]).Append(ctx, entries...); err != nil {
		return 0, err
	}
	return len(entries), nil
}
