package cluster

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
)

// plantWrongFold has a worker make something else of the log from here on than all others.
func (p *process) plantWrongFold() {
	p.t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.machine.Fold()
	image, err := f.Image()
	if err != nil {
		p.t.Fatal(err)
	}
	wrong, err := fold.Restore(bytes.Replace(image, []byte(f.Digest()), []byte(strings.Repeat("0", len(f.Digest()))), 1))
	if err != nil {
		p.t.Fatal(err)
	}
	*f = *wrong
}

func (p *process) mismatches() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	count, _ := p.machine.Mismatches()
	return count
}

func TestOneOfThreeThatFoldsWrongReadsTheLogAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a, b, c := startWorker(t, l, "a", ""), startWorker(t, l, "b", ""), startWorker(t, l, "c", "")
		grant := a.claim(task0, 1)
		a.eventually("a snapshot is written", 10*time.Second, func(v View) bool { return v.Offset > 60 })
		delivery, cancel := a.Gate(grant).Context(t.Context())
		defer cancel()
		others := []int64{a.View().Self, c.View().Self}
		was := b.View().Self
		b.plantWrongFold()
		b.eventually("it gives its session up", 3*time.Second, func(v View) bool { return v.Self != was })
		b.eventually("it is back", 30*time.Second, func(v View) bool { return v.Joined && len(v.Members) == 3 })
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got := []int64{a.View().Self, c.View().Self}; got[0] != others[0] || got[1] != others[1] || delivery.Err() != nil {
			t.Errorf("sessions of the others %v, want %v; a's delivery: %v", got, others, delivery.Err())
		}
		if b.mismatches() == 0 || a.mismatches() == 0 {
			t.Error("nothing was counted")
		}
		before := a.mismatches()
		b.claim(Unit{Connector: "orders", Task: 1}, 1)
		time.Sleep(3 * time.Second)
		if a.mismatches() != before {
			t.Error("it still makes something else of the log")
		}
	})
}

func TestOneOfThreeThatAlwaysFoldsWrongEndsAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a, b, c := startWorker(t, l, "a", ""), startWorker(t, l, "b", ""), startWorker(t, l, "c", "")
		others := []int64{a.View().Self, c.View().Self}
		for range 3 {
			b.eventually("it has joined", 30*time.Second, func(v View) bool { return v.Joined })
			was := b.View().Self
			b.plantWrongFold()
			b.eventually("it gives its session up", 3*time.Second, func(v View) bool { return v.Self != was || !v.Joined })
		}
		err := <-b.done
		b.done <- err
		if !errors.Is(err, ErrDigest) || !strings.Contains(err.Error(), "bad memory") {
			t.Errorf("it ends with %v, want %v", err, ErrDigest)
		}
		a.eventually("it has expired", 10*time.Second, func(v View) bool { return len(v.Members) == 2 })
		if got := []int64{a.View().Self, c.View().Self}; got[0] != others[0] || got[1] != others[1] {
			t.Errorf("sessions of the others %v, want %v", got, others)
		}
	})
}

func TestTwoThatDisagreeClaimNothingUntilAThirdTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLog()
		a, b := startWorker(t, l, "a", ""), startWorker(t, l, "b", "")
		b.plantWrongFold()
		disputed := func(p *process) func(View) bool {
			return func(View) bool { _, yes := p.Disputed(); return yes }
		}
		a.eventually("a tells of it", 3*time.Second, disputed(a))
		b.eventually("b tells of it", 3*time.Second, disputed(b))
		granted := make(chan Grant, 1)
		go func() { granted <- a.claim(task0, 1) }()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(granted) > 0 || !a.View().Joined || !b.View().Joined {
			t.Errorf("granted: %d, want none; members: %+v", len(granted), a.View().Members)
		}
		startWorker(t, l, "c", "")
		if g := <-granted; g.Unit != task0 {
			t.Errorf("granted %+v", g)
		}
		b.eventually("b is right again", 30*time.Second, func(v View) bool { return v.Joined && v.Self > 2 && !disputed(b)(v) })
	})
}
