package forge

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

var at = time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)

// times is how often a kind is made: each form that it has comes at least once, but for what is large.
func times(name string) int {
	switch {
	case strings.Contains(name, "large"), strings.Contains(name, "512 KiB"):
		return 3
	case strings.Contains(name, "images"), strings.Contains(name, "parts"):
		return 11
	}
	return 60
}

// What is forged must reach the workers' own rules, and none of it may be what the boundary leaves to whoever may write
// the topic.
func TestWhatIsForgedChangesNoSessionAndNoOwner(t *testing.T) {
	for _, k := range ClusterKinds() {
		t.Run(k.Name, func(t *testing.T) {
			f := fold.New()
			step := func(e rmq.Entry) fold.Outcome {
				e.Offset, e.StoredAt = f.Offset()+1, at
				out, err := f.Step(e)
				if err != nil {
					t.Fatal(err)
				}
				return out
			}
			terms := fold.Terms{
				Fold:       fold.Version,
				TimeoutMS:  5000,
				IntervalMS: 500,
				Allocation: allocate.Params{Strategy: "ConsistentHash", VirtualNodes: 160, MaxLoadFactor: 1.25},
			}
			join, err := fold.Record{
				Kind:  fold.Join,
				AsOf:  f.Offset(),
				Log:   f.Log(),
				Terms: &terms,
				Join:  &fold.Joining{Worker: "w", Incarnation: "p"},
			}.Entry()
			if err != nil || step(join).Reason != fold.Accepted {
				t.Fatal("no session to forge", err)
			}
			var snapshots fold.Snapshots
			for i := range times(k.Name) {
				before, _ := f.Session(0)
				for _, e := range k.Make(Target{Session: before, AsOf: f.Offset(), Log: f.Log()}, i) {
					e.Offset = f.Offset() + 1
					snapshots.Add(e)
					if out := step(e); len(out.Events) > 0 && out.Events[0].Kind != fold.Refused {
						t.Errorf("record %d: %v", i, out.Events)
					}
				}
				after, live := f.Session(0)
				after.Sequence = before.Sequence // a snapshot in its name may count it up
				if diff := cmp.Diff(before, after); !live || diff != "" {
					t.Fatalf("record %d changed the session:\n%s", i, diff)
				}
			}
			if snapshots.Unconfirmed() != nil {
				t.Error("an image was taken for a whole one")
			}
		})
	}
}

func TestAWrongDigestIsAHeartbeatThatCounts(t *testing.T) {
	e := WrongDigest(Target{Session: fold.Session{ID: 0, Terms: fold.Terms{TimeoutMS: 5000, IntervalMS: 500}}, AsOf: 3, Log: "x"})
	e[0].StoredAt = at
	if r, err := fold.Decode(e[0]); err != nil || r.Kind != fold.Heartbeat || r.Sequence != 1 || r.AsOf != 3 {
		t.Errorf("got %+v, %v", r, err)
	}
}

func TestWhatIsForgedChangesNoConnectorAndNoProgress(t *testing.T) {
	for _, topic := range []string{Config, Position, Offset, Status} {
		for _, k := range StoreKinds(topic, "in") {
			t.Run(topic+": "+k.Name, func(t *testing.T) {
				configs, progress := storefold.NewConfigs(), storefold.NewProgress()
				r, _, err := configs.Put(storefold.Write{Name: "in", Config: map[string]string{"a": "1"}, RequestID: "r"}, 0, at)
				if err != nil {
					t.Fatal(err)
				}
				_, _ = configs.Apply(rmq.Entry{Key: r.Key, Value: r.Value, StoredAt: at})
				w, err := storefold.NewWriter(storefold.Fence{Connector: "in", Generation: 5, Epoch: 1, Attempt: 1}, "w")
				if err != nil {
					t.Fatal(err)
				}
				fence := w.Announce()
				_, _ = progress.Apply(rmq.Entry{Key: fence.Key, Value: fence.Value, StoredAt: at})
				before := configs.List(nil).Connectors
				for i := range times(k.Name) {
					for _, e := range k.Make(i) {
						e.StoredAt = at
						_, _ = configs.Apply(e)
						_, _ = progress.Apply(e)
					}
				}
				if diff := cmp.Diff(before, configs.List(nil).Connectors); diff != "" {
					t.Errorf("connectors were changed:\n%s", diff)
				}
				if err := w.Check(progress); err != nil || len(progress.Read("in")) > 0 {
					t.Errorf("progress: %v, fence: %v", progress.Read("in"), err)
				}
			})
		}
	}
}
