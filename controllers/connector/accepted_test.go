package connector

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/rocketmq-connect/operator/controllers/feed"
	"github.com/rocketmq-connect/operator/controllers/testobj"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

func TestCompare(t *testing.T) {
	key := types.NamespacedName{Namespace: "test", Name: "orders"}
	report := func(session int, revision int64) feed.ConnectorView {
		return feed.ConnectorView{Session: session, Status: &restapi.ConnectorStatus{Revision: revision}}
	}
	unknown := func(session int) feed.ConnectorView { return feed.ConnectorView{Session: session} }
	now := accepted{uid: "u", sum: "s", revision: 7, session: 2}
	shown := now
	shown.reported = true
	cases := map[string]struct {
		last *accepted
		uid  types.UID
		sum  string
		view feed.ConnectorView
		want comparison
	}{
		"nothing is remembered":                      {nil, "u", "s", report(2, 7), differs},
		"as accepted":                                {&now, "u", "s", report(2, 7), inSync},
		"as accepted, by another worker":             {&now, "u", "s", report(3, 7), inSync},
		"another spec":                               {&now, "u", "other", report(2, 7), differs},
		"an object recreated":                        {&now, "v", "s", report(2, 7), differs},
		"the report lags":                            {&now, "u", "s", report(2, 6), notReported},
		"a new connector is not in the report yet":   {&now, "u", "s", unknown(2), notReported},
		"somebody else changed it":                   {&now, "u", "s", report(2, 8), differs},
		"somebody else removed it":                   {&shown, "u", "s", unknown(2), differs},
		"another worker, of a log that was made new": {&now, "u", "s", report(3, 1), differs},
		"another worker that does not know it":       {&now, "u", "s", unknown(3), differs},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			m := newMemory()
			if tc.last != nil {
				m.remember(key, *tc.last)
			}
			if got := m.compare(key, tc.uid, tc.sum, tc.view); got != tc.want {
				t.Errorf("got %d, want %d", got, tc.want)
			}
		})
	}
}

func TestHashIsOfWhatTheWorkersGet(t *testing.T) {
	base := hash(desired(testobj.Connector("orders").Obj()))
	same := map[string]string{
		"paused":       hash(desired(testobj.Connector("orders").State("Paused").Obj())),
		"another name": hash(desired(testobj.Connector("other").Obj())),
	}
	for name, got := range same {
		if got != base {
			t.Errorf("%s: another hash", name)
		}
	}
	other := map[string]string{
		"another class":   hash(desired(testobj.Connector("orders").Class("KafkaSink").Obj())),
		"another setting": hash(desired(testobj.Connector("orders").Config("a", "b").Obj())),
		"a moved quote":   hash(desired(testobj.Connector("orders").Config("kafka.topics", `orders" "a"="b`).Obj())),
	}
	for name, got := range other {
		if got == base {
			t.Errorf("%s: the same hash", name)
		}
	}
}
