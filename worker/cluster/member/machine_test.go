package member

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// alone is a machine on a log that takes everything at once.
type alone struct {
	t   *testing.T
	m   *Machine
	now time.Duration
	log []rmq.Entry
}

func startAlone(t *testing.T) *alone {
	t.Helper()
	a := &alone{
		t: t,
		m: New(Config{Worker: "w", Address: "here", Incarnation: "p", Terms: fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500},
			Proof: &fold.Proof{Store: "s", Boot: "b", Start: 1}}),
	}
	a.m.Restart(a.time(), fold.New())
	a.turn()
	if _, ok := a.m.Session(); !ok {
		t.Fatal("not joined")
	}
	return a
}

func (a *alone) time() Time { return Time{Boot: a.now, Wall: a.now} }

// turn sends what is due and reads it back.
func (a *alone) turn() {
	a.t.Helper()
	batch, ok, err := a.m.Ready(a.time())
	if err != nil {
		a.t.Fatal(err)
	}
	if !ok {
		return
	}
	for _, e := range batch.Entries {
		if err := a.put(e); err != nil {
			a.t.Fatal(err)
		}
	}
	a.m.Appended(a.time(), batch.ID, nil)
}

// put stores an entry, and has the machine read it.
func (a *alone) put(e rmq.Entry) error {
	e.Offset = int64(len(a.log))
	a.log = append(a.log, e)
	_, err := a.m.Step(a.time(), e)
	return err
}

func (a *alone) putRecord(r fold.Record) error {
	if f := a.m.Fold(); r.Log == "" {
		r.AsOf, r.Log = f.Offset(), f.Log()
	}
	e, err := r.Entry()
	if err != nil {
		a.t.Fatal(err)
	}
	return a.put(e)
}

func (a *alone) join(worker string, proof *fold.Proof) (session int64, err error) {
	terms := fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500}
	session = int64(len(a.log))
	return session, a.putRecord(fold.Record{Kind: fold.Join, Terms: &terms,
		Join: &fold.Joining{Worker: worker, Incarnation: "other", Address: "there", Proof: proof}})
}

func TestSupersededWorkerEnds(t *testing.T) {
	a := startAlone(t)
	_, err := a.join("w", &fold.Proof{Store: "s", Boot: "b", Start: 2})
	if !errors.Is(err, ErrSuperseded) || !strings.Contains(err.Error(), "here") || !strings.Contains(err.Error(), "there") {
		t.Errorf("got %v, want %v that names both", err, ErrSuperseded)
	}
	if lease := a.m.Lease(); lease.Left(a.time()) != 0 {
		t.Error("the lease outlived the session")
	}
}

func TestRestartWaitsForTheOldLease(t *testing.T) {
	a := startAlone(t)
	a.turn() // a heartbeat at 0: the lease ends at 4.5 s
	a.now = time.Second
	a.m.Restart(a.time(), fold.New())
	for a.log = nil; len(a.log) == 0; a.now += 100 * time.Millisecond {
		a.turn()
	}
	if a.now-100*time.Millisecond < 4500*time.Millisecond {
		t.Errorf("joined again at %v, while the old lease ran", a.now)
	}
}

// What gives up first and reads the log then is where one is that read it at once.
func TestWhoGivesUpRunsNothingAndRestartsAsBefore(t *testing.T) {
	begin := func() *alone {
		a := startAlone(t)
		a.turn() // a heartbeat at 0: the lease ends at 4.5 s
		a.m.Claim([]ClaimRequest{{Unit: fold.Unit{Connector: "c"}, Epoch: 1}})
		a.turn()
		a.now = time.Second
		return a
	}
	a := begin()
	owner, owned := a.m.Fold().Owner(fold.Unit{Connector: "c"})
	grant := Grant{Unit: fold.Unit{Connector: "c"}, Generation: owner.Generation, Epoch: owner.Epoch}
	if left, ok := a.m.Open(a.time(), grant); !owned || !ok || left == 0 {
		t.Fatalf("before: owned %t, open %t for %v", owned, ok, left)
	}
	a.m.GiveUp(a.time())
	if left, ok := a.m.Open(a.time(), grant); ok || left != 0 {
		t.Errorf("after: open %t for %v", ok, left)
	}
	if until := a.m.Until(grant); until != 4500*time.Millisecond {
		t.Errorf("it was open until %v, want 4.5s", until)
	}
	if view := a.m.View(); view.Joined || len(view.Members) != 1 || len(view.Owners) != 1 {
		t.Errorf("the view is %+v, want what was known last, and not joined", view)
	}
	again := func(a *alone) (at time.Duration, incarnation string) {
		a.m.Restart(a.time(), fold.New())
		a.m.Resumed(a.time())
		for a.log = nil; len(a.log) == 0; a.now += 100 * time.Millisecond {
			a.turn()
		}
		return a.now, a.m.incarnation()
	}
	a.now = 3 * time.Second // reading took two seconds
	b := begin()
	b.now = a.now
	at, incarnation := again(a)
	if wantAt, want := again(b); at != wantAt || incarnation != want {
		t.Errorf("joined at %v as %s, want at %v as %s", at, incarnation, wantAt, want)
	}
}

func TestOldestMemberWritesSnapshotsInParts(t *testing.T) {
	a := startAlone(t)
	var reqs []ClaimRequest
	for i := range 5000 { // names that do not pack well
		reqs = append(reqs, ClaimRequest{Unit: fold.Unit{Connector: fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))}, Epoch: 1})
	}
	a.m.Claim(reqs)
	var found fold.Snapshots
	for ; a.now < 7*time.Second; a.now += 100 * time.Millisecond {
		a.turn()
	}
	parts := 0
	for _, e := range a.log {
		found.Add(e)
		if e.Key == string(fold.Snapshot) {
			parts++
		}
	}
	f := found.Newest("w")
	if f == nil || parts < 3 {
		t.Fatalf("%d parts, complete: %t", parts, f != nil)
	}
	if _, ok := f.Owner(reqs[4999].Unit); !ok {
		t.Error("the snapshot lacks an owner")
	}
	// A newcomer that goes on from it ends with the same state.
	for _, e := range a.log[f.Offset()+1:] {
		if _, err := f.Step(e); err != nil {
			t.Fatal(err)
		}
	}
	if f.Digest() != a.m.Fold().Digest() {
		t.Errorf("digest %s, want %s", f.Digest(), a.m.Fold().Digest())
	}
}

// Heartbeats alone make few snapshots; what a view shows makes one soon.
func TestSnapshotsAreFewWhileNothingHappens(t *testing.T) {
	a := startAlone(t)
	during := func(d time.Duration) (snapshots int) {
		from := len(a.log)
		for end := a.now + d; a.now < end; a.now += 100 * time.Millisecond {
			a.turn()
		}
		for _, e := range a.log[from:] {
			if e.Key == string(fold.Snapshot) {
				snapshots++
			}
		}
		return snapshots
	}
	during(10 * time.Second)
	if n := during(2 * time.Minute); n < 7 || n > 9 {
		t.Errorf("%d snapshots in two minutes without a change, want one every 15 s", n)
	}
	a.m.Claim([]ClaimRequest{{Unit: fold.Unit{Connector: "c"}, Epoch: 1}})
	if n := during(7 * time.Second); n != 1 {
		t.Errorf("%d snapshots within 7 s after a change, want 1", n)
	}
}

func TestNothingIsSentAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(*Machine){
		"leave": func(m *Machine) {
			if _, ok, err := m.Leave(); !ok || err != nil {
				t.Errorf("leaving: %t, %v", ok, err)
			}
		},
		"shut": func(m *Machine) { m.Shut() },
	} {
		t.Run(name, func(t *testing.T) {
			a := startAlone(t)
			end(a.m)
			a.now += time.Minute
			if _, ok, _ := a.m.Ready(a.time()); ok {
				t.Error("something is sent")
			}
			if _, timed := a.m.Due(); timed {
				t.Error("something is due")
			}
		})
	}
}

// TestWhoMayStartNothingNewTellsTheOthers follows what others see of a worker after it has reached the log again.
func TestWhoMayStartNothingNewTellsTheOthers(t *testing.T) {
	a := startAlone(t)
	rests := func() bool { return a.m.View().Members[0].Resting }
	beat := func(after time.Duration) {
		a.now += after
		a.turn()
	}
	beat(time.Second)
	if rests() {
		t.Fatal("a worker rests that nothing has happened to")
	}
	a.m.Resumed(a.time())
	for elapsed := time.Duration(0); elapsed < 4*time.Second; elapsed += time.Second {
		if beat(time.Second); !rests() {
			t.Fatalf("it does not rest %v after it came back", elapsed+time.Second)
		}
	}
	if beat(time.Second); rests() {
		t.Error("it rests after its session time-out")
	}
}

// TestAMemberThatMissesAHeartbeatIsSilent follows what a worker makes of another one that beats, stops, and goes on.
func TestAMemberThatMissesAHeartbeatIsSilent(t *testing.T) {
	a := startAlone(t)
	other, err := a.join("v", nil)
	if err != nil {
		t.Fatal(err)
	}
	var sequence int64
	beat := func() {
		sequence++
		terms := fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500}
		f := a.m.Fold()
		if err := a.putRecord(
			fold.Record{Kind: fold.Heartbeat, Session: other, Sequence: sequence, AsOf: f.Offset(), Log: f.Log(), Digest: f.Digest(), Terms: &terms},
		); err != nil {
			t.Fatal(err)
		}
	}
	want := func(when string, want bool) {
		t.Helper()
		v := a.m.View()
		if v.Members[0].Silent || v.Members[1].Silent != want || len(a.m.Silent()) > 0 != want {
			t.Errorf("%s: members %+v, want silent: %t", when, v.Members, want)
		}
	}
	half := func() { a.now += 500 * time.Millisecond; a.turn() }
	for range 10 {
		half()
		beat()
		want("it beats", false)
	}
	half()
	want("its next heartbeat is due", false)
	half()
	want("it missed one", true)
	half()
	want("it missed two", true)
	beat()
	want("it goes on", false)
	half()
	half()
	want("it missed one again", true)
	if err := a.putRecord(fold.Record{Kind: fold.Leave, Session: other, Sequence: sequence + 1}); err != nil {
		t.Fatal(err)
	}
	if v := a.m.View(); len(v.Members) != 1 || v.Members[0].Silent {
		t.Errorf("after it left: %+v", v.Members)
	}
}

// TestExpiryWaitsForNoHeartbeat has a member fall silent at different moments between the heartbeats of the one that
// expires it.
func TestExpiryWaitsForNoHeartbeat(t *testing.T) {
	const timeout, least = 5 * time.Second, 100 * time.Millisecond
	for _, offset := range []time.Duration{0, 50 * time.Millisecond, 200 * time.Millisecond, 350 * time.Millisecond, 499 * time.Millisecond} {
		t.Run(offset.String(), func(t *testing.T) {
			a := startAlone(t)
			a.now += offset
			if _, err := a.join("v", nil); err != nil {
				t.Fatal(err)
			}
			joined, beats := a.now, len(a.log)
			for len(a.m.Fold().Sessions()) == 2 && a.now < joined+time.Minute {
				due, _ := a.m.Due()
				a.now = max(a.now, due)
				a.turn()
			}
			if took := a.now - joined; took < timeout || took > timeout+least {
				t.Errorf("expired after %v, want %v and at most %v more", took, timeout, least)
			}
			if n := len(a.log) - beats; n > 16 {
				t.Errorf("%d records meanwhile", n)
			}
		})
	}
}

func TestAWorkerJoinsAnewAsSoonAsItMay(t *testing.T) {
	a := startAlone(t)
	a.now += 1234 * time.Millisecond
	a.turn()
	a.m.GiveUp(a.time())
	a.log = nil
	a.m.Restart(a.time(), fold.New())
	a.turn()
	a.now += 130 * time.Millisecond
	resumed := a.now
	a.m.Resumed(a.time())
	for joined := false; !joined && a.now < resumed+time.Minute; _, joined = a.m.Session() {
		due, _ := a.m.Due()
		a.now = max(a.now, due)
		a.turn()
	}
	if took := a.now - resumed; took != 5*time.Second {
		t.Errorf("it joined %v after it had reached the log again, want exactly the session time-out", took)
	}
}

// Somebody writes in this worker's session, far above its own sequence: it goes on above, and what is refused meanwhile
// is not sent again and again.
func TestAMemberOvertakesWhoWritesInItsSession(t *testing.T) {
	a := startAlone(t)
	session, _ := a.m.Session()
	terms := fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500}
	if err := a.putRecord(
		fold.Record{Kind: fold.Heartbeat, Session: session, Sequence: 1 << 31, Terms: &terms, Digest: a.m.Fold().Digest()},
	); err != nil {
		t.Fatal(err)
	}
	request := a.m.Claim([]ClaimRequest{{Unit: fold.Unit{Connector: "c"}, Epoch: 1}})
	a.turn()
	if granted, done, err := a.m.Claimed(request); err != nil || !done || len(granted) != 1 {
		t.Fatalf("granted %v, %v, %v", granted, done, err)
	}
	// A claim is on its way when the next such record comes before it.
	request = a.m.Claim([]ClaimRequest{{Unit: fold.Unit{Connector: "d"}, Epoch: 1}})
	batch, _, err := a.m.Ready(a.time())
	if err != nil {
		t.Fatal(err)
	}
	if err := a.putRecord(
		fold.Record{Kind: fold.Heartbeat, Session: session, Sequence: 1<<31 + 1000, Terms: &terms, Digest: a.m.Fold().Digest()},
	); err != nil {
		t.Fatal(err)
	}
	for _, e := range batch.Entries {
		if err := a.put(e); err != nil {
			t.Fatal(err)
		}
	}
	a.m.Appended(a.time(), batch.ID, nil)
	if _, again, _ := a.m.Ready(a.time()); again {
		t.Error("what was refused is sent again at once")
	}
	a.now += 100 * time.Millisecond
	a.turn()
	if granted, done, err := a.m.Claimed(request); err != nil || !done || len(granted) != 1 {
		t.Errorf("granted %v, %v, %v", granted, done, err)
	}
}
