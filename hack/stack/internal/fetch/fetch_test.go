package fetch

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rocketmq-connect/operator/hack/stack/internal/golden"
	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

func TestProductsAreMadeWhenTheyMustBe(t *testing.T) {
	f := Fetcher{Layout: layout.Layout{Root: t.TempDir()}, Report: step.NewReporter(io.Discard)}
	file := f.Layout.Bin("thing")
	made, fail := 0, false
	p := product{name: "thing", inputs: []string{"v1"}, files: []string{file}, make: func(context.Context) error {
		made++
		if fail {
			return errors.New("broken")
		}
		return writeFile(file, "x")
	}}
	ensure := func(why string, want int) {
		t.Helper()
		err := f.ensure(context.Background(), p)
		if (err != nil) != fail {
			t.Fatalf("%s: ensure fails with %v", why, err)
		}
		if made != want {
			t.Fatalf("%s: made %d times, want %d", why, made, want)
		}
	}
	ensure("at first", 1)
	ensure("again", 1)
	p.inputs = []string{"v2"}
	ensure("with another version", 2)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	ensure("after its file was removed", 3)
	p.inputs, fail = []string{"v3"}, true
	ensure("when making it fails", 4)
	fail = false
	ensure("after a failure", 5)
}

func TestAProductWithoutItsFileFails(t *testing.T) {
	f := Fetcher{Layout: layout.Layout{Root: t.TempDir()}, Report: step.NewReporter(io.Discard)}
	p := product{name: "thing", files: []string{f.Layout.Bin("thing")}, make: func(context.Context) error { return nil }}
	if err := f.ensure(context.Background(), p); err == nil {
		t.Error("a product whose file is missing passes")
	}
}

func TestStampsTellInputsApart(t *testing.T) {
	seen := map[string][]string{}
	for _, inputs := range [][]string{nil, {""}, {"a"}, {"a", ""}, {"ab"}, {"a", "b"}, {"b", "a"}} {
		stamp := stampOf(inputs)
		if other, dup := seen[stamp]; dup {
			t.Errorf("%q and %q have one stamp", other, inputs)
		}
		seen[stamp] = inputs
	}
}

func TestPOM(t *testing.T) {
	golden.Assert(t, "pom.xml", pomOf(RocketMQ(RocketMQ5), []string{"org.apache.rocketmq:rocketmq-broker:5.3.3", "a:b:1"}))
}

func TestBuildsHaveTheirModules(t *testing.T) {
	for _, b := range []goBuild{etcdBuild(), apiBuild(), nodeBuild(), corednsBuild(), helmBuild(), pauseBuild()} {
		files, err := b.files()
		if err != nil {
			t.Errorf("%s: %v", b.name, err)
		}
		if b.source != "" && !strings.Contains(files["main.go"], "package main") {
			t.Errorf("%s: its source is no program", b.name)
		}
		if b.module == "kubernetes" && !strings.Contains(files["go.mod"], "k8s.io/kubernetes v"+kubernetesVersion+"\n") {
			t.Errorf("%s: the module does not require version %s", b.name, kubernetesVersion)
		}
		if len(b.packages) > 1 && len(b.packages) != len(b.programs) {
			t.Errorf("%s: %d packages, %d programs", b.name, len(b.packages), len(b.programs))
		}
	}
}

func TestMissingPackagesAreListedOnce(t *testing.T) {
	here := filepath.Join(t.TempDir(), "here")
	if err := os.WriteFile(here, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	got := missingOf([]tool{{"/none/b", "two"}, {here, "three"}, {"/none/a", "one"}, {"/none/c", "two"}})
	if strings.Join(got, " ") != "one two" {
		t.Errorf("missing are %v, want one and two", got)
	}
}
