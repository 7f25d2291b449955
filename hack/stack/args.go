//go:build linux

package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/broker"
	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
)

const usage = `The local stack: RocketMQ, Kafka and a one-node Kubernetes on this machine (Linux; Kubernetes needs root).

  go run -C hack/stack . COMMAND [FLAGS]

  up [--only PARTS] [--build-only]   start what does not run yet; PARTS: rocketmq,kafka,kubernetes (all)
  start NAME...                      start single processes of RocketMQ and Kafka again, as they were
  stop NAME... [--wipe]              end single processes cleanly; with --wipe remove their data
  down                               stop everything and remove its data, mounts, network devices and rules
  status                             what runs, where, and since when
  logs NAME [-f]                     the output of a process that status lists
  load-image TAR...                  load images (docker or OCI tars) into the cluster
  build                              fetch and build all programs, start nothing
  assets                             print the folder of kube-apiserver, etcd and kubectl for envtest
  mirrormaker                        fetch MirrorMaker 2 and print its class path, for the benchmarks
  image [--out DIR]                  build the operator's and the worker's images as tars
  env                                print KUBECONFIG and the brokers' addresses as shell exports

  --topology T    which processes RocketMQ has; the instance keeps it until "down":
                    single      one name server, one broker (what a new instance has)
                    masters     two name servers, two brokers
                    replicated  one name server, a master and its slave; with --sync the master waits for the slave
                    controller  two name servers, two replicas; the controller makes one of them the master
                    proxy       one name server, one broker, a proxy
  --rocketmq V    the version of RocketMQ: 5.3.3 (the default) or 4.9.7
  --acl           RocketMQ checks signatures; env prints the keys
  --tls MODE      RocketMQ has certificates of the instance's own CA; env prints their paths:
                    server      it takes TLS only
                    mutual      it takes TLS only, and clients have to show a certificate, too
                    permissive  it takes connections with TLS and without
  --port-base N   another instance, on the ports from N on; the cluster itself exists once on a machine
`

// The parts that --only chooses from.
const (
	partRocketMQ   = "rocketmq"
	partKafka      = "kafka"
	partKubernetes = "kubernetes"
)

var parts = []string{partRocketMQ, partKafka, partKubernetes}

// call is a parsed command line.
type call struct {
	verb      string
	args      []string
	only      []string // never empty
	base      int
	topology  string // none: what the instance has
	sync      bool
	rocketmq  string // a version
	acl       bool
	tls       string // a mode; none: without
	wipe      bool
	buildOnly bool
	follow    bool
	outDir    string
}

func (c call) wants(part string) bool { return slices.Contains(c.only, part) }

// operands is how many arguments each command takes.
var operands = map[string]struct{ least, most int }{
	"up": {}, "down": {}, "status": {}, "build": {}, "assets": {}, "mirrormaker": {}, "env": {}, "image": {}, "help": {},
	"logs": {1, 1}, "load-image": {1, 1 << 20}, "start": {1, 1 << 20}, "stop": {1, 1 << 20},
}

// parse reads a command line; flags may stand before and after what they belong to.
func parse(args []string) (call, error) {
	c := call{only: parts}
	flags := flag.NewFlagSet("stack", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	only := flags.String("only", "", "")
	flags.IntVar(&c.base, "port-base", 0, "")
	flags.StringVar(&c.topology, "topology", "", "")
	flags.BoolVar(&c.sync, "sync", false, "")
	flags.BoolVar(&c.wipe, "wipe", false, "")
	flags.StringVar(&c.rocketmq, "rocketmq", fetch.RocketMQ5, "")
	flags.BoolVar(&c.acl, "acl", false, "")
	flags.StringVar(&c.tls, "tls", "", "")
	flags.BoolVar(&c.buildOnly, "build-only", false, "")
	flags.BoolVar(&c.follow, "f", false, "")
	flags.StringVar(&c.outDir, "out", "dist", "")
	for rest := args; len(rest) > 0; {
		err := flags.Parse(rest)
		if errors.Is(err, flag.ErrHelp) {
			return call{verb: "help", only: parts}, nil
		}
		if err != nil {
			return call{}, fmt.Errorf("%w; \"help\" lists commands and flags", err)
		}
		if rest = flags.Args(); len(rest) > 0 {
			c.args, rest = append(c.args, rest[0]), rest[1:]
		}
	}
	if len(c.args) == 0 {
		return call{verb: "help", only: parts}, nil
	}
	c.verb, c.args = c.args[0], c.args[1:]
	if err := c.checkOperands(); err != nil {
		return call{}, err
	}
	if *only != "" {
		c.only = strings.Split(*only, ",")
	}
	for _, p := range c.only {
		if !slices.Contains(parts, p) {
			return call{}, fmt.Errorf("--only %s: %q is none of %s", *only, p, strings.Join(parts, ", "))
		}
	}
	if versions := []string{fetch.RocketMQ5, fetch.RocketMQ4}; !slices.Contains(versions, c.rocketmq) {
		return call{}, fmt.Errorf("--rocketmq %s: the versions are %s", c.rocketmq, strings.Join(versions, " and "))
	}
	if c.tls != "" && !slices.Contains(broker.TLSModes, c.tls) {
		return call{}, fmt.Errorf("--tls %s: the modes are %s", c.tls, strings.Join(broker.TLSModes, ", "))
	}
	if c.topology != "" && !slices.Contains(broker.Topologies, c.topology) {
		return call{}, fmt.Errorf("--topology %s: the topologies are %s", c.topology, strings.Join(broker.Topologies, ", "))
	}
	return c, nil
}

func (c call) checkOperands() error {
	n, known := operands[c.verb]
	switch {
	case !known:
		return fmt.Errorf("unknown command %q; \"help\" lists the commands", c.verb)
	case len(c.args) < n.least:
		return fmt.Errorf("%s needs an argument; \"help\" says which", c.verb)
	case len(c.args) > n.most:
		return fmt.Errorf("%s: unexpected argument %q", c.verb, c.args[n.most])
	}
	return nil
}
