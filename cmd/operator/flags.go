package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"sigs.k8s.io/controller-runtime/pkg/client/config"
)

type options struct {
	metricsAddress, probeAddress string
	leaderElect                  bool
	leaderElectionID             string
	watchNamespaces              string
	defaultWorkerImage           string
	concurrency                  int
	logLevel                     string
}

// namespaces are those to watch; none means all.
func (o options) namespaces() []string {
	return strings.FieldsFunc(o.watchNamespaces, func(r rune) bool { return r == ',' || r == ' ' })
}

func parse(args []string) (options, error) {
	var o options
	flags := flag.NewFlagSet("operator", flag.ContinueOnError)
	config.RegisterFlags(flags)
	flags.StringVar(&o.metricsAddress, "metrics-bind-address", ":8080", "address of the metrics; 0 turns them off")
	flags.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "address of /healthz and /readyz")
	flags.BoolVar(&o.leaderElect, "leader-elect", false, "work only while holding the leader's Lease, so that several replicas can run")
	flags.StringVar(&o.leaderElectionID, "leader-election-id", "rocketmq-connect-operator", "name of the leader's Lease; operators of one namespace that watch different ones need different ones")
	flags.StringVar(&o.watchNamespaces, "watch-namespaces", "", "comma-separated namespaces to watch; empty: all")
	flags.StringVar(&o.defaultWorkerImage, "default-worker-image", "docker.io/rocketmq-connect/worker:dev", "worker image of ConnectClusters without spec.image")
	flags.IntVar(&o.concurrency, "concurrency", 8, "how many objects of a kind are worked on at the same time")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	switch {
	case flags.NArg() > 0:
		return o, fmt.Errorf("unexpected argument %q: settings are flags, see -help", flags.Arg(0))
	case o.defaultWorkerImage == "":
		return o, errors.New("-default-worker-image must not be empty")
	case o.leaderElectionID == "":
		return o, errors.New("-leader-election-id must not be empty")
	case o.concurrency < 1:
		return o, fmt.Errorf("-concurrency must be at least 1, not %d", o.concurrency)
	}
	return o, nil
}
