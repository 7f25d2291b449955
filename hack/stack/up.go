//go:build linux

package main

import (
	"context"
	"fmt"

	"github.com/rocketmq-connect/operator/hack/stack/internal/broker"
	"github.com/rocketmq-connect/operator/hack/stack/internal/cluster"
	"github.com/rocketmq-connect/operator/hack/stack/internal/daemon"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// up starts the wanted parts side by side. With the cluster, this time or before, the brokers serve pods too.
func (s *stack) up(ctx context.Context, c call) error {
	if c.buildOnly {
		return s.build(ctx, c)
	}
	k := s.cluster()
	if c.wants(partKubernetes) {
		if err := k.Check(); err != nil {
			return err
		}
	}
	return s.locked(ctx, func(ctx context.Context) error {
		b, err := s.wanted(c)
		if err != nil {
			return err
		}
		portsOf := func(name string) []daemon.Port { return append(b.PortsOf(name), k.PortsOf(name)...) }
		if err := s.daemons.CheckPorts(ctx, s.names(c, b), portsOf); err != nil {
			return err
		}
		if err := s.packages(ctx, c); err != nil {
			return err
		}
		if b.Pods {
			if err := k.CreateBridge(ctx); err != nil {
				return err
			}
		}
		var work []func(context.Context) error
		if c.wants(partRocketMQ) {
			if err := broker.Record(s.layout, b.Options); err != nil {
				return err
			}
			work = append(work, inOrder(s.rocketMQ(b.Options), b.StartRocketMQ))
		}
		if c.wants(partKafka) {
			work = append(work, inOrder(s.fetch.Kafka, b.StartKafka))
		}
		if c.wants(partKubernetes) {
			work = append(work, inOrder(s.fetch.Kubernetes, k.Start, s.fetch.Helm))
		}
		return step.All(ctx, work...)
	})
}

// build fetches and builds what the wanted parts need, and starts nothing.
func (s *stack) build(ctx context.Context, c call) error {
	if err := s.packages(ctx, c); err != nil {
		return err
	}
	var work []func(context.Context) error
	if c.wants(partRocketMQ) {
		o, err := c.options(broker.Options{})
		if err == nil {
			err = o.Check()
		}
		if err != nil {
			return err
		}
		work = append(work, s.rocketMQ(o))
	}
	if c.wants(partKafka) {
		work = append(work, s.fetch.Kafka)
	}
	if c.wants(partKubernetes) {
		work = append(work, inOrder(s.fetch.Kubernetes, s.fetch.Helm))
	}
	return step.All(ctx, work...)
}

func (s *stack) packages(ctx context.Context, c call) error {
	return s.fetch.Packages(ctx, c.wants(partRocketMQ) || c.wants(partKafka), c.wants(partKubernetes))
}

// assets prints the folder that envtest wants in KUBEBUILDER_ASSETS.
func (s *stack) assets(ctx context.Context) error {
	dir, err := s.fetch.Assets(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, dir)
	return err
}

// mirrorMaker prints the class path of Kafka Connect with MirrorMaker 2.
func (s *stack) mirrorMaker(ctx context.Context) error {
	path, err := s.fetch.MirrorMaker(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(s.out, path)
	return err
}

// rocketMQ fetches what the options need.
func (s *stack) rocketMQ(o broker.Options) func(context.Context) error {
	fetchVersion := func(ctx context.Context) error { return s.fetch.RocketMQ(ctx, o.Version) }
	if o.Topology == broker.Proxy {
		return inOrder(fetchVersion, s.fetch.Proxy)
	}
	return fetchVersion
}

func (s *stack) cluster() cluster.Cluster {
	return cluster.Cluster{Layout: s.layout, Ports: s.ports, Daemons: s.daemons, Report: s.report}
}

// inOrder is one function that calls all of them until one fails.
func inOrder(fns ...func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		for _, fn := range fns {
			if err := fn(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}
