//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/test/bench/mirrormaker"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/service"
)

// peers starts workers of Kafka Connect with MirrorMaker 2, one after the other.
type peers struct {
	kafka     string
	alias     string // sets this bench's topics apart
	dir       string
	classPath string
	started   int
	version   string // of the last that was started
}

// fetch has the local stack get MirrorMaker 2, unless it is there.
func (p *peers) fetch(ctx context.Context) error {
	module, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Dir}}", "github.com/rocketmq-connect/operator").Output()
	if err != nil {
		return fmt.Errorf("looking for the module's folder: %w", err)
	}
	stack := filepath.Join(strings.TrimSpace(string(module)), "hack", "stack")
	cmd := exec.CommandContext(ctx, "go", "run", "-C", stack, ".", "mirrormaker")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("fetching MirrorMaker: %w", err)
	}
	p.classPath = strings.TrimSpace(string(out))
	return nil
}

// start starts a worker, and returns once it answers.
func (p *peers) start(ctx context.Context) (_ *pinned, w mirrormaker.Worker, err error) {
	p.started++
	dir := filepath.Join(p.dir, fmt.Sprintf("mirrormaker-%d", p.started))
	w = mirrormaker.Worker{ClassPath: p.classPath, Dir: dir, Kafka: p.kafka, Alias: p.alias}
	if err := os.Mkdir(w.Dir, 0o700); err != nil {
		return nil, w, fmt.Errorf("making MirrorMaker's directory: %w", err)
	}
	if w.Port, err = process.FreePort(ctx); err != nil {
		return nil, w, err
	}
	cmd, err := w.Command()
	if err != nil {
		return nil, w, err
	}
	running, err := startPinned(cmd)
	if err != nil {
		return nil, w, err
	}
	for {
		if p.version, err = w.Version(ctx); err == nil {
			return running, w, nil
		}
		if err := errors.Join(running.ended(), service.Sleep(ctx, 100*time.Millisecond)); err != nil {
			return nil, w, errors.Join(err, running.stop())
		}
	}
}

// peerContender is MirrorMaker with one task. The first job is its process's first, too; later ones find it warm.
type peerContender struct {
	peers *peers
	p     *pinned
	w     mirrormaker.Worker
	jobs  int
}

func (c *peerContender) name() string { return fmt.Sprintf("mirror-%d", c.jobs) }

func (c *peerContender) start(ctx context.Context, job bareJob) (*pinned, error) {
	if c.p == nil {
		var err error
		if c.p, c.w, err = c.peers.start(ctx); err != nil {
			return nil, err
		}
	}
	c.jobs++
	return c.p, c.w.Create(ctx, c.name(), mirrormaker.Job{From: job.From, To: job.To})
}

func (c *peerContender) check(ctx context.Context) error {
	if err := c.p.ended(); err != nil {
		return err
	}
	return c.w.Failure(ctx, c.name())
}

func (c *peerContender) finish(ctx context.Context) (float64, error) {
	return 0, c.w.Delete(context.WithoutCancel(ctx), c.name())
}

// stop ends the process after its last job.
func (c *peerContender) stop() error {
	if c.p == nil {
		return nil
	}
	return c.p.stop()
}
