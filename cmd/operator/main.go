// Command operator runs the controllers for ConnectCluster and Connector objects.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"

	"github.com/go-logr/zapr"
	"go.uber.org/zap"
	"k8s.io/client-go/rest"
	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	corev1 "k8s.io/api/core/v1"

	"github.com/rocketmq-connect/operator/controllers"
)

func main() {
	o, err := parse(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err == nil {
		err = run(ctrl.SetupSignalHandler(), o)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "operator:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) error {
	level, err := zap.ParseAtomicLevel(o.logLevel)
	if err != nil {
		return fmt.Errorf("reading -log-level: %w", err)
	}
	zc := zap.NewProductionConfig()
	zc.Level, zc.Sampling = level, nil
	zl, err := zc.Build()
	if err != nil {
		return fmt.Errorf("opening the log: %w", err)
	}
	defer func() { _ = zl.Sync() }()
	log := zapr.NewLogger(zl)
	ctrl.SetLogger(log)
	klog.SetLogger(log.WithName("client-go"))

	cfg, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the Kubernetes cluster: %w", err)
	}
	mgr, err := manager(cfg, o)
	if err != nil {
		return err
	}
	peers, err := o.peers()
	if err != nil {
		return err
	}
	if err := controllers.Setup(
		ctx,
		mgr,
		controllers.Options{DefaultWorkerImage: o.defaultWorkerImage, Peers: peers, Concurrency: o.concurrency},
	); err != nil {
		return err
	}
	log.Info("Starting the operator", "defaultWorkerImage", o.defaultWorkerImage, "watchNamespaces", o.namespaces())
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controllers: %w", err)
	}
	return nil
}

func manager(cfg *rest.Config, o options) (ctrl.Manager, error) {
	scheme, err := controllers.Scheme()
	if err != nil {
		return nil, err
	}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme:  scheme,
		Cache:   controllers.CacheOptions(o.namespaces()),
		Client:  client.Options{Cache: &client.CacheOptions{DisableFor: []client.Object{&corev1.Secret{}}}},
		Metrics: server.Options{BindAddress: o.metricsAddress},

		HealthProbeBindAddress:        o.probeAddress,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              o.leaderElectionID,
		LeaderElectionReleaseOnCancel: true,
	})
	if err != nil {
		return nil, fmt.Errorf("making the manager: %w", err)
	}
	return mgr, errors.Join(
		mgr.AddHealthzCheck("ping", healthz.Ping),
		mgr.AddReadyzCheck("ping", healthz.Ping),
	)
}
