package main

import (
	"strings"

	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// The connectors of a run: a source and a sink of so many tasks each, for every flow.
const (
	sourceName = "in"
	sinkName   = "out"
	tasksEach  = 4
	// queuesEach is how many partitions a flow begins with, and so how many queues each master gets.
	queuesEach = 8
)

// pair is a source and a sink, between which a flow goes through RocketMQ.
type pair struct {
	traffic.Way
	selector string // queue.selector; empty is the default
}

// pairs are those of a topology. Where a broker may be away while another one is there, both ways of choosing queues
// run side by side: by the partition, where the order of each partition has to be kept (which shows, as all records
// come out in one), and by the key.
func pairs(topology, topic string) []pair {
	if topology == rig.Single {
		return []pair{{Way: traffic.Way{Topic: topic, Partitions: queuesEach, BackPartitions: queuesEach}}}
	}
	return []pair{
		{Way: traffic.Way{Name: "partition", Topic: topic + "-p", Partitions: queuesEach, BackPartitions: 1, Dealt: true}, selector: "partition"},
		{Way: traffic.Way{Name: "key", Topic: topic + "-k", Partitions: queuesEach, BackPartitions: queuesEach}, selector: "key"},
	}
}

// named gives a connector of the pair its name.
func (p pair) named(kind string) string {
	if p.Name == "" {
		return kind
	}
	return kind + "-" + p.Name
}

func (p pair) source(kafka string) restapi.Connector {
	config := map[string]string{"kafka.topics": p.Topic, "kafka.bootstrap.server": kafka}
	if p.selector != "" {
		config["queue.selector"] = p.selector
	}
	return restapi.Connector{Name: p.named(sourceName), Class: "KafkaSource", MaxTasks: tasksEach, Config: config}
}

func (p pair) sink(kafka string) restapi.Connector {
	return restapi.Connector{Name: p.named(sinkName), Class: "KafkaSink", MaxTasks: tasksEach, Config: map[string]string{
		"topicNames": p.Topic, "kafka.bootstrap.server": kafka, "topic.rename.format": "${topic}" + traffic.BackSuffix}}
}

// isSource says whether a connector's name is that of a source.
func isSource(connector string) bool {
	return connector == sourceName || strings.HasPrefix(connector, sourceName+"-")
}
