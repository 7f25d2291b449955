//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/rocketmq-connect/operator/hack/stack/internal/broker"
	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
)

// brokers are those of the instance, as it was last brought up.
func (s *stack) brokers() (broker.Set, error) {
	o, err := broker.Recorded(s.layout)
	if o.Topology == "" {
		o.Topology, o.Version = broker.Single, fetch.RocketMQ5
	}
	o.Pods = s.cluster().Exists()
	return s.brokersOf(o), err
}

// wanted are the brokers that "up" is asked for. An instance keeps the topology that it has: the data of one are of no
// use to another.
func (s *stack) wanted(c call) (broker.Set, error) {
	have, err := broker.Recorded(s.layout)
	if err != nil {
		return broker.Set{}, err
	}
	o, err := c.options(have)
	o.Pods = c.wants(partKubernetes) || s.cluster().Exists()
	if err == nil {
		err = o.Check()
	}
	return s.brokersOf(o), err
}

func (s *stack) brokersOf(o broker.Options) broker.Set {
	return broker.Set{Layout: s.layout, Ports: s.ports, Daemons: s.daemons, Report: s.report, Options: o}
}

var errTopology = errors.New("the instance has another topology")

// options are what a call asks for, on top of what the instance has.
func (c call) options(have broker.Options) (broker.Options, error) {
	o := broker.Options{Topology: c.topology, Sync: c.sync, Version: c.rocketmq, ACL: c.acl, TLS: c.tls}
	switch {
	case c.topology == "" && have.Topology != "":
		o.Topology, o.Sync = have.Topology, c.sync || have.Sync
	case c.topology == "":
		o.Topology = broker.Single
	case have.Topology != "" && have.Topology != c.topology:
		return o, fmt.Errorf(
			"%w: it has %s, not %s; run \"down\" first, or give the other one a --port-base",
			errTopology,
			have.Topology,
			c.topology,
		)
	}
	return o, nil
}

// start starts single processes of an instance that was up.
func (s *stack) start(ctx context.Context, names []string) error {
	return s.locked(ctx, func(ctx context.Context) error {
		b, err := s.existing()
		if err != nil {
			return err
		}
		return b.StartNames(ctx, names)
	})
}

// stop ends single processes, and removes their data if wanted.
func (s *stack) stop(ctx context.Context, names []string, wipe bool) error {
	return s.locked(ctx, func(ctx context.Context) error {
		b, err := s.existing()
		if err != nil {
			return err
		}
		return b.StopNames(ctx, names, wipe)
	})
}

func (s *stack) existing() (broker.Set, error) {
	if _, err := os.Stat(s.layout.State()); errors.Is(err, fs.ErrNotExist) {
		return broker.Set{}, fmt.Errorf(
			"nothing was started on these ports (%s): \"up\" starts an instance, --port-base names it",
			s.layout.Instance(),
		)
	}
	return s.brokers()
}
