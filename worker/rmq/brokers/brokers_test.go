package brokers

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestMastersMove(t *testing.T) {
	type answer struct {
		question int64 // as many have been asked by then
		broker   string
		addr     string
	}
	cases := map[string]struct {
		answers []answer
		want    []Move
		wantAt  string // of a
	}{
		"what is learned first is no move":                                    {[]answer{{1, "a", "x"}}, nil, "x"},
		"the same again is no move":                                           {[]answer{{1, "a", "x"}, {2, "a", "x"}}, nil, "x"},
		"another address is a move":                                           {[]answer{{1, "a", "x"}, {2, "a", "y"}}, []Move{{"a", "x", "y"}}, "y"},
		"a broker that an answer leaves out stays where it was":               {[]answer{{1, "a", "x"}, {2, "b", "y"}}, nil, "x"},
		"a broker without master stays where it was":                          {[]answer{{1, "a", "x"}, {2, "a", ""}}, nil, "x"},
		"back and forth is a move for each time that the name server says so": {[]answer{{1, "a", "x"}, {2, "a", "y"}, {3, "a", "x"}}, []Move{{"a", "x", "y"}, {"a", "y", "x"}}, "x"},
		"an answer to an older question undoes nothing":                       {[]answer{{1, "a", "x"}, {3, "a", "y"}, {2, "a", "x"}}, []Move{{"a", "x", "y"}}, "y"},
		"an answer to an older question tells of other brokers":               {[]answer{{1, "b", "z"}, {3, "b", "y"}, {2, "a", "x"}}, []Move{{"b", "z", "y"}}, "x"},
		"an address that another master still has is not left":                {[]answer{{1, "a", "x"}, {2, "b", "x"}, {3, "a", "y"}}, nil, "y"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var m Masters
			var asked int64
			var got []Move
			for _, a := range tc.answers {
				for asked < a.question {
					asked = m.Ask()
				}
				got = append(got, m.Learn(a.question, map[string]string{a.broker: a.addr})...)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("moves (-want +got):\n%s", diff)
			}
			if m.Addr("a") != tc.wantAt {
				t.Errorf("a is at %q, want %q", m.Addr("a"), tc.wantAt)
			}
		})
	}
}

func TestParseSettings(t *testing.T) {
	cases := map[string]struct {
		config string
		want   Settings
	}{
		"a broker that tells nothing has the defaults": {"", Settings{"", "", 5 * time.Second, 3 * time.Second, 1}},
		"what it tells counts": {
			"brokerName=a\nbrokerRole=SYNC_MASTER\nflushDiskType=SYNC_FLUSH\nsyncFlushTimeout=7000\nslaveTimeout=1500\ninSyncReplicas=2\n",
			Settings{"SYNC_MASTER", "SYNC_FLUSH", 7 * time.Second, 1500 * time.Millisecond, 2},
		},
		"what makes no sense is as if it were not told": {
			"syncFlushTimeout=soon\r\nslaveTimeout=-1\ninSyncReplicas=0\n=\nx", Settings{"", "", 5 * time.Second, 3 * time.Second, 1},
		},
		"no time-out is longer than an hour": {"syncFlushTimeout=9223372036854775807", Settings{"", "", time.Hour, 3 * time.Second, 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, ParseSettings([]byte(tc.config))); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
		})
	}
}
