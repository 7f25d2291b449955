// Package rig is what chaos runs its workers on: an instance of the local stack of its own, whose processes it kills,
// freezes and starts again, and what RocketMQ itself says about its masters.
package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

var errProcess = errors.New("the stack does not say which process it is")

// Stack is an instance of the local stack that belongs to this run alone. One value holds it: faults reach brokers,
// networks and processes of the same instance, one method each, and each undoes what another did.
type Stack struct {
	Topology
	// Base is the first of its ports.
	Base    int
	binary  string
	version string // of RocketMQ; empty is the stack's own choice
}

// New builds the stack's program, which is run often, in dir. root is the module's folder.
func New(ctx context.Context, root, dir string, base int, t Topology) (*Stack, error) {
	s := &Stack{Topology: t, Base: base, binary: filepath.Join(dir, "stack")}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", s.binary, ".")
	cmd.Dir = filepath.Join(root, "hack", "stack")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the stack: %w\n%s", err, out)
	}
	return s, nil
}

// Use has Up start another version of RocketMQ from now on.
func (s *Stack) Use(version string) { s.version = version }

// KafkaPort is where Kafka listens.
func (s *Stack) KafkaPort() int { return s.Base + 20 }

// Names are the addresses of the name servers.
func (s *Stack) Names() []string {
	var out []string
	for _, n := range s.NameServers {
		out = append(out, Address(s.Base+n.Port))
	}
	return out
}

// AddressOf is where a broker serves.
func (s *Stack) AddressOf(b Broker) string { return Address(s.Base + b.Port) }

func (s *Stack) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, s.binary, append(args, "--port-base", strconv.Itoa(s.Base))...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running stack %s: %w\n%s", args[0], err, errOut.String())
	}
	return out.String(), nil
}

// Up starts what does not run, and returns once all of it takes requests. A port that a connection, or a killed process
// of which the kernel still has something to clear away, holds for a moment is retried.
func (s *Stack) Up(ctx context.Context) error {
	args := append([]string{"up", "--only", "rocketmq,kafka"}, s.Args...)
	if s.version != "" {
		args = append(args, "--rocketmq", s.version)
	}
	return s.again(ctx, args...)
}

func (s *Stack) again(ctx context.Context, args ...string) error {
	for begun := time.Now(); ; {
		_, err := s.run(ctx, args...)
		if err == nil || time.Since(begun) > 20*time.Second {
			return err
		}
		if err := service.Sleep(ctx, time.Second); err != nil {
			return err
		}
	}
}

// Start starts one process again, with the configuration that it had.
func (s *Stack) Start(ctx context.Context, process string) error {
	if s.Name == Single {
		return s.Up(ctx) // all else runs
	}
	return s.again(ctx, "start", process)
}

// Stop ends one process cleanly.
func (s *Stack) Stop(ctx context.Context, process string) error {
	_, err := s.run(ctx, "stop", process)
	return err
}

// Lose ends one process cleanly, and removes what it stored.
func (s *Stack) Lose(ctx context.Context, process string) error {
	_, err := s.run(ctx, "stop", process, "--wipe")
	return err
}

// Down ends all, and removes it.
func (s *Stack) Down(ctx context.Context) error {
	_, err := s.run(ctx, "down")
	return err
}

// Registered waits until each name server knows all topics on as many brokers as there are masters, which it learns
// from the brokers' next reports: up to 30 s after it was restarted.
func (s *Stack) Registered(ctx context.Context, topics ...string) error {
	return wait.Until(ctx, 500*time.Millisecond, func(ctx context.Context) error {
		for _, name := range s.Names() {
			if err := shows(ctx, name, topics, len(s.MasterNames())); err != nil {
				return fmt.Errorf("asking name server %s: %w", name, err)
			}
		}
		return nil
	})
}

var errUnregistered = errors.New("not all masters are registered")

// shows asks one name server by a client of its own, which keeps no routes.
func shows(ctx context.Context, name string, topics []string, masters int) error {
	client, err := rmq.Open(rmq.Config{NameServers: []string{name}})
	if err != nil {
		return err
	}
	defer client.Close()
	for _, topic := range topics {
		queues, err := client.Route(ctx, topic)
		if err != nil {
			return err
		}
		brokers := map[string]bool{}
		for _, q := range queues {
			brokers[q.Broker] = true
		}
		if len(brokers) < masters {
			return fmt.Errorf("%w: topic %s is on %d brokers of %d", errUnregistered, topic, len(brokers), masters)
		}
	}
	return nil
}
