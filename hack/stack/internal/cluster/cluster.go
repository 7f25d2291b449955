// Package cluster runs a real one-node Kubernetes, and removes every trace of it.
package cluster

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/daemon"
	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// part is what progress lines call the cluster.
const part = "kubernetes"

// startLimit is how long one process of the cluster, and nodeLimit how long the node with its DNS may take on a busy
// machine.
const (
	startLimit = 2 * time.Minute
	nodeLimit  = 4 * time.Minute
)

// Cluster is the one-node Kubernetes of an instance.
type Cluster struct {
	Layout  layout.Layout
	Ports   layout.Ports
	Daemons daemon.Folder
	Report  *step.Reporter
}

// Exists tells whether the cluster was brought up, even in part, and not taken down.
func (c Cluster) Exists() bool {
	_, err := os.Stat(c.before())
	return err == nil
}

func (c Cluster) before() string { return c.Layout.State("before.json") }
func (c Cluster) run() string    { return c.Layout.State("run") }

// Check fails, before anything is changed, when the machine cannot run the cluster.
func (c Cluster) Check() error {
	if os.Getuid() != 0 {
		return errors.New("kubernetes needs root here: run it as root, or run only the brokers (\"up --only rocketmq,kafka\" needs no root) " +
			"and use a Kubernetes of your own (kind, minikube), as the README's section on installing says")
	}
	if err := c.Layout.CheckSockets(); err != nil {
		return err
	}
	all, err := filepath.Glob(filepath.Join(c.Layout.States(), "*", "before.json"))
	if err != nil {
		return fmt.Errorf("looking for other clusters: %w", err)
	}
	for _, other := range all {
		if other != c.before() {
			name := filepath.Base(filepath.Dir(other))
			return fmt.Errorf("the instance %q of the stack runs the cluster already, and there is one for each machine: "+
				"take it down first with \"down --port-base %s\"", name, strings.Replace(name, "default", "0", 1))
		}
	}
	return checkNetwork()
}

// Start brings the cluster up and returns when pods can be made and names resolve. CreateBridge must have been called.
func (c Cluster) Start(ctx context.Context) error {
	s, err := c.writeConfig()
	if err != nil {
		return err
	}
	up := func(name string) func(context.Context) error {
		return func(ctx context.Context) error { return c.start(ctx, name, c.healthy(name)) }
	}
	if err := step.All(ctx, c.startContainerd, up(etcd)); err != nil {
		return err
	}
	if err := c.start(ctx, apiServer, c.ready); err != nil {
		return err
	}
	if err := step.All(ctx, up(controllerManager), up(scheduler), up(kubelet)); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, nodeLimit)
	defer cancel()
	if err := c.settle(limited, s); err != nil {
		return fmt.Errorf("waiting for the cluster: %w; \"logs kubelet\" and the other logs that \"status\" lists tell more", err)
	}
	c.Report.Say(part, "ready: export KUBECONFIG=%s", c.Layout.Kubeconfig())
	return nil
}

// settle applies what the cluster itself needs and waits for it.
func (c Cluster) settle(ctx context.Context, s settings) error {
	// kube-proxy reads the node's address when it starts, and ends when the address changes: the node is to be there
	// first.
	if _, err := c.kubectl(ctx, "wait", "--for=create", "node/"+layout.Node, "--timeout=120s"); err != nil {
		return err
	}
	if err := c.start(ctx, proxy, c.healthy(proxy)); err != nil {
		return err
	}
	for _, name := range []string{"coredns.yaml", "brokers.yaml"} {
		manifest, err := render(name, s)
		if err != nil {
			return err
		}
		err = step.Until(ctx, func(ctx context.Context) (bool, error) {
			_, err := step.OutputOf(
				ctx,
				manifest,
				c.Layout.Bin("kubectl"),
				c.kubectlArgs("apply", "--server-side", "--force-conflicts", "-f", "-")...)
			return err == nil, err
		})
		if err != nil {
			return err
		}
	}
	for _, wait := range [][]string{
		{"wait", "--for=condition=Ready", "node/" + layout.Node, "--timeout=120s"},
		{"-n", "default", "wait", "--for=create", "serviceaccount/default", "--timeout=120s"},
		{"-n", "kube-system", "rollout", "status", "deployment/coredns", "--timeout=120s"},
	} {
		if _, err := c.kubectl(ctx, wait...); err != nil {
			return err
		}
	}
	return nil
}

func (c Cluster) start(ctx context.Context, name string, ready func(context.Context) error) error {
	s := c.spec(name)
	s.Ports, s.Ready, s.Limit = c.PortsOf(name), ready, startLimit
	return c.Daemons.Up(ctx, s, c.Report)
}

func (c Cluster) startContainerd(ctx context.Context) error {
	if err := os.MkdirAll(runtimeDir, 0o755); err != nil {
		return fmt.Errorf("making containerd's folder: %w", err)
	}
	err := c.start(ctx, containerd, func(ctx context.Context) error {
		_, err := c.ctr(ctx, "version")
		return err
	})
	if err != nil {
		return err
	}
	have, err := c.ctr(ctx, "images", "ls", "-q")
	if err != nil {
		return err
	}
	names := strings.Fields(have)
	if slices.Contains(names, fetch.PauseImage) && slices.Contains(names, fetch.CoreDNSImage) {
		return nil
	}
	return c.LoadImages(ctx, fetch.Fetcher{Layout: c.Layout}.ClusterImages())
}

// LoadImages loads the images of tar files (Docker's or OCI's form) into the cluster's containerd.
func (c Cluster) LoadImages(ctx context.Context, tars []string) error {
	if _, ok := c.Daemons.Running(containerd); !ok {
		return errors.New("the cluster is not up: bring it up with \"up\" first")
	}
	for _, tar := range tars {
		out, err := c.ctr(ctx, "images", "import", tar)
		if err != nil {
			return fmt.Errorf("loading an image: %w", err)
		}
		for line := range strings.Lines(out) {
			if name, _, ok := strings.Cut(strings.TrimPrefix(line, "unpacking "), " ("); ok {
				c.Report.Say(part, "loaded %s", name)
			}
		}
	}
	return nil
}

func (c Cluster) writeConfig() (settings, error) {
	s := newSettings(c.Layout, c.Ports)
	s.Resolvers = hostResolvers("/etc/resolv.conf")
	if err := errors.Join(os.MkdirAll(c.run(), 0o755), os.MkdirAll(c.etc("cni"), 0o755)); err != nil {
		return s, fmt.Errorf("making the cluster's folders: %w", err)
	}
	var err error
	if s.Snapshotter, err = snapshotterFor(c.run()); err != nil {
		return s, err
	}
	if err := writeIdentities(c.Layout.State("etc"), c.Layout.Kubeconfig(), layout.Address(layout.BridgeIP, c.Ports.APIServer)); err != nil {
		return s, err
	}
	for from, to := range map[string]string{"containerd.toml": "containerd.toml", "cni.conflist": "cni/10-rocketmq-connect.conflist",
		"kubelet.yaml": "kubelet.yaml", "proxy.yaml": "proxy.yaml"} {
		content, err := render(from, s)
		if err != nil {
			return s, err
		}
		if err := os.WriteFile(c.etc(to), []byte(content), 0o600); err != nil {
			return s, fmt.Errorf("writing the cluster's configuration: %w", err)
		}
	}
	return s, nil
}

// ready asks the API server whether it is.
func (c Cluster) ready(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	_, err := c.kubectl(limited, "get", "--raw", "/readyz")
	return err
}

// healthy gives the question whether a process says that it is well. Their certificates on loopback are made up by
// themselves.
func (c Cluster) healthy(name string) func(context.Context) error {
	url := map[string]string{
		etcd:              "http://" + layout.Address(layout.Loopback, c.Ports.Etcd),
		controllerManager: "https://" + layout.Address(layout.Loopback, c.Ports.ControllerManager),
		scheduler:         "https://" + layout.Address(layout.Loopback, c.Ports.Scheduler),
		kubelet:           "http://" + layout.Address(layout.Loopback, c.Ports.KubeletHealth),
		proxy:             "http://" + layout.Address(layout.Loopback, c.Ports.ProxyHealth),
	}[name] + "/health"
	if name != etcd {
		url += "z"
	}
	client := &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{
		DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s answers %s", url, response.Status)
		}
		return nil
	}
}

func (c Cluster) kubectlArgs(args ...string) []string {
	return append([]string{"--kubeconfig", c.Layout.Kubeconfig(), "--cache-dir", filepath.Join(c.run(), "kubectl")}, args...)
}

func (c Cluster) kubectl(ctx context.Context, args ...string) (string, error) {
	return step.Output(ctx, c.Layout.Bin("kubectl"), c.kubectlArgs(args...)...)
}

func (c Cluster) ctr(ctx context.Context, args ...string) (string, error) {
	return step.Output(ctx, "ctr", append([]string{"--address", socket, "--namespace", "k8s.io"}, args...)...)
}
