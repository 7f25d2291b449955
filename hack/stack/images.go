//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rocketmq-connect/operator/hack/stack/internal/image"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// project is the module that the images are built from.
const project = "github.com/rocketmq-connect/operator"

// caBundle is where Debian's ca-certificates keeps the authorities that programs trust.
const caBundle = "/etc/ssl/certs/ca-certificates.crt"

func (s *stack) loadImages(ctx context.Context, tars []string) error {
	for i, tar := range tars {
		path, err := filepath.Abs(tar)
		if err != nil {
			return fmt.Errorf("finding %s: %w", tar, err)
		}
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("loading an image: %w; paths count from %s", err, filepath.Dir(path))
		}
		tars[i] = path
	}
	return s.cluster().LoadImages(ctx, tars)
}

// image builds the operator and the worker and writes an image of each to dir.
func (s *stack) image(ctx context.Context, dir string) error {
	root, err := projectRoot()
	if err != nil {
		return err
	}
	if !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	for _, name := range []string{"operator", "worker"} {
		binary, tar := filepath.Join(s.layout.Build("images"), name), filepath.Join(dir, name+".tar")
		err := s.report.Do(ctx, "image", "building the "+name+"'s image", func(ctx context.Context) error {
			err := step.Command{Dir: root, Log: binary + ".log", Env: []string{"CGO_ENABLED=0", "GOOS=linux"},
				Args: []string{"go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "./cmd/" + name}}.Run(ctx)
			if err != nil {
				return err
			}
			return image.Write(tar, image.Spec{Name: "docker.io/rocketmq-connect/" + name + ":dev", Binary: binary, CAs: caBundle})
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(s.out, tar)
	}
	return nil
}

// projectRoot looks for the project's folder from the current one upwards.
func projectRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("finding the current folder: %w", err)
	}
	for {
		b, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if first, _, _ := strings.Cut(string(b), "\n"); err == nil && first == "module "+project {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("run this in the project's folder or below: there is no go.mod of " + project + " above the current folder")
		}
		dir = parent
	}
}
