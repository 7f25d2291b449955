package lane

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/rocketmq-connect/operator/worker/rmq/encode"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
	"github.com/rocketmq-connect/operator/worker/rmq/room"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errBusy   = errors.New("busy")
	errClosed = errors.New("closed")
)

// far is a lane with both of its ends: the queue to which it leads, and who is told.
type far struct {
	t    *testing.T
	lane *Lane
	room *room.Room
	part *room.Part
	wave *Wave
	// answer says what becomes of a batch, nil: it is stored. gone is what the owner says and takes of one whose
	// queue is gone, take what it takes of one that is sent again.
	answer func(bodies []string) Answer
	gone   func(b *Batch) error
	take   func(body string, r Record) bool

	mu       sync.Mutex
	sending  bool
	stored   []string // in the order of the queue, repeats included
	sends    []time.Duration
	reports  []string
	answered []string
}

// laneOf makes a lane that runs until the test ends, or until the returned function is called. What waits makes its
// first batch.
func laneOf(t *testing.T, f *far, log logr.Logger, waits ...string) (stop func()) {
	t.Helper()
	f.t, f.wave = t, NewWave(nil)
	if f.room == nil {
		f.room = room.New(1000)
	}
	f.part = f.room.Part()
	ids := encode.NewIDs()
	f.lane = New(Config{Connection: f, Owner: f, Terms: &Terms{MaxRecords: 4, MaxBytes: 10_000, IDs: &ids}, Part: f.part, Log: log})
	f.add(waits...)
	ctx, cancel := context.WithCancelCause(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { f.lane.Run(ctx) })
	stop = func() {
		cancel(errClosed)
		wg.Wait()
	}
	t.Cleanup(stop)
	return stop
}

func (f *far) note(what *[]string, format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	*what = append(*what, fmt.Sprintf(format, args...))
}

// add adds messages, each of which takes ten bytes of the room. An empty one cannot be encoded.
func (f *far) add(bodies ...string) {
	f.t.Helper()
	for _, body := range bodies {
		if !f.room.TryTake(10) {
			f.t.Fatalf("no room for %s", body)
		}
		f.wave.Join()
		if !f.lane.Add(f.record(body), nil, []byte(body), time.Time{}) {
			f.t.Fatalf("the lane is closed to %s", body)
		}
	}
}

func (f *far) record(body string) Record {
	return Record{Size: 10, Wave: f.wave, Done: func(offset int64, err error) {
		if err != nil {
			f.note(&f.answered, "%s: %v", body, err)
			return
		}
		f.note(&f.answered, "%s at %d", body, offset)
	}}
}

// bodies are those of members of a batch.
func bodies(t *testing.T, members []byte) (out []string) {
	t.Helper()
	for len(members) > 0 {
		body, _, rest, err := remoting.Member(members)
		if err != nil {
			t.Fatal(err)
		}
		out, members = append(out, string(body)), rest
	}
	return out
}

func (f *far) Send(_ context.Context, b *Batch, late func()) (a Answer) {
	members, n, _ := b.Encoded()
	batch := bodies(f.t, members)
	f.mu.Lock()
	if f.sending || len(batch) != n {
		f.t.Errorf("%v is sent as %d records, beside another batch: %t", batch, n, f.sending)
	}
	f.sends, f.sending = append(f.sends, time.Since(f.lane.made)), true
	answer := f.answer
	f.mu.Unlock()
	if answer != nil {
		a = answer(batch)
	}
	if a.Repeats {
		late()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sending = false
	if a.Err == nil || a.Repeats {
		a.First = int64(len(f.stored))
		f.stored = append(f.stored, batch...)
	}
	return a
}

func (f *far) Confirmed() { f.note(&f.reports, "confirmed") }
func (f *far) Late()      { f.note(&f.reports, "late") }
func (f *far) Settled()   { f.note(&f.reports, "settled") }

func (f *far) QueueGone(b *Batch, why error) error {
	f.note(&f.reports, "gone: %v", why)
	if f.gone == nil {
		return nil
	}
	return f.gone(b)
}

func (f *far) BrokerAway(b *Batch, why error) {
	f.note(&f.reports, "away: %v", why)
	if f.take != nil {
		b.Take(func(member []byte, r Record) bool { return f.take(bodies(f.t, member)[0], r) })
	}
}

// first answers the first batches in turn; those after them are stored.
func first(answers ...Answer) func([]string) Answer {
	return func([]string) (a Answer) {
		if len(answers) > 0 {
			a, answers = answers[0], answers[1:]
		}
		return a
	}
}

func (f *far) want(what string, want, got []string) {
	f.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestABatchIsSentAgainUntilItIsStored(t *testing.T) {
	cases := map[string]struct {
		answer  Answer // of the first three
		reports []string
		sends   []time.Duration
		stored  int
	}{
		"what the broker refuses for now, soon": {
			Answer{Err: errBusy}, []string{"away: busy", "away: busy", "away: busy", "confirmed", "settled"},
			[]time.Duration{0, 5e6, 15e6, 35e6}, 1,
		},
		"what it has stored, seldom": {
			Answer{Err: errBusy, Repeats: true}, []string{"late", "away: busy", "late", "away: busy", "late", "away: busy", "confirmed", "settled"},
			[]time.Duration{0, 1e9, 3e9, 7e9}, 4,
		},
		"what may have no queue any more, once the owner was told": {
			Answer{Err: errBusy, Kind: Gone},
			[]string{"gone: busy", "away: busy", "gone: busy", "away: busy", "gone: busy", "away: busy", "confirmed", "settled"},
			[]time.Duration{0, 5e6, 15e6, 35e6}, 1,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &far{answer: first(tc.answer, tc.answer, tc.answer)}
				laneOf(t, f, logr.Discard(), "a")
				time.Sleep(time.Minute)
				synctest.Wait()
				f.want("reports", tc.reports, f.reports)
				f.want("answers", []string{fmt.Sprintf("a at %d", tc.stored-1)}, f.answered)
				if diff := cmp.Diff(tc.sends, f.sends); diff != "" || len(f.stored) != tc.stored {
					t.Errorf("stored %d times, sent (-want +got):\n%s", len(f.stored), diff)
				}
			})
		})
	}
}

// What comes while a batch is on its way gathers in the next one, in its order, and what cannot be encoded is
// answered in its turn.
func TestOneBatchIsOnItsWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var sizes []int
		f := &far{answer: func(batch []string) Answer {
			sizes = append(sizes, len(batch))
			time.Sleep(time.Second / 2)
			return Answer{}
		}}
		laneOf(t, f, logr.Discard())
		f.add("a")
		synctest.Wait()
		f.add("b", "c", "", "d", "e", "f", "g")
		f.wave.End()
		<-f.wave.Over()
		f.want("answers", []string{"a at 0", "b at 1", "c at 2", ": " + errOfNothing(), "d at 3", "e at 4", "f at 5", "g at 6"}, f.answered)
		if diff := cmp.Diff([]int{1, 3, 3}, sizes); diff != "" {
			t.Errorf("batches (-want +got):\n%s", diff)
		}
		if f.part.Held() != 0 || !f.room.TryTake(1000) {
			t.Errorf("%d bytes of the room are held when all is answered", f.part.Held())
		}
	})
}

func errOfNothing() string {
	ids := encode.NewIDs()
	_, err := encode.Member(nil, nil, nil, &ids)
	return err.Error()
}

func TestOfABatchThatIsTooLargeOnlyTheRecordToBlameFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		large := errors.New("too large")
		f := &far{answer: func(batch []string) Answer {
			if slices.Contains(batch, "b") {
				return Answer{Err: large, Kind: TooLarge}
			}
			return Answer{}
		}}
		laneOf(t, f, logr.Discard(), "a", "b", "c")
		synctest.Wait()
		f.want("answers", []string{"a at 0", "b: too large", "c at 1"}, f.answered)
		f.want("reports", []string{"confirmed", "confirmed", "settled"}, f.reports)
	})
}

func TestWhatFailsForGoodFailsAtOnce(t *testing.T) {
	lost := errors.New("the topic is gone")
	cases := map[string]struct {
		answer  Answer
		reports []string
		want    string
	}{
		"the broker will never store it": {Answer{Err: errBusy, Kind: Never}, []string{"settled"}, "busy"},
		"its owner says so":              {Answer{Err: errBusy, Kind: Gone}, []string{"gone: busy", "settled"}, "the topic is gone"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &far{answer: first(tc.answer), gone: func(*Batch) error { return lost }}
				laneOf(t, f, logr.Discard(), "a", "b")
				synctest.Wait()
				f.want("answers", []string{"a: " + tc.want, "b: " + tc.want}, f.answered)
				f.want("reports", tc.reports, f.reports)
			})
		})
	}
}

// What its owner takes out of a batch reaches the lane that adopts it in its order, and its room goes with it.
func TestWhatTheOwnerTakesGoesByAnotherLane(t *testing.T) {
	for name, kind := range map[string]Kind{"as the broker is away": Again, "as the queue is gone": Gone} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				all := room.New(1000)
				shut := make(chan struct{})
				other := &far{room: all, answer: func([]string) Answer { <-shut; return Answer{} }}
				laneOf(t, other, logr.Discard())
				f := &far{room: all, answer: func([]string) Answer { return Answer{Err: errBusy, Kind: kind} }}
				f.take = func(body string, r Record) bool {
					return body != "c" && other.lane.Adopt(member(t, body), r, f.part)
				}
				if kind == Gone {
					take := f.take
					f.take, f.gone = nil, func(b *Batch) error {
						b.Take(func(member []byte, r Record) bool { return take(bodies(t, member)[0], r) })
						return nil
					}
				}
				laneOf(t, f, logr.Discard(), "a", "b", "c", "d")
				synctest.Wait()
				if f.part.Held() != 10 || other.part.Held() != 30 {
					t.Errorf("%d bytes wait in the lane, and %d in the other; want 10 and 30", f.part.Held(), other.part.Held())
				}
				f.want("answers", nil, f.answered)
				close(shut)
				synctest.Wait()
				f.want("answers", []string{"a at 0", "b at 1", "d at 2"}, f.answered)
				f.mu.Lock()
				f.answer = nil
				f.mu.Unlock()
				time.Sleep(time.Minute)
				synctest.Wait()
				f.want("stored", []string{"c"}, f.stored)
				f.want("stored by the other", []string{"a", "b", "d"}, other.stored)
				if !all.TryTake(1000) {
					t.Error("room is held when all is answered")
				}
			})
		})
	}
}

func member(t *testing.T, body string) []byte {
	t.Helper()
	ids := encode.NewIDs()
	out, err := encode.Member(nil, nil, []byte(body), &ids)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// A lane whose batch has been tried for a second stands until all that waits is stored, and takes nobody's room
// meanwhile.
func TestALaneStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := make(chan Answer)
		f := &far{room: room.New(20), answer: func([]string) Answer { return <-answers }}
		laneOf(t, f, logr.Discard())
		time.Sleep(time.Minute)
		f.add("a")
		synctest.Wait()
		f.add("b")
		begun := time.Now()
		time.Sleep(time.Second - time.Nanosecond)
		if f.lane.Stands() || f.room.TryTake(1) {
			t.Error("it stands within a second")
		}
		time.Sleep(time.Nanosecond)
		if !f.lane.Stands() || !f.room.TryTake(20) {
			t.Error("it does not stand after a second, or holds the others' room")
		}
		if since, err := f.lane.Trying(); !since.Equal(begun) || err != nil {
			t.Errorf("it is tried since %s, %v; want %s", since, err, begun)
		}
		answers <- Answer{Err: errBusy}
		synctest.Wait()
		if _, err := f.lane.Trying(); !errors.Is(err, errBusy) {
			t.Errorf("tried with %v", err)
		}
		time.Sleep(time.Second)
		answers <- Answer{}
		synctest.Wait()
		if !f.lane.Stands() {
			t.Error("it stands no more while a record waits")
		}
		answers <- Answer{}
		synctest.Wait()
		if f.lane.Stands() || f.part.Held() != 0 {
			t.Errorf("it stands though all is stored, or %d bytes wait", f.part.Held())
		}
	})
}

func TestWhatIsLeftAtTheEndFailsWithItsCause(t *testing.T) {
	cases := map[string]func(batch []string) Answer{
		"while a batch is on its way": func([]string) Answer { time.Sleep(time.Hour); return Answer{Err: errBusy} },
		"while it waits":              func([]string) Answer { return Answer{Err: errBusy} },
	}
	for name, answer := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &far{answer: answer}
				stop := laneOf(t, f, logr.Discard())
				f.add("a")
				synctest.Wait()
				f.add("b", "")
				stop()
				f.want("answers", []string{"a: closed", "b: closed", ": " + errOfNothing()}, f.answered)
				f.wave.End()
				<-f.wave.Over()
				if f.lane.Add(f.record("c"), nil, []byte("c"), time.Time{}) || f.lane.Adopt(member(t, "c"), f.record("c"), f.part) {
					t.Error("a closed lane took a record")
				}
				if !f.room.TryTake(1000) {
					t.Error("room is held when all is answered")
				}
			})
		})
	}
}

// It is told once, when a batch has been retried for long.
func TestARetryIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var lines []string
		log := funcr.New(func(_, args string) { lines = append(lines, args) }, funcr.Options{}).WithValues("topic", "orders")
		begun := time.Now()
		f := &far{answer: func([]string) Answer {
			if time.Since(begun) < time.Minute {
				return Answer{Err: errBusy}
			}
			return Answer{}
		}}
		laneOf(t, f, log, "a", "b")
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		f.want("log", []string{`"level"=0 "msg"="Retrying a batch" "topic"="orders" "records"=2 "for"="10.275s" "err"="busy"`}, lines)
	})
}
