package lane

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-logr/logr"
)

// chances are what a queue and an owner do at random, as often as they are told.
type chances struct {
	rng   *rand.Rand
	odds  int
	taken []string
}

func (c *chances) answer(batch []string) Answer {
	if slices.ContainsFunc(batch, func(body string) bool { return strings.HasPrefix(body, "large") }) {
		return Answer{Err: errBusy, Kind: TooLarge}
	}
	switch c.rng.IntN(4 * c.odds) {
	case 0:
		return Answer{Err: errBusy}
	case 1:
		return Answer{Err: errBusy, Repeats: true}
	case 2:
		return Answer{Err: errBusy, Kind: Gone, Repeats: c.rng.IntN(2) == 0}
	case 3:
		return Answer{Err: errBusy, Kind: Kind(c.rng.IntN(int(Gone) + 1))}
	}
	return Answer{}
}

func (c *chances) take(f *far) func(body string, r Record) bool {
	return func(body string, r Record) bool {
		if c.rng.IntN(3) > 0 {
			return false
		}
		c.taken = append(c.taken, body)
		f.part.Give(r.Size)
		r.Wave.Leave()
		return true
	}
}

// FuzzLane holds a lane to what it promises, whatever its queue and its owner do: each record is answered once or
// taken once, those of the queue are for the first time in their order, each at the offset that was told, and no room
// is lost.
func FuzzLane(f *testing.F) {
	for seed := range uint64(30) {
		f.Add(seed, uint8(seed%4+1), uint8(60))
	}
	f.Fuzz(func(t *testing.T, seed uint64, odds, n uint8) {
		synctest.Test(t, func(t *testing.T) {
			c := &chances{rng: rand.New(rand.NewPCG(seed, 1)), odds: int(odds) + 1}
			l := &far{answer: c.answer}
			l.take = c.take(l)
			l.gone = func(b *Batch) error {
				if c.rng.IntN(4) == 0 {
					return errors.New("gone")
				}
				b.Take(func(member []byte, r Record) bool { return l.take(bodies(t, member)[0], r) })
				return nil
			}
			laneOf(t, l, logr.Discard())
			var sent []string
			pace := rand.New(rand.NewPCG(seed, 2))
			for i := range int(n) % 100 {
				body := fmt.Sprint([]string{"", "large "}[pace.IntN(8)/7], i)
				sent = append(sent, body)
				l.add(body)
				time.Sleep(time.Duration(pace.IntN(3)) * time.Millisecond)
			}
			l.wave.End()
			<-l.wave.Over()
			l.wantEachOnce(sent, c.taken)
		})
	})
}

func (f *far) wantEachOnce(sent, taken []string) {
	f.t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	times := map[string]int{}
	for _, body := range taken {
		times[body]++
	}
	for _, answer := range f.answered {
		body, _, failed := strings.Cut(answer, ":")
		offset := 0
		if at := strings.LastIndex(answer, " at "); !failed {
			body = answer[:at]
			if _, err := fmt.Sscan(answer[at+4:], &offset); err != nil || f.stored[offset] != body {
				f.t.Errorf("%s: %s is there", answer, f.stored[offset])
			}
		}
		times[body]++
	}
	for _, body := range sent {
		if times[body] != 1 {
			f.t.Errorf("%q was answered or taken %d times", body, times[body])
		}
	}
	seen := map[string]bool{}
	var order []string
	for _, body := range f.stored {
		if !seen[body] {
			order = append(order, body)
		}
		seen[body] = true
	}
	if !slices.IsSortedFunc(order, func(a, b string) int { return cmp.Compare(slices.Index(sent, a), slices.Index(sent, b)) }) {
		f.t.Errorf("stored in the order %q, sent as %q", order, sent)
	}
	if f.part.Held() != 0 || !f.room.TryTake(1000) {
		f.t.Errorf("%d bytes of the room are held when all is answered", f.part.Held())
	}
}
