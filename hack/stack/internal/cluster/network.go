package cluster

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// CreateBridge makes the pods' bridge ahead of the first pod, so that brokers and the API server can bind to its
// address. The bridge plugin takes it as it is.
func (c Cluster) CreateBridge(ctx context.Context) error {
	if err := remember(ctx, c.before()); err != nil {
		return err
	}
	if _, err := net.InterfaceByName(layout.Bridge); err != nil {
		if _, err := step.Output(ctx, "ip", "link", "add", layout.Bridge, "type", "bridge"); err != nil {
			return fmt.Errorf("making the pods' bridge: %w", err)
		}
	}
	bits := layout.PodCIDR[strings.IndexByte(layout.PodCIDR, '/'):]
	if _, err := step.Output(ctx, "ip", "addr", "replace", layout.BridgeIP+bits, "dev", layout.Bridge); err != nil {
		return fmt.Errorf("giving the pods' bridge its address: %w", err)
	}
	if _, err := step.Output(ctx, "ip", "link", "set", layout.Bridge, "up"); err != nil {
		return fmt.Errorf("bringing the pods' bridge up: %w", err)
	}
	// What kube-proxy has no rule for yet ends here: without this route it would leave the machine.
	if _, err := step.Output(ctx, "ip", "route", "replace", layout.ServiceNet, "dev", layout.Bridge); err != nil {
		return fmt.Errorf("keeping the Services' addresses on this machine: %w", err)
	}
	return nil
}

// checkNetwork fails when another network of the machine uses the pods' addresses.
func checkNetwork() error {
	pods, err := netip.ParsePrefix(layout.PodCIDR)
	if err != nil {
		return err
	}
	interfaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("listing network interfaces: %w", err)
	}
	for _, i := range interfaces {
		addresses, err := i.Addrs()
		if err != nil || i.Name == layout.Bridge {
			continue
		}
		for _, a := range addresses {
			if p, err := netip.ParsePrefix(a.String()); err == nil && p.Masked().Overlaps(pods) && p.Bits() > 0 {
				return fmt.Errorf("the network device %s has the address %s, which lies in the pods' network %s: is another Kubernetes running here?",
					i.Name, a, layout.PodCIDR)
			}
		}
	}
	return nil
}

// removeNetwork removes the bridge and what is still plugged into it.
func removeNetwork(ctx context.Context) error {
	var errs []error
	ports, err := os.ReadDir("/sys/class/net/" + layout.Bridge + "/brif")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		errs = append(errs, err)
	}
	for _, p := range ports {
		errs = append(errs, removeDevice(ctx, p.Name()))
	}
	return errors.Join(append(errs, removeDevice(ctx, layout.Bridge))...)
}

// removeDevice removes a network device. One that is gone is no error, also when it goes in this moment: the kernel
// takes a pod's device away by itself, some time after the pod's network namespace has no process left.
func removeDevice(ctx context.Context, name string) error {
	_, err := step.Output(ctx, "ip", "link", "del", name)
	if _, gone := net.InterfaceByName(name); gone != nil {
		return nil
	}
	return err
}

// mountsBelow lists the mounts at and below the folders, the deepest and latest first.
func mountsBelow(dirs ...string) ([]string, error) {
	f, err := os.Open("/proc/self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("reading the mounts: %w", err)
	}
	defer f.Close()
	var found []string
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 5 {
			continue
		}
		path := unescape(fields[4])
		if slices.ContainsFunc(dirs, func(d string) bool { return path == d || strings.HasPrefix(path, d+"/") }) {
			found = append(found, path)
		}
	}
	slices.Reverse(found) // the kernel lists them in the order they were mounted
	return found, lines.Err()
}

// unescape turns the octal escapes of mountinfo (\040 for a space) back.
func unescape(path string) string {
	var b strings.Builder
	for i := 0; i < len(path); i++ {
		if path[i] == '\\' && i+3 < len(path) {
			if n, err := strconv.ParseUint(path[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(n))
				i += 3
				continue
			}
		}
		b.WriteByte(path[i])
	}
	return b.String()
}

// unmountBelow unmounts everything in the folders; what is busy is detached.
func unmountBelow(dirs ...string) error {
	mounts, err := mountsBelow(dirs...)
	if err != nil {
		return err
	}
	var errs []error
	for _, m := range mounts {
		if syscall.Unmount(m, 0) == nil {
			continue
		}
		if err := syscall.Unmount(m, syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", m, err))
		}
	}
	return errors.Join(errs...)
}
