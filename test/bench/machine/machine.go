// Package machine says what the figures of a benchmark were taken on and with.
package machine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/rocketmq-connect/operator/worker/rmq/remoting"
)

// Describe names the cores, the memory and the compiler.
func Describe() string {
	return fmt.Sprintf("%d cores (%s), %s of memory, Linux %s, %s", runtime.NumCPU(), valueIn(read("/proc/cpuinfo"), "model name"),
		gibibytes(valueIn(read("/proc/meminfo"), "MemTotal")), strings.TrimSpace(read("/proc/sys/kernel/osrelease")), runtime.Version())
}

// Load is the load average of the last minute, as the kernel writes it.
func Load() string {
	load, _, _ := strings.Cut(read("/proc/loadavg"), " ")
	return load
}

func read(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(text)
}

// valueIn finds the first line "name: value".
func valueIn(text, name string) string {
	for line := range strings.Lines(text) {
		if before, after, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(before) == name {
			return strings.TrimSpace(after)
		}
	}
	return "unknown"
}

// gibibytes makes the kernel's "n kB" shorter.
func gibibytes(value string) string {
	var kb int64
	if _, err := fmt.Sscanf(value, "%d kB", &kb); err != nil {
		return value
	}
	return fmt.Sprintf("%.0f GiB", float64(kb)/(1<<20))
}

// Java is the version of the java that is found first.
func Java(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "java", "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("asking java for its version: %w: %s", err, out)
	}
	return quoted(string(out)), nil
}

// quoted is the first text in double quotes.
func quoted(text string) string {
	_, after, _ := strings.Cut(text, `"`)
	value, _, _ := strings.Cut(after, `"`)
	return value
}

// Kafka is the release that the requests of the cluster's brokers belong to; brokers do not tell more.
func Kafka(ctx context.Context, admin *kadm.Client) (string, error) {
	all, err := admin.ApiVersions(ctx)
	if err != nil {
		return "", fmt.Errorf("asking Kafka for its version: %w", err)
	}
	for _, broker := range all.Sorted() {
		return strings.TrimPrefix(broker.VersionGuess(), "v"), nil
	}
	return "", errors.New("asking Kafka for its version: no broker answered")
}

const (
	brokerRuntimeInfo = 28
	answerLimit       = 5 * time.Second
)

// RocketMQ is the version of the broker at the address.
func RocketMQ(ctx context.Context, addr string) (string, error) {
	pool := remoting.NewPool(remoting.TCP(answerLimit), answerLimit, remoting.Credentials{})
	defer pool.Close()
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	answer, err := pool.Call(ctx, addr, "", &remoting.Command{Code: brokerRuntimeInfo})
	if err != nil {
		return "", fmt.Errorf("asking RocketMQ for its version: %w", err)
	}
	return rocketMQVersion(answer.Body)
}

// rocketMQVersion reads it from a broker's runtime information.
func rocketMQVersion(body []byte) (string, error) {
	var info struct {
		Table struct {
			Version string `json:"brokerVersionDesc"`
		} `json:"table"`
	}
	if err := json.Unmarshal(body, &info); err != nil {
		return "", fmt.Errorf("reading RocketMQ's version: %w", err)
	}
	return strings.ReplaceAll(strings.TrimPrefix(info.Table.Version, "V"), "_", "."), nil
}
