package store

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/record"
)

func TestANewerFenceShutsTheOlderOwnerOut(t *testing.T) {
	older := Fence{Connector: "c", Task: 1, Generation: 10, Epoch: 2, Attempt: 2}
	cases := map[string]struct {
		newer   Fence
		wantErr error
	}{
		"a later generation":            {newer: Fence{Connector: "c", Task: 1, Generation: 11, Epoch: 2, Attempt: 1}},
		"a later attempt":               {newer: Fence{Connector: "c", Task: 1, Generation: 10, Epoch: 2, Attempt: 3}},
		"a later epoch":                 {newer: Fence{Connector: "c", Task: 1, Generation: 11, Epoch: 3, Attempt: 1}},
		"a later epoch of another task": {newer: Fence{Connector: "c", Task: 0, Generation: 11, Epoch: 3, Attempt: 1}},
		"the same again":                {newer: older, wantErr: ErrFenced},
		"an earlier attempt":            {newer: Fence{Connector: "c", Task: 1, Generation: 10, Epoch: 2, Attempt: 1}, wantErr: ErrFenced},
		"an earlier generation":         {newer: Fence{Connector: "c", Task: 1, Generation: 9, Epoch: 2, Attempt: 3}, wantErr: ErrFenced},
		"an earlier epoch":              {newer: Fence{Connector: "c", Task: 1, Generation: 12, Epoch: 1, Attempt: 1}, wantErr: ErrFenced},
		"an earlier epoch of another":   {newer: Fence{Connector: "c", Task: 0, Generation: 12, Epoch: 1, Attempt: 1}, wantErr: ErrFenced},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBroker()
				w1, w2 := startWorker(t, b, nil), startWorker(t, b, nil)
				defer w1.stop()
				defer w2.stop()
				old := w1.fence(older)
				if err := old.Write(t.Context(), record.Positions{"p/0": "1"}); err != nil {
					t.Fatal(err)
				}
				_, err := w2.Positions().Fence(t.Context(), tc.newer)
				wantIs(t, err, tc.wantErr)
				wantEqual(t, w2.Positions().Read("c"), record.Positions{"p/0": "1"})
				w1.settle()
				err = old.Write(t.Context(), record.Positions{"p/0": "2", "p/1": "1"})
				if tc.wantErr != nil {
					wantIs(t, err, nil)
					return
				}
				wantIs(t, err, ErrFenced)
				wantEqual(t, w2.Positions().Read("c"), record.Positions{"p/0": "1"})
			})
		})
	}
}

// A write that was on its way when the fence was appended arrives behind it.
//
// Invariant P3: it is ignored and does not cost the newest value its place.
func TestALateWriteBehindTheFenceIsIgnored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w1, w2 := startWorker(t, b, notOldest), startWorker(t, b, notOldest)
		old := w1.fence(Fence{Connector: "c", Generation: 5, Epoch: 1, Attempt: 1})
		if err := old.Write(t.Context(), record.Positions{"p": "100"}); err != nil {
			t.Fatal(err)
		}
		var late []string
		w1.Positions().table.View(func() {
			records, err := old.Records(w1.Positions().fold, record.Positions{"p": "50", "q": "7"}, 2)
			if err != nil {
				t.Error(err)
			}
			for _, r := range records {
				late = append(late, r.Key, string(r.Value))
			}
		})
		w2.settle()
		w2.fence(Fence{Connector: "c", Generation: 6, Epoch: 1, Attempt: 1})
		b.inject(t, "position", late[0], late[1])
		b.inject(t, "position", late[2], late[3])
		elapse(time.Minute) // nobody is the oldest: the writer's own key comes back quickly, the other in the end
		w2.fence(Fence{Connector: "c", Generation: 6, Epoch: 1, Attempt: 2})
		b.log("position").Compact()
		w3 := startWorker(t, b, nil)
		for _, w := range []*worker{w1, w2, w3} {
			wantEqual(t, w.Positions().Read("c"), record.Positions{"p": "100"})
		}
		for _, w := range []*worker{w1, w2, w3} {
			w.stop()
		}
	})
}

func TestPartitionsMayGoToAnotherTaskOfTheEpoch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := startWorker(t, newBroker(), nil)
		defer w.stop()
		zero := w.fence(Fence{Connector: "c", Task: 0, Generation: 20, Epoch: 1, Attempt: 1})
		one := w.fence(Fence{Connector: "c", Task: 1, Generation: 10, Epoch: 1, Attempt: 1})
		for _, step := range []struct {
			writer *Writer
			at     record.Position
		}{{zero, "1"}, {one, "2"}, {one, "3"}, {zero, "4"}} {
			if err := step.writer.Write(t.Context(), record.Positions{"p": step.at}); err != nil {
				t.Fatal(err)
			}
			wantEqual(t, w.Positions().Read("c"), record.Positions{"p": step.at})
		}
	})
}

func TestAResetForgetsAllOlderProgress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w1, w2 := startWorker(t, b, nil), startWorker(t, b, notOldest)
		old := w1.fence(Fence{Connector: "c", Generation: 5, Epoch: 1, Attempt: 1})
		if err := old.Write(t.Context(), record.Positions{"p": "100", "q": "7"}); err != nil {
			t.Fatal(err)
		}
		w2.settle()
		wantIs(t, w2.Positions().Reset(t.Context(), "c", record.Positions{"p": "3"}, 1), ErrFenced)
		for range 2 { // the second is a retry
			wantIs(t, w2.Positions().Reset(t.Context(), "c", record.Positions{"p": "3"}, 2), nil)
		}
		wantIs(t, w2.Positions().Reset(t.Context(), "c", record.Positions{"p": "4"}, 2), ErrFenced)
		w1.settle()
		wantIs(t, old.Write(t.Context(), record.Positions{"p": "101"}), ErrFenced)
		wantEqual(t, w1.Positions().Read("c"), record.Positions{"p": "3"})
		next := w1.fence(Fence{Connector: "c", Generation: 6, Epoch: 2, Attempt: 1})
		if err := next.Write(t.Context(), record.Positions{"q": "1"}); err != nil {
			t.Fatal(err)
		}
		b.log("position").Compact()
		w3 := startWorker(t, b, nil)
		wantEqual(t, w3.Positions().Read("c"), record.Positions{"p": "3", "q": "1"})
		wantIs(t, w3.Positions().Reset(t.Context(), "c", nil, 3), nil)
		wantEqual(t, w3.Positions().Read("c"), record.Positions{})
		wantEqual(t, w3.Positions().Newest("c", 0), int64(6))
		wantEqual(t, w3.Positions().Newest("c", 1), int64(0))
		for _, w := range []*worker{w1, w2, w3} {
			w.stop()
		}
	})
}

func TestProgressKeepsAnyBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, nil)
		long := make([]byte, 5000)
		want := record.Positions{"": "", "a b/c": "\x00\xff", "\xfe\x01": "1", record.SourcePartition(long): "2"}
		writer, err := w.Offsets().Fence(t.Context(), Fence{Connector: "n\u00e4me/ \x01", Generation: 1, Epoch: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := writer.Write(t.Context(), want); err != nil {
			t.Fatal(err)
		}
		for _, e := range b.log("offset").Entries() {
			for _, c := range []byte(e.Key) {
				if c <= ' ' || c > '~' {
					t.Errorf("key %q holds bytes that a broker does not take", e.Key)
				}
			}
		}
		late := startWorker(t, b, nil)
		wantEqual(t, late.Offsets().Read("n\u00e4me/ \x01"), want)
		wantEqual(t, late.Positions().Read("n\u00e4me/ \x01"), record.Positions{})
		late.stop()
		w.stop()
	})
}

func TestAClosedWriterLeavesPublishingToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, notOldest)
		defer w.stop()
		first := w.fence(Fence{Connector: "c", Generation: 5, Epoch: 1, Attempt: 1})
		second := w.fence(Fence{Connector: "c", Generation: 5, Epoch: 1, Attempt: 2})
		first.Close()
		key := first.Key()
		if !w.Positions().owns(key) {
			t.Error("closing the first writer ended the second one's duty")
		}
		second.Close()
		if w.Positions().owns(key) {
			t.Error("closing the second writer did not end its duty")
		}
	})
}

func TestStatusesOfOlderOwnersNeverReplaceNewerOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w1, w2 := startWorker(t, b, nil), startWorker(t, b, notOldest)
		w1.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		w2.settle()
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		running := Status{Connector: "c", Task: 0, State: "Running", Worker: "w1", Generation: 5, Epoch: 1, Attempt: 1, At: at}
		failed := Status{
			Connector: "c", Task: 0, State: "Failed", Worker: "w1", Generation: 5, Epoch: 1, Attempt: 1, Error: "x",
			Restarts: 1, NextRestart: at,
		}
		moved := Status{Connector: "c", Task: 0, State: "Running", Worker: "w2", Generation: 6, Epoch: 1, Attempt: 1}
		own := Status{Connector: "c", Task: -1, State: "Running", Worker: "w2", Generation: 7, Epoch: 1}
		for _, st := range []Status{running, failed, running, failed} {
			wantIs(t, w1.Statuses().Put(t.Context(), st), nil)
			got, _ := w1.Statuses().Get("c", 0)
			wantEqual(t, got, st)
		}
		wantIs(t, w2.Statuses().Put(t.Context(), moved), nil)
		wantIs(t, w2.Statuses().Put(t.Context(), own), nil)
		w1.settle()
		wantIs(t, w1.Statuses().Put(t.Context(), failed), ErrFenced)
		wantEqual(t, w1.Statuses().All("c"), []Status{own, moved})
		wantEqual(t, []int64{w1.Statuses().Newest("c", -1), w1.Statuses().Newest("c", 0), w1.Statuses().Newest("c", 1)}, []int64{7, 6, 0})
		wantIs(t, w1.Statuses().Put(t.Context(), Status{Connector: "c"}), ErrInvalid)

		w1.put(Write{Name: "c", Delete: true, IfRevision: -1})
		wantEqual(t, w1.Statuses().All("c"), []Status(nil))
		w1.put(Write{Name: "c", Config: map[string]string{"a": "1"}})
		wantEqual(t, w1.Statuses().All("c"), []Status(nil))
		if _, ok := w1.Statuses().Get("c", 0); ok {
			t.Error("a status of an earlier life is shown")
		}
		wantEqual(t, w1.Statuses().Newest("c", 0), int64(6))
		w1.stop()
		w2.stop()
	})
}

func TestFencingDuringAnOutageEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBroker()
		w := startWorker(t, b, nil)
		defer w.stop()
		b.log("position").SetDown(true)
		failed := make(chan error, 1)
		go func() {
			_, err := w.Positions().Fence(t.Context(), Fence{Connector: "c", Generation: 1, Epoch: 1})
			failed <- err
		}()
		elapse(time.Minute)
		select {
		case err := <-failed:
			t.Errorf("gave up with %v while its context lives", err)
		default:
		}
		b.log("position").SetDown(false)
		if err := <-failed; errors.Is(err, ErrFenced) || err != nil {
			t.Errorf("got %v after the outage", err)
		}
	})
}
