// Package forge makes what somebody writes to a cluster's internal topics who means ill, or whose program is broken. It
// has no clock and no IO.
package forge

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math"
	"strings"

	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Target is a session that lives, and the place in the log up to which its forger has read: what it writes there is not
// void.
type Target struct {
	Session fold.Session
	AsOf    int64
	Log     string
}

// InLog is one kind of records of the cluster log; Make gives the i-th ones.
type InLog struct {
	Name string
	Make func(t Target, i int) []rmq.Entry
}

// nobody is a session that never was.
const nobody = 1 << 40

// record is the target's next one.
func (t Target) record(kind fold.Kind) fold.Record {
	return fold.Record{Kind: kind, Session: t.Session.ID, Sequence: t.Session.Sequence + 1, AsOf: t.AsOf, Log: t.Log}
}

func entry(r fold.Record) []rmq.Entry {
	e, err := r.Entry()
	if err != nil {
		panic(fmt.Sprintf("encoding a record of strings and numbers: %v", err))
	}
	return []rmq.Entry{e}
}

// ClusterKinds are all but WrongDigest, which has to be sent seldom.
func ClusterKinds() []InLog {
	return []InLog{
		{"values at the edges", edges},
		{"expire, claim, release, leave of what is not", ofNothing},
		{"snapshots of which parts never come", endless},
		{"snapshots with damaged images", damaged},
		{"records of other versions", versions},
		{"names of 512 KiB", longNames},
		{"bytes that are no record", func(_ Target, i int) []rmq.Entry { return Broken(i) }},
		{"records as large as the broker takes", func(_ Target, i int) []rmq.Entry { return Huge(i) }},
		{"small records", func(_ Target, i int) []rmq.Entry { return Small("ghost", i) }},
	}
}

// WrongDigest is a heartbeat of the target's that says that it made something else of the log. Two in a row of one
// session are a vote: whoever may write the topic can outvote a worker by those of most others, and is trusted not to.
func WrongDigest(t Target) []rmq.Entry {
	r := t.record(fold.Heartbeat)
	terms := t.Session.Terms
	r.Terms, r.Digest = &terms, strings.Repeat("0", 32)
	return entry(r)
}

func edges(t Target, i int) []rmq.Entry {
	largest := []int64{math.MaxInt64, 1 << 60, -1}[i/10%3]
	r := t.record(fold.Heartbeat)
	terms := t.Session.Terms
	r.Terms = &terms
	claim := func(a fold.Asked) {
		r.Kind, r.Terms, r.Claim = fold.Claim, nil, &fold.Claims{Request: 1, Units: []fold.Asked{a}}
	}
	switch i % 10 {
	case 0:
		terms.Allocation.VirtualNodes = 50_000_000
	case 1:
		terms.TimeoutMS = 86_400_000
	case 2:
		terms.RebalanceDelayMS = largest
	case 3:
		r.Sequence = largest
	case 4:
		claim(fold.Asked{Connector: "ghost", Epoch: largest})
	case 5:
		claim(fold.Asked{Connector: "ghost", Epoch: 1, Above: largest})
	case 6:
		claim(fold.Asked{Connector: "ghost", Task: math.MaxInt32, Epoch: 1})
	case 7:
		r.Kind, r.Terms, r.Release = fold.Release, nil, []fold.Held{{Connector: "ghost", Generation: largest}}
	case 8:
		terms.Allocation.MaxLoadFactor = -math.MaxFloat64
	case 9:
		r = fold.Record{Kind: fold.Join, AsOf: t.AsOf, Log: t.Log, Terms: &terms, Join: &fold.Joining{Worker: "ghost", Incarnation: "x",
			Proof: &fold.Proof{Store: "s", Boot: "b", Start: math.MaxInt64}}}
	}
	return entry(r)
}

func ofNothing(t Target, i int) []rmq.Entry {
	r := t.record(fold.Release)
	switch i % 6 {
	case 0:
		r = fold.Record{Kind: fold.Expire, AsOf: t.AsOf, Log: t.Log, Expire: &fold.Expiry{Session: nobody, Heartbeat: nobody}}
	case 1: // of a live session, after it was heard again
		r = fold.Record{
			Kind:   fold.Expire,
			AsOf:   t.AsOf,
			Log:    t.Log,
			Expire: &fold.Expiry{Session: t.Session.ID, Heartbeat: t.Session.Heartbeat - 1},
		}
	case 2:
		r.Kind, r.Session, r.Claim = fold.Claim, nobody, &fold.Claims{Request: 1, Units: []fold.Asked{{Connector: "in", Epoch: 1}}}
	case 3:
		r.Session, r.Release = nobody, []fold.Held{{Connector: "in", Generation: 1}}
	case 4:
		r.Kind, r.Session = fold.Leave, nobody
	case 5: // by a live session, of what it does not own
		r.Release = []fold.Held{{Connector: "ghost", Task: i % 100, Generation: 1}}
	}
	return entry(r)
}

const partSize = 256 << 10

// endless are parts of snapshots that are never whole: many of one, and one of many.
func endless(t Target, i int) []rmq.Entry {
	r := t.record(fold.Snapshot)
	if i%10 > 0 { // it would use up the session's sequence
		r.Session = nobody
	}
	r.Part = &fold.Part{Total: 4096, Index: i % 4000, Sum: fmt.Sprintf("%064d", i%2*i), Data: make([]byte, partSize)}
	return entry(r)
}

// damaged are whole snapshots of what is no image.
func damaged(t Target, i int) []rmq.Entry {
	r := t.record(fold.Snapshot)
	r.Session = nobody
	image := []string{
		"{", "[]", `{"v":1}`, `{"v":2}`, `{"v":1,"sessions":[` + strings.Repeat(`{},`, 1<<20) + `{}]}`,
		`{"v":1,"floors":{` + strings.Repeat(`"a":9223372036854775807,`, 1<<19) + `"b":1}}`, strings.Repeat(" ", 64<<20),
	}[i%7]
	packed := pack(image)
	sum := sha256.Sum256(packed)
	r.Part = &fold.Part{Total: 1, Form: "deflate", Sum: hex.EncodeToString(sum[:]), Data: packed[:min(len(packed), partSize)]}
	return entry(r)
}

func pack(image string) []byte {
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, flate.BestSpeed)
	if err != nil {
		panic(fmt.Sprintf("a level that there is: %v", err))
	}
	_, _ = w.Write([]byte(image)) // into memory
	_ = w.Close()
	return out.Bytes()
}

func versions(t Target, i int) []rmq.Entry {
	e := entry(t.record(fold.Leave))
	e[0].Value = bytes.Replace(e[0].Value, []byte(`"v":1`), fmt.Appendf(nil, `"v":%d`, []int64{0, 2, -1, math.MaxInt64}[i%4]), 1)
	return e
}

func longNames(t Target, i int) []rmq.Entry {
	name, terms := strings.Repeat("n", 512<<10), t.Session.Terms
	r := t.record(fold.Claim)
	switch i % 3 {
	case 0:
		r.Claim = &fold.Claims{Request: 1, Units: []fold.Asked{{Connector: name, Epoch: 1}}}
	case 1:
		r.Kind, r.Release = fold.Release, []fold.Held{{Connector: name, Generation: 1}}
	case 2:
		r = fold.Record{Kind: fold.Join, AsOf: t.AsOf, Log: t.Log, Terms: &terms, Join: &fold.Joining{Worker: name, Incarnation: "x"}}
	}
	return entry(r)
}
