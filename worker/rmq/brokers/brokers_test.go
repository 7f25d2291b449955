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
		"what is learned first is no move": {[]answer{{1, "a", "x"}}, nil, "x"},
		"the same again is no move":        {[]answer{{1, "a", "x"}, {2, "a", "x"}}, nil, "x"},
		"another address is a move": {
			[]answer{{1, "a", "x"}, {2, "a", "y"}},
			[]Move{{"a", "x", "y"}},
			"y",
		},
		"a broker that an answer leaves out stays where it was": {[]answer{{1, "a", "x"}, {2, "b", "y"}}, nil, "x"},
		"a broker without master stays where it was":            {[]answer{{1, "a", "x"}, {2, "a", ""}}, nil, "x"},
		"back and forth is a move for each time that the name server says so": {
			[]answer{{1, "a", "x"}, {2, "a", "y"}, {3, "a", "x"}},
			[]Move{{"a", "x", "y"}, {"a", "y", "x"}},
			"x",
		},
		"an answer to an older question undoes nothing": {
			[]answer{{1, "a", "x"}, {3, "a", "y"}, {2, "a", "x"}},
			[]Move{{"a", "x", "y"}},
			"y",
		},
		"an answer to an older question tells of other brokers": {
			[]answer{{1, "b", "z"}, {3, "b", "y"}, {2, "a", "x"}},
			[]Move{{"b", "z", "y"}},
			"x",
		},
		"an address that another master still has is not left": {[]answer{{1, "a", "x"}, {2, "b", "x"}, {3, "a", "y"}}, nil, "y"},
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
	defaults := func(change func(s *Settings)) Settings {
		s := Settings{SyncFlushTimeout: 5 * time.Second, SlaveTimeout: 3 * time.Second}
		change(&s)
		return s
	}
	cases := map[string]struct {
		config       string
		want         Settings
		slaves, disk bool
	}{
		"a broker that tells nothing has the defaults": {want: defaults(func(*Settings) {})},
		"what it tells counts": {
			config: "brokerName=a\nbrokerRole=SYNC_MASTER\nflushDiskType=SYNC_FLUSH\nsyncFlushTimeout=7000\nslaveTimeout=1500\ninSyncReplicas=2\n",
			want:   Settings{"SYNC_MASTER", "SYNC_FLUSH", 7 * time.Second, 1500 * time.Millisecond, 2, false}, slaves: true, disk: true,
		},
		"a 4.9 broker that is synchronous waits for a slave": {
			config: "brokerRole=SYNC_MASTER", want: defaults(func(s *Settings) { s.Role = "SYNC_MASTER" }), slaves: true,
		},
		"a newer one for which one replica is enough does not": {
			config: "brokerRole=SYNC_MASTER\ninSyncReplicas=1", want: defaults(func(s *Settings) { s.Role, s.InSyncReplicas = "SYNC_MASTER", 1 }),
		},
		"unless all that are in sync must have it": {
			config: "brokerRole=SYNC_MASTER\ninSyncReplicas=1\nallAckInSyncStateSet=true",
			want:   defaults(func(s *Settings) { s.Role, s.InSyncReplicas, s.AllInSync = "SYNC_MASTER", 1, true }), slaves: true,
		},
		"what makes no sense is as if it were not told": {
			config: "syncFlushTimeout=soon\r\nslaveTimeout=-1\ninSyncReplicas=0\n=\nx", want: defaults(func(*Settings) {}),
		},
		"no time-out is longer than an hour": {
			config: "syncFlushTimeout=9223372036854775807", want: defaults(func(s *Settings) { s.SyncFlushTimeout = time.Hour }),
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ParseSettings([]byte(tc.config))
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("settings (-want +got):\n%s", diff)
			}
			if got.AwaitsSlaves() != tc.slaves || got.AwaitsDisk() != tc.disk {
				t.Errorf("waits for slaves %v, for the disk %v", got.AwaitsSlaves(), got.AwaitsDisk())
			}
		})
	}
}
