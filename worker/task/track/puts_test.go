package track

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/record"
)

// slowPuts is the obvious twin: it keeps all that happened, and reads it again for each question.
type slowPuts []putEvent

type putEvent struct {
	what      string
	at        time.Time
	partition record.SourcePartition
	upTo      record.Position
	bytes     int
}

// since are the events after the last one of a kind, or all.
func (s slowPuts) since(what string) slowPuts {
	for i := len(s) - 1; i >= 0; i-- {
		if s[i].what == what {
			return s[i+1:]
		}
	}
	return s
}

func (s slowPuts) has(what string) bool { return len(s.since(what)) < len(s) }

// last is the time of the last event of some kinds; zero if there is none.
func (s slowPuts) last(kinds ...string) (at time.Time) {
	for _, e := range s {
		for _, what := range kinds {
			if e.what == what {
				at = e.at
			}
		}
	}
	return at
}

func (s slowPuts) bytes() (sum int) {
	for _, e := range s.since("durable") {
		sum += e.bytes
	}
	return sum
}

func (s slowPuts) storable() record.Positions {
	out := record.Positions{}
	for _, e := range s[:len(s)-len(s.since("durable"))] {
		if e.what == "reached" {
			out[e.partition] = e.upTo
		}
	}
	return out
}

func FuzzPuts(f *testing.F) {
	f.Add([]byte{0, 1, 2, 3, 4, 5, 0, 2, 5, 4, 5, 1})
	f.Add([]byte{2, 4, 5, 0, 0, 3, 3, 3, 4, 1, 4, 5, 4, 5})
	f.Fuzz(func(t *testing.T, ops []byte) {
		const interval, most = 5 * time.Second, 20
		now := time.Unix(1000, 0)
		p := NewPuts()
		p.Begin(now)
		twin := slowPuts{{what: "begin", at: now}}
		for i, op := range ops {
			now = now.Add(time.Duration(op>>4) * time.Second)
			e := putEvent{at: now}
			switch op % 6 {
			case 0:
				if takes, want := p.Open(), !twin.since("durable").has("open"); takes != want {
					t.Fatalf("call %d takes a lease: %t, want %t", i, takes, want)
				}
				e.what = "open"
			case 1:
				p.Back(now)
				e.what = "back"
			case 2:
				e.what, e.partition, e.upTo = "reached", record.SourcePartition(fmt.Sprint(op>>6)), record.Position(fmt.Sprint(i))
				p.Reached(e.partition, e.upTo)
			case 3:
				e.what, e.bytes = "add", int(op>>3)
				p.Add(e.bytes)
			case 4:
				if ask, want := p.Try(now), twin.since("durable").has("open"); ask != want {
					t.Fatalf("flush %d asks the sink: %t, want %t", i, ask, want)
				}
				e.what = "try"
			case 5:
				if moved, want := p.Durable(), twin.since("durable").has("reached"); moved != want {
					t.Fatalf("flush %d moves something: %t, want %t", i, moved, want)
				}
				e.what = "durable"
			}
			twin = append(twin, e)
			checkPuts(t, p, twin, now, interval, most)
		}
	})
}

func checkPuts(t *testing.T, p *Puts, twin slowPuts, now time.Time, interval time.Duration, most int) {
	t.Helper()
	recent := twin.since("durable")
	if got, want := p.Covered(), recent.has("open"); got != want {
		t.Fatalf("covered by a lease: %t, want %t", got, want)
	}
	if got, want := p.Touched(), twin.last("back"); !got.Equal(want) {
		t.Fatalf("touched at %v, want %v", got, want)
	}
	flushed := twin.last("begin", "try")
	if got, want := p.Due(now, interval, most), twin.bytes() >= most || !now.Before(flushed.Add(interval)); got != want {
		t.Fatalf("due: %t, want %t", got, want)
	}
	at, waits := p.Deadline(interval)
	if want := recent.has("open") || recent.has("reached"); waits != want || !at.Equal(flushed.Add(interval)) {
		t.Fatalf("the next flush is at %v, %t, want %v, %t", at, waits, flushed.Add(interval), want)
	}
	if diff := cmp.Diff(twin.storable(), p.Storable()); diff != "" {
		t.Fatalf("what may be stored (-want +got):\n%s", diff)
	}
}

func TestOnlyAFlushMovesWhatASinkMayStore(t *testing.T) {
	p := NewPuts()
	if p.Durable() {
		t.Error("a flush of nothing moved something")
	}
	p.Open()
	p.Reached("q0", "5")
	p.Reached("q0", "9")
	p.Reached("q1", "3")
	if got := p.Storable(); len(got) > 0 {
		t.Errorf("before the flush %v may be stored, want nothing", got)
	}
	if !p.Durable() {
		t.Error("the flush moved nothing")
	}
	p.Reached("q1", "4")
	if diff := cmp.Diff(record.Positions{"q0": "9", "q1": "3"}, p.Storable()); diff != "" {
		t.Errorf("what may be stored (-want +got):\n%s", diff)
	}
	if p.Durable(); p.Durable() {
		t.Error("a second flush moved something")
	}
	if diff := cmp.Diff(record.Positions{"q0": "9", "q1": "4"}, p.Storable()); diff != "" {
		t.Errorf("what may be stored (-want +got):\n%s", diff)
	}
}
