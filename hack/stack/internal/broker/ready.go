package broker

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/daemon"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

// defaultTopic is one that every broker has that creates topics when they are used.
const defaultTopic = "TBW102"

// ready is nil once the process does its part.
func (s Set) ready(ctx context.Context, n node) error {
	switch n.program {
	case namesrvProgram:
		return contains(s.Daemons.Log(n.name), "boot success")
	case proxyProgram:
		return routes(ctx, n.address())
	}
	if err := contains(s.Daemons.Log(n.name), "boot success"); err != nil {
		return err
	}
	secure, err := s.clientTLS()
	if err != nil {
		return err
	}
	// One that was stopped knows nobody, and no broker waits for it.
	for _, other := range s.nodes() {
		if _, runs := s.Daemons.Running(other.name); !runs || other.program != namesrvProgram {
			continue
		}
		if err := registered(ctx, secure, other.address(), n.brokerOf, s.brokerAddress(n)); err != nil {
			return err
		}
	}
	if s.Topology == Controller {
		return inSync(ctx, layout.Address(layout.Loopback, s.Ports.Controller), n.brokerOf, s.brokerAddress(n))
	}
	if n.role == slave {
		return s.replicates(n)
	}
	return nil
}

// address is where programs on the host reach a name server or the proxy.
func (n node) address() string { return layout.Address(layout.Loopback, n.port) }

// brokerAddress is what a broker is registered with.
func (s Set) brokerAddress(n node) string { return layout.Address(s.advertised(), n.port) }

// registered is nil once the name server shows the broker's address. A broker that says that it has started may still
// be unknown there: one that found the name server busy retries only seconds later.
func registered(ctx context.Context, secure *tls.Config, nameServer, broker, address string) error {
	body, err := ask(ctx, secure, nameServer, newRequest(codeClusterInfo))
	if err != nil {
		return err
	}
	// Broker ids are keys without quotes, which encoding/json does not take.
	if !strings.Contains(string(body), `"`+address+`"`) {
		return fmt.Errorf("the name server %s does not know %s at %s yet", nameServer, broker, address)
	}
	return nil
}

// routes is nil once the proxy answers a request for a route.
func routes(ctx context.Context, proxy string) error {
	r := newRequest(codeRoute)
	r.Fields = map[string]string{"topic": defaultTopic}
	_, err := ask(ctx, nil, proxy, r)
	return err
}

// inSync is nil once the controller has a master that is alive, and the broker in the set of those in sync with it.
func inSync(ctx context.Context, controller, broker, address string) error {
	r := newRequest(codeSyncStates)
	r.body = fmt.Sprintf("[%q]", broker)
	body, err := ask(ctx, nil, controller, r)
	if err != nil {
		return err
	}
	var states struct {
		Brokers map[string]struct {
			Master string `json:"masterAddress"`
			InSync []struct {
				Address string `json:"brokerAddress"`
				Alive   bool   `json:"alive"`
			} `json:"inSyncReplicas"`
		} `json:"replicasInfoTable"`
	}
	if err := json.Unmarshal(body, &states); err != nil {
		return fmt.Errorf("reading the controller's answer: %w", err)
	}
	state, alive := states.Brokers[broker], map[string]bool{}
	for _, replica := range state.InSync {
		alive[replica.Address] = replica.Alive
	}
	switch {
	case state.Master == "" || !alive[state.Master]:
		return fmt.Errorf("the controller has no living master of %s yet", broker)
	case !alive[address]:
		return fmt.Errorf("%s is not in sync with the master of %s yet", address, broker)
	}
	return nil
}

// replicates is nil once the slave has its connection to the master that runs. Only slaves connect to a master's port
// for replication.
func (s Set) replicates(n node) error {
	for _, master := range s.nodes() {
		if master.brokerOf != n.brokerOf || master.name == n.name {
			continue
		}
		if _, runs := s.Daemons.Running(master.name); runs && !daemon.Connected(replicationPort(master)) {
			return errors.New("it is not connected to " + master.name + " for replication yet")
		}
	}
	return nil
}

// replicationPort is where slaves read a master's log.
func replicationPort(n node) int { return n.port + 1 }
