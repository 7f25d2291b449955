package brokers

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Broker is a master broker.
type Broker struct{ Cluster, Name, Addr string }

// Data is a broker as name servers show it, with its addresses by id.
type Data struct {
	Cluster     string            `json:"cluster"`
	BrokerName  string            `json:"brokerName"`
	BrokerAddrs map[string]string `json:"brokerAddrs"`
}

// Master is the master's address, "" where only slaves are.
func (d Data) Master() string { return d.BrokerAddrs["0"] }

// ParseList reads a list of brokers, and gives the masters in the order of their names.
func ParseList(body []byte) ([]Broker, error) {
	var list struct {
		Table map[string]Data `json:"brokerAddrTable"`
	}
	if err := remoting.UnmarshalBody(body, &list); err != nil {
		return nil, fmt.Errorf("reading the list of brokers: %w", err)
	}
	var out []Broker
	for name, d := range list.Table {
		if addr := d.Master(); addr != "" {
			out = append(out, Broker{Cluster: d.Cluster, Name: name, Addr: addr})
		}
	}
	slices.SortFunc(out, func(a, b Broker) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}
