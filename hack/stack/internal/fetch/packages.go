package fetch

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// tool is a program that a Debian package brings.
type tool struct{ program, pkg string }

var (
	brokerTools = []tool{{"java", "openjdk-17-jre-headless"}, {"mvn", "maven"}}
	// nft and nfacct are for the way down: without them empty tables and two counters would stay.
	clusterTools = []tool{
		{"containerd", "containerd"}, {"ctr", "containerd"}, {"runc", "runc"}, {CNIPlugins + "/bridge", "containernetworking-plugins"},
		{"iptables", "iptables"}, {"nft", "nftables"}, {"nfacct", "nfacct"}, {"ip", "iproute2"},
	}
)

// CNIPlugins is where Debian keeps the network plugins.
const CNIPlugins = "/usr/lib/cni"

// Packages installs the Debian packages that the brokers or the cluster need, unless they are there.
func (f Fetcher) Packages(ctx context.Context, brokers, cluster bool) error {
	var tools []tool
	if brokers {
		tools = append(tools, brokerTools...)
	}
	if cluster {
		tools = append(tools, clusterTools...)
	}
	return f.packages(ctx, tools)
}

func (f Fetcher) packages(ctx context.Context, tools []tool) error {
	missing := missingOf(tools)
	if len(missing) == 0 {
		return nil
	}
	names := strings.Join(missing, " ")
	if _, err := exec.LookPath("apt-get"); err != nil {
		return fmt.Errorf("programs of the Debian packages %s are missing, and there is no apt-get here: install them yourself", names)
	}
	if os.Getuid() != 0 {
		return fmt.Errorf("the Debian packages %s are missing: install them with \"sudo apt-get install %s\"", names, names)
	}
	release, err := step.Lock(
		ctx,
		f.Layout.Build("packages")+".lock",
		func() { f.Report.Say("packages", "waiting for another run of the stack") },
	)
	if err != nil {
		return err
	}
	defer release()
	if missing = missingOf(tools); len(missing) == 0 {
		return nil
	}
	return f.Report.Do(ctx, "packages", "installing "+names, func(ctx context.Context) error {
		install := append([]string{"apt-get", "-q", "-y", "-o", "DPkg::Lock::Timeout=300", "install", "--no-install-recommends"}, missing...)
		build := f.Layout.Build("packages")
		if err := f.apt(build, "install.log", install...).Run(ctx); err == nil {
			return nil
		}
		if err := f.apt(build, "update.log", "apt-get", "-q", "update").Run(ctx); err != nil {
			return err
		}
		if err := f.apt(build, "install.log", install...).Run(ctx); err != nil {
			return err
		}
		if left := missingOf(tools); len(left) > 0 {
			return errors.New("still missing after the installation: " + strings.Join(left, " "))
		}
		return nil
	})
}

// missingOf lists the packages, each once, whose programs are not there.
func missingOf(tools []tool) []string {
	var missing []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.program); err != nil {
			missing = append(missing, t.pkg)
		}
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

func (f Fetcher) apt(build, log string, args ...string) step.Command {
	c := f.command(build, log, args...)
	c.Env = []string{"DEBIAN_FRONTEND=noninteractive"}
	return c
}

func (f Fetcher) command(build, log string, args ...string) step.Command {
	return step.Command{Dir: build, Log: filepath.Join(build, log), Nice: true, Args: args}
}
