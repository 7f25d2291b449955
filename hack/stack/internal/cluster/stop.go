package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// podsLimit is how long pods may take to end; what is left then is killed.
const podsLimit = 30 * time.Second

// Stop removes everything that the cluster made outside the state folder. It can be repeated until it succeeds, and
// needs nothing of the cluster to run.
func (c Cluster) Stop(ctx context.Context) error {
	if !c.Exists() {
		return nil
	}
	if os.Getuid() != 0 {
		return errors.New("taking the cluster down needs root: run \"down\" as root")
	}
	before, err := recall(c.before())
	if err != nil {
		return err
	}
	c.Report.Say(part, "stopping the pods")
	if err := c.stopAll(ctx, controllerManager, scheduler); err != nil { // nothing makes new pods from here on
		return err
	}
	c.reviveContainerd(ctx)
	c.stopPods(ctx)
	c.Report.Say(part, "stopping the processes")
	if err := c.stopAll(ctx, proxy, kubelet); err != nil {
		return err
	}
	c.killTasks(ctx)
	if err := c.stopAll(ctx, apiServer, containerd); err != nil {
		return err
	}
	if err := c.stopAll(ctx, etcd); err != nil {
		return err
	}
	c.Report.Say(part, "removing mounts, network devices and rules")
	if !before.CgroupSet {
		if err := killCgroups(ctx); err != nil {
			return err
		}
	}
	if err := killShims(ctx); err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, podsLimit)
	defer cancel()
	if err := errors.Join(unmountBelow(c.run(), runtimeDir), removeNetwork(limited)); err != nil {
		return err
	}
	if err := before.restore(limited); err != nil {
		return err
	}
	if err := removeTree(c.run()); err != nil {
		return err
	}
	err = os.Remove(c.Layout.Kubeconfig())
	if errors.Is(err, os.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, os.Remove(c.before()))
}

func (c Cluster) stopAll(ctx context.Context, names ...string) error {
	var g step.Group
	for _, name := range names {
		g.Go(func() error { return c.Daemons.Stop(ctx, name) })
	}
	return g.Wait()
}

// stopPods has kubelet end all pods while it can still take their networks and mounts away. What it does not manage is
// done by hand afterwards, so a failure is only told.
func (c Cluster) stopPods(ctx context.Context) {
	_, running := c.Daemons.Running(kubelet)
	if !running || c.ready(ctx) != nil {
		return
	}
	limited, cancel := context.WithTimeout(ctx, podsLimit)
	defer cancel()
	if _, err := c.kubectl(limited, "delete", "pods", "-A", "--all", "--grace-period=1", "--wait=false"); err != nil {
		c.Report.Say(part, "deleting the pods: %v", err)
		return
	}
	err := step.Until(limited, func(ctx context.Context) (bool, error) {
		tasks, err := c.ctr(ctx, "tasks", "ls", "-q")
		return err == nil && strings.TrimSpace(tasks) == "", err
	})
	if err != nil {
		c.Report.Say(part, "some pods did not end in time: killing them")
	}
}

// reviveContainerd starts a containerd that has died, since only it can take its containers away in good order.
func (c Cluster) reviveContainerd(ctx context.Context) {
	if _, err := os.Stat(socket); err != nil {
		return // it never ran, or the machine was restarted
	}
	if _, running := c.Daemons.Running(containerd); running {
		return
	}
	if err := c.startContainerd(ctx); err != nil {
		c.Report.Say(part, "starting containerd to remove its containers: %v", err)
	}
}

// killTasks ends the containers that are left. What fails here is done by killCgroups and killShims.
func (c Cluster) killTasks(ctx context.Context) {
	if _, running := c.Daemons.Running(containerd); !running {
		return
	}
	tasks, err := c.ctr(ctx, "tasks", "ls", "-q")
	if err != nil {
		c.Report.Say(part, "listing containers: %v", err)
	}
	for _, t := range strings.Fields(tasks) {
		_, _ = c.ctr(ctx, "tasks", "delete", "--force", t)
	}
}

// killCgroups kills the processes in the pods' control groups until there are none.
func killCgroups(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, podsLimit)
	defer cancel()
	err := step.Until(limited, func(context.Context) (bool, error) {
		killed := 0
		for _, dir := range cgroups() {
			b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				continue // the group has gone
			}
			for _, field := range strings.Fields(string(b)) {
				if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
					killed++
					_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
				}
			}
		}
		return killed == 0, fmt.Errorf("%d processes are left in the pods' control groups", killed)
	})
	if err != nil {
		return fmt.Errorf("killing the pods' processes: %w", err)
	}
	return nil
}

// killShims ends containerd's shims that have lost their containerd: those that were given our socket.
func killShims(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, podsLimit)
	defer cancel()
	err := step.Until(limited, func(context.Context) (bool, error) {
		lines, err := filepath.Glob("/proc/[0-9]*/cmdline")
		if err != nil {
			return false, &step.FatalError{Err: err}
		}
		left := 0
		for _, path := range lines {
			b, err := os.ReadFile(path)
			if err != nil || !isOurShim(string(b)) {
				continue
			}
			if pid, err := strconv.Atoi(strings.Split(path, "/")[2]); err == nil {
				left++
				_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended by itself
			}
		}
		return left == 0, fmt.Errorf("%d shims are left", left)
	})
	if err != nil {
		return fmt.Errorf("killing containerd's shims: %w", err)
	}
	return nil
}

// isOurShim looks at a command line with zero bytes between its arguments.
func isOurShim(line string) bool {
	args := strings.Split(line, "\x00")
	if !strings.HasPrefix(filepath.Base(args[0]), "containerd-shim") {
		return false
	}
	for i, a := range args {
		if a == "-address" && i+1 < len(args) && args[i+1] == socket {
			return true
		}
	}
	return false
}
