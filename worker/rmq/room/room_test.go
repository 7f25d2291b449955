package room

import (
	"context"
	"errors"
	"math/rand/v2"
	"testing"
)

func TestALaneThatStandsStillTakesNobodysRoom(t *testing.T) {
	r := New(10)
	still, other := r.Part(), r.Part()
	fill := func(p *Part) (n int) {
		for r.TryTake(1) {
			p.Put(1)
			n++
		}
		return n
	}
	if n := fill(still); n != 10 {
		t.Fatalf("%d bytes fit, want 10", n)
	}
	still.Lend()
	if n := fill(other); n != 10 {
		t.Errorf("%d bytes fit beside a lane that stands still, want 10", n)
	}
	other.Lend() // the spare room is full
	if r.TryTake(1) {
		t.Error("more than twice the room was taken")
	}
	other.Give(10)
	still.Give(10)
	if n := fill(still); n != 10 {
		t.Errorf("%d bytes fit after all was given back, want 10", n)
	}
	still.Lend()
	if n := fill(still); n != 10 {
		t.Errorf("%d bytes fit, want 10", n)
	}
	still.Move(other, 20)
	if still.Held() != 0 || other.Held() != 20 {
		t.Errorf("%d and %d bytes wait after the move", still.Held(), other.Held())
	}
	other.Give(20)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.Take(t.Context(), 10); err != nil {
		t.Error(err)
	}
	if err := r.Take(ended, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("taking from a full room: %v", err)
	}
}

// FuzzRoom holds lanes that fill, stand still, move and drain to plain sums.
func FuzzRoom(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		const size = 100
		rng, r := rand.New(rand.NewPCG(seed, 5)), New(size)
		parts, want := []*Part{r.Part(), r.Part(), r.Part()}, make([]int, 3)
		for range 500 {
			i, j, n := rng.IntN(3), rng.IntN(3), 1+rng.IntN(20)
			switch rng.IntN(5) {
			case 0, 1:
				if r.TryTake(n) {
					parts[i].Put(n)
					want[i] += n
				}
			case 2:
				parts[i].Lend()
			case 3:
				n = min(n, want[i])
				parts[i].Give(n)
				want[i] -= n
			case 4:
				if i != j {
					n = min(n, want[i])
					parts[i].Move(parts[j], n)
					want[i], want[j] = want[i]-n, want[j]+n
				}
			}
			sum := 0
			for k, p := range parts {
				if sum += want[k]; p.Held() != want[k] || p.lent > p.held || p.lent < 0 {
					t.Fatalf("part %d holds %d (%d lent), want %d", k, p.Held(), p.lent, want[k])
				}
			}
			if sum > 2*size {
				t.Fatalf("%d bytes wait in a room of %d", sum, size)
			}
		}
		for k, p := range parts {
			p.Give(want[k])
		}
		if !r.TryTake(size) || !r.spare.TryAcquire(size) {
			t.Fatal("something was not given back")
		}
	})
}
