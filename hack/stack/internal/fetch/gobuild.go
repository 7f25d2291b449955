package fetch

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// Versions of what is built. They are those of the requirements in modules/*.mod.
const (
	kubernetesVersion = "1.37.1"
	kubernetesMinor   = "37"
	etcdVersion       = "3.6.8"
	helmVersion       = "4.3.1"
	corednsVersion    = "1.15.0"
)

//go:embed modules pause/main.go
var sources embed.FS

// goBuild is a set of programs that one pinned module builds.
type goBuild struct {
	name     string   // of the product
	module   string   // NAME of modules/NAME.mod and .sum; "" builds the source alone
	packages []string // what to build; "." is the source
	source   string   // a file of sources that becomes main.go
	programs []string // what there is in bin/ afterwards
	flags    []string
	what     string
}

func kubernetesFlags() []string {
	const v = "k8s.io/component-base/version"
	return []string{fmt.Sprintf("-ldflags=-s -w -X %[1]s.gitVersion=v%[2]s -X %[1]s.gitMajor=1 -X %[1]s.gitMinor=%[3]s",
		v, kubernetesVersion, kubernetesMinor)}
}

func kubernetesBuild(name, what string, programs ...string) goBuild {
	var packages []string
	for _, p := range programs {
		packages = append(packages, "k8s.io/kubernetes/cmd/"+p)
	}
	return goBuild{name: name, module: "kubernetes", packages: packages, programs: programs, flags: kubernetesFlags(), what: what}
}

func stripped() []string { return []string{"-trimpath", "-ldflags=-s -w"} }

func etcdBuild() goBuild {
	return goBuild{name: "etcd", module: "etcd", packages: []string{"go.etcd.io/etcd/server/v3"}, programs: []string{"etcd"},
		flags: stripped(), what: "building etcd " + etcdVersion + " (cold: 1 to 3 minutes)"}
}

func apiBuild() goBuild {
	return kubernetesBuild("kubernetes-api", "building kube-apiserver and kubectl "+kubernetesVersion+" (cold: 4 to 12 minutes)",
		"kube-apiserver", "kubectl")
}

func nodeBuild() goBuild {
	return kubernetesBuild("kubernetes-node", "building the other Kubernetes programs "+kubernetesVersion+" (cold: 3 to 10 minutes)",
		"kube-controller-manager", "kube-scheduler", "kubelet", "kube-proxy")
}

func corednsBuild() goBuild {
	return goBuild{
		name:     "coredns",
		module:   "coredns",
		packages: []string{"."},
		source:   "modules/coredns.go.txt",
		programs: []string{"coredns"},
		flags:    stripped(),
		what:     "building CoreDNS " + corednsVersion + " (cold: 1 to 4 minutes)",
	}
}

func helmBuild() goBuild {
	return goBuild{name: "helm", module: "helm", packages: []string{"helm.sh/helm/v4/cmd/helm"}, programs: []string{"helm"},
		flags: stripped(), what: "building helm " + helmVersion + " (cold: 1 to 3 minutes)"}
}

func pauseBuild() goBuild {
	return goBuild{name: "pause", packages: []string{"."}, source: "pause/main.go", programs: []string{"pause"}, flags: stripped(),
		what: "building the pods' pause program"}
}

// Assets builds what envtest needs and returns its folder.
func (f Fetcher) Assets(ctx context.Context) (string, error) {
	err := f.builds(ctx, etcdBuild(), apiBuild())
	return filepath.Dir(f.Layout.Bin("etcd")), err
}

// Kubernetes builds all programs and images of the cluster.
func (f Fetcher) Kubernetes(ctx context.Context) error {
	if err := f.builds(ctx, etcdBuild(), apiBuild(), nodeBuild(), corednsBuild(), pauseBuild()); err != nil {
		return err
	}
	return f.clusterImages(ctx)
}

// Helm builds helm.
func (f Fetcher) Helm(ctx context.Context) error { return f.builds(ctx, helmBuild()) }

func (f Fetcher) builds(ctx context.Context, builds ...goBuild) error {
	for _, b := range builds {
		if err := f.build(ctx, b); err != nil {
			return err
		}
	}
	return nil
}

func (f Fetcher) build(ctx context.Context, b goBuild) error {
	files, err := b.files()
	if err != nil {
		return err
	}
	p := product{name: b.name, inputs: append(append([]string{}, b.packages...), b.flags...), what: b.what}
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		p.inputs = append(p.inputs, files[name])
	}
	for _, program := range b.programs {
		p.files = append(p.files, f.Layout.Bin(program))
	}
	p.make = func(ctx context.Context) error {
		dir := f.Layout.Build(b.name)
		for name, content := range files {
			if err := writeFile(filepath.Join(dir, name), content); err != nil {
				return err
			}
		}
		args := append([]string{"go", "build", "-buildvcs=false"}, b.flags...)
		args = append(args, "-o", filepath.Dir(f.Layout.Bin("any"))+"/")
		if len(b.packages) == 1 { // the folder's name is not the program's
			args[len(args)-1] = f.Layout.Bin(b.programs[0])
		}
		return f.goCommand(dir, "build.log", append(args, b.packages...)...).Run(ctx)
	}
	return f.ensure(ctx, p)
}

// files are those of the module: go.mod, go.sum and main.go, as far as the build has them.
func (b goBuild) files() (map[string]string, error) {
	from := map[string]string{}
	if b.module != "" {
		from["go.mod"], from["go.sum"] = "modules/"+b.module+".mod", "modules/"+b.module+".sum"
	}
	if b.source != "" {
		from["main.go"] = b.source
	}
	files := map[string]string{"go.mod": "module local/build\n\ngo 1.26.0\n"}
	var errs []error
	for name, path := range from {
		content, err := sources.ReadFile(path)
		files[name], errs = string(content), append(errs, err)
	}
	return files, errors.Join(errs...)
}

// goCommand is a go command that the user's Go settings for other work do not change.
func (f Fetcher) goCommand(dir, log string, args ...string) step.Command {
	c := f.command(dir, log, args...)
	c.Env = strings.Fields("CGO_ENABLED=0 GOFLAGS= GOWORK=off GOOS=linux")
	return c
}
