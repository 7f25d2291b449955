package rig

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
)

// Kafka's process, as the stack names it.
const Kafka = "kafka"

// The topologies, as the stack names them.
const (
	Single     = "single"
	Masters    = "masters"
	Replicated = "replicated"
	Controller = "controller"
)

// Server is one process of RocketMQ: its name in the stack, and its port above the base.
type Server struct {
	Process string
	Port    int
}

// Broker is one broker process. Brokers of the same name are replicas of each other.
type Broker struct {
	Server
	Name string
}

// Topology is what RocketMQ is made of.
type Topology struct {
	Name        string
	NameServers []Server
	Brokers     []Broker
	// Args are what `stack up` is given besides.
	Args []string
}

// topologies are all that chaos can run on. The one with a slave replicates before it answers, so that its slave
// counts.
func topologies() []Topology {
	const firstPort, secondPort = 11, 16
	names := []Server{{"rocketmq-namesrv", 0}, {"rocketmq-namesrv-2", 1}}
	broker := func(process, name string, port int) Broker { return Broker{Server{process, port}, name} }
	up := func(args ...string) []string { return append([]string{"--topology"}, args...) }
	return []Topology{
		{Name: Single, NameServers: names[:1], Brokers: []Broker{broker("rocketmq-broker", "broker-a", firstPort)}},
		{Name: Masters, NameServers: names, Args: up(Masters), Brokers: []Broker{
			broker("rocketmq-broker-a", "broker-a", firstPort), broker("rocketmq-broker-b", "broker-b", secondPort)}},
		{Name: Replicated, NameServers: names[:1], Args: up(Replicated, "--sync"), Brokers: []Broker{
			broker("rocketmq-broker-a", "broker-a", firstPort), broker("rocketmq-broker-a-slave", "broker-a", secondPort)}},
		{Name: Controller, NameServers: names, Args: up(Controller), Brokers: []Broker{
			broker("rocketmq-broker-a-1", "broker-a", firstPort), broker("rocketmq-broker-a-2", "broker-a", secondPort)}},
	}
}

// Named finds a topology.
func Named(name string) (Topology, error) {
	var known []string
	for _, t := range topologies() {
		if t.Name == name {
			return t, nil
		}
		known = append(known, t.Name)
	}
	return Topology{}, fmt.Errorf("there is no topology %q: choose one of %s", name, strings.Join(known, ", "))
}

// MasterNames are the names of the brokers, of which each has one master at a time.
func (t Topology) MasterNames() []string {
	var out []string
	for _, b := range t.Brokers {
		if !slices.Contains(out, b.Name) {
			out = append(out, b.Name)
		}
	}
	return out
}

// Address is a port on this machine's loopback.
func Address(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
