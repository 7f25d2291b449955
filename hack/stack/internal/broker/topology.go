package broker

import (
	"errors"
	"fmt"
	"slices"

	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
)

// The topologies of RocketMQ: which processes there are, and how they depend on each other.
const (
	Single     = "single"     // one name server, one broker
	Masters    = "masters"    // two name servers, two brokers
	Replicated = "replicated" // one name server, a master and its slave
	Controller = "controller" // two name servers, two replicas of which a controller makes one the master
	Proxy      = "proxy"      // one name server, one broker, a proxy ahead of them
)

// Topologies lists them.
var Topologies = []string{Single, Masters, Replicated, Controller, Proxy}

// Options is what the RocketMQ of an instance is asked to be.
type Options struct {
	Topology string `json:"topology"`
	Sync     bool   `json:"sync"` // the master of a replicated topology answers only when its slave has the record
	// Version is RocketMQ's; ACL has it check signatures.
	Version string `json:"version"`
	ACL     bool   `json:"acl"`
	// TLS is TLSServer or TLSMutual; "": RocketMQ takes connections without TLS.
	TLS string `json:"tls,omitempty"`
	// Pods says that pods use the brokers too: they are then advertised on the bridge's address, which must be there.
	Pods bool `json:"-"`
}

// Check refuses what does not go together.
func (o Options) Check() error {
	switch {
	case o.Sync && o.Topology != Replicated:
		return fmt.Errorf("--sync is for --topology %s; this is %s, which has no slave to wait for", Replicated, o.Topology)
	case o.Version == fetch.RocketMQ4 && (o.Topology == Controller || o.Topology == Proxy):
		return fmt.Errorf("--topology %s needs RocketMQ %s: %s has no %s", o.Topology, fetch.RocketMQ5, fetch.RocketMQ4, o.Topology)
	case o.ACL && o.Topology == Proxy:
		return errors.New("--acl: the proxy is run without access control only; leave --acl out, or choose another topology")
	case o.ACL && o.Version == fetch.RocketMQ4 && o.Topology == Replicated:
		return fmt.Errorf("--acl: the slave of RocketMQ %s does not sign what it asks its master, so it would learn no topics; use %s",
			fetch.RocketMQ4, fetch.RocketMQ5)
	case o.TLS != "" && !slices.Contains([]string{Single, Masters}, o.Topology):
		return fmt.Errorf(
			"--tls goes with %s and %s; of %s it is not known what its processes ask each other with TLS",
			Single,
			Masters,
			o.Topology,
		)
	case o.Pods && o.Topology != Single:
		return fmt.Errorf("--topology %s: pods cannot reach it; with Kubernetes only %s runs (\"--only rocketmq,kafka\" leaves Kubernetes out, "+
			"\"down\" removes it)", o.Topology, Single)
	}
	return nil
}

// program is what a process runs.
type program struct {
	short     string // names its log
	main      string // its class
	confFlag  string
	extension string // of its configuration
}

var (
	namesrvProgram = program{short: "namesrv", main: "org.apache.rocketmq.namesrv.NamesrvStartup", confFlag: "-c", extension: ".conf"}
	brokerProgram  = program{short: "broker", main: "org.apache.rocketmq.broker.BrokerStartup", confFlag: "-c", extension: ".conf"}
	proxyProgram   = program{short: "proxy", main: "org.apache.rocketmq.proxy.ProxyStartup", confFlag: "-pc", extension: ".json"}
)

// node is one process of RocketMQ.
type node struct {
	program
	name     string // as status lists it
	folder   string // its home, below the folder of all; its configuration lies beside it under the same name
	wave     int    // the processes of a wave start side by side, when those of the wave before are ready
	port     int
	brokerOf string // a broker's brokerName
	role     string // a broker's brokerRole; none where a controller gives it
	memory   memory
}

// The roles of brokers, as RocketMQ calls them.
const (
	asyncMaster = "ASYNC_MASTER"
	syncMaster  = "SYNC_MASTER"
	slave       = "SLAVE"
)

// memory is what a JVM may use; fileSize is that of a broker's commit log files.
type memory struct {
	heap, direct string
	fileSize     int
}

// Brokers that are several on one machine are smaller.
var (
	namesrvMemory     = memory{heap: "-Xms128m -Xmx256m", direct: "1g"}
	oneBrokerMemory   = memory{heap: "-Xms512m -Xmx1g", direct: "1g", fileSize: 128 << 20}
	manyBrokersMemory = memory{heap: "-Xms256m -Xmx512m", direct: "512m", fileSize: 64 << 20}
	proxyMemory       = memory{heap: "-Xms256m -Xmx512m", direct: "512m"}
)

// The first names of brokers.
const (
	brokerA = "broker-a"
	brokerB = "broker-b"
)

// nodes lists the processes of the topology; name servers come first.
func (s Set) nodes() []node {
	namesrv := func(name, folder string, port int) node {
		return node{program: namesrvProgram, name: name, folder: folder, port: port, memory: namesrvMemory}
	}
	// Each of several brokers is named after its folder.
	broker := func(folder, brokerOf, role string, port int) node {
		return node{program: brokerProgram, name: "rocketmq-" + folder, folder: folder, wave: 1, port: port, brokerOf: brokerOf, role: role,
			memory: manyBrokersMemory}
	}
	first, second := namesrv(NameServer, "namesrv", s.Ports.NameServer), namesrv(NameServer+"-2", "namesrv-2", s.Ports.NameServer2)
	one := node{program: brokerProgram, name: RocketMQ, folder: "broker", wave: 1, port: s.Ports.Broker, brokerOf: brokerA, role: asyncMaster,
		memory: oneBrokerMemory}
	switch s.Topology {
	case Masters:
		return []node{
			first,
			second,
			broker(brokerA, brokerA, asyncMaster, s.Ports.Broker),
			broker(brokerB, brokerB, asyncMaster, s.Ports.Broker2),
		}
	case Replicated:
		role := asyncMaster
		if s.Sync {
			role = syncMaster
		}
		// The slave learns from the name server where its master is, and asks again only after 30 s.
		replica := broker("broker-a-slave", brokerA, slave, s.Ports.Broker2)
		replica.wave = 2
		return []node{first, broker(brokerA, brokerA, role, s.Ports.Broker), replica}
	case Controller:
		return []node{first, second, broker("broker-a-1", brokerA, "", s.Ports.Broker), broker("broker-a-2", brokerA, "", s.Ports.Broker2)}
	case Proxy:
		return []node{
			first,
			one,
			{program: proxyProgram, name: "rocketmq-proxy", folder: "proxy", wave: 2, port: s.Ports.Proxy, memory: proxyMemory},
		}
	}
	return []node{first, one}
}

// lastWave is the highest wave of a node.
const lastWave = 2

// node finds a process of RocketMQ.
func (s Set) node(name string) (node, bool) {
	nodes := s.nodes()
	i := slices.IndexFunc(nodes, func(n node) bool { return n.name == name })
	if i < 0 {
		return node{}, false
	}
	return nodes[i], true
}

// NameServers lists the addresses of the name servers, as programs on the host reach them.
func (s Set) NameServers() []string {
	var addresses []string
	for _, n := range s.nodes() {
		if n.program == namesrvProgram {
			addresses = append(addresses, n.address())
		}
	}
	return addresses
}
