package main

import (
	"errors"
	"flag"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/rocketmq-connect/operator/controllers/render"
)

type options struct {
	metricsAddress, probeAddress string
	leaderElect                  bool
	leaderElectionID             string
	watchNamespaces              string
	defaultWorkerImage           string
	concurrency                  int
	logLevel                     string
	namespace                    string
	prometheusNamespace          string
	prometheusPodLabels          string
}

// peers are the pods that the workers' NetworkPolicies let in.
func (o options) peers() (render.Peers, error) {
	selected, err := labels.ConvertSelectorToLabelsMap(o.prometheusPodLabels)
	if err != nil {
		return render.Peers{}, fmt.Errorf("-prometheus-pod-labels must be key=value, separated by commas, not %q: %w", o.prometheusPodLabels, err)
	}
	return render.Peers{OperatorNamespace: o.namespace, PrometheusNamespace: o.prometheusNamespace, PrometheusLabels: selected}, nil
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
	flags.StringVar(
		&o.leaderElectionID,
		"leader-election-id",
		"rocketmq-connect-operator",
		"name of the leader's Lease; operators of one namespace that watch different ones need different ones",
	)
	flags.StringVar(&o.watchNamespaces, "watch-namespaces", "", "comma-separated namespaces to watch; empty: all")
	flags.StringVar(
		&o.defaultWorkerImage,
		"default-worker-image",
		"docker.io/rocketmq-connect/worker:dev",
		"worker image of ConnectClusters without spec.image",
	)
	flags.IntVar(&o.concurrency, "concurrency", 8, "how many objects of a kind are worked on at the same time")
	flags.StringVar(&o.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringVar(
		&o.namespace,
		"namespace",
		"",
		"namespace of this operator's own pods, which the workers' NetworkPolicies let in; empty: it runs outside the Kubernetes cluster",
	)
	flags.StringVar(
		&o.prometheusNamespace,
		"prometheus-namespace",
		"",
		"namespace whose pods the workers' NetworkPolicies let in to the metrics; empty: nobody",
	)
	flags.StringVar(
		&o.prometheusPodLabels,
		"prometheus-pod-labels",
		"",
		"labels that these pods must have, key=value separated by commas; empty: all of the namespace",
	)
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	_, badLabels := o.peers()
	switch {
	case badLabels != nil:
		return o, badLabels
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
