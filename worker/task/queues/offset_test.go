package queues

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/record"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

func TestOffsetsAreReadBack(t *testing.T) {
	cases := map[string]struct {
		offset Offset
		want   record.Position
	}{
		"without marks": {Offset{Next: 700}, "700"},
		"with marks, the newest first": {
			Offset{700, rmq.Trail{{Offset: 640, StoredAt: 1795282501033}, {Offset: 699, StoredAt: 1795282502586}}},
			"700 699@1795282502586 640@1795282501033",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := tc.offset.Stored()
			if got != tc.want {
				t.Errorf("stored %q, want %q", got, tc.want)
			}
			back, err := ParseOffset(got)
			if diff := cmp.Diff(tc.offset, back); diff != "" || err != nil {
				t.Errorf("read back (-want +got): %v\n%s", err, diff)
			}
		})
	}
	for _, bad := range []record.Position{"", "x", "700 699", "700 x@1", "700 699@"} {
		if _, err := ParseOffset(bad); !errors.Is(err, ErrOffset) {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

func TestAnOffsetThatAQueueDoesNotHoldGivesWayToItsFirstRecord(t *testing.T) {
	marked := rmq.Trail{{Offset: 4, StoredAt: 1}}
	cases := map[string]struct {
		offset    Offset
		low, high int64
		want      int64
		held      bool
	}{
		"within the queue":               {Offset{Next: 5}, 2, 9, 5, true},
		"at its first record":            {Offset{Next: 2}, 2, 9, 2, true},
		"at its end":                     {Offset{Next: 9}, 2, 9, 9, true},
		"before its first record":        {Offset{Next: 1}, 2, 9, 2, false},
		"behind its end":                 {Offset{Next: 10}, 2, 9, 2, false},
		"behind its end, with marks":     {Offset{10, marked}, 2, 9, 10, true},
		"before the first, with marks":   {Offset{1, marked}, 2, 9, 2, false},
		"an empty queue that never held": {Offset{Next: 0}, 0, 0, 0, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if from, held := tc.offset.Held(tc.low, tc.high); from != tc.want || held != tc.held {
				t.Errorf("from %d, held %t, want %d, %t", from, held, tc.want, tc.held)
			}
		})
	}
}

func TestTheRecordBeforeAnOffset(t *testing.T) {
	for next, want := range map[int64]bool{1: false, 2: false, 3: true, 9: true, 10: false} {
		if before, ok := (Offset{Next: next}).Before(2, 9); ok != want || before != next-1 {
			t.Errorf("before %d: %d, %t, want %d, %t", next, before, ok, next-1, want)
		}
	}
}
