//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/broker"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// status prints what there is of the wanted parts, and fails when some of it does not run.
func (s *stack) status(c call) error {
	b, err := s.brokers()
	if err != nil {
		return err
	}
	var stopped []string
	w := tabwriter.NewWriter(s.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "NAME\tSTATE\tPID\tSINCE\tLOG")
	for _, name := range s.names(c, b) {
		state, pid, since := "stopped", "-", "-"
		if r, ok := s.daemons.Running(name); ok {
			state, pid, since = "running", fmt.Sprint(r.PID), time.Since(r.Since).Round(time.Second).String()
		} else {
			stopped = append(stopped, name)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", name, state, pid, since, s.daemons.Log(name))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(stopped) > 0 {
		return fmt.Errorf("not running: %s; \"up\" starts what is missing", strings.Join(stopped, ", "))
	}
	fmt.Fprintf(s.out, "\n%s", s.environment(c, b))
	return nil
}

// names lists the processes of the wanted parts.
func (s *stack) names(c call, b broker.Set) []string {
	var names []string
	if c.wants(partRocketMQ) {
		names = append(names, b.RocketMQNames()...)
	}
	if c.wants(partKafka) {
		names = append(names, broker.Kafka)
	}
	if c.wants(partKubernetes) {
		names = append(names, s.cluster().Names()...)
	}
	return names
}

// env prints what programs need.
func (s *stack) env(c call) error {
	b, err := s.brokers()
	if err != nil {
		return err
	}
	_, err = fmt.Fprint(s.out, s.environment(c, b))
	return err
}

// environment is what programs on the host need to use the wanted parts, as lines for a shell.
func (s *stack) environment(c call, set broker.Set) string {
	var b strings.Builder
	if os.Getenv("HTTPS_PROXY")+os.Getenv("https_proxy") != "" {
		fmt.Fprintf(&b, "export NO_PROXY=%s\n", quote(os.Getenv("NO_PROXY")))
	}
	if c.wants(partKubernetes) {
		bin := filepath.Dir(s.layout.Bin("kubectl"))
		fmt.Fprintf(&b, "export KUBECONFIG=%s\nexport KUBEBUILDER_ASSETS=%s\nexport PATH=%s:$PATH\n",
			quote(s.layout.Kubeconfig()), quote(bin), quote(bin))
	}
	if c.wants(partRocketMQ) {
		fmt.Fprintf(&b, "export RMQ_NAMESRV=%s\n", quote(strings.Join(set.NameServers(), ";")))
		if set.Topology == broker.Proxy {
			fmt.Fprintf(&b, "export RMQ_PROXY=%s\n", quote(layout.Address(layout.Loopback, s.ports.Proxy)))
		}
		if set.TLS != "" {
			fmt.Fprintf(&b, "export RMQ_TLS_CA=%s\n", quote(set.TLSFile("ca.pem")))
		}
		if set.TLS == broker.TLSMutual {
			fmt.Fprintf(&b, "export RMQ_TLS_CERT=%s RMQ_TLS_KEY=%s\n", quote(set.TLSFile("client.pem")), quote(set.TLSFile("client.key")))
		}
		if c.acl {
			fmt.Fprintf(&b, "export RMQ_ACCESS_KEY=%s RMQ_SECRET_KEY=%s\n", broker.AccessKey, broker.SecretKey)
			if path := set.PlainACL(); path != "" {
				fmt.Fprintf(&b, "export RMQ_PLAIN_ACL=%s\n", quote(path))
			}
		}
	}
	if c.wants(partKafka) {
		fmt.Fprintf(&b, "export KAFKA_BOOTSTRAP=%s\n", layout.Address(layout.Loopback, s.ports.Kafka))
	}
	return b.String()
}

// quote makes a path or a list one word of a shell.
func quote(path string) string { return "'" + strings.ReplaceAll(path, "'", `'\''`) + "'" }

// logs prints a process's output, and with follow goes on until it is interrupted.
func (s *stack) logs(ctx context.Context, name string, follow bool) error {
	path := s.daemons.Log(name)
	b, err := s.brokers()
	if err != nil {
		return err
	}
	if own := b.OwnLog(name); own != "" {
		path = own
	}
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("there is no log of %q: \"status\" lists the names, and \"up\" starts them", name)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if _, err := io.Copy(s.out, f); err != nil {
			return fmt.Errorf("reading the log of %s: %w", name, err)
		}
		if !follow || step.Pause(ctx, 200*time.Millisecond) != nil {
			return nil
		}
	}
}
