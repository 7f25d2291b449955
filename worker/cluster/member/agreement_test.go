package member

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
)

// others are sessions beside a's.
type others struct {
	a        *alone
	sessions []int64
	beats    map[int64]int64
}

func (a *alone) others(n int) *others {
	a.t.Helper()
	o := &others{a: a, beats: map[int64]int64{}}
	for i := range n {
		session, err := a.join(fmt.Sprint("v", i), nil)
		if err != nil {
			a.t.Fatal(err)
		}
		o.sessions = append(o.sessions, session)
	}
	return o
}

// beat writes a heartbeat of the i-th session with a's own digest, but for what change does.
func (o *others) beat(i int, change func(*fold.Record)) error {
	session := o.sessions[i]
	o.beats[session]++
	f := o.a.m.Fold()
	terms := fold.Terms{Fold: fold.Version, TimeoutMS: 5000, IntervalMS: 500}
	r := fold.Record{
		Kind:     fold.Heartbeat,
		Session:  session,
		Sequence: o.beats[session],
		AsOf:     f.Offset(),
		Log:      f.Log(),
		Digest:   f.Digest(),
		Terms:    &terms,
	}
	change(&r)
	return o.a.putRecord(r)
}

func same(*fold.Record)    {}
func other(r *fold.Record) { r.Digest = "beef" }

// Each case is what other workers' heartbeats say, one letter each: upper case has another digest.
func TestDigestsAreVotes(t *testing.T) {
	cases := map[string]struct {
		others   int
		beats    string
		fails    bool
		disputed bool
		count    int64
	}{
		"all agree":                             {2, "abab", false, false, 0},
		"one heartbeat alone is no vote":        {1, "A", false, false, 1},
		"nor is one now and then":               {1, "AaAaA", false, false, 3},
		"one of two":                            {1, "AA", false, true, 2},
		"one of two that comes round":           {1, "AAa", false, false, 2},
		"one of three, the others agree":        {2, "bAA", false, false, 2},
		"one of three before the others wrote":  {2, "AA", false, true, 2},
		"two of three":                          {2, "ABAB", true, true, 4},
		"two of three, of which one came round": {2, "ABAaB", false, false, 4},
		"two of four":                           {3, "cABAB", false, true, 4},
		"two of five":                           {4, "cdABAB", false, false, 4},
		"three of five":                         {4, "dABCABC", true, false, 6},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			a := startAlone(t)
			o := a.others(tc.others)
			var err error
			for _, b := range tc.beats {
				lower := strings.ToLower(string(b))
				change := same
				if lower != string(b) {
					change = other
				}
				if err != nil {
					t.Fatalf("failed before the last heartbeat: %v", err)
				}
				err = o.beat(int(lower[0]-'a'), change)
			}
			if errors.Is(err, ErrDigest) != tc.fails || err != nil && !tc.fails {
				t.Fatalf("got %v, want an error: %t", err, tc.fails)
			}
			if tc.fails {
				return
			}
			if _, disputed := a.m.Disputed(); disputed != tc.disputed {
				t.Errorf("disputed: %t, want %t", disputed, tc.disputed)
			}
			if count, _ := a.m.Mismatches(); count != tc.count {
				t.Errorf("%d mismatches, want %d", count, tc.count)
			}
		})
	}
}

func TestOnlySuchHeartbeatsAreCompared(t *testing.T) {
	for name, change := range map[string]func(*fold.Record){
		"of other rules":       func(r *fold.Record) { r.Digest, r.Terms.Fold = "beef", fold.Version+1 },
		"of an unknown offset": func(r *fold.Record) { r.Digest, r.AsOf = "beef", 1<<40 },
		"on another log":       func(r *fold.Record) { r.Digest, r.Log = "beef", "0123456789abcdef" },
		"in a void record":     func(r *fold.Record) { r.Digest, r.Session = "beef", 1<<40 },
	} {
		t.Run(name, func(t *testing.T) {
			a := startAlone(t)
			o := a.others(2)
			for i := range 6 {
				if err := o.beat(i%2, change); err != nil {
					t.Fatal(err)
				}
			}
			if count, _ := a.m.Mismatches(); count != 0 {
				t.Errorf("%d mismatches, want none", count)
			}
		})
	}
}

// What was written before the own join ends nobody: else each restart would die of it again.
func TestDissentBeforeTheOwnJoinIsCountedOnly(t *testing.T) {
	a := startAlone(t)
	o := a.others(2)
	a.m.GiveUp(a.time())
	for i := range 8 {
		if err := o.beat(i%2, other); err != nil {
			t.Fatal(err)
		}
	}
	a.now = 10 * time.Second // the former lease is over
	a.turn()
	if _, ok := a.m.Session(); !ok {
		t.Fatal("not joined")
	}
	_, disputed := a.m.Disputed()
	if count, _ := a.m.Mismatches(); count != 8 || disputed {
		t.Errorf("%d mismatches, disputed: %t; want 8, false", count, disputed)
	}
}

// claims reports whether the machine writes a claim that is asked for.
func (a *alone) claims() bool {
	a.t.Helper()
	request := a.m.Claim([]ClaimRequest{{Unit: fold.Unit{Connector: "c", Task: int(a.now / time.Second)}, Epoch: 1}})
	a.now += time.Second
	a.turn()
	granted, done, err := a.m.Claimed(request)
	if err != nil {
		a.t.Fatal(err)
	}
	if !done {
		a.m.Abandon(request)
	}
	return len(granted) == 1
}

func TestNothingIsClaimedWhileNobodyKnowsWhoIsWrong(t *testing.T) {
	a := startAlone(t)
	o := a.others(1)
	held := a.claims()
	for range 2 {
		if err := o.beat(0, other); err != nil {
			t.Fatal(err)
		}
	}
	if !held || a.claims() {
		t.Errorf("claims before: %t, want true; and while disputed: want none", held)
	}
	if s, _ := a.m.Fold().Session(0); !s.Terms.Resting {
		t.Error("others are not told to hand nothing over")
	}
	if err := o.beat(0, same); err != nil {
		t.Fatal(err)
	}
	if !a.claims() {
		t.Error("nothing is claimed though all agree again")
	}
}

// A worker that was wrong takes nothing until the others have seen that it is right.
func TestAWorkerThatWasWrongClaimsNothingUntilMostAgree(t *testing.T) {
	a := startAlone(t)
	o := a.others(2)
	var err error
	for i := 0; i < 4 && err == nil; i++ {
		err = o.beat(i%2, other)
	}
	if !errors.Is(err, ErrDigest) {
		t.Fatalf("got %v, want %v", err, ErrDigest)
	}
	a.m.GiveUp(a.time())
	a.now = 10 * time.Second
	a.turn()
	if a.claims() {
		t.Error("it claims at once")
	}
	if err := o.beat(0, same); err != nil {
		t.Fatal(err)
	}
	if !a.claims() {
		t.Error("it claims nothing though two of three agree")
	}
}

func TestRereads(t *testing.T) {
	var r Rereads
	next := func(at time.Duration, want Reread) {
		t.Helper()
		if got := r.Next(Time{Boot: at}); got != want {
			t.Errorf("at %v: got %v, want %v", at, got, want)
		}
	}
	const day = 24 * time.Hour
	next(day, FromSnapshot)
	next(day+time.Minute, FromStart)
	next(day+2*time.Minute, NoMore)
	next(day+3*time.Minute, NoMore)
	next(day+2*time.Hour, FromSnapshot)
	next(day+2*time.Hour+30*time.Minute, FromStart)
}

// Members that fold by other rules, as in the middle of an upgrade, say nothing of this fold: they keep no doubt up
// either.
func TestMembersOfOtherRulesKeepNoDoubtUp(t *testing.T) {
	a := startAlone(t)
	o := a.others(5)
	foreign := func(r *fold.Record) { r.Terms.Fold = fold.Version + 1 }
	for i := 2; i < 5; i++ {
		if err := o.beat(i, foreign); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	for i := 0; i < 4 && err == nil; i++ {
		err = o.beat(i%2, other)
	}
	if !errors.Is(err, ErrDigest) {
		t.Fatalf("got %v, want %v", err, ErrDigest)
	}
	a.m.GiveUp(a.time())
	a.now = 10 * time.Second
	a.turn()
	if a.claims() {
		t.Error("it claims at once")
	}
	for i := range 2 {
		if err := o.beat(i, same); err != nil {
			t.Fatal(err)
		}
	}
	if !a.claims() {
		t.Error("it claims nothing though both that fold alike agree")
	}
}
