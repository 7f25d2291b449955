package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker"
	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	// lookAgain is how often a worker that is starting is asked whether it is ready.
	lookAgain = 250 * time.Millisecond
	// aloneWithin is how long other workers of the cluster may be seen: one of an earlier run that was killed is forgotten
	// after the session time-out.
	aloneWithin = 15 * time.Second
	callTimeout = 20 * time.Second
)

// errEnded ends what waits for the worker when that has ended, for a reason of its own.
var errEnded = errors.New("the worker has ended")

// runner runs connectors on a worker in this process.
type runner struct {
	cfg       config.Worker
	log       logr.Logger
	wanted    []connector
	out       io.Writer
	temporary string // to be removed; empty: nothing
	http      *http.Client
	client    *restclient.Client
}

// oneEach refuses names that are there twice, in different namespaces: here all are on one cluster.
func oneEach(all []connector) ([]connector, error) {
	if len(all) == 0 {
		return nil, errors.New("there is no Connector in the files")
	}
	seen := map[string]place{}
	for _, c := range all {
		if first, ok := seen[c.want.Name]; ok {
			return nil, fmt.Errorf("%s: metadata.name: %s is in %s, too: both cannot run on one worker", c.at, c.want.Name, first)
		}
		seen[c.want.Name] = c.at
	}
	return all, nil
}

func newRunner(ctx context.Context, o options, wanted []connector, out io.Writer) (*runner, error) {
	r := &runner{wanted: wanted, out: out}
	if err := r.setUp(ctx, o); err != nil {
		return nil, errors.Join(err, r.close())
	}
	return r, nil
}

func (r *runner) setUp(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "rocketmq-connect-standalone-")
	if err != nil {
		return fmt.Errorf("making a temporary folder: %w", err)
	}
	r.temporary = dir
	port, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	// The REST API is for this process alone.
	token := rand.Text()
	tokenFile := filepath.Join(dir, "token")
	if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
		return fmt.Errorf("writing the token: %w", err)
	}
	if r.cfg = workerConfig(o, port); r.cfg.StoreDir == "" {
		r.cfg.StoreDir = filepath.Join(dir, "store")
	}
	r.cfg.RESTTokenFile = tokenFile
	if err := r.cfg.Validate(); err != nil {
		return fmt.Errorf("checking the flags: %w", err)
	}
	if r.log, err = logger(o.verbose); err != nil {
		return err
	}
	r.http = &http.Client{Transport: &http.Transport{ResponseHeaderTimeout: callTimeout}}
	r.client = restclient.New("http://"+r.cfg.AdvertisedAddress, token, r.http)
	return nil
}

func workerConfig(o options, port int) config.Worker {
	cfg := config.Default()
	cfg.ClusterID, cfg.WorkerID = o.clusterID, o.clusterID+"-worker"
	cfg.NamesrvAddrs = strings.FieldsFunc(o.nameServers, func(c rune) bool { return c == ';' || c == ',' || c == ' ' })
	cfg.HTTPHost, cfg.HTTPPort, cfg.CompatRoutes = "127.0.0.1", port, false
	cfg.AdvertisedAddress = net.JoinHostPort(cfg.HTTPHost, strconv.Itoa(port))
	cfg.StoreDir = o.store
	cfg.DrainTimeout = 15 * time.Second
	cfg.ACLEnable, cfg.CredentialsDir = o.credentials != "", o.credentials
	cfg.TLSEnable, cfg.TLSCA, cfg.TLSCert, cfg.TLSKey, cfg.TLSServerName = o.tls.enable, o.tls.ca, o.tls.cert, o.tls.key, o.tls.serverName
	prefix := o.clusterID + "-connector-"
	cfg.Topics = config.Topics{
		Cluster: prefix + "cluster-topic", Config: prefix + "config-topic", Position: prefix + "position-topic",
		Offset: prefix + "offset-topic", Status: prefix + "status-topic",
	}
	return cfg
}

func logger(verbose bool) (logr.Logger, error) {
	return process.Log(func(cfg *zap.Config) {
		cfg.Encoding, cfg.EncoderConfig.EncodeTime = "console", zapcore.ISO8601TimeEncoder
		if !verbose {
			cfg.Level = zap.NewAtomicLevelAt(zapcore.ErrorLevel)
		}
	})
}

// close removes what newRunner made.
func (r *runner) close() error {
	if r.http != nil {
		r.http.CloseIdleConnections()
	}
	if r.temporary == "" {
		return nil
	}
	if err := os.RemoveAll(r.temporary); err != nil {
		return fmt.Errorf("removing the temporary folder: %w", err)
	}
	return nil
}

func (r *runner) say(format string, args ...any) {
	_, _ = fmt.Fprintf(r.out, "%s %s\n", time.Now().Format(time.TimeOnly), fmt.Sprintf(format, args...))
}

// run runs the connectors until ctx ends, and stops them cleanly.
func (r *runner) run(ctx context.Context) error {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	stopping, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var group service.Group
	defer group.Wait()
	var workerErr error // once the group has ended
	group.Go(func() {
		workerErr = process.Serve(stopping, r.cfg, worker.Options{Log: r.log, Version: "standalone"})
		fail(errEnded)
	})
	err := r.work(ctx)
	if errors.Is(err, context.Canceled) || errors.Is(err, errEnded) {
		err = nil
	}
	r.say("stopping")
	stop()
	group.Wait()
	return errors.Join(err, workerErr)
}

// work hands the connectors to the worker and tells what becomes of them.
func (r *runner) work(ctx context.Context) error {
	if err := r.ready(ctx); err != nil {
		return err
	}
	if err := r.stopOthers(ctx); err != nil {
		return err
	}
	for _, c := range r.wanted {
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		_, err := r.client.Put(callCtx, c.want, restclient.AnyRevision)
		cancel()
		if err != nil {
			return fmt.Errorf("starting %s (%s): %w", c.want.Name, c.at, err)
		}
	}
	for {
		t := teller{runner: r, shown: map[string]string{}}
		err := r.client.Watch(ctx, 0, t.take)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r.say("watching again: %s", err)
		if err := service.Sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// ready waits until the worker is a member, and the only one.
func (r *runner) ready(ctx context.Context) error {
	var told string
	tell := func(why string) {
		if why != told {
			r.say("waiting: %s", why)
			told = why
		}
	}
	var patience time.Time
	for {
		view, why := r.view(ctx)
		others := view.Members
		switch {
		case why != "":
			tell(why)
		case len(others) <= 1:
			r.say("%s is ready on RocketMQ %s", r.cfg.WorkerID, strings.Join(r.cfg.NamesrvAddrs, ";"))
			return nil
		case patience.IsZero():
			patience = time.Now().Add(aloneWithin)
			tell(fmt.Sprintf("cluster %s has %d workers", r.cfg.ClusterID, len(others)))
		case time.Now().After(patience):
			return fmt.Errorf("cluster %s has other workers: choose an id of your own with -cluster-id", r.cfg.ClusterID)
		}
		if err := service.Sleep(ctx, lookAgain); err != nil {
			return err
		}
	}
}

// view returns the worker's view, or why there is none yet.
func (r *runner) view(ctx context.Context) (restapi.Cluster, string) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	_, err := r.client.List(ctx) // which is refused until the stores are read
	var view restapi.Cluster
	if err == nil {
		view, err = r.client.Cluster(ctx)
	}
	var p *restapi.Problem
	switch {
	case errors.As(err, &p):
		return view, p.Detail
	case err != nil || !view.Joined:
		return view, "the worker is starting"
	}
	return view, ""
}

// stopOthers stops what an earlier run with other files left in the cluster. Nothing of it is lost.
func (r *runner) stopOthers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	all, err := r.client.List(ctx)
	if err != nil {
		return fmt.Errorf("listing connectors: %w", err)
	}
	mine := map[string]bool{}
	for _, c := range r.wanted {
		mine[c.want.Name] = true
	}
	for _, c := range all {
		if mine[c.Name] || c.State == restapi.StateStopped {
			continue
		}
		if _, err := r.client.SetState(ctx, c.Name, restapi.StateStopped); err != nil {
			return fmt.Errorf("stopping %s of an earlier run: %w", c.Name, err)
		}
		r.say("%s of an earlier run is not in the files: stopped, its positions are kept", c.Name)
	}
	return nil
}
