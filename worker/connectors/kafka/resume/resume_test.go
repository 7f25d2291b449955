package resume

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/record"
)

func at(offset int64, topic string) record.Position { return Place{offset, topic}.Position() }

func TestOf(t *testing.T) {
	stored := func(offset int64) Start { return Start{Offset: offset} }
	again, first, end := Start{Store: true}, Start{Where: AtFirst}, Start{Where: AtEnd, Store: true}
	cases := map[string]struct {
		from    record.Positions
		reset   Reset
		late    bool
		id      string // of a topic of three partitions
		want    Plan
		wantErr error
	}{
		"nothing is stored":                      {reset: Earliest, id: "x", want: Plan{Starts: []Start{first, first, first}}},
		"nothing is stored, latest":              {reset: Latest, id: "x", want: Plan{Starts: []Start{end, end, end}, AtEnd: 3}},
		"nothing is stored, latest, it came now": {reset: Latest, id: "x", late: true, want: Plan{Starts: []Start{first, first, first}}},
		"nothing is stored, none":                {reset: None, id: "x", wantErr: ErrNoPlace},
		"it was not there when the connector began": {
			reset: Latest, id: "x", from: record.Positions{"t/0/begun": "0"}, want: Plan{Starts: []Start{first, first, first}},
		},
		"another task began it at its end": {
			reset: Latest, id: "x", from: record.Positions{"t/1": at(7, "x"), "t/1/begun": at(2, "x")},
			want: Plan{Starts: []Start{end, stored(7), first}, AtEnd: 2},
		},
		"the same topic goes on": {
			reset: None, id: "x", from: record.Positions{"t/0": at(5, "x"), "t/2": at(6, "x")},
			want: Plan{Starts: []Start{stored(5), first, stored(6)}},
		},
		"positions of an older version go on and get the id": {
			reset: None, id: "x", from: record.Positions{"t/0": "5"},
			want: Plan{Starts: []Start{{Offset: 5, Store: true}, first, first}},
		},
		"brokers that tell no id": {
			reset: None, from: record.Positions{"t/0": at(5, "x"), "t/1": "6"}, want: Plan{Starts: []Start{stored(5), stored(6), first}},
		},
		"another topic begins at its first record": {
			reset: Earliest, id: "y", from: record.Positions{"t/0": at(5, "x"), "t/1": at(6, "x")},
			want: Plan{Starts: []Start{again, again, again}, Former: "x"},
		},
		"another topic begins at its first record with latest, too": {
			reset: Latest, id: "y", from: record.Positions{"t/0": at(5, "x"), "t/0/begun": at(3, "x")},
			want: Plan{Starts: []Start{again, again, again}, Former: "x"},
		},
		"another topic of which a task has read some": {
			reset: Earliest, id: "y", from: record.Positions{"t/0": at(5, "y"), "t/1": at(6, "x")},
			want: Plan{Starts: []Start{stored(5), again, again}, Former: "x"},
		},
		"another topic that has fewer partitions, all read before": {
			reset: None, id: "y", from: record.Positions{"t/0": at(5, "y"), "t/9": at(6, "x")},
			want: Plan{Starts: []Start{stored(5), first, first}},
		},
		"another topic, none": {reset: None, id: "y", from: record.Positions{"t/0": at(5, "x")}, wantErr: ErrRemade},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := Of(tc.from, Topic{Name: "t", ID: tc.id, Partitions: 3}, tc.reset, tc.late)
			if !errors.Is(err, tc.wantErr) {
				t.Fatalf("error %v, want %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDamagedPositionsAreNamed(t *testing.T) {
	for name, from := range map[string]record.Positions{
		"no offset":       {"t/0": "x"},
		"below 0":         {"t/0": "-1"},
		"no count":        {"t/0/begun": "x"},
		"only a topic id": {"t/0": record.Position("").Noted("x")},
	} {
		t.Run(name, func(t *testing.T) {
			if plan, err := Of(from, Topic{Name: "t", Partitions: 1}, Earliest, false); err == nil {
				t.Errorf("planned %+v", plan)
			}
		})
	}
}

// FuzzOf holds plans to what must never happen: that a record of a topic is passed over which nobody read.
func FuzzOf(f *testing.F) {
	f.Add(uint8(1), uint8(2), uint8(3), uint8(4), uint8(0), false)
	f.Fuzz(func(t *testing.T, a, b, c, begun, reset uint8, late bool) {
		ids := []string{"", "x", "y"}
		from := record.Positions{}
		put := func(name record.SourcePartition, v uint8) {
			if v%4 > 0 {
				from[name] = at(int64(v), ids[v%3])
			}
		}
		put("t/0", a)
		put("t/1", b)
		put("t/2", c)
		put("t/0/begun", begun)
		now, mode := Topic{Name: "t", ID: "y", Partitions: 3}, []Reset{Earliest, Latest, None}[reset%3]
		plan, err := Of(from, now, mode, late)
		if err != nil {
			if mode != None {
				t.Fatal(err)
			}
			return
		}
		for p, start := range plan.Starts {
			_, topic := from[Partition("t", int32(p))].Split()
			read := from[Partition("t", int32(p))] != "" && topic != "x"
			switch {
			case start.Where == AtEnd && (read || plan.Former != "" || late || mode != Latest):
				t.Errorf("partition %d begins at its end: %v", p, from)
			case start.Where == AtOffset && start.Offset > 0 && !read:
				t.Errorf("partition %d begins at %d: %v", p, start.Offset, from)
			}
		}
	})
}
