package service

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestOneOfManyPassesInEachInterval(t *testing.T) {
	g := &Seldom{Every: time.Minute}
	begin := time.Unix(1000, 0)
	var got []int // -1: held back
	for _, after := range []time.Duration{0, time.Second, 59 * time.Second, time.Minute, 61 * time.Second, time.Hour} {
		held, ok := g.Pass(begin.Add(after))
		if !ok {
			held = -1
		}
		got = append(got, held)
	}
	if diff := cmp.Diff([]int{0, -1, -1, 2, -1, 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
