package rmq

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Whatever a broker gives at once, and whatever compaction has taken out, each record comes once and in order.
func TestReadingAheadMissesNothing(t *testing.T) {
	for seed := range uint64(200) {
		rng := rand.New(rand.NewPCG(seed, 3))
		end := int64(1 + rng.IntN(600))
		var want []int64
		for offset := range end {
			if rng.IntN(4) > 0 {
				want = append(want, offset)
			}
		}
		var mu sync.Mutex // pulls run at the same time
		a := ahead{end: end, pull: func(_ context.Context, from int64) (pulled, error) {
			mu.Lock()
			most := 1 + rng.IntN(40)
			mu.Unlock()
			p := pulled{code: remoting.Success, next: end}
			for _, offset := range want {
				if offset < from {
					continue
				}
				if len(p.messages) == most {
					break
				}
				p.messages = append(p.messages, Received{Offset: offset, NextOffset: offset + 1})
				p.next = offset + 1
			}
			return p, nil
		}}
		var got []int64
		for next := int64(0); next < end; {
			p, err := a.next(t.Context(), next)
			if err != nil {
				t.Fatal(err)
			}
			if next, err = deliver(p, next, end, func(e Entry) error { got = append(got, e.Offset); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		a.group.Wait()
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("seed %d, up to %d (-want +got):\n%s", seed, end, diff)
		}
	}
}
