package main

import (
	"context"
	"hash/fnv"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/proxy"
	"github.com/rocketmq-connect/operator/test/chaos/rig"
)

// The kinds of times in which tasks ran nowhere, as the table names them.
const (
	killedInPlace  = "killed, restarted in place"
	killedForGood  = "killed, restarted elsewhere"
	frozen         = "frozen"
	networkCut     = "network cut"
	networkHalfCut = "network cut one way"
	networkReset   = "network reset"
	networkSlow    = "network slow"
	kafkaCut       = "Kafka unreachable"
	brokerKilled   = "broker killed"
	brokerRestored = "broker restored from a copy"
	namesKilled    = "name server killed"
	kafkaKilled    = "Kafka killed"
	diskFull       = "store disk full"
	storeTruncated = "killed, store truncated"
	storeCorrupted = "killed, store corrupted"
	cleanStop      = "stopped cleanly"
	joined         = "joined or came back"
	moved          = "moved between the others"
	configReplaced = "config replaced"
	pausedResumed  = "paused and resumed"
	allKilled      = "all killed"
)

// The kinds that need several name servers or brokers.
const (
	brokersRolled   = "brokers restarted in turn"
	namesRolled     = "name servers restarted in turn"
	brokerFrozen    = "broker frozen"
	brokerLost      = "broker of the topics lost and moved"
	brokerRecreated = "broker recreated empty"
	brokerReadOnly  = "broker read-only"
	brokerFull      = "broker's disk full"
	replicaLost     = "replica lost"
	failoverKill    = "failover: master killed"
	failoverFreeze  = "failover: master frozen"
	// lostToo follows the kind of a failover in which the cluster log lost its newest records, as replication may: rule C4
	// holds then.
	lostToo        = ", log's end lost"
	tailLostKill   = "failover: replica behind, master killed"
	tailLostFreeze = "failover: replica behind, master frozen"
	upgraded       = "4.9.7 upgraded in place"
)

// afterLoss is how long tasks may rest when a broker lost records: invariant C4, nothing newly claimed starts for one
// session.
const afterLoss = sessionTimeout + time.Second

// afterFailover is the same after an election: the broker that was elected has to be found, too.
const afterFailover = sessionTimeout + 3*time.Second

// afterRecreation is the same when the topics have to be made again: a broker is believed that they are gone after a
// session.
const afterRecreation = 2*sessionTimeout + 3*time.Second

// targets are how long a task may run nowhere; kinds without one are only reported.
var targets = map[string]time.Duration{
	cleanStop:                500 * time.Millisecond,
	killedInPlace:            1500 * time.Millisecond,
	joined:                   500 * time.Millisecond,
	moved:                    500 * time.Millisecond,
	killedForGood:            sessionTimeout + time.Second,
	frozen:                   sessionTimeout + time.Second,
	networkCut:               sessionTimeout + time.Second,
	networkHalfCut:           sessionTimeout + time.Second,
	networkReset:             sessionTimeout + time.Second,
	brokerKilled:             3 * time.Second,
	namesKilled:              3 * time.Second,
	brokerRestored:           afterLoss,
	brokersRolled:            3 * time.Second,
	namesRolled:              3 * time.Second,
	brokerFrozen:             3 * time.Second,
	replicaLost:              3 * time.Second,
	brokerReadOnly:           3 * time.Second,
	brokerFull:               3 * time.Second,
	brokerLost:               afterFailover,
	brokerRecreated:          afterRecreation,
	failoverKill:             2 * time.Second,
	failoverFreeze:           3 * time.Second,
	failoverKill + lostToo:   afterFailover,
	failoverFreeze + lostToo: afterFailover,
	tailLostKill:             afterFailover,
	tailLostFreeze:           afterFailover,
}

// fault is one kind of fault.
type fault struct {
	name string
	do   func(ctx context.Context, s *strike) error
	// clean says that it ends no task without a drain: nothing may be repeated.
	clean bool
	// resent is how often a batch of a source that lives on may be stored without its answer coming through.
	resent int
}

// heldUp is how often a batch is tried while the answers to it do not come, until its lease ends.
const heldUp = int(leaseTime/sendTimeout) + 1

// hung is the same for the time that a broker hangs at most: the leases go on if it is not the one of the cluster log.
const hung = int(longestHang/sendTimeout) + 1

// faults returns every kind that comes once in each block of rounds on one broker.
func faults() []fault {
	return []fault{
		{name: killedInPlace, do: killInPlace}, {name: killedForGood, do: killElsewhere}, {name: frozen, do: freezeShort, resent: 1},
		{name: networkCut, do: cut(networkCut, proxy.Mode{HoldUp: true, HoldDown: true}), resent: 1},
		{name: networkHalfCut, do: halfCut, resent: heldUp},
		{name: networkReset, do: cut(networkReset, proxy.Mode{Refuse: true}), resent: 1},
		{name: networkSlow, do: cut(networkSlow, proxy.Mode{Delay: 150 * time.Millisecond}), resent: 1}, {name: kafkaCut, do: cutKafka},
		{name: brokerKilled, do: killBroker, resent: 1}, {name: brokerRestored, do: restoreBroker, resent: 1},
		{name: namesKilled, do: killNameServer}, {name: kafkaKilled, do: killKafka},
		{name: diskFull, do: fillDisk}, {name: storeTruncated, do: damage(storeTruncated, truncated)},
		{name: storeCorrupted, do: damage(storeCorrupted, corrupted)}, {name: cleanStop, do: scale, clean: true},
		{name: configReplaced, do: replaceConfig, clean: true}, {name: pausedResumed, do: pauseResume, clean: true},
		{name: allKilled, do: killAll},
	}
}

// elsewhere are the kinds of one broker that several brokers may answer differently. Kafka's, and those of a worker's
// store, they cannot.
var elsewhere = []string{
	killedInPlace,
	killedForGood,
	frozen,
	networkCut,
	networkHalfCut,
	networkReset,
	namesKilled,
	cleanStop,
	configReplaced,
	pausedResumed,
	allKilled,
}

// faultsOn returns every kind that comes once in each block of rounds on a topology.
func faultsOn(topology string) []fault {
	if topology == rig.Single {
		return faults()
	}
	all := slices.DeleteFunc(faults(), func(f fault) bool { return !slices.Contains(elsewhere, f.name) })
	all = append(all, fault{name: brokersRolled, do: rollBrokers, resent: 1})
	switch topology {
	case rig.Masters:
		return append(all, fault{name: brokerKilled, do: killBroker, resent: 1}, fault{name: brokerRestored, do: restoreBroker, resent: 1},
			fault{name: namesRolled, do: rollNameServers}, fault{name: brokerFrozen, do: freezeBroker, resent: hung},
			fault{name: brokerLost, do: loseBroker, resent: 1}, fault{name: brokerRecreated, do: recreateBroker, resent: 1},
			fault{name: brokerReadOnly, do: closeBroker, resent: 1}, fault{name: brokerFull, do: fillBroker, resent: 1})
	case rig.Replicated:
		return append(all, fault{name: brokerKilled, do: killMaster, resent: 1}, fault{name: brokerFrozen, do: freezeBroker, resent: hung},
			fault{name: replicaLost, do: loseReplica, resent: heldUp})
	}
	return append(
		all,
		fault{name: namesRolled, do: rollNameServers},
		fault{name: replicaLost, do: loseReplica, resent: heldUp},
		fault{
			name:   failoverKill,
			do:     failover(failoverKill, false),
			resent: 1,
		},
		fault{name: failoverFreeze, do: failover(failoverFreeze, true), resent: heldUp},
		fault{name: tailLostKill, do: loseTail(tailLostKill, false), resent: heldUp},
		fault{name: tailLostFreeze, do: loseTail(tailLostFreeze, true), resent: heldUp},
	)
}

// apart are kinds that no block has. The long freezes come once every longEvery rounds, each instead of another fault;
// an upgrade is for rounds of its own.
func apart() []fault {
	return []fault{
		{
			name:   frozen + " 60 s",
			do:     freezeFor(60 * time.Second),
			resent: 1,
		},
		{name: frozen + " 200 s", do: freezeFor(200 * time.Second), resent: 1},
		{name: upgraded, do: upgrade, resent: 1},
	}
}

func longFreezes() []fault { return apart()[:2] }

const longEvery = 60

// pick is the fault of a round: all kinds come once in each block of rounds, in an order of the seed's; on one broker
// the last rounds of every longEvery are long freezes.
func pick(topology string, seed uint64, round int) fault {
	all := faultsOn(topology)
	if topology == rig.Single {
		long := longFreezes()
		if left := longEvery - 1 - round%longEvery; left < len(long) {
			return long[left]
		}
	}
	order := rand.New(rand.NewPCG(seed, stream(topology)+uint64(round/len(all)))).Perm(len(all))
	return all[order[round%len(all)]]
}

// stream keeps what is drawn for the rounds of one topology apart from the others'.
func stream(topology string) uint64 {
	if topology == rig.Single {
		return 0
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte(topology))
	return h.Sum64()
}

// named finds a fault that a topology can have by its name.
func named(topology, name string) (fault, bool) {
	all := faultsOn(topology)
	if topology == rig.Single {
		all = append(all, apart()...)
	}
	i := slices.IndexFunc(all, func(f fault) bool { return f.name == name })
	if i < 0 {
		return fault{}, false
	}
	return all[i], true
}
