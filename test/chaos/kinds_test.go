package main

import (
	"slices"
	"testing"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
)

var everyTopology = []string{rig.Single, rig.Masters, rig.Replicated, rig.Controller}

func TestEveryBlockOfRoundsHasEachFaultOnce(t *testing.T) {
	for _, topology := range everyTopology {
		all := faultsOn(topology)
		for _, block := range []int{0, 1, 4} { // none with a long freeze
			seen := map[string]bool{}
			for i := range all {
				seen[pick(topology, 3, block*len(all)+i).name] = true
			}
			if len(seen) != len(all) {
				t.Errorf("%s: block %d has %d faults of %d", topology, block, len(seen), len(all))
			}
		}
	}
}

func TestLongFreezesComeOnOneBrokerOnly(t *testing.T) {
	for _, topology := range everyTopology {
		seen := map[string]int{}
		for round := range 200 {
			first, again := pick(topology, 3, round), pick(topology, 3, round)
			if first.name != again.name {
				t.Errorf("%s: round %d is %s the first time, %s the second", topology, round, first.name, again.name)
			}
			seen[first.name]++
		}
		want := 0
		if topology == rig.Single {
			want = 3
		}
		for _, f := range longFreezes() {
			if seen[f.name] != want {
				t.Errorf("%s: %s comes %d times in 200 rounds, want %d", topology, f.name, seen[f.name], want)
			}
		}
	}
}

func TestASeedGivesTheSameFaultsOnOneBrokerAsEver(t *testing.T) {
	want := []string{
		brokerRestored, networkReset, allKilled, configReplaced, cleanStop, killedInPlace, networkSlow, frozen, networkHalfCut, pausedResumed,
		networkCut, storeTruncated, storeCorrupted, kafkaCut, namesKilled, brokerKilled, diskFull, killedForGood, kafkaKilled,
	}
	var got []string
	for round := range 19 {
		got = append(got, pick(rig.Single, 1, round).name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if stream(rig.Masters) == stream(rig.Controller) {
		t.Error("two topologies draw the same")
	}
}

func TestEachTopologyHasTheKindsThatItCanShow(t *testing.T) {
	cases := map[string]struct{ has, lacks []string }{
		rig.Single: {has: []string{brokerRestored, diskFull, upgraded, frozen + " 60 s"}, lacks: []string{failoverKill, namesRolled}},
		rig.Masters: {
			has:   []string{brokersRolled, namesRolled, brokerLost, brokerRecreated, brokerFull, brokerReadOnly},
			lacks: []string{failoverKill, diskFull},
		},
		rig.Replicated: {has: []string{brokersRolled, replicaLost, brokerKilled}, lacks: []string{failoverKill, brokerRestored, upgraded}},
		rig.Controller: {
			has:   []string{failoverKill, failoverFreeze, tailLostKill, tailLostFreeze, namesRolled},
			lacks: []string{brokerLost, brokerRestored},
		},
	}
	for topology, tc := range cases {
		for _, name := range tc.has {
			if _, ok := named(topology, name); !ok {
				t.Errorf("%s has no %q", topology, name)
			}
		}
		for _, name := range tc.lacks {
			if _, ok := named(topology, name); ok {
				t.Errorf("%s has %q", topology, name)
			}
		}
	}
}

func TestSeveralBrokersGetAFlowForEachWayOfChoosingQueues(t *testing.T) {
	for topology, want := range map[string]int{rig.Single: 1, rig.Masters: 2, rig.Replicated: 2, rig.Controller: 2} {
		got := pairs(topology, "t")
		if len(got) != want {
			t.Errorf("%s: got %+v", topology, got)
		}
		for _, p := range got {
			in, out := p.source("k:1"), p.sink("k:1")
			if !isSource(in.Name) || isSource(out.Name) || in.Config["queue.selector"] != p.Name || out.Config["topicNames"] != p.Topic {
				t.Errorf("%s: source %+v, sink %+v", topology, in, out)
			}
			if p.Dealt && p.BackPartitions != 1 {
				t.Errorf("%s: the order of partitions does not show in %d", topology, p.BackPartitions)
			}
		}
	}
}
