// Package layout says where the local stack keeps its files and which addresses and ports its parts use.
package layout

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// maxSocketPath is what a unix socket's address holds on Linux, its final zero byte included.
const maxSocketPath = 108

// Layout is the folders of one instance of the stack. Instances share everything but their state: Root/bin, Root/lib,
// Root/build and Root/images are the same for all.
type Layout struct {
	Root string // the cache folder
	Base int    // the instance's port base; 0 is the instance on the usual ports
}

// New finds the cache folder: $XDG_CACHE_HOME/rocketmq-connect, else ~/.cache/rocketmq-connect.
func New(base int) (Layout, error) {
	cache := os.Getenv("XDG_CACHE_HOME")
	if cache == "" {
		home := os.Getenv("HOME")
		if home == "" {
			return Layout{}, errors.New("neither XDG_CACHE_HOME nor HOME is set: set XDG_CACHE_HOME to a folder for the stack's files")
		}
		cache = filepath.Join(home, ".cache")
	}
	if !filepath.IsAbs(cache) {
		return Layout{}, fmt.Errorf("XDG_CACHE_HOME is %q: it must be an absolute path", cache)
	}
	return Layout{Root: filepath.Join(cache, "rocketmq-connect"), Base: base}, nil
}

// Instance is the name of the instance's state folder.
func (l Layout) Instance() string {
	if l.Base == 0 {
		return "default"
	}
	return strconv.Itoa(l.Base)
}

// Bin is the path of a program that the stack builds.
func (l Layout) Bin(name string) string { return filepath.Join(l.Root, "bin", name) }

// Lib is the folder of the jars of a Java program.
func (l Layout) Lib(name string) string { return filepath.Join(l.Root, "lib", name) }

// Build is the folder in which a part is built; its modules and logs stay there.
func (l Layout) Build(name string) string { return filepath.Join(l.Root, "build", name) }

// Image is the path of the tar of an image that the cluster itself needs.
func (l Layout) Image(name string) string { return filepath.Join(l.Root, "images", name+".tar") }

// States is the folder that holds one folder for each instance.
func (l Layout) States() string { return filepath.Join(l.Root, "state") }

// State is a path in the instance's own folder, which down removes.
func (l Layout) State(elem ...string) string {
	return filepath.Join(append([]string{l.States(), l.Instance()}, elem...)...)
}

// Kubeconfig is the admin's kubeconfig of the instance's cluster.
func (l Layout) Kubeconfig() string {
	if l.Base == 0 {
		return filepath.Join(l.Root, "kubeconfig")
	}
	return filepath.Join(l.Root, "kubeconfig-"+l.Instance())
}

// CheckSockets fails when kubelet's sockets would have paths that the kernel cannot hold.
func (l Layout) CheckSockets() error {
	longest := l.State("run", "kubelet", "pod-resources", "4294967295.sock")
	if len(longest) < maxSocketPath {
		return nil
	}
	return fmt.Errorf("the cache folder %s is too deep for unix sockets (%d bytes too many): set XDG_CACHE_HOME to a shorter path",
		l.Root, len(longest)-maxSocketPath+1)
}
