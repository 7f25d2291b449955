package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	defaults := options{
		metricsAddress: ":8080", probeAddress: ":8081", defaultWorkerImage: "docker.io/rocketmq-connect/worker:dev",
		leaderElectionID: "rocketmq-connect-operator", concurrency: 8, logLevel: "info",
	}
	with := func(change func(*options)) options {
		o := defaults
		change(&o)
		return o
	}
	cases := map[string]struct {
		args    []string
		want    options
		wantErr string
	}{
		"nothing": {nil, defaults, ""},
		"what the chart gives": {
			[]string{"-leader-elect=true", "-leader-election-id=shop", "-watch-namespaces=a,b"},
			with(func(o *options) { o.leaderElect, o.leaderElectionID, o.watchNamespaces = true, "shop", "a,b" }),
			"",
		},
		"who may call workers": {
			[]string{"-namespace=ops", "-prometheus-namespace=monitoring", "-prometheus-pod-labels=app=prometheus,team=a"},
			with(func(o *options) {
				o.namespace, o.prometheusNamespace, o.prometheusPodLabels = "ops", "monitoring", "app=prometheus,team=a"
			}),
			"",
		},
		"labels that are none":       {[]string{"-prometheus-pod-labels=prometheus"}, options{}, "-prometheus-pod-labels must be key=value"},
		"no name for the Lease":      {[]string{"-leader-election-id="}, options{}, "-leader-election-id must not be empty"},
		"no metrics":                 {[]string{"-metrics-bind-address=0"}, with(func(o *options) { o.metricsAddress = "0" }), ""},
		"an unknown flag":            {[]string{"-nope"}, options{}, "not defined: -nope"},
		"a word too many":            {[]string{"run"}, options{}, `unexpected argument "run"`},
		"no default image":           {[]string{"-default-worker-image="}, options{}, "-default-worker-image must not be empty"},
		"nobody to work":             {[]string{"-concurrency=0"}, options{}, "-concurrency must be at least 1"},
		"a number that is no number": {[]string{"-concurrency=x"}, options{}, "-concurrency"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := parse(tc.args)
			if tc.wantErr != "" {
				if err == nil || !strings.Contains(err.Error(), tc.wantErr) {
					t.Errorf("error %v, want %q in it", err, tc.wantErr)
				}
				return
			}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(options{})); err != nil || diff != "" {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
		})
	}
	if got := (options{watchNamespaces: "a, b,,"}).namespaces(); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("namespaces %v", got)
	}
}
