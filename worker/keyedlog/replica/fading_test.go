package replica

import (
	"testing"
	"time"
)

func TestFading(t *testing.T) {
	const keeps = 72 * time.Hour
	now := time.Date(2026, 1, 10, 0, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) time.Time { return now.Add(-d) }
	cases := map[string]struct {
		place    place
		first    int64
		follower bool
		want     bool
	}{
		"a fresh value stays":                           {place: place{offset: 5, at: ago(time.Hour)}},
		"one just short of a third of the retention":    {place: place{offset: 5, at: ago(24*time.Hour - time.Second)}},
		"one of a third of the retention":               {place: place{offset: 5, at: ago(24 * time.Hour)}, want: true},
		"a follower gives the owner time":               {place: place{offset: 5, at: ago(24 * time.Hour)}, follower: true},
		"a follower stands in at half of the retention": {place: place{offset: 5, at: ago(36 * time.Hour)}, follower: true, want: true},
		"one that was dropped already":                  {place: place{offset: 5, at: ago(time.Minute)}, first: 6, follower: true, want: true},
		"the first that is still there":                 {place: place{offset: 6, at: ago(time.Minute)}, first: 6},
		"one from a clock ahead of ours":                {place: place{offset: 5, at: ago(-time.Hour)}},
		"one from a clock far behind is not repeated at each look": {
			place: place{offset: 5, at: ago(30 * time.Hour), tried: ago(time.Hour)},
		},
		"but now and then": {place: place{offset: 5, at: ago(30 * time.Hour), tried: ago(12 * time.Hour)}, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := tc.place.fading(now, tc.first, keeps, !tc.follower); got != tc.want {
				t.Errorf("fading is %t, want %t", got, tc.want)
			}
		})
	}
}
