// Package rmqtest is an in-memory name server and broker that speak the remoting protocol, for tests.
package rmqtest

import (
	"context"
	"net"
	"testing"
)

// Option changes what Start brings up.
type Option func(*Broker)

// Broker is a name server and its masters.
type Broker struct{}

// Start brings up a name server and one master, "broker-a", which stop when the test ends.
func Start(t testing.TB, opts ...Option) *Broker { return &Broker{} }

// NameServer is the address for rmq.Config.NameServers.
func (b *Broker) NameServer() string { return "" }

// Dial is for rmq.Config.Dial when the broker runs over pipes.
func (b *Broker) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	return nil, net.ErrClosed
}

// Stop ends the name server and the masters; the data stay for Restart.
func (b *Broker) Stop() {}

// OverPipe serves no network: clients connect by Dial. It works inside synctest bubbles.
func OverPipe() Option { return func(*Broker) {} }
