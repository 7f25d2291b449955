package track

import (
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/worker/record"
)

func TestAPartitionWithNothingButRoundsIsWorthAWord(t *testing.T) {
	a, b := record.PlaceOf("s", "a"), record.PlaceOf("s", "b")
	round, other := record.Path("").In(b).In(a), record.Path("").In(a)
	cases := map[string]struct {
		seen    map[record.SourcePartition][]record.Path
		want    string
		wantAll int
	}{
		"nothing was read":   {},
		"nothing goes round": {seen: map[record.SourcePartition][]record.Path{"p": {other, other}}},
		"everything goes round": {
			seen:    map[record.SourcePartition][]record.Path{"p": {round, round}, "q": {other}},
			want:    "all records of p were",
			wantAll: 2,
		},
		"some of it goes round": {seen: map[record.SourcePartition][]record.Path{"p": {round, other, round}}, wantAll: 2},
		"many partitions with rounds": {
			seen:    map[record.SourcePartition][]record.Path{"p": {round}, "q": {round}, "r": {round}, "s": {round}, "t": {round}},
			want:    "p, q, r and 2 others",
			wantAll: 5,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var r Rounds
			for p, paths := range tc.seen {
				for _, path := range paths {
					there, goes := r.Goes(p, path, b)
					if want, wantGoes := path.To(b); there != want || goes != wantGoes {
						t.Errorf("%q: %q, %t, want %q, %t", path, there, goes, want, wantGoes)
					}
				}
			}
			if got := r.Warning(); (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) || r.All() != tc.wantAll {
				t.Errorf("%d, %q, want %d, %q", r.All(), got, tc.wantAll, tc.want)
			}
		})
	}
	var r Rounds
	if there, goes := r.Goes("p", round, ""); there != round || !goes || r.Warning() != "" {
		t.Error("what has no place does not take everything")
	}
}
