package fold

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// FuzzRestore folds on from an image that anybody may have written.
func FuzzRestore(f *testing.F) {
	seed := New()
	foldAll(f, seed, joinOf("w", "p", proofOf(1, 0)), beat(0, 1), claimOf(0, 2, Asked{"a", 0, 1, 0}), joinOf("v", "q", nil))
	data, err := seed.Image()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(data)
	f.Add([]byte(`{"v":1,"asOf":3,"sessions":[{"id":1},{"id":1}],"owners":[{"connector":"a","session":9},{"connector":"a","session":8}]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		a, err := Restore(data)
		if err != nil {
			return
		}
		again := imageOf(t, a)
		b, err := Restore([]byte(again))
		if err != nil {
			t.Fatalf("the image of what was restored: %v", err)
		}
		if diff := cmp.Diff(again, imageOf(t, b)); diff != "" {
			t.Fatalf("restored twice (-want +got):\n%s", diff)
		}
		if !inRange(a.Offset()) {
			return // no entry follows
		}
		records := []Record{
			joinOf(
				"w",
				"r",
				proofOf(2, 0),
			),
			beat(0, 3),
			claimOf(0, 4, Asked{"a", 0, 1, 0}),
			releaseOf(0, 5, Held{"a", 0, 1}),
			expireOf(0, 1),
			leaveOf(0, 9),
		}
		if diff := cmp.Diff(foldAll(t, a, records...), foldAll(t, b, records...)); diff != "" {
			t.Fatalf("folds of one image differ:\n%s", diff)
		}
	})
}
