package rig

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

var errNoMaster = errors.New("it has no master")

// clusterInfo is what a name server says of brokers; the key 0 is the master.
type clusterInfo struct {
	Brokers map[string]struct {
		Addrs map[string]string `json:"brokerAddrs"`
	} `json:"brokerAddrTable"`
}

// Master is the process that the first name server shows as the master of a broker name.
func (s *Stack) Master(ctx context.Context, name string) (Broker, error) {
	answer, err := ask(ctx, s.Names()[0], remoting.Command{Code: remoting.ClusterInfo})
	if err != nil {
		return Broker{}, err
	}
	return s.masterIn(answer.Body, name)
}

func (s *Stack) masterIn(body []byte, name string) (Broker, error) {
	var info clusterInfo
	if err := remoting.UnmarshalBody(body, &info); err != nil {
		return Broker{}, fmt.Errorf("reading the cluster's brokers: %w", err)
	}
	addr := info.Brokers[name].Addrs["0"]
	for _, b := range s.Brokers {
		if b.Name == name && s.AddressOf(b) == addr {
			return b, nil
		}
	}
	return Broker{}, fmt.Errorf("%w: broker %s, %q", errNoMaster, name, addr)
}

// ReplicaOf is another process of a broker's name.
func (s *Stack) ReplicaOf(b Broker) (Broker, error) {
	for _, other := range s.Brokers {
		if other.Name == b.Name && other.Process != b.Process {
			return other, nil
		}
	}
	return Broker{}, fmt.Errorf("%w: a replica of %s", errProcess, b.Process)
}

// pollElection is how often the name server is asked who the master is: what tasks wait for is measured from its
// answer.
const pollElection = 20 * time.Millisecond

// Elected waits until the name server shows that process as the master of its name.
func (s *Stack) Elected(ctx context.Context, b Broker) error {
	return wait.Until(ctx, pollElection, func(ctx context.Context) error {
		switch now, err := s.Master(ctx, b.Name); {
		case err != nil:
			return err
		case now.Process != b.Process:
			return fmt.Errorf("%w: broker %s has %s still", errNoMaster, b.Name, now.Process)
		}
		return nil
	})
}

// Listed waits until each name server shows that process, in whatever role.
func (s *Stack) Listed(ctx context.Context, b Broker) error {
	return wait.Until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		for _, name := range s.Names() {
			answer, err := ask(ctx, name, remoting.Command{Code: remoting.ClusterInfo})
			if err != nil {
				return err
			}
			if !s.listedIn(answer.Body, b) {
				return fmt.Errorf("%w: %s with %s", errUnregistered, b.Process, name)
			}
		}
		return nil
	})
}

func (s *Stack) listedIn(body []byte, b Broker) bool {
	var info clusterInfo
	if remoting.UnmarshalBody(body, &info) != nil {
		return false
	}
	for _, addr := range info.Brokers[b.Name].Addrs {
		if addr == s.AddressOf(b) {
			return true
		}
	}
	return false
}
