package queues

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

var errGone = errors.New("the topic does not exist")

// routesOf are two topics on two brokers by six bits: whether each topic is there, whether each broker is shown, and
// how many queues they have.
func routesOf(bits byte) Routes {
	out := Routes{Missing: map[string]error{}}
	for i, topic := range []string{"a", "b"} {
		var queues []rmq.Queue
		for j, broker := range []string{"x", "y"} {
			for id := range 1 + int(bits>>4&3) {
				if bits>>(2+j)&1 == 0 {
					queues = append(queues, rmq.Queue{Topic: topic, Broker: broker, ID: id})
				}
			}
		}
		if bits>>i&1 == 1 || len(queues) == 0 {
			out.Missing[topic] = errGone
			continue
		}
		out.Queues = append(out.Queues, queues...)
	}
	return out
}

// The twin of a Reading is the set to which what is added comes and from which what is dropped goes. All tasks look at
// the same time; then no queue has two readers, and at rest each has one.
func FuzzReading(f *testing.F) {
	f.Add(byte(0), []byte{0, 0, 0})
	f.Add(byte(2), []byte{1, 1, 0, 0, 0, 0})
	f.Add(byte(5), []byte{2, 8, 2, 0, 0x10, 0x30, 0x20, 4, 0})
	f.Fuzz(func(t *testing.T, seed byte, looks []byte) {
		tasks := 1 + int(seed&3)
		known := routesOf(seed >> 2).Queues
		readings, twins := make([]*Reading, tasks), make([]map[rmq.Queue]bool, tasks)
		there := map[string]bool{} // topics that were there since the tasks started
		for n, bits := range looks {
			shown := routesOf(bits)
			for _, topic := range []string{"a", "b"} {
				there[topic] = there[topic] || shown.Missing[topic] == nil
			}
			for i := range readings {
				if n == 0 {
					readings[i], twins[i] = NewReading(i, tasks, known...), map[rmq.Queue]bool{}
					for _, q := range readings[i].Begin(shown) {
						twins[i][q] = true
					}
				} else {
					follow(t, readings[i], twins[i], shown)
				}
				checkReading(t, readings[i], twins[i], there)
			}
			checkReaders(t, readings, nil)
		}
		if len(looks) == 0 {
			return
		}
		last := routesOf(looks[len(looks)-1])
		for range SettleLooks + 1 {
			for i := range readings {
				follow(t, readings[i], twins[i], last)
			}
		}
		checkReaders(t, readings, last.Queues)
	})
}

func follow(t *testing.T, r *Reading, twin map[rmq.Queue]bool, shown Routes) {
	t.Helper()
	add, drop := r.Follow(shown)
	for _, q := range add {
		if twin[q] {
			t.Fatalf("%s is added, and was read before", q)
		}
		twin[q] = true
	}
	for _, q := range drop {
		delete(twin, q) // or its topic never was there
	}
}

func checkReading(t *testing.T, r *Reading, twin map[rmq.Queue]bool, there map[string]bool) {
	t.Helper()
	if want, got := slices.SortedFunc(maps.Keys(twin), byBroker), r.Queues(); !slices.Equal(want, got) {
		t.Fatalf("the task reads %v; it added and did not drop %v", got, want)
	}
	for q := range twin {
		if !there[q.Topic] {
			t.Fatalf("%s is read, whose topic was never there", q)
		}
	}
}

// checkReaders looks for a queue that two tasks read, and for one of some that nobody does.
func checkReaders(t *testing.T, readings []*Reading, each []rmq.Queue) {
	t.Helper()
	readers := map[rmq.Queue]int{}
	for _, r := range readings {
		for _, q := range r.Queues() {
			if readers[q]++; readers[q] > 1 {
				t.Fatalf("%s is read by two tasks", q)
			}
		}
	}
	for _, q := range each {
		if readers[q] == 0 {
			t.Fatalf("nobody reads %s", q)
		}
	}
}

func TestAReadingWarnsOfWhatCannotBeRead(t *testing.T) {
	both := Routes{Queues: []rmq.Queue{{Topic: "a", Broker: "x"}, {Topic: "a", Broker: "y"}}}
	r := NewReading(0, 1)
	r.Begin(both)
	if got := r.Warning(nil); got != "" {
		t.Errorf("everything can be read, and it warns: %s", got)
	}
	r.Follow(Routes{Queues: both.Queues[:1], Missing: map[string]error{"b": errGone}})
	got := r.Warning(map[string]error{"b": errGone})
	for _, want := range []string{errGone.Error() + "; the other topics are read on", "queues of broker y are read on once"} {
		if !strings.Contains(got, want) {
			t.Errorf("warns %q, want %q in it", got, want)
		}
	}
}

func TestAReadingKeepsMarksOfWhatTheSinkHas(t *testing.T) {
	q := rmq.Queue{Topic: "a", Broker: "x"}
	r := NewReading(0, 1)
	r.Know(q, rmq.Trail{{Offset: 4, StoredAt: 1000}})
	if got := r.Reached(&rmq.Received{Queue: q, Offset: 8, NextOffset: 9, StoredAt: time.UnixMilli(5008)}); got != "9 8@5008 4@1000" {
		t.Errorf("stored %q", got)
	}
	if got := r.Reached(&rmq.Received{Queue: q, Offset: 9, NextOffset: 10}); got != "10 8@5008 4@1000" {
		t.Errorf("a message without its time is stored as %q", got)
	}
	if got := len(r.Trail(q)); got != 2 {
		t.Errorf("%d marks, want 2", got)
	}
}
