package backoff

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPausesDouble(t *testing.T) {
	const ms = time.Millisecond
	type bounds struct{ first, longest time.Duration }
	repeated := func(b bounds, n int) (all []bounds) {
		for range n {
			all = append(all, b)
		}
		return all
	}
	cases := map[string]struct {
		calls []bounds
		want  []time.Duration
	}{
		"up to the longest, which need not be one of them": {
			repeated(bounds{100 * ms, 500 * ms}, 5), []time.Duration{100 * ms, 200 * ms, 400 * ms, 500 * ms, 500 * ms},
		},
		"a longest that is below the first bounds what follows it": {
			repeated(bounds{100 * ms, 50 * ms}, 3), []time.Duration{100 * ms, 50 * ms, 50 * ms},
		},
		"a first that rises on the way": {
			append(repeated(bounds{100 * ms, 1000 * ms}, 2), repeated(bounds{1000 * ms, 10000 * ms}, 3)...),
			[]time.Duration{100 * ms, 200 * ms, 1000 * ms, 2000 * ms, 4000 * ms},
		},
		"a longest that falls on the way": {
			append(repeated(bounds{1000 * ms, 10000 * ms}, 3), repeated(bounds{100 * ms, 1000 * ms}, 2)...),
			[]time.Duration{1000 * ms, 2000 * ms, 4000 * ms, 1000 * ms, 1000 * ms},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var d Doubling
			for _, anew := range []bool{false, true} {
				var got []time.Duration
				for _, b := range tc.calls {
					got = append(got, d.Next(b.first, b.longest))
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("after a reset: %t (-want +got):\n%s", anew, diff)
				}
				d.Reset()
			}
		})
	}
}
