package layout

import (
	"fmt"
	"net"
	"strconv"
)

// Addresses of the one-node cluster. The bridge's address is the node's: nothing of the cluster listens on the
// machine's other addresses.
const (
	Loopback   = "127.0.0.1"
	Bridge     = "rmqconnect0"
	BridgeIP   = "10.244.0.1"
	PodCIDR    = "10.244.0.0/24"
	ServiceNet = "10.96.0.0/16"
	APIService = "10.96.0.1"
	DNSService = "10.96.0.10"
	Node       = "node1"
)

// span is how many ports from its base an instance may take; lowest and highest bound the base.
const (
	span    = 64
	lowest  = 1024
	highest = 65535 - span
)

// Ports are the TCP ports of one instance.
type Ports struct {
	NameServer, NameServer2           int
	Controller                        int
	Proxy, ProxyGRPC                  int
	Broker, Broker2                   int // a broker also takes its port - 2 and its port + 1
	Kafka, KafkaController, KafkaPods int
	Etcd, EtcdPeer, APIServer         int
	Kubelet, KubeletHealth            int
	ControllerManager, Scheduler      int
	ProxyMetrics, ProxyHealth         int
}

// NewPorts gives the usual ports for base 0, else ports from base on.
func NewPorts(base int) (Ports, error) {
	if base == 0 {
		return Ports{
			NameServer: 9876, NameServer2: 9877, Controller: 9878, Proxy: 8080, ProxyGRPC: 8081, Broker: 10911, Broker2: 10921,
			Kafka: 9092, KafkaController: 9093, KafkaPods: 9094,
			Etcd: 2379, EtcdPeer: 2380, APIServer: 6443,
			Kubelet: 10250, KubeletHealth: 10248,
			ControllerManager: 10257, Scheduler: 10259,
			ProxyMetrics: 10249, ProxyHealth: 10256,
		}, nil
	}
	if base < lowest || base > highest {
		return Ports{}, fmt.Errorf("--port-base %d: it must be 0 (the usual ports) or from %d to %d", base, lowest, highest)
	}
	return Ports{
		NameServer: base, NameServer2: base + 1, Controller: base + 2, Proxy: base + 3, ProxyGRPC: base + 4,
		Broker: base + 11, Broker2: base + 16,
		Kafka: base + 20, KafkaController: base + 21, KafkaPods: base + 22,
		Etcd: base + 30, EtcdPeer: base + 31, APIServer: base + 40,
		Kubelet: base + 41, KubeletHealth: base + 42,
		ControllerManager: base + 43, Scheduler: base + 44,
		ProxyMetrics: base + 45, ProxyHealth: base + 46,
	}, nil
}

// Address joins a host and a port.
func Address(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }
