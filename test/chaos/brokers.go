package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/worker/rmq"
)

// The brokers' processes, as the stack names them.
const (
	nameServer = "rocketmq-namesrv"
	rocketMQ   = "rocketmq-broker"
	kafka      = "kafka"
)

var errProcess = errors.New("the stack does not say which process it is")

// brokers is an instance of the local stack that belongs to this run alone.
type brokers struct {
	binary string
	base   int
}

// The ports of an instance, from its base.
func (b *brokers) nameServerPort() int { return b.base }
func (b *brokers) rocketMQPort() int   { return b.base + 11 }
func (b *brokers) kafkaPort() int      { return b.base + 20 }

func address(port int) string { return "127.0.0.1:" + strconv.Itoa(port) }

// newBrokers builds the stack's program, which is run often.
func newBrokers(ctx context.Context, root, dir string, base int) (*brokers, error) {
	b := &brokers{binary: filepath.Join(dir, "stack"), base: base}
	cmd := exec.CommandContext(ctx, "go", "build", "-o", b.binary, ".")
	cmd.Dir = filepath.Join(root, "hack", "stack")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("building the stack: %w\n%s", err, out)
	}
	return b, nil
}

func (b *brokers) stack(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, b.binary, append(args, "--port-base", strconv.Itoa(b.base))...)
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("running stack %s: %w\n%s", args[0], err, errOut.String())
	}
	return out.String(), nil
}

// up starts what does not run, and returns once all of it takes requests. A port that a connection, or a killed process of
// which the kernel still has something to clear away, holds for a moment is tried again.
func (b *brokers) up(ctx context.Context) error {
	for begun := time.Now(); ; {
		_, err := b.stack(ctx, "up", "--only", "rocketmq,kafka")
		if err == nil || time.Since(begun) > 20*time.Second {
			return err
		}
		if err := pause(ctx, time.Second); err != nil {
			return err
		}
	}
}

// registered waits until the name server knows the topic, which it learns from the broker's next report: up to 30 s after it
// was started anew.
func (b *brokers) registered(ctx context.Context, topic string) error {
	return until(ctx, 500*time.Millisecond, func(ctx context.Context) error {
		client, err := rmq.Open(rmq.Config{NameServers: []string{address(b.nameServerPort())}}) // a new one keeps no routes
		if err != nil {
			return fmt.Errorf("asking the name server: %w", err)
		}
		defer client.Close()
		_, err = client.Route(ctx, topic)
		return err
	})
}

func (b *brokers) down(ctx context.Context) error {
	_, err := b.stack(ctx, "down")
	return err
}

// kill ends one process by SIGKILL and waits for its end.
func (b *brokers) kill(ctx context.Context, name string) error {
	pid, err := b.pid(ctx, name)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s: %w", name, err)
	}
	return until(ctx, 20*time.Millisecond, func(context.Context) error {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(stat), ") Z ") {
			return nil
		}
		return fmt.Errorf("killing %s: process %d is still there", name, pid)
	})
}

// pid finds a process in the table NAME STATE PID … of the stack.
func (b *brokers) pid(ctx context.Context, name string) (int, error) {
	out, err := b.stack(ctx, "status", "--only", "rocketmq,kafka")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == name && f[1] == "running" {
			if pid, err := strconv.Atoi(f[2]); err == nil {
				return pid, nil
			}
		}
	}
	return 0, fmt.Errorf("%w: %s in\n%s", errProcess, name, out)
}

// snapshot copies the store of a broker that runs. The process is stopped meanwhile, so that all files are of one moment:
// the copy is what a kill at that moment leaves behind.
func (b *brokers) snapshot(ctx context.Context, store, to string) error {
	pid, err := b.pid(ctx, rocketMQ)
	if err != nil {
		return err
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("stopping the broker: %w", err)
	}
	out, err := exec.CommandContext(ctx, "cp", "-a", "--sparse=always", store, to).CombinedOutput()
	if err != nil {
		err = fmt.Errorf("copying the store: %w\n%s", err, out)
	}
	if failed := syscall.Kill(pid, syscall.SIGCONT); failed != nil {
		err = errors.Join(err, fmt.Errorf("waking the broker: %w", failed))
	}
	return err
}

// store is the folder in which the broker that runs keeps everything, by its configuration.
func (b *brokers) store(ctx context.Context) (string, error) {
	args, err := b.commandLine(ctx, rocketMQ)
	if err != nil {
		return "", err
	}
	i := slices.Index(args, "-c") + 1
	if i == 0 || i == len(args) {
		return "", fmt.Errorf("%w: no configuration in %q", errProcess, args)
	}
	conf, err := os.ReadFile(args[i])
	if err != nil {
		return "", fmt.Errorf("reading the broker's configuration: %w", err)
	}
	for line := range strings.Lines(string(conf)) {
		if dir, ok := strings.CutPrefix(strings.TrimSpace(line), "storePathRootDir="); ok {
			return dir, nil
		}
	}
	return "", fmt.Errorf("%w: no storePathRootDir in %s", errProcess, args[i])
}

// version is a broker's name and version, as its class path has them.
func (b *brokers) version(ctx context.Context, name string) string {
	args, err := b.commandLine(ctx, name)
	if err != nil {
		return name
	}
	for _, arg := range args {
		if found := regexp.MustCompile(`(rocketmq|kafka)-\d[\d.]*\d`).FindString(arg); found != "" {
			return found
		}
	}
	return name
}

func (b *brokers) commandLine(ctx context.Context, name string) ([]string, error) {
	pid, err := b.pid(ctx, name)
	if err != nil {
		return nil, err
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return nil, fmt.Errorf("reading the command line of %s: %w", name, err)
	}
	return strings.Split(strings.TrimRight(string(line), "\x00"), "\x00"), nil
}
