// Package fold turns the cluster log into sessions, owners and epoch floors. It is a value: Step takes one entry and
// says what it changed; no goroutine, no clock and no IO.
package fold

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Version is the version of the fold's rules. Digests are compared between equal versions only.
const Version = 1

// recordVersion is the version of the records' form. Records of another one are foreign.
const recordVersion = 1

// Unit is a connector or one of its tasks.
type Unit = allocate.Unit

// Kind names what a record asks for.
type Kind string

// The kinds of records.
const (
	Join      Kind = "join"
	Heartbeat Kind = "heartbeat"
	Expire    Kind = "expire"
	Leave     Kind = "leave"
	Claim     Kind = "claim"
	Release   Kind = "release"
	Snapshot  Kind = "snapshot"
)

// Record is one record of the log. Session and Sequence are set on all kinds but join and expire.
type Record struct {
	Version  int   `json:"v"`
	Kind     Kind  `json:"kind"`
	Session  int64 `json:"session,omitempty"`
	Sequence int64 `json:"seq,omitempty"`
	// AsOf is the offset that the writer had folded to, and Log its fold's Log there. Digest is its fold's digest there,
	// on heartbeats and snapshots.
	AsOf   int64  `json:"asOf"`
	Log    string `json:"log"`
	Digest string `json:"digest,omitempty"`

	Join    *Joining `json:"join,omitempty"`    // join
	Terms   *Terms   `json:"terms,omitempty"`   // join, heartbeat
	Expire  *Expiry  `json:"expire,omitempty"`  // expire
	Claim   *Claims  `json:"claim,omitempty"`   // claim
	Release []Held   `json:"release,omitempty"` // release
	Part    *Part    `json:"part,omitempty"`    // snapshot
}

// Joining is a process that wants to be a session.
type Joining struct {
	Worker string `json:"worker"`
	// Incarnation is unique to one attempt of one process, however often its record is appended.
	Incarnation string `json:"incarnation"`
	Address     string `json:"address,omitempty"`
	Version     string `json:"version,omitempty"`
	// Cluster is the id of the cluster that the worker belongs to: only one may use a log.
	Cluster string `json:"cluster,omitempty"`
	// Stores names the topics of the worker's stores: one log has one set of them. Older versions did not say.
	Stores string `json:"stores,omitempty"`
	Proof  *Proof `json:"storeProof,omitempty"`
}

// Proof names a locked store directory. Whoever holds the same one later proves that the earlier holder's process is
// gone.
type Proof struct {
	Store  string `json:"store"`
	Boot   string `json:"boot"`
	Device uint64 `json:"device"`
	Inode  uint64 `json:"inode"`
	// Start counts the locks taken on the store, Attempt the joins of one holder, so that a late record proves nothing.
	Start   int64 `json:"start"`
	Attempt int64 `json:"attempt"`
}

// supersedes reports whether a holder with proof p can only exist after the holder of older has ended.
func (p *Proof) supersedes(older *Proof) bool {
	if p == nil || older == nil || p.Store == "" || p.Boot == "" {
		return false
	}
	same := p.Store == older.Store && p.Boot == older.Boot && p.Device == older.Device && p.Inode == older.Inode
	return same && (p.Start > older.Start || p.Start == older.Start && p.Attempt > older.Attempt)
}

// Terms are what others go by of a member.
type Terms struct {
	// Fold is the version of the member's fold rules.
	Fold             int             `json:"fold"`
	TimeoutMS        int64           `json:"sessionTimeoutMs"`
	IntervalMS       int64           `json:"heartbeatIntervalMs"`
	RebalanceDelayMS int64           `json:"rebalanceDelayMs,omitempty"`
	Allocation       allocate.Params `json:"allocation"`
	// Resting says that the member may start nothing for a moment that it is newly given.
	Resting bool `json:"resting,omitempty"`
}

// Timeout is how long the member may be silent.
func (t Terms) Timeout() time.Duration { return time.Duration(t.TimeoutMS) * time.Millisecond }

// Interval is the time between the member's heartbeats.
func (t Terms) Interval() time.Duration { return time.Duration(t.IntervalMS) * time.Millisecond }

// Expiry ends a session whose newest heartbeat (or join) is still the one at offset Heartbeat.
type Expiry struct {
	Session   int64 `json:"session"`
	Heartbeat int64 `json:"lastHeartbeatOffset"`
}

// Claims asks for units. Request is the writer's own number for it, the same each time it is repeated.
type Claims struct {
	Request int64   `json:"request"`
	Units   []Asked `json:"units"`
}

// Asked is one unit that is claimed at an epoch; Above is the highest generation of it that the writer knows.
type Asked struct {
	Connector string `json:"connector"`
	Task      int    `json:"task"`
	Epoch     int64  `json:"epoch"`
	Above     int64  `json:"above"`
}

// Unit is the unit that is asked for.
func (a Asked) Unit() Unit { return Unit{Connector: a.Connector, Task: a.Task} }

// Held is one ownership that is released.
type Held struct {
	Connector  string `json:"connector"`
	Task       int    `json:"task"`
	Generation int64  `json:"generation"`
}

// Unit is the unit that is released.
func (h Held) Unit() Unit { return Unit{Connector: h.Connector, Task: h.Task} }

// Part is one of Total pieces of the image of a fold at the record's AsOf, in the form that Form names. Sum is the
// SHA-256 of all pieces together. Whether the record is accepted does not depend on the form, so that those who do not
// know one only pass the snapshot over.
type Part struct {
	Index int    `json:"index"`
	Total int    `json:"total"`
	Form  string `json:"form,omitempty"`
	Sum   string `json:"sum"`
	Data  []byte `json:"data"`
}

// Entry returns the record as an entry to append.
func (r Record) Entry() (rmq.Entry, error) {
	r.Version = recordVersion
	value, err := json.Marshal(r)
	if err != nil {
		return rmq.Entry{}, fmt.Errorf("encoding %s record: %w", r.Kind, err)
	}
	return rmq.Entry{Key: string(r.Kind), Value: value}, nil
}
