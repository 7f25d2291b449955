package member

import (
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// walk is one worker and one unit, and a log that takes appends in any order, again, late, or not at all.
type walk struct {
	t        *testing.T
	rng      *rand.Rand
	m        *Machine
	now      time.Duration
	log      []rmq.Entry
	read     int
	inflight Append
	sent     [][]rmq.Entry // everything ever sent: any of it may still be stored
	request  int64
	running  map[Grant]bool
	released map[Grant]bool
}

// A release from long ago must never free a unit that runs, and what was given back must never run again, whatever
// becomes of the records on the way.
func TestClaimAndReleaseWalks(t *testing.T) {
	runs := 0
	for seed := range uint64(2000) {
		w := &walk{t: t, rng: rand.New(rand.NewPCG(seed, 9)), running: map[Grant]bool{}, released: map[Grant]bool{}}
		w.m = New(Config{Worker: "w", Incarnation: "p", Terms: fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500}})
		w.m.Restart(Time{}, fold.New())
		for range 250 {
			w.step()
			w.check(seed)
		}
		runs += len(w.released)
	}
	if runs < 2000 {
		t.Errorf("only %d grants were made and released in all walks", runs)
	}
}

func (w *walk) step() {
	now := Time{Boot: w.now, Wall: w.now}
	switch w.rng.IntN(10) {
	case 0:
		if len(w.running) == 0 && w.request == 0 {
			w.request = w.m.Claim([]ClaimRequest{{Unit: fold.Unit{Connector: "a"}, Epoch: 1}})
		}
	case 1:
		for g := range w.running {
			delete(w.running, g)
			w.released[g] = true
			w.m.Release([]Grant{g})
		}
	case 2:
		if w.request != 0 && w.rng.IntN(4) == 0 {
			w.m.Abandon(w.request)
			w.request = 0
		}
	case 3:
		w.now += time.Duration(w.rng.IntN(600)) * time.Millisecond
	case 4, 5:
		w.send(now)
	case 6: // the append's own end
		if w.inflight.ID != 0 {
			var err error
			if w.rng.IntN(3) == 0 {
				err = errors.New("timed out")
			} else {
				w.store(w.inflight.Entries)
			}
			w.m.Appended(now, w.inflight.ID, err)
			w.inflight = Append{}
		}
	case 7: // something sent at any time is stored now
		if len(w.sent) > 0 && w.rng.IntN(2) == 0 {
			w.store(w.sent[w.rng.IntN(len(w.sent))])
		}
	case 8, 9:
		w.readAll(now)
	}
	w.collect()
}

func (w *walk) send(now Time) {
	if w.inflight.ID != 0 {
		return
	}
	batch, ok, err := w.m.Ready(now)
	if err != nil {
		w.t.Fatal(err)
	}
	if ok {
		w.inflight = batch
		w.sent = append(w.sent, batch.Entries)
	}
}

func (w *walk) store(entries []rmq.Entry) {
	for _, e := range entries {
		e.Offset = int64(len(w.log))
		w.log = append(w.log, e)
	}
}

func (w *walk) readAll(now Time) {
	for ; w.read < len(w.log); w.read++ {
		if _, err := w.m.Step(now, w.log[w.read]); err != nil {
			w.t.Fatal(err)
		}
	}
}

func (w *walk) collect() {
	if w.request == 0 {
		return
	}
	granted, done, err := w.m.Claimed(w.request)
	if !done {
		return
	}
	w.request = 0
	for _, g := range granted {
		w.running[g] = true
	}
	if err != nil && len(granted) > 0 {
		w.t.Fatalf("granted %v and failed with %v", granted, err)
	}
}

func (w *walk) check(seed uint64) {
	for g := range w.running {
		if !w.m.Owns(g) {
			w.t.Fatalf("seed %d: the running %+v was freed", seed, g)
		}
	}
	for g := range w.released {
		if w.m.Owns(g) {
			w.t.Fatalf("seed %d: %+v was given back and is open", seed, g)
		}
	}
}
