package rig

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/test/chaos/wait"
	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// What chaos asks of brokers and no worker does.
const (
	updateBrokerConfig = 25
	readAndWrite       = "6"
)

var (
	errNoMaster = errors.New("it has no master")
	errAnswer   = errors.New("the broker refused")
)

// clusterInfo is what a name server says of brokers; the key 0 is the master.
type clusterInfo struct {
	Brokers map[string]struct {
		Addrs map[string]string `json:"brokerAddrs"`
	} `json:"brokerAddrTable"`
}

// call asks one server once, on a connection of its own: what broke the one before does not matter.
func call(ctx context.Context, addr string, cmd remoting.Command) (*remoting.Command, error) {
	pool := remoting.NewPool(remoting.TCP(time.Second), time.Second, remoting.Credentials{})
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	answer, err := pool.Call(ctx, addr, "chaos", &cmd)
	if err != nil {
		return nil, fmt.Errorf("asking %s: %w", addr, err)
	}
	if answer.Code != remoting.Success {
		return nil, fmt.Errorf("%w: asking %s: code %d, %s", errAnswer, addr, answer.Code, answer.Remark)
	}
	return answer, nil
}

// Master is the process that the first name server shows as the master of a broker name.
func (s *Stack) Master(ctx context.Context, name string) (Broker, error) {
	answer, err := call(ctx, s.Names()[0], remoting.Command{Code: remoting.ClusterInfo})
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

// pollElection is how often the name server is asked who the master is: what tasks wait for is measured from its answer.
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
			answer, err := call(ctx, name, remoting.Command{Code: remoting.ClusterInfo})
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

// Configure sets one key of a broker that runs.
func (s *Stack) Configure(ctx context.Context, b Broker, key, value string) error {
	_, err := call(ctx, s.AddressOf(b), remoting.Command{Code: updateBrokerConfig, Body: []byte(key + "=" + value + "\n")})
	if err != nil {
		return fmt.Errorf("setting %s: %w", key, err)
	}
	return nil
}

// CreateTopic makes a topic on one broker alone, as whoever brings an empty one back has to.
func (s *Stack) CreateTopic(ctx context.Context, b Broker, topic string, queues int) error {
	n := strconv.Itoa(queues)
	_, err := call(ctx, s.AddressOf(b), remoting.Command{Code: remoting.CreateTopic, Fields: []remoting.Field{
		{Name: "topic", Value: topic}, {Name: "defaultTopic", Value: "TBW102"}, {Name: "readQueueNums", Value: n},
		{Name: "writeQueueNums", Value: n}, {Name: "perm", Value: readAndWrite}, {Name: "topicFilterType", Value: "SINGLE_TAG"},
		{Name: "topicSysFlag", Value: "0"}, {Name: "order", Value: "false"},
	}})
	if err != nil {
		return fmt.Errorf("creating topic %s: %w", topic, err)
	}
	return nil
}
