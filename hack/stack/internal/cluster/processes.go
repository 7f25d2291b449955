package cluster

import (
	"fmt"
	"path/filepath"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/daemon"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

// The names of the processes.
const (
	containerd        = "containerd"
	etcd              = "etcd"
	apiServer         = "kube-apiserver"
	controllerManager = "kube-controller-manager"
	scheduler         = "kube-scheduler"
	kubelet           = "kubelet"
	proxy             = "kube-proxy"
)

// grace is how long a process has between SIGTERM and SIGKILL.
const grace = 20 * time.Second

// Names lists the processes in the order in which they start.
func (c Cluster) Names() []string {
	return []string{containerd, etcd, apiServer, controllerManager, scheduler, kubelet, proxy}
}

func (c Cluster) etc(name string) string { return c.Layout.State("etc", name) }

func (c Cluster) spec(name string) daemon.Spec {
	s := daemon.Spec{Name: name, Path: c.Layout.Bin(name), Args: c.args(name), Grace: grace}
	switch name {
	case containerd:
		s.Path, s.Files = containerd, []string{c.etc("containerd.toml"), c.etc("cni/10-rocketmq-connect.conflist")}
	case kubelet:
		s.Files = []string{c.etc("kubelet.yaml")}
	case proxy:
		s.Files = []string{c.etc("proxy.yaml")}
	}
	return s
}

func (c Cluster) args(name string) []string {
	clientURL := "http://" + layout.Address(layout.Loopback, c.Ports.Etcd)
	peerURL := "http://" + layout.Address(layout.Loopback, c.Ports.EtcdPeer)
	switch name {
	case containerd:
		return []string{"--config", c.etc("containerd.toml")}
	case etcd: // the data need not outlive a crash of the machine
		return []string{"--data-dir", filepath.Join(c.run(), "etcd"), "--listen-client-urls", clientURL, "--advertise-client-urls", clientURL,
			"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "default=" + peerURL, "--unsafe-no-fsync"}
	case apiServer:
		return c.apiServerArgs(clientURL)
	case controllerManager:
		return append(c.clientArgs("controller-manager", c.Ports.ControllerManager), "--service-account-private-key-file="+c.etc("sa.key"),
			"--root-ca-file="+c.etc("ca.crt"), "--use-service-account-credentials=true",
			"--flex-volume-plugin-dir="+filepath.Join(c.run(), "volume-plugins"))
	case scheduler:
		return c.clientArgs("scheduler", c.Ports.Scheduler)
	case kubelet:
		root := filepath.Join(c.run(), "kubelet")
		return []string{"--config=" + c.etc("kubelet.yaml"), "--kubeconfig=" + c.etc("kubelet.kubeconfig"), "--hostname-override=" + layout.Node,
			"--node-ip=" + layout.BridgeIP, "--root-dir=" + root, "--cert-dir=" + filepath.Join(root, "pki")}
	case proxy:
		return []string{"--config=" + c.etc("proxy.yaml")}
	}
	return nil
}

func (c Cluster) apiServerArgs(etcdURL string) []string {
	return []string{
		"--etcd-servers=" + etcdURL,
		"--bind-address=" + layout.BridgeIP, "--advertise-address=" + layout.BridgeIP, fmt.Sprintf("--secure-port=%d", c.Ports.APIServer),
		"--tls-cert-file=" + c.etc("apiserver.crt"), "--tls-private-key-file=" + c.etc("apiserver.key"), "--client-ca-file=" + c.etc("ca.crt"),
		"--token-auth-file=" + c.etc("tokens.csv"), "--authorization-mode=Node,RBAC", "--enable-admission-plugins=NodeRestriction",
		"--allow-privileged=true",
		"--service-account-key-file=" + c.etc("sa.pub"), "--service-account-signing-key-file=" + c.etc("sa.key"),
		"--service-account-issuer=https://kubernetes.default.svc", "--service-cluster-ip-range=" + layout.ServiceNet,
		"--kubelet-client-certificate=" + c.etc("apiserver-kubelet-client.crt"), "--kubelet-client-key=" + c.etc("apiserver-kubelet-client.key"),
		"--kubelet-certificate-authority=" + c.etc("ca.crt"), "--kubelet-preferred-address-types=InternalIP",
	}
}

// clientArgs are those of a controller that is alone, so that it needs no election.
func (c Cluster) clientArgs(name string, port int) []string {
	config := c.etc(name + ".kubeconfig")
	return []string{"--kubeconfig=" + config, "--authentication-kubeconfig=" + config, "--authorization-kubeconfig=" + config,
		"--leader-elect=false", "--bind-address=" + layout.Loopback, fmt.Sprintf("--secure-port=%d", port)}
}

// PortsOf lists the ports that a process takes.
func (c Cluster) PortsOf(name string) []daemon.Port {
	at := func(host string, ports ...int) []daemon.Port {
		var taken []daemon.Port
		for _, p := range ports {
			taken = append(taken, daemon.Port{Part: name, Host: host, Port: p})
		}
		return taken
	}
	switch name {
	case etcd:
		return at(layout.Loopback, c.Ports.Etcd, c.Ports.EtcdPeer)
	case apiServer:
		return at(layout.BridgeIP, c.Ports.APIServer)
	case controllerManager:
		return at(layout.Loopback, c.Ports.ControllerManager)
	case scheduler:
		return at(layout.Loopback, c.Ports.Scheduler)
	case kubelet:
		return append(at(layout.Loopback, c.Ports.KubeletHealth), at(layout.BridgeIP, c.Ports.Kubelet)...)
	case proxy:
		return at(layout.Loopback, c.Ports.ProxyMetrics, c.Ports.ProxyHealth)
	}
	return nil
}
