package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// changedSysctls are what kubelet, kube-proxy and the bridge plugin change.
var changedSysctls = []string{
	"vm/overcommit_memory", "vm/panic_on_oom", "kernel/panic", "kernel/panic_on_oops", "kernel/keys/root_maxkeys", "kernel/keys/root_maxbytes",
	"net/ipv4/ip_forward", "net/ipv4/conf/all/route_localnet", "net/netfilter/nf_conntrack_tcp_be_liberal",
}

// madePaths are files and folders outside the cache that the cluster makes; those that were there before stay.
// sharedPaths are folders that others may have come to use meanwhile: they go only when they are empty.
var (
	madePaths   = []string{runtimeDir, "/var/lib/kubelet", "/var/log/containers", "/var/log/pods", "/var/lib/cni", "/run/xtables.lock"}
	sharedPaths = []string{"/run/containerd/s", "/run/containerd", "/run/netns", "/run/mount"}
)

// firewalls are the kernel's four rule sets, by the names of the programs for them.
var firewalls = []string{"iptables-nft", "ip6tables-nft", "iptables-legacy", "ip6tables-legacy"}

// machine is the state of the machine before the cluster changed it: what down puts back.
type machine struct {
	Sysctls   map[string]string   `json:"sysctls"`
	Paths     []string            `json:"paths"`     // of madePaths and sharedPaths
	Chains    map[string][]string `json:"chains"`    // chains of Kubernetes and CNI in each of firewalls
	NFTables  []string            `json:"nfTables"`  // as "nft list tables" prints them
	Counters  []string            `json:"counters"`  // of nfacct
	CgroupSet bool                `json:"cgroupSet"` // there were cgroups named kubepods
}

// remember writes the machine's state to path, unless it did so before a change that was not undone yet.
func remember(ctx context.Context, path string) error {
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	m := machine{Sysctls: map[string]string{}, Chains: map[string][]string{}, CgroupSet: len(cgroups()) > 0}
	for _, key := range changedSysctls {
		if b, err := os.ReadFile(filepath.Join("/proc/sys", key)); err == nil {
			m.Sysctls[key] = strings.TrimSpace(string(b))
		}
	}
	for _, p := range slices.Concat(madePaths, sharedPaths) {
		if _, err := os.Lstat(p); err == nil {
			m.Paths = append(m.Paths, p)
		}
	}
	for _, fw := range firewalls {
		rules, err := rulesOf(ctx, fw)
		if err != nil {
			return err
		}
		m.Chains[fw] = clusterChains(rules)
	}
	m.NFTables, m.Counters = nfTables(ctx), counters(ctx)
	b, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making the state folder: %w", err)
	}
	if err := os.WriteFile(path+".next", b, 0o644); err != nil {
		return fmt.Errorf("writing down the machine's state: %w", err)
	}
	return os.Rename(path+".next", path)
}

func recall(path string) (machine, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return machine{}, fmt.Errorf("reading what the machine was like before the cluster: %w", err)
	}
	var m machine
	if err := json.Unmarshal(b, &m); err != nil {
		return machine{}, fmt.Errorf("reading %s: %w", path, err)
	}
	return m, nil
}

// restore puts back what processes changed, once they are all gone.
func (m machine) restore(ctx context.Context) error {
	err := m.restoreFirewall(ctx)
	for key, want := range m.Sysctls {
		path := filepath.Join("/proc/sys", key)
		if now, readErr := os.ReadFile(path); readErr == nil && strings.TrimSpace(string(now)) != want {
			err = errors.Join(err, os.WriteFile(path, []byte(want), 0o644))
		}
	}
	if !m.CgroupSet {
		err = errors.Join(err, removeCgroups(ctx))
	}
	for _, p := range madePaths {
		if !slices.Contains(m.Paths, p) {
			err = errors.Join(err, removeTree(p))
		}
	}
	for _, p := range sharedPaths {
		if !slices.Contains(m.Paths, p) {
			_ = os.Remove(p) // fails, as it should, when somebody uses it
		}
	}
	return err
}

// removeTree removes a folder, unless something is mounted in it: that could be anything.
func removeTree(path string) error {
	if left, err := mountsBelow(path); err != nil || len(left) > 0 {
		return errors.Join(err, fmt.Errorf("not removing %s: %s is mounted there", path, strings.Join(left, ", ")))
	}
	return os.RemoveAll(path)
}

// cgroups are the folders of the pods' control groups in every hierarchy, parents ahead of children.
func cgroups() []string {
	var found []string
	for _, pattern := range []string{
		"/sys/fs/cgroup/kubepods", "/sys/fs/cgroup/*/kubepods", "/sys/fs/cgroup/k8s.io", "/sys/fs/cgroup/*/k8s.io"} {
		roots, err := filepath.Glob(pattern)
		if err != nil {
			continue // the patterns are constant and well-formed
		}
		for _, root := range roots {
			_ = filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
				if err == nil && d.IsDir() {
					found = append(found, path)
				}
				return nil // a group that went away meanwhile is no loss
			})
		}
	}
	return found
}

func removeCgroups(ctx context.Context) error {
	return step.Until(ctx, func(context.Context) (bool, error) {
		all := cgroups()
		var err error
		for _, dir := range slices.Backward(all) {
			err = errors.Join(err, os.Remove(dir))
		}
		return len(all) == 0, err
	})
}
