package storefold

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/states"
)

// What is stored is read by workers of other versions: these bytes change only with a new version number.
func TestStoredValuesKeepTheirBytes(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 6e6, time.UTC)
	cases := map[string]struct {
		value     value
		wantKey   string
		wantBytes string
	}{
		"a connector": {
			value: &connectorValue{
				V: 1, Name: "orders to kafka", Config: map[string]string{"b": "2", "a": "1"}, State: states.WantPaused, Epoch: 3, Born: 1,
				Revision: 5, Replaces: 4, Requests: []request{{"r4", 4}, {"r5", 5}}, Restart: &restartValue{"r4", -1}, UpdatedAt: at,
			},
			wantKey: "connector/orders%20to%20kafka",
			wantBytes: `{"v":1,"name":"orders to kafka","config":{"a":"1","b":"2"},"state":"Paused","epoch":3,"born":1,"revision":5,` +
				`"replaces":4,"requests":[{"id":"r4","revision":4},{"id":"r5","revision":5}],"restart":{"id":"r4","task":-1},` +
				`"updatedAt":"2026-01-02T03:04:05.006Z"}`,
		},
		"a connector with several restarts": {
			value: &connectorValue{
				V: 1, Name: "c", State: states.WantRunning, Epoch: 3, Born: 1, Revision: 8, Replaces: 7, Requests: []request{{"r8", 8}},
				Restart: &restartValue{"r8", 1}, Restarts: map[int]string{-1: "r5", 10: "r7", 2: "r6"}, UpdatedAt: at,
			},
			wantKey: "connector/c",
			wantBytes: `{"v":1,"name":"c","state":"Running","epoch":3,"born":1,"revision":8,"replaces":7,"requests":[{"id":"r8","revision":8}],` +
				`"restart":{"id":"r8","task":1},"restarts":{"-1":"r5","10":"r7","2":"r6"},"updatedAt":"2026-01-02T03:04:05.006Z"}`,
		},
		"a deleted connector that is published again": {
			value: &connectorValue{
				V: 1, Name: "c", State: states.WantRunning, Deleted: true, Epoch: 2, Born: 1, Revision: 2, Replaces: 1,
				Requests: []request{{"r2", 2}}, UpdatedAt: at, Republished: true,
			},
			wantKey: "connector/c",
			wantBytes: `{"v":1,"name":"c","state":"Running","deleted":true,"epoch":2,"born":1,"revision":2,"replaces":1,` +
				`"requests":[{"id":"r2","revision":2}],"updatedAt":"2026-01-02T03:04:05.006Z","republished":true}`,
		},
		"a task set": {
			value:     &tasksValue{V: 1, Name: "c", Epoch: 3, Tasks: []map[string]string{{"b": "2", "a": "1"}, {}}, ID: "x"},
			wantKey:   "tasks/c",
			wantBytes: `{"v":1,"name":"c","epoch":3,"tasks":[{"a":"1","b":"2"},{}],"id":"x"}`,
		},
		"a task set of an epoch that is over": {
			value:     (&tasksValue{V: 1, Name: "c", Epoch: 3, Tasks: []map[string]string{{"b": "2"}}, ID: "x"}).erase(),
			wantKey:   "tasks/c",
			wantBytes: `{"v":1,"name":"c","epoch":3,"tasks":[],"id":"erased"}`,
		},
		"an identity": {
			value:     &identityValue{V: 1, ID: "4f1c", MadeAt: at},
			wantKey:   "identity",
			wantBytes: `{"v":1,"id":"4f1c","madeAt":"2026-01-02T03:04:05.006Z"}`,
		},
		"a fence": {
			value:     &fenceValue{V: 1, Connector: "c", Task: 2, stamp: stamp{Epoch: 3, Generation: 40, Attempt: 1}, ID: "x"},
			wantKey:   "fence/c/2",
			wantBytes: `{"v":1,"connector":"c","task":2,"epoch":3,"generation":40,"attempt":1,"id":"x"}`,
		},
		"a position": {
			value: &positionValue{
				V: 1, Connector: "c", Partition: "orders/3", Position: "1042", Task: 2,
				stamp: stamp{Epoch: 3, Generation: 40, Attempt: 1}, Moves: 1, Sequence: 7,
			},
			wantKey: "position/c/orders%2F3",
			wantBytes: `{"v":1,"connector":"c","partition":"orders/3","position":"1042","task":2,"epoch":3,"generation":40,"attempt":1,` +
				`"moves":1,"sequence":7}`,
		},
		"a position with a note": {
			value: &positionValue{
				V: 1, Connector: "c", Partition: "orders/3", Position: "1042", Note: "AAAA", stamp: stamp{Epoch: 3}, Sequence: 7,
			},
			wantKey: "position/c/orders%2F3",
			wantBytes: `{"v":1,"connector":"c","partition":"orders/3","position":"1042","note":"AAAA","task":0,"epoch":3,"generation":0,` +
				`"attempt":0,"sequence":7}`,
		},
		"a position of bytes": {
			value: &positionValue{
				V: 1, Connector: "c", Partition: "\xff", Position: "\xfe\x00", stamp: stamp{Epoch: 1}, Sequence: 1,
			},
			wantKey: "position/c/%FF",
			wantBytes: `{"v":1,"connector":"c","partition":{"base64":"/w=="},"position":{"base64":"/gA="},"task":0,"epoch":1,` +
				`"generation":0,"attempt":0,"sequence":1}`,
		},
		"a reset": {
			value:   &resetValue{V: 1, Connector: "c", Epoch: 4, Positions: []pair{{"p", "1", ""}, {"q", "2", "n"}}, ID: "x"},
			wantKey: "reset/c",
			wantBytes: `{"v":1,"connector":"c","epoch":4,"positions":[{"partition":"p","position":"1"},{"partition":"q","position":"2",` +
				`"note":"n"}],"id":"x"}`,
		},
		"a status": {
			value: &statusValue{
				V: 1, Connector: "c", Task: -1, State: "Failed", Worker: "w1", stamp: stamp{Epoch: 3, Generation: 40, Attempt: 1},
				Sequence: 2, Error: "unreachable", Restarts: 4, NextRestart: at, At: at,
			},
			wantKey: "status/c/-1",
			wantBytes: `{"v":1,"connector":"c","task":-1,"state":"Failed","worker":"w1","epoch":3,"generation":40,"attempt":1,` +
				`"sequence":2,"error":"unreachable","restarts":4,"nextRestart":"2026-01-02T03:04:05.006Z","at":"2026-01-02T03:04:05.006Z"}`,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			wantEqual(t, tc.value.key(), tc.wantKey)
			wantEqual(t, string(Encode(tc.value)), tc.wantBytes)
			back, err := read(tc.wantKey, []byte(tc.wantBytes))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.value, back, cmp.AllowUnexported(fenceValue{}, positionValue{}, statusValue{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// read decodes a value of any kind.
func read(key string, data []byte) (out value, err error) {
	switch kindOf(key) {
	case kindConnector:
		out, _, err = decode[*connectorValue](rmq.Entry{Key: key, Value: data})
	case kindIdentity:
		out, _, err = decode[*identityValue](rmq.Entry{Key: key, Value: data})
	case kindTasks:
		out, _, err = decode[*tasksValue](rmq.Entry{Key: key, Value: data})
	case kindFence:
		out, _, err = decode[*fenceValue](rmq.Entry{Key: key, Value: data})
	case kindReset:
		out, _, err = decode[*resetValue](rmq.Entry{Key: key, Value: data})
	case kindPosition:
		out, _, err = decode[*positionValue](rmq.Entry{Key: key, Value: data})
	case kindStatus:
		out, _, err = decode[*statusValue](rmq.Entry{Key: key, Value: data})
	default:
		err = errKey
	}
	return out, err
}

func TestUnreadableRecordsAreJudgedByTheirCause(t *testing.T) {
	cases := map[string]struct {
		key, value string
		want       replica.Verdict
	}{
		"no JSON":                        {key: "fence/c/0", value: `{"v":1,`, want: replica.Malformed},
		"nothing":                        {key: "fence/c/0", value: ``, want: replica.Malformed},
		"null":                           {key: "fence/c/0", value: `null`, want: replica.Malformed},
		"no version":                     {key: "fence/c/0", value: `{"connector":"c","epoch":1,"id":"x"}`, want: replica.Malformed},
		"a newer version is left alone":  {key: "fence/c/0", value: `{"v":2,"connector":7}`, want: replica.Foreign},
		"a field of another type":        {key: "fence/c/0", value: `{"v":1,"connector":7}`, want: replica.Malformed},
		"a missing field":                {key: "fence/c/0", value: `{"v":1,"connector":"c","id":"x"}`, want: replica.Malformed},
		"another one's key":              {key: "fence/c/1", value: `{"v":1,"connector":"c","epoch":1,"id":"x"}`, want: replica.Malformed},
		"a kind of another store":        {key: "tasks/c", value: `{"v":1}`, want: replica.Foreign},
		"no key":                         {value: `{"v":1}`, want: replica.Foreign},
		"what an older runtime wrote":    {key: "Y29ubmVjdG9yLWZpbGVTb3VyY2U=", value: `{"schema":null}`, want: replica.Foreign},
		"fields it does not know are ok": {key: "fence/c/0", value: `{"v":1,"connector":"c","epoch":1,"id":"x","y":1}`, want: replica.Accepted},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := NewProgress().Apply(rmq.Entry{Key: tc.key, Value: []byte(tc.value)})
			wantEqual(t, got, tc.want)
			if (err == nil) != (tc.want == replica.Accepted) {
				t.Errorf("got error %v with verdict %d", err, got)
			}
		})
	}
}

func FuzzFoldsTakeAnything(f *testing.F) {
	f.Add("fence/c/0", []byte(`{"v":1,"connector":"c","epoch":1,"id":"x"}`))
	f.Add("position/c/%FF", []byte(`{"v":1,"connector":"c","partition":{"base64":"/w=="},"epoch":1}`))
	f.Add("reset/c", []byte(`{"v":1,"connector":"c","epoch":4,"positions":[{}],"id":"x"}`))
	f.Add("connector/c", []byte(`{"v":1,"name":"c","state":"Running","epoch":1,"born":1,"revision":1,"requests":[{}]}`))
	f.Add("tasks/c", []byte(`{"v":1,"name":"c","epoch":1,"tasks":[null],"id":"x"}`))
	f.Add("status/c/-1", []byte(`{"v":1,"connector":"c","task":-1,"state":"x","sequence":1,"at":"0001-01-01T00:00:00+14:00"}`))
	f.Fuzz(func(t *testing.T, key string, data []byte) {
		for _, fold := range []replica.Fold{NewConfigs(), NewProgress(), NewStatuses()} {
			verdict, err := fold.Apply(rmq.Entry{Key: key, Value: data})
			if (verdict == replica.Accepted) != (err == nil) {
				t.Fatalf("verdict %d with error %v", verdict, err)
			}
			again, ok := fold.Current(key)
			if ok != (err == nil) {
				t.Fatalf("current is %t with error %v", ok, err)
			}
			if !ok {
				continue
			}
			if verdict, err := fold.Apply(rmq.Entry{Key: key, Value: again}); verdict != replica.Same {
				t.Fatalf("what is published again gives %d, %v: %s", verdict, err, again)
			}
		}
	})
}
