package connectortest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/record"
)

// How a trap springs.
type springs string

const (
	panics springs = "panics"
	hangs  springs = "hangs" // until the trap is released, whatever its context
	late   springs = "comes late"
)

// trap is what one method of a class does wrong, once: it does what it has to, and panics then, hangs, or keeps what it
// has until its context has ended.
type trap struct {
	method string
	how    springs
	// spared is how many calls go well before.
	spared int
	// warns is what the worker logs of a panic with which the task goes on. With any other the task, or the connector,
	// fails, and fails is what the worker says it was at.
	warns, fails string
	// restart says that the attempt has to be ended for it.
	restart bool

	class    string
	met      chan struct{} // closed once the trap has sprung
	released chan struct{}

	mu     sync.Mutex
	calls  int
	opened int
}

// set makes the trap's class: it is called as the class is in which the trap is, and what is wrong with it.
func (tr *trap) set(inner connector.Spec) {
	tr.class = inner.Class + tr.method + strings.ReplaceAll(string(tr.how), " ", "")
	tr.met, tr.released = make(chan struct{}), make(chan struct{})
}

// name is that of the trap's connector.
func (tr *trap) name() string {
	return strings.ToLower(tr.method) + "-" + strings.ReplaceAll(string(tr.how), " ", "-")
}

// at is called by a method once it has done what it has to. It waits on ctx if the trap comes late.
func (tr *trap) at(ctx context.Context, method string) {
	if method != tr.method {
		return
	}
	tr.mu.Lock()
	tr.calls++
	sprung := tr.calls == tr.spared+1
	tr.mu.Unlock()
	if !sprung {
		return
	}
	close(tr.met)
	switch tr.how {
	case hangs:
		<-tr.released
	case late:
		<-ctx.Done()
	default:
		panic(trapped)
	}
}

func (tr *trap) opens() int {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	return tr.opened
}

func (tr *trap) open(ctx context.Context) {
	tr.mu.Lock()
	tr.opened++
	tr.mu.Unlock()
	tr.at(ctx, "Open")
}

// spec is that of the trap's class.
func (tr *trap) spec(inner connector.Spec) connector.Spec {
	inner.Class, inner.Aliases = tr.class, nil
	return inner
}

// check waits for the trap, has the worker say what it has to say then, and sees that nothing else is disturbed by it.
func (h *host) check(t *testing.T, tr *trap) {
	t.Helper()
	name := tr.name()
	if tr.restart {
		h.restart(t, name)
	}
	h.until(t, fmt.Sprintf("%s was not called", tr.method), func() bool { return closed(tr.met) })
	if tr.how == hangs {
		had := tr.opens()
		h.othersGoOn(t)
		if n := tr.opens(); n != had {
			t.Errorf("while %s hung the task was opened again: somebody may deliver twice", tr.method)
		}
		close(tr.released)
	}
	if tr.how == panics && tr.warns == "" {
		says := fmt.Sprintf("Unit failed: class %s: %spanic: %s", tr.class, tr.fails, trapped)
		h.until(t, fmt.Sprintf("the log does not say %q", says), func() bool { return h.log.told(name, says) })
	}
	if tr.warns != "" {
		says := fmt.Sprintf("%s: panic: %s", tr.warns, trapped)
		h.until(t, fmt.Sprintf("the log does not say %q", says), func() bool { return h.log.told(name, says) })
		if h.log.told(name, "Unit failed") {
			t.Errorf("the task failed, and has to go on: %q", h.log.all(name))
		}
	}
	h.othersGoOn(t)
}

// trapped is what a trap panics with.
const trapped = "a trap of the acceptance suite"

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// trappedSource is a class with a trap.
type trappedSource struct {
	connector.SourceConnector
	trap *trap
}

// Spec is the inner one under the name of the trap's class.
func (c trappedSource) Spec() connector.Spec { return c.trap.spec(c.SourceConnector.Spec()) }

// Validate is the inner one, and may be the trap.
func (c trappedSource) Validate(cfg connector.Config) error {
	err := c.SourceConnector.Validate(cfg)
	c.trap.at(context.Background(), "Validate")
	return err
}

// Tasks is the inner one, and may be the trap.
func (c trappedSource) Tasks(ctx context.Context, cfg connector.Config, most int) ([]connector.Config, error) {
	tasks, err := c.SourceConnector.Tasks(ctx, cfg, most)
	c.trap.at(ctx, "Tasks")
	return tasks, err
}

// NewSource makes a source that may be the trap.
func (c trappedSource) NewSource() connector.Source {
	s := sourceInTrap{c.SourceConnector.NewSource(), c.trap}
	c.trap.at(context.Background(), "NewSource")
	if _, ok := s.Source.(connector.Pauser); ok {
		return pauserInTrap{s}
	}
	return s
}

// sourceInTrap is a Committer and Progressed whatever it holds: to be told, or asked, costs a source nothing.
type sourceInTrap struct {
	connector.Source
	trap *trap
}

// Open is the inner one, and may be the trap.
func (s sourceInTrap) Open(ctx context.Context, env connector.Env, cfg connector.Config, from record.Positions) error {
	err := s.Source.Open(ctx, env, cfg, from)
	s.trap.open(ctx)
	return err
}

// Poll is the inner one, and may be the trap.
func (s sourceInTrap) Poll(ctx context.Context) ([]record.Record, error) {
	records, err := s.Source.Poll(ctx)
	if len(records) > 0 {
		s.trap.at(ctx, "Poll")
	}
	return records, err
}

// Progressed is the inner one, and may be the trap.
func (s sourceInTrap) Progressed() (upTo record.Positions) {
	if p, ok := s.Source.(connector.Progressed); ok {
		upTo = p.Progressed()
	}
	s.trap.at(context.Background(), "Progressed")
	return upTo
}

// Commit is the inner one, and may be the trap.
func (s sourceInTrap) Commit(ctx context.Context, upTo record.Positions) (err error) {
	if c, ok := s.Source.(connector.Committer); ok {
		err = c.Commit(ctx, upTo)
	}
	s.trap.at(ctx, "Commit")
	return err
}

// Close is the inner one, and may be the trap.
func (s sourceInTrap) Close(ctx context.Context) error {
	err := s.Source.Close(ctx)
	s.trap.at(ctx, "Close")
	return err
}

type pauserInTrap struct{ sourceInTrap }

// Pause is the inner one, and may be the trap.
func (s pauserInTrap) Pause(partitions []record.SourcePartition) {
	s.Source.(connector.Pauser).Pause(partitions)
	s.trap.at(context.Background(), "Pause")
}

// trappedSink is a class with a trap.
type trappedSink struct {
	connector.SinkConnector
	trap *trap
}

// Spec is the inner one under the name of the trap's class.
func (c trappedSink) Spec() connector.Spec { return c.trap.spec(c.SinkConnector.Spec()) }

// Validate is the inner one, and may be the trap.
func (c trappedSink) Validate(cfg connector.Config) error {
	err := c.SinkConnector.Validate(cfg)
	c.trap.at(context.Background(), "Validate")
	return err
}

// Tasks is the inner one, and may be the trap.
func (c trappedSink) Tasks(ctx context.Context, cfg connector.Config, most int) ([]connector.Config, error) {
	tasks, err := c.SinkConnector.Tasks(ctx, cfg, most)
	c.trap.at(ctx, "Tasks")
	return tasks, err
}

// NewSink makes a sink that may be the trap.
func (c trappedSink) NewSink() connector.Sink {
	s := &sinkInTrap{Sink: c.SinkConnector.NewSink(), trap: c.trap}
	c.trap.at(context.Background(), "NewSink")
	if _, ok := s.Sink.(connector.Placed); ok {
		return placedInTrap{s}
	}
	return s
}

// sinkInTrap is a LastWriter whatever it holds.
type sinkInTrap struct {
	connector.Sink
	trap *trap
	// touched is when a call that may deliver came back.
	touched time.Time
}

// Open is the inner one, and may be the trap.
func (s *sinkInTrap) Open(ctx context.Context, env connector.Env, cfg connector.Config) error {
	err := s.Sink.Open(ctx, env, cfg)
	s.trap.open(ctx)
	return err
}

// Put is the inner one, and may be the trap.
func (s *sinkInTrap) Put(ctx context.Context, batch []record.Record) error {
	err := s.Sink.Put(ctx, batch)
	s.touched = time.Now()
	s.trap.at(ctx, "Put")
	return err
}

// Flush is the inner one, and may be the trap.
func (s *sinkInTrap) Flush(ctx context.Context) error {
	err := s.Sink.Flush(ctx)
	s.touched = time.Now()
	s.trap.at(ctx, "Flush")
	return err
}

// LastWrite is the inner one, and may be the trap.
func (s *sinkInTrap) LastWrite() time.Time {
	at := s.touched
	if w, ok := s.Sink.(connector.LastWriter); ok {
		at = w.LastWrite()
	}
	s.trap.at(context.Background(), "LastWrite")
	return at
}

// Close is the inner one, and may be the trap.
func (s *sinkInTrap) Close(ctx context.Context) error {
	err := s.Sink.Close(ctx)
	s.trap.at(ctx, "Close")
	return err
}

type placedInTrap struct{ *sinkInTrap }

// Place is the inner one, and may be the trap.
func (s placedInTrap) Place(topic string) record.Place {
	place := s.Sink.(connector.Placed).Place(topic)
	s.trap.at(context.Background(), "Place")
	return place
}
