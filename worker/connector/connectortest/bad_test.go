package connectortest_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connector/connectortest"
	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/service"
)

// badSource is a source that breaks a rule: each function that it has stands for a method of the good one.
type badSource struct {
	connector.Source
	open       func(s connector.Source, ctx context.Context, env connector.Env, cfg connector.Config, from record.Positions) error
	poll       func(s connector.Source, ctx context.Context) ([]record.Record, error)
	pause      func()
	progressed func() record.Positions
	commit     func() error
	close      func(s connector.Source, ctx context.Context) error
}

func (s *badSource) Open(ctx context.Context, env connector.Env, cfg connector.Config, from record.Positions) error {
	if s.open != nil {
		return s.open(s.Source, ctx, env, cfg, from)
	}
	return s.Source.Open(ctx, env, cfg, from)
}

func (s *badSource) Poll(ctx context.Context) ([]record.Record, error) {
	if s.poll != nil {
		return s.poll(s.Source, ctx)
	}
	return s.Source.Poll(ctx)
}

func (s *badSource) Pause(partitions []record.SourcePartition) {
	if s.pause != nil {
		s.pause()
		return
	}
	s.Source.(connector.Pauser).Pause(partitions)
}

func (s *badSource) Progressed() record.Positions {
	if s.progressed != nil {
		return s.progressed()
	}
	return nil
}

func (s *badSource) Commit(context.Context, record.Positions) error {
	if s.commit != nil {
		return s.commit()
	}
	return nil
}

func (s *badSource) Close(ctx context.Context) error {
	if s.close != nil {
		return s.close(s.Source, ctx)
	}
	return s.Source.Close(ctx)
}

// badSourceClass makes bad sources.
type badSourceClass struct {
	LinesSourceConnector
	make  func() *badSource
	tasks func(cfg connector.Config, n int) ([]connector.Config, error)
}

func (c badSourceClass) NewSource() connector.Source {
	s := c.make()
	s.Source = c.LinesSourceConnector.NewSource()
	return s
}

func (c badSourceClass) Tasks(ctx context.Context, cfg connector.Config, most int) ([]connector.Config, error) {
	if c.tasks != nil {
		return c.tasks(cfg, most)
	}
	return c.LinesSourceConnector.Tasks(ctx, cfg, most)
}

// bad is a connector that breaks a rule, and how the suite says so.
type bad struct {
	source  func() badSourceClass
	sink    func() badSinkClass
	test    string // of the suite
	message string
	// stall is the system's.
	stall func(t testing.TB) (taken <-chan struct{}, release func())
	// patience is short for what never comes, however long it is waited for.
	patience time.Duration
}

// never is the patience with what cannot come; rarely is the same in a worker, where other things have to come
// meanwhile.
const (
	never  = time.Second
	rarely = 5 * time.Second
)

// wrong is a class whose sources are all made in the same way.
func wrong(source badSource) func() badSourceClass {
	return func() badSourceClass {
		return badSourceClass{make: func() *badSource { s := source; return &s }}
	}
}

func boom() error { panic("boom") }

const (
	delivers  = "delivers each partition in order"
	appears   = "a partition that appears is read from its start"
	inWorker  = "in a worker, faults fail one task and lose nothing"
	openEnded = "an open whose context has ended fails and can be closed"
	unopened  = "a close without an open does nothing"
	away      = "a system that is away is reported as not connected"
)

func badSources() map[string]bad {
	type ctxt = context.Context
	return map[string]bad{
		"turns records round": {test: delivers, message: "records per partition", source: wrong(badSource{
			poll: func(s connector.Source, ctx ctxt) ([]record.Record, error) {
				records, err := s.Poll(ctx)
				slices.Reverse(records)
				return records, err
			}})},
		"gives no positions": {test: delivers, message: "and position \"\"", source: wrong(badSource{
			poll: func(s connector.Source, ctx ctxt) ([]record.Record, error) {
				records, err := s.Poll(ctx)
				for i := range records {
					records[i].Position = ""
				}
				return records, err
			}})},
		"starts at the beginning in spite of positions": {
			test:    "goes on from its positions and loses nothing",
			message: "records after the stored positions",
			source: wrong(badSource{
				open: func(s connector.Source, ctx ctxt, env connector.Env, cfg connector.Config, _ record.Positions) error {
					return s.Open(ctx, env, cfg, nil)
				}}),
		},
		"keeps its place over a close": {
			test:     "repeats what was not stored",
			message:  "records came, not",
			patience: never,
			source:   keepsItsPlace,
		},
		"has all tasks read everything": {
			test:    "tasks share the partitions",
			message: "FAIL: TestBadConnector/tasks_share_the_partitions",
			source: wrong(badSource{
				open: func(s connector.Source, ctx ctxt, env connector.Env, cfg connector.Config, from record.Positions) error {
					env.Task, env.Tasks = 0, 1
					return s.Open(ctx, env, cfg, from)
				}}),
		},
		"looks for partitions at the start alone": {test: appears, message: `lines/p3`, patience: never, source: wrong(badSource{
			poll: func(s connector.Source, ctx ctxt) ([]record.Record, error) {
				records, err := s.Poll(ctx)
				return slices.DeleteFunc(records, func(r record.Record) bool { return r.Partition == filePartition("p3") }), err
			}})},
		"begins a partition that appears behind its first record": {test: appears, message: `"p3-0"`, patience: never, source: wrong(badSource{
			poll: func(s connector.Source, ctx ctxt) ([]record.Record, error) {
				records, err := s.Poll(ctx)
				return slices.DeleteFunc(records, func(r record.Record) bool { return string(r.Value) == "p3-0" }), err
			}})},
		"has all tasks read a partition that appears": {test: appears, message: "both read lines/p3", source: sharesNothingNew},
		"fails a commit": {
			test:    "positions that were stored are committed",
			message: "committing: no",
			source:  wrong(badSource{commit: func() error { return errors.New("no") }}),
		},
		"polls on though its context has ended": {
			test:     "poll ends with its context and the source goes on",
			message:  "Poll does not return, though its context has ended",
			patience: never,
			source:   wrong(badSource{poll: func(s connector.Source, _ ctxt) ([]record.Record, error) { return s.Poll(context.Background()) }}),
		},
		"fails a poll whose context has ended": {
			test:    "poll ends with its context and the source goes on",
			message: "context canceled",
			source: wrong(badSource{
				poll: func(s connector.Source, ctx ctxt) ([]record.Record, error) {
					if ctx.Err() != nil {
						return nil, ctx.Err()
					}
					return s.Poll(ctx)
				}}),
		},
		"writes to records that it has handed over": {
			test:    "records stay as they were handed over",
			message: "when it was handed over and",
			source: func() badSourceClass {
				var had []record.Record
				return wrong(badSource{poll: func(s connector.Source, ctx ctxt) ([]record.Record, error) {
					for _, r := range had {
						for i := range r.Value {
							r.Value[i] = 'x'
						}
					}
					records, err := s.Poll(ctx)
					had = records
					return records, err
				}})()
			},
		},
		"reads partitions that are paused": {
			test:    "a partition that is paused is left alone, and no other",
			message: "of the partition that is paused",
			source:  wrong(badSource{pause: func() {}}),
		},
		"hides that its system is away": {test: away, message: "an open that has to fail with \"not connected\"", source: wrong(badSource{
			open: func(s connector.Source, ctx ctxt, env connector.Env, cfg connector.Config, from record.Positions) error {
				if err := s.Open(ctx, env, cfg, from); err != nil {
					return errors.New("no such folder")
				}
				return nil
			}})},
		"opens though its context has ended": {
			test:    openEnded,
			message: "an open that has to fail with \"context canceled\"",
			source: wrong(badSource{
				open: func(s connector.Source, _ ctxt, env connector.Env, cfg connector.Config, from record.Positions) error {
					return s.Open(context.Background(), env, cfg, from)
				}}),
		},
		"hangs when it is closed": {
			test:     "a close whose context has ended releases everything",
			message:  "Close does not return, though its context has ended",
			patience: never,
			source:   wrong(badSource{close: func(connector.Source, ctxt) error { select {} }}),
		},
		"fails a close that follows no open": {test: unopened, message: "closing: not open", source: func() badSourceClass {
			return badSourceClass{make: func() *badSource {
				opened := false
				return &badSource{
					open: func(s connector.Source, ctx ctxt, env connector.Env, cfg connector.Config, from record.Positions) error {
						opened = true
						return s.Open(ctx, env, cfg, from)
					},
					close: func(s connector.Source, ctx ctxt) error {
						if !opened {
							return errors.New("not open")
						}
						return s.Close(ctx)
					},
				}
			}}
		}},
		"leaves a goroutine": {test: delivers, message: "goroutines are left when all is closed", source: func() badSourceClass {
			var left service.Group
			return wrong(badSource{close: func(s connector.Source, ctx ctxt) error {
				left.Go(func() { select {} })
				return s.Close(ctx)
			}})()
		}},
		"makes more tasks than it may": {
			test:    "tasks share the partitions",
			message: "3 task configs for at most 2",
			source: func() badSourceClass {
				c := wrong(badSource{})()
				c.tasks = func(cfg connector.Config, n int) ([]connector.Config, error) { return copies(cfg, n+1) }
				return c
			},
		},
		"panics in Tasks": {test: "tasks share the partitions", message: "Tasks panics: boom", source: func() badSourceClass {
			c := wrong(badSource{})()
			c.tasks = func(connector.Config, int) ([]connector.Config, error) { return nil, boom() }
			return c
		}},
		"panics in NewSource": {test: delivers, message: "NewSource panics: boom", source: func() badSourceClass {
			return badSourceClass{make: func() *badSource { _ = boom(); return nil }}
		}},
		"panics in Open": {test: delivers, message: "Open panics: boom", source: wrong(badSource{
			open: func(connector.Source, ctxt, connector.Env, connector.Config, record.Positions) error { return boom() }})},
		"panics in Poll": {test: delivers, message: "Poll panics: boom", source: wrong(badSource{
			poll: func(connector.Source, ctxt) ([]record.Record, error) { return nil, boom() }})},
		"panics in Progressed": {
			test:    delivers,
			message: "panics: boom",
			source:  wrong(badSource{progressed: func() record.Positions { _ = boom(); return nil }}),
		},
		"panics in Pause": {
			test:    "a partition that is paused is left alone, and no other",
			message: "Pause panics: boom",
			source:  wrong(badSource{pause: func() { _ = boom() }}),
		},
		"panics in Commit": {
			test:    "positions that were stored are committed",
			message: "Commit panics: boom",
			source:  wrong(badSource{commit: boom}),
		},
		"panics in Close": {
			test:    delivers,
			message: "Close panics: boom",
			source:  wrong(badSource{close: func(connector.Source, ctxt) error { return boom() }}),
		},
		"in a worker, keeps its place over a close": {test: inWorker, message: "records are lost", patience: rarely, source: keepsItsPlace},
		"in a worker, leaves a goroutine": {test: inWorker, message: "goroutines are left when all is closed", source: func() badSourceClass {
			var left service.Group
			return wrong(badSource{close: func(s connector.Source, ctx ctxt) error {
				left.Go(func() { select {} })
				return s.Close(ctx)
			}})()
		}},
	}
}

// keepsItsPlace is a class whose sources go on where the last one of the connector was, whatever was stored.
func keepsItsPlace() badSourceClass {
	var mu sync.Mutex
	places := map[string]record.Positions{}
	return badSourceClass{make: func() *badSource {
		var name string
		return &badSource{
			open: func(s connector.Source, ctx context.Context, env connector.Env, cfg connector.Config, _ record.Positions) error {
				mu.Lock()
				defer mu.Unlock()
				name = env.Connector
				return s.Open(ctx, env, cfg, places[name])
			},
			poll: func(s connector.Source, ctx context.Context) ([]record.Record, error) {
				records, err := s.Poll(ctx)
				mu.Lock()
				defer mu.Unlock()
				places[name] = places[name].Clone()
				for _, r := range records {
					places[name][r.Partition] = r.Position
				}
				return records, err
			},
		}
	}}
}

// sharesNothingNew is a class whose tasks share the partitions of the start, and all of which read p3.
func sharesNothingNew() badSourceClass {
	return badSourceClass{make: func() *badSource {
		p3 := &linesSource{}
		return &badSource{
			open: func(s connector.Source, ctx context.Context, env connector.Env, cfg connector.Config, from record.Positions) error {
				s.(connector.Pauser).Pause([]record.SourcePartition{filePartition("p3")})
				err := s.Open(ctx, env, cfg, from)
				env.Task, env.Tasks = 0, 1
				return errors.Join(err, p3.Open(ctx, env, cfg, from))
			},
			poll: func(s connector.Source, ctx context.Context) ([]record.Record, error) {
				short, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
				defer cancel()
				s.(connector.Pauser).Pause([]record.SourcePartition{filePartition("p3")})
				records, err := s.Poll(short)
				p3.Pause([]record.SourcePartition{filePartition("p0"), filePartition("p1"), filePartition("p2")})
				more, failed := p3.look()
				return append(records, more...), errors.Join(err, failed)
			},
		}
	}}
}

// badSink is a sink that breaks a rule, as badSource.
type badSink struct {
	connector.Sink
	open      func(s connector.Sink, ctx context.Context, env connector.Env, cfg connector.Config) error
	put       func(s connector.Sink, ctx context.Context, batch []record.Record) error
	flush     func(s connector.Sink, ctx context.Context) error
	place     func(topic string) record.Place
	lastWrite func() time.Time
	close     func(s connector.Sink, ctx context.Context) error
}

func (s *badSink) Open(ctx context.Context, env connector.Env, cfg connector.Config) error {
	if s.open != nil {
		return s.open(s.Sink, ctx, env, cfg)
	}
	return s.Sink.Open(ctx, env, cfg)
}

func (s *badSink) Put(ctx context.Context, batch []record.Record) error {
	if s.put != nil {
		return s.put(s.Sink, ctx, batch)
	}
	return s.Sink.Put(ctx, batch)
}

func (s *badSink) Flush(ctx context.Context) error {
	if s.flush != nil {
		return s.flush(s.Sink, ctx)
	}
	return s.Sink.Flush(ctx)
}

func (s *badSink) Place(topic string) record.Place {
	if s.place != nil {
		return s.place(topic)
	}
	return record.PlaceOf("lines", topic)
}

func (s *badSink) LastWrite() time.Time {
	if s.lastWrite != nil {
		return s.lastWrite()
	}
	return time.Now()
}

func (s *badSink) Close(ctx context.Context) error {
	if s.close != nil {
		return s.close(s.Sink, ctx)
	}
	return s.Sink.Close(ctx)
}

// badSinkClass makes bad sinks.
type badSinkClass struct {
	LinesSinkConnector
	make func() *badSink
}

func (c badSinkClass) NewSink() connector.Sink {
	s := c.make()
	s.Sink = c.LinesSinkConnector.NewSink()
	return s
}

func wrongSink(sink badSink) func() badSinkClass {
	return func() badSinkClass { return badSinkClass{make: func() *badSink { s := sink; return &s }} }
}

const (
	inOrder  = "delivers each queue in order"
	survives = "what was flushed survives a close without grace"
	tells    = "tells where records go and when it last wrote"
)

func badSinks() map[string]bad {
	type ctxt = context.Context
	return map[string]bad{
		"turns records round": {test: inOrder, message: "delivered per queue", sink: wrongSink(badSink{
			put: func(s connector.Sink, ctx ctxt, batch []record.Record) error {
				batch = slices.Clone(batch)
				slices.Reverse(batch)
				return s.Put(ctx, batch)
			}})},
		"leaves records out": {test: inOrder, message: "delivered per queue", sink: wrongSink(badSink{
			put: func(s connector.Sink, ctx ctxt, batch []record.Record) error {
				return s.Put(ctx, batch[min(1, len(batch)):])
			}})},
		"says that it flushed what it did not": {
			test:    survives,
			message: "delivered per queue",
			sink:    wrongSink(badSink{flush: func(connector.Sink, ctxt) error { return nil }}),
		},
		"fails an empty batch": {test: "takes an empty batch", message: "putting 0 records: nothing", sink: wrongSink(badSink{
			put: func(s connector.Sink, ctx ctxt, batch []record.Record) error {
				if len(batch) == 0 {
					return errors.New("nothing")
				}
				return s.Put(ctx, batch)
			}})},
		"refuses a queue that appears": {
			test:    "takes the records of a queue that appears",
			message: "putting 30 records: no such queue",
			sink: wrongSink(badSink{
				put: func(s connector.Sink, ctx ctxt, batch []record.Record) error {
					if slices.ContainsFunc(batch, func(r record.Record) bool { return r.Queue >= 3 }) {
						return errors.New("no such queue")
					}
					return s.Put(ctx, batch)
				}}),
		},
		"delivers though its context has ended": {
			test:    "delivers nothing once its context has ended",
			message: "were delivered with an ended context",
			sink: wrongSink(badSink{
				put:   func(s connector.Sink, _ ctxt, batch []record.Record) error { return s.Put(context.Background(), batch) },
				flush: func(s connector.Sink, _ ctxt) error { return s.Flush(context.Background()) }}),
		},
		"delivers in secret though its context has ended": {
			test:    "delivers nothing once its context has ended",
			message: "delivered per queue",
			sink: wrongSink(badSink{
				put: func(s connector.Sink, ctx ctxt, batch []record.Record) error {
					return errors.Join(s.Put(context.Background(), batch), s.Flush(context.Background()), ctx.Err())
				}}),
		},
		"flushes though its context has ended": {
			test:    "delivers nothing more when its context ends after a put",
			message: "want the 0 from before the context ended",
			sink:    wrongSink(badSink{flush: func(s connector.Sink, _ ctxt) error { return s.Flush(context.Background()) }}),
		},
		"delivers as it closes": {
			test:    "delivers nothing more when its context ends after a put",
			message: "want the 0 from before the context ended",
			sink: wrongSink(badSink{close: func(s connector.Sink, ctx ctxt) error {
				return errors.Join(s.Flush(ctx), s.Close(ctx))
			}}),
		},
		"delivers what it had when its context ended in a stall": deliversAfterAStall(),
		"names another record as poison": {
			test:    "names the record that no retry will deliver",
			message: "putting a batch whose record 4 is poison",
			sink: wrongSink(badSink{
				put: func(s connector.Sink, ctx ctxt, batch []record.Record) error {
					err := s.Put(ctx, batch)
					if poison := (*connector.PoisonError)(nil); errors.As(err, &poison) {
						poison.Index++
					}
					return err
				}}),
		},
		"hides that its system is away": {test: away, message: `an open that has to fail with "not connected"`, sink: wrongSink(badSink{
			open: func(s connector.Sink, ctx ctxt, env connector.Env, cfg connector.Config) error {
				if err := s.Open(ctx, env, cfg); err != nil {
					return errors.New("no such folder")
				}
				return nil
			}})},
		"opens though its context has ended": {
			test:    openEnded,
			message: `an open that has to fail with "context canceled"`,
			sink: wrongSink(badSink{
				open: func(s connector.Sink, _ ctxt, env connector.Env, cfg connector.Config) error {
					return s.Open(context.Background(), env, cfg)
				}}),
		},
		"hangs when it is closed": {test: survives, message: "Close does not return, though its context has ended", patience: never,
			sink: wrongSink(badSink{close: func(connector.Sink, ctxt) error { select {} }})},
		"hangs in a put": {test: inOrder, message: "Put does not return, though its context has ended", patience: never,
			sink: wrongSink(badSink{put: func(connector.Sink, ctxt, []record.Record) error { select {} }})},
		"fails a close that follows no open": {test: unopened, message: "closing: not open", sink: func() badSinkClass {
			return badSinkClass{make: func() *badSink {
				opened := false
				return &badSink{
					open: func(s connector.Sink, ctx ctxt, env connector.Env, cfg connector.Config) error {
						opened = true
						return s.Open(ctx, env, cfg)
					},
					close: func(s connector.Sink, ctx ctxt) error {
						if !opened {
							return errors.New("not open")
						}
						return s.Close(ctx)
					},
				}
			}}
		}},
		"leaves a goroutine": {test: inOrder, message: "goroutines are left when all is closed", sink: func() badSinkClass {
			var left service.Group
			return wrongSink(badSink{close: func(s connector.Sink, ctx ctxt) error {
				left.Go(func() { select {} })
				return s.Close(ctx)
			}})()
		}},
		"has no place for records": {
			test:    tells,
			message: "names no place",
			sink:    wrongSink(badSink{place: func(string) record.Place { return "" }}),
		},
		"says that it never wrote": {
			test:    tells,
			message: "last wrote at",
			sink:    wrongSink(badSink{lastWrite: func() time.Time { return time.Time{} }}),
		},
		"panics in NewSink": {test: inOrder, message: "NewSink panics: boom", sink: func() badSinkClass {
			return badSinkClass{make: func() *badSink { _ = boom(); return nil }}
		}},
		"panics in Open": {
			test:    inOrder,
			message: "Open panics: boom",
			sink:    wrongSink(badSink{open: func(connector.Sink, ctxt, connector.Env, connector.Config) error { return boom() }}),
		},
		"panics in Put": {
			test:    inOrder,
			message: "Put panics: boom",
			sink:    wrongSink(badSink{put: func(connector.Sink, ctxt, []record.Record) error { return boom() }}),
		},
		"panics in Flush": {
			test:    inOrder,
			message: "Flush panics: boom",
			sink:    wrongSink(badSink{flush: func(connector.Sink, ctxt) error { return boom() }}),
		},
		"panics in Close": {
			test:    inOrder,
			message: "Close panics: boom",
			sink:    wrongSink(badSink{close: func(connector.Sink, ctxt) error { return boom() }}),
		},
		"panics in Place": {
			test:    tells,
			message: "Place panics: boom",
			sink:    wrongSink(badSink{place: func(string) record.Place { _ = boom(); return "" }}),
		},
		"panics in LastWrite": {
			test:    tells,
			message: "LastWrite panics: boom",
			sink:    wrongSink(badSink{lastWrite: func() time.Time { _ = boom(); return time.Time{} }}),
		},
		"in a worker, leaves out what was put before": {test: inWorker, message: "records are lost", patience: rarely, sink: remembers},
	}
}

// deliversAfterAStall is a sink that keeps what its system did not take in time, and flushes it later.
func deliversAfterAStall() bad {
	var mu sync.Mutex
	var taken chan struct{} // closed by the first put after a stall began
	stalls := func() (first chan struct{}) {
		mu.Lock()
		defer mu.Unlock()
		first, taken = taken, nil
		return first
	}
	return bad{
		test: "delivers nothing more when its context ends in a stall", message: "Flush returns nil though records were lost",
		stall: func(testing.TB) (<-chan struct{}, func()) {
			mu.Lock()
			defer mu.Unlock()
			taken = make(chan struct{})
			return taken, func() {}
		},
		sink: wrongSink(badSink{put: func(s connector.Sink, ctx context.Context, batch []record.Record) error {
			if err := s.Put(ctx, batch); err != nil {
				return err
			}
			if first := stalls(); first != nil {
				close(first)
				<-ctx.Done()
			}
			return ctx.Err()
		}}),
	}
}

// remembers is a class whose sinks leave out what was put into one that was not flushed before it was closed.
func remembers() badSinkClass {
	var mu sync.Mutex
	seen := map[string]bool{}
	return badSinkClass{make: func() *badSink {
		var name string
		return &badSink{
			open: func(s connector.Sink, ctx context.Context, env connector.Env, cfg connector.Config) error {
				name = env.Connector
				return s.Open(ctx, env, cfg)
			},
			put: func(s connector.Sink, ctx context.Context, batch []record.Record) error {
				mu.Lock()
				defer mu.Unlock()
				return s.Put(ctx, slices.DeleteFunc(slices.Clone(batch), func(r record.Record) bool {
					key := name + string(r.Value)
					had := seen[key]
					seen[key] = true
					return had
				}))
			},
		}
	}}
}

// The suites fail for each of these connectors, in the test of the rule that it breaks: this test runs itself again
// with one of them.
func TestTheSuitesNotice(t *testing.T) {
	for kind, all := range map[string]map[string]bad{"source": badSources(), "sink": badSinks()} {
		for name, b := range all {
			t.Run("a "+kind+" that "+name, func(t *testing.T) {
				cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.timeout=100s", "-test.run=^TestBadConnector$/^"+regexp.QuoteMeta(b.test)+"$")
				cmd.Env = append(os.Environ(), badKind+"="+kind, badName+"="+name)
				out, err := cmd.CombinedOutput()
				var failed *exec.ExitError
				if !errors.As(err, &failed) || !bytes.Contains(out, []byte("--- FAIL: TestBadConnector")) || !bytes.Contains(out, []byte(b.message)) {
					t.Errorf("the suite ends with %v and does not say %q:\n%s", err, b.message, out)
				}
			})
		}
	}
}

// The variables that say which bad connector the test is run with.
const (
	badKind = "CONNECTORTEST_BAD_KIND"
	badName = "CONNECTORTEST_BAD_NAME"
)

func TestBadConnector(t *testing.T) {
	switch os.Getenv(badKind) {
	case "source":
		b := badSources()[os.Getenv(badName)]
		connectortest.RunSource(t, b.source(), func(t *testing.T) connectortest.SourceSystem {
			s := linesSystem(t)
			s.Patience = b.patience
			return s
		})
	case "sink":
		b := badSinks()[os.Getenv(badName)]
		connectortest.RunSink(t, b.sink(), func(t *testing.T) connectortest.SinkSystem {
			s := linesTarget(t)
			s.Patience, s.Stall = b.patience, b.stall
			return s
		})
	default:
		t.Skip("TestTheSuitesNotice runs it")
	}
}
