package book

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// onlyW1 is a view with sessions 10 (w1, this worker) and 20 (w2), in which units are allocated to w1 alone.
func onlyW1(owners map[Unit]fold.Owner) member.View {
	return member.View{Joined: true, Self: 10, Members: []member.Member{{Session: 10, Worker: "w1"}, {Session: 20, Worker: "w2"}},
		Homes: []string{"w1"}, Owners: owners, Allocation: allocate.Params{Strategy: "ConsistentHash", VirtualNodes: 160}}
}

func toW2(v member.View) member.View {
	v.Homes = []string{"w1", "w2"}
	v.Allocation = allocate.Params{Strategy: "Averagely"} // c to w1, c-0 to w2, c-1 to w1
	return v
}

// asFirst gives w2 the session 0, that of the log's first join.
func asFirst(v member.View) member.View {
	v.Members = []member.Member{{Session: 0, Worker: "w2"}, {Session: 10, Worker: "w1"}}
	return v
}

// resting has w2 rest.
func resting(v member.View) member.View {
	v.Members[1].Resting = true
	return v
}

// silent has w2 miss a heartbeat.
func silent(v member.View) member.View {
	v.Members[1].Silent = true
	return v
}

func divided(state states.Wanted, epoch int64, tasks int) []storefold.Connector {
	c := storefold.Connector{Name: "c", State: state, Epoch: epoch}
	for range tasks {
		c.Tasks = append(c.Tasks, map[string]string{})
	}
	return []storefold.Connector{c}
}

func render(actions []Action) string {
	var out []string
	for _, a := range actions {
		s := fmt.Sprintf("%s %s", a.Kind, a.Unit)
		if a.Generation > 0 {
			s += fmt.Sprintf(" generation=%d", a.Generation)
		}
		if a.Kind == ActClaim {
			s += fmt.Sprintf(" epoch=%d", a.Epoch)
		}
		if a.Reason != "" {
			s += ": " + a.Reason
		}
		out = append(out, s)
	}
	return strings.Join(out, "; ")
}

func TestPlan(t *testing.T) {
	conn, zero := unit(allocate.ConnectorTask), unit(0)
	mine := func(generation, epoch int64) fold.Owner {
		return fold.Owner{Session: 10, Generation: generation, Epoch: epoch}
	}
	both := map[Unit]fold.Owner{conn: mine(4, 1), zero: mine(5, 1)}
	idle := &Held{Generation: 5, Granted: 5}
	running := &Held{Generation: 5, Granted: 5, Phase: Running}
	restart := divided(states.WantRunning, 1, 1)
	restart[0].Restarts = map[int]string{0: "r1"}
	several := divided(states.WantRunning, 1, 2)
	several[0].Restarts = map[int]string{-1: "all", 0: "r1", 2: "r2"}
	three := map[Unit]fold.Owner{conn: mine(4, 1), zero: mine(5, 1), unit(1): mine(6, 1)}
	cases := map[string]struct {
		view       member.View
		connectors []storefold.Connector
		held       map[Unit]*Held
		adopt      map[Unit]bool
		want       string
	}{
		"free units are claimed by who should run them": {view: onlyW1(nil), connectors: divided(states.WantRunning, 1, 1),
			want: "claim c epoch=1; claim c-0 epoch=1"},
		"tasks are not wanted before they are known": {view: onlyW1(nil), connectors: divided(states.WantRunning, 1, 0), want: "claim c epoch=1"},
		"units of others are left alone": {
			view:       toW2(onlyW1(nil)),
			connectors: divided(states.WantRunning, 1, 1),
			want:       "claim c epoch=1",
		},
		"a unit that nobody claims is adopted": {
			view:       toW2(onlyW1(nil)),
			connectors: divided(states.WantRunning, 1, 1),
			adopt:      map[Unit]bool{zero: true},
			want:       "claim c epoch=1; claim c-0 epoch=1: nobody claimed it",
		},
		"an adopted unit is not handed back to who did not claim it": {view: toW2(onlyW1(both)), connectors: divided(states.WantRunning, 1, 1),
			held: map[Unit]*Held{zero: {Generation: 5, Granted: 5, Kept: true, KeptFrom: 20}}, want: "start c-0 generation=5"},
		"a unit that the first session does not claim is adopted": {
			view:       asFirst(toW2(onlyW1(nil))),
			connectors: divided(states.WantRunning, 1, 1),
			adopt:      map[Unit]bool{zero: true},
			want:       "claim c epoch=1; claim c-0 epoch=1: nobody claimed it",
		},
		"an adopted unit is not handed back to the first session either": {
			view:       asFirst(toW2(onlyW1(both))),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: {Generation: 5, Granted: 5, Kept: true}},
			want:       "start c-0 generation=5",
		},
		"an adopted unit moves to a later session": {view: toW2(onlyW1(both)), connectors: divided(states.WantRunning, 1, 1),
			held: map[Unit]*Held{zero: {Generation: 5, Granted: 5, Kept: true}}, want: "release c-0 generation=5: moves to w2"},
		"a unit of a worker that is away is waited for": {
			view:       func() member.View { v := toW2(onlyW1(nil)); v.Members = v.Members[:1]; return v }(),
			connectors: divided(states.WantRunning, 1, 1),
			adopt:      map[Unit]bool{zero: true},
			want:       "claim c epoch=1",
		},
		"nothing is claimed outside the view": {view: member.View{}, connectors: divided(states.WantRunning, 1, 1), want: ""},
		"a worker that is no home takes nothing": {view: func() member.View { v := onlyW1(nil); v.Homes = []string{"w2"}; return v }(),
			connectors: divided(states.WantRunning, 1, 1), adopt: map[Unit]bool{zero: true}, want: ""},
		"nothing is claimed while another epoch is owned": {view: onlyW1(map[Unit]fold.Owner{zero: {Session: 20, Generation: 5, Epoch: 1}}),
			connectors: divided(states.WantRunning, 2, 1), want: ""},
		"an older epoch than the log's is not claimed": {
			view:       func() member.View { v := onlyW1(nil); v.Floors = map[string]int64{"c": 3}; return v }(),
			connectors: divided(states.WantRunning, 2, 1),
			want:       "",
		},
		"a granted unit is started": {
			view:       onlyW1(both),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: idle},
			want:       "start c-0 generation=5",
		},
		"a grant that no claim answered is not used": {view: onlyW1(both), connectors: divided(states.WantRunning, 1, 1), want: ""},
		"a connector's own unit divides it": {view: onlyW1(map[Unit]fold.Owner{conn: mine(4, 1)}), connectors: divided(states.WantRunning, 1, 0),
			held: map[Unit]*Held{conn: {Granted: 4}}, want: "start c generation=4"},
		"a unit that waits for its next try is not started": {view: onlyW1(both), connectors: divided(states.WantRunning, 1, 1),
			held: map[Unit]*Held{zero: {Generation: 5, Granted: 5, Finished: true}}, want: ""},
		"a running unit goes on": {
			view:       onlyW1(both),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "",
		},
		"a unit that moves is drained": {
			view:       toW2(onlyW1(both)),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "stop c-0 generation=5: moves to w2",
		},
		"a unit that moves to the first session is drained, too": {
			view:       asFirst(toW2(onlyW1(both))),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "stop c-0 generation=5: moves to w2",
		},
		"nothing is handed to a member that may not start it": {
			view:       resting(toW2(onlyW1(both))),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "",
		},
		"nothing is handed to a member that may be gone": {
			view:       silent(toW2(onlyW1(both))),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "",
		},
		"what was drained for a member that may be gone goes": {
			view:       silent(toW2(onlyW1(both))),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: idle},
			want:       "release c-0 generation=5: moves to w2",
		},
		"a unit that moves is released once it is idle": {
			view:       toW2(onlyW1(both)),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: idle},
			want:       "release c-0 generation=5: moves to w2",
		},
		"a draining unit is waited for": {view: toW2(onlyW1(both)), connectors: divided(states.WantRunning, 1, 1),
			held: map[Unit]*Held{zero: {Generation: 5, Granted: 5, Phase: Stopping}}, want: ""},
		"a new epoch drains the old one": {
			view:       onlyW1(both),
			connectors: divided(states.WantRunning, 2, 0),
			held:       map[Unit]*Held{zero: running, conn: {Generation: 4, Granted: 4}},
			want:       "release c generation=4: config changed; stop c-0 generation=5: not wanted",
		},
		"a claim at a newer epoch drains before the config is read": {
			view:       func() member.View { v := onlyW1(both); v.Asked = map[string]int64{"c": 2}; return v }(),
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "stop c-0 generation=5: config changed",
		},
		"a pause drains and keeps": {
			view:       onlyW1(both),
			connectors: divided(states.WantPaused, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "stop c-0 generation=5: paused",
		},
		"a paused task stays": {
			view:       onlyW1(both),
			connectors: divided(states.WantPaused, 1, 1),
			held:       map[Unit]*Held{zero: idle},
			want:       "",
		},
		"a stopped connector drains its tasks and keeps its own unit": {view: onlyW1(both), connectors: divided(states.WantStopped, 1, 1),
			held: map[Unit]*Held{zero: running, conn: {Generation: 4, Granted: 4}}, want: "stop c-0 generation=5: not wanted"},
		"a deleted connector is released": {view: onlyW1(both), held: map[Unit]*Held{zero: idle, conn: {Generation: 4, Granted: 4}},
			want: "release c generation=4: not wanted; release c-0 generation=5: not wanted"},
		"a released generation never runs again": {view: onlyW1(both), connectors: divided(states.WantRunning, 1, 1),
			held: map[Unit]*Held{zero: {Generation: 5, Granted: 5, Given: 5}}, want: "release c-0 generation=5: given back"},
		"what the log gave to another stops at once": {
			view: onlyW1(map[Unit]fold.Owner{zero: {Session: 20, Generation: 9, Epoch: 1}}),
			connectors: divided(
				states.WantRunning,
				1,
				1,
			),
			held: map[Unit]*Held{zero: running},
			want: "claim c epoch=1; kill c-0 generation=5: lost",
		},
		"what is lost with the session stops at once": {
			view:       member.View{Owners: both},
			connectors: divided(states.WantRunning, 1, 1),
			held:       map[Unit]*Held{zero: running},
			want:       "kill c-0 generation=5: lost",
		},
		"a newer grant waits for the older attempt": {view: onlyW1(both), connectors: divided(states.WantRunning, 1, 1),
			held: map[Unit]*Held{zero: {Generation: 3, Granted: 5, Phase: Stopping}}, want: "kill c-0 generation=3: lost"},
		"a restart is carried out once": {
			view:       onlyW1(both),
			connectors: restart,
			held:       map[Unit]*Held{zero: running},
			want:       "restart c-0 generation=5: asked for",
		},
		"a restart that was carried out is not repeated": {view: onlyW1(both), connectors: restart,
			held: map[Unit]*Held{zero: {Generation: 5, Granted: 5, Phase: Running, RestartID: "r1"}}, want: ""},
		"each task takes its own restart, and those without one that of all": {
			view:       onlyW1(three),
			connectors: several,
			held: map[Unit]*Held{
				conn:    {Generation: 4, Granted: 4, RestartID: "all"},
				zero:    {Generation: 5, Granted: 5, Phase: Running, RestartID: "all"},
				unit(1): {Generation: 6, Granted: 6, Phase: Running},
			},
			want: "restart c-0 generation=5: asked for; restart c-1 generation=6: asked for",
		},
		"the restart of another task is none of this one's": {
			view:       onlyW1(three),
			connectors: several,
			held: map[Unit]*Held{
				conn:    {Generation: 4, Granted: 4, RestartID: "all"},
				zero:    {Generation: 5, Granted: 5, Phase: Running, RestartID: "r1"},
				unit(1): {Generation: 6, Granted: 6, Phase: Running, RestartID: "all"},
			},
			want: "",
		},
		"a restart that is not known any more restarts nothing": {view: onlyW1(both), connectors: divided(states.WantRunning, 1, 1),
			held: map[Unit]*Held{zero: {Generation: 5, Granted: 5, Phase: Running, RestartID: "r1"}}, want: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			in := Input{Worker: "w1", View: tc.view, Connectors: tc.connectors, Held: tc.held, Adopt: tc.adopt}
			if diff := cmp.Diff(tc.want, render(Plan(in))); diff != "" {
				t.Errorf("plan (-want +got):\n%s", diff)
			}
		})
	}
}
