package cluster

import (
	"bytes"
	"embed"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"text/template"

	"github.com/rocketmq-connect/operator/hack/stack/internal/fetch"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
)

//go:embed files
var files embed.FS

// runtimeDir holds containerd's socket and what must not outlive a restart of the machine. The cluster exists once.
const runtimeDir = "/run/rocketmq-connect"

const socket = runtimeDir + "/containerd.sock"

// settings are what the configuration files are rendered from.
type settings struct {
	Etc, Run, Runtime, Socket     string
	NodeIP, Node, Bridge, PodCIDR string
	DNSService                    string
	PauseImage, CoreDNSImage      string
	CNIPlugins, Snapshotter       string
	Resolvers                     string // of the host, for names outside the cluster; "" for none
	Ports                         layout.Ports
}

func newSettings(l layout.Layout, ports layout.Ports) settings {
	return settings{
		Etc: l.State("etc"), Run: l.State("run"), Runtime: runtimeDir, Socket: socket,
		NodeIP: layout.BridgeIP, Node: layout.Node, Bridge: layout.Bridge, PodCIDR: layout.PodCIDR, DNSService: layout.DNSService,
		PauseImage: fetch.PauseImage, CoreDNSImage: fetch.CoreDNSImage,
		CNIPlugins: fetch.CNIPlugins, Snapshotter: "overlayfs", Ports: ports,
	}
}

// render fills one of the embedded files in.
func render(name string, data any) (string, error) {
	t, err := template.New(name).Option("missingkey=error").ParseFS(files, "files/"+name)
	if err != nil {
		return "", fmt.Errorf("reading template %s: %w", name, err)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, name, data); err != nil {
		return "", fmt.Errorf("rendering %s: %w", name, err)
	}
	return b.String(), nil
}

// snapshotterFor is the way to keep images on the file system of a folder: overlayfs does not work on overlayfs.
func snapshotterFor(dir string) (string, error) {
	const overlay = 0x794c7630
	var fs syscall.Statfs_t
	if err := syscall.Statfs(dir, &fs); err != nil {
		return "", fmt.Errorf("looking at the file system of %s: %w", dir, err)
	}
	if fs.Type == overlay {
		return "native", nil
	}
	return "overlayfs", nil
}

// hostResolvers are the name servers of a resolv.conf that pods can reach too, at most three, space-separated.
func hostResolvers(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	var found []string
	for line := range strings.Lines(string(b)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" || len(found) == 3 {
			continue
		}
		if a, err := netip.ParseAddr(fields[1]); err == nil && a.Is4() && !a.IsLoopback() {
			found = append(found, a.String())
		}
	}
	return strings.Join(found, " ")
}
