// Package fetch gets the programs of the stack into the cache folder: Debian packages, jars, Go programs and images.
// What is there is kept; what was interrupted goes on from where it was.
package fetch

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/rocketmq-connect/operator/hack/stack/internal/layout"
	"github.com/rocketmq-connect/operator/hack/stack/internal/step"
)

// Fetcher gets programs into the cache folder of Layout.
type Fetcher struct {
	Layout layout.Layout
	Report *step.Reporter
}

// product is something in the cache that is made from inputs.
type product struct {
	name   string
	inputs []string // versions, flags, sources: other inputs recreate it
	files  []string // what there must be afterwards
	what   string   // the progress line
	make   func(context.Context) error
}

// ensure makes the product unless it is there. Two runs of the stack do not make one product at once.
func (f Fetcher) ensure(ctx context.Context, p product) error {
	if f.made(p) {
		return nil
	}
	waiting := func() { f.Report.Say(p.name, "waiting for another run of the stack that is making it") }
	release, err := step.Lock(ctx, f.Layout.Build(p.name)+".lock", waiting)
	if err != nil {
		return err
	}
	defer release()
	if f.made(p) {
		return nil
	}
	if err := f.Report.Do(ctx, p.name, p.what, p.make); err != nil {
		return fmt.Errorf("making %s: %w", p.name, err)
	}
	for _, path := range p.files {
		if _, err := os.Stat(path); err != nil {
			return fmt.Errorf("making %s: it ended well, but %w", p.name, err)
		}
	}
	return writeFile(f.stamp(p), stampOf(p.inputs))
}

func (f Fetcher) stamp(p product) string { return f.Layout.Build(p.name) + ".stamp" }

func (f Fetcher) made(p product) bool {
	stamp, err := os.ReadFile(f.stamp(p))
	if err != nil || string(stamp) != stampOf(p.inputs) {
		return false
	}
	for _, path := range p.files {
		if _, err := os.Stat(path); err != nil {
			return false
		}
	}
	return true
}

// stampOf is a digest of the inputs in their order.
func stampOf(inputs []string) string {
	h := sha256.New()
	for _, in := range inputs {
		fmt.Fprintf(h, "%d:%s", len(in), in)
	}
	return hex.EncodeToString(h.Sum(nil))
}

// writeFile writes a file as a whole or not at all, and makes its folder.
func writeFile(path, content string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("making a folder: %w", err)
	}
	next := path + ".next"
	if err := os.WriteFile(next, []byte(content), 0o644); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := os.Rename(next, path); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return nil
}
