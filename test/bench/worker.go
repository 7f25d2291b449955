//go:build linux

package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/test/metrics"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

// workers starts workers of one cluster, one after the other, each from an empty store directory.
type workers struct {
	env     environment
	dir     string
	cluster string
	// command is the worker and its arguments but the configuration file.
	command []string
	started int
}

// runningWorker is a worker that says it is ready.
type runningWorker struct {
	*pinned
	rest    *restclient.Client
	address string
	ready   time.Duration
}

func (w *workers) start(ctx context.Context) (*runningWorker, error) {
	w.started++
	port, err := process.FreePort(ctx)
	if err != nil {
		return nil, err
	}
	conf, err := w.conf(port)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(w.command[0], append(w.command[1:], "-c", conf)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("reading the worker's output: %w", err)
	}
	begun := time.Now()
	p, err := startPinned(cmd)
	if err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.Contains(line, "boot success") {
		_ = p.stop()
		return nil, fmt.Errorf("starting the worker: it wrote %q: %s", line, p.lastWords())
	}
	address := fmt.Sprintf("http://127.0.0.1:%d", port)
	return &runningWorker{pinned: p, rest: restclient.New(address, "", nil), address: address, ready: time.Since(begun)}, nil
}

func (w *workers) conf(port int) (string, error) {
	dir := filepath.Join(w.dir, fmt.Sprintf("worker-%d", w.started))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return "", fmt.Errorf("making the worker's directory: %w", err)
	}
	conf := process.Conf{
		ID: fmt.Sprintf("bench-%d", w.started), ClusterID: w.cluster, NameServers: w.env.nameServer,
		StoreDir: filepath.Join(dir, "store"), Port: port, More: fmt.Sprintf("httpHost=127.0.0.1\nadvertisedAddress=127.0.0.1:%d\n", port),
	}
	if w.env.tlsCA != "" {
		conf.More += "tlsEnable=true\ntlsCA=" + w.env.tlsCA + "\n"
	}
	path := filepath.Join(dir, "connect.conf")
	return path, conf.Write(path)
}

// create makes a connector with the given number of tasks.
func (w *runningWorker) create(ctx context.Context, env environment, name string, job bareJob, tasks int) error {
	config := map[string]string{"kafka.bootstrap.server": env.kafka, "topic.rename.format": job.To}
	class := "KafkaSource"
	if job.Kind == sink {
		class, config["topicNames"] = "KafkaSink", job.From
	} else {
		config["kafka.topics"] = job.From
	}
	_, err := w.rest.Put(ctx, restapi.Connector{Name: name, Class: class, Config: config, MaxTasks: tasks}, restclient.AnyRevision)
	if err != nil {
		return fmt.Errorf("creating connector %s: %w", name, err)
	}
	return nil
}

// failure tells why a task of the connector failed, if one did.
func (w *runningWorker) failure(ctx context.Context, name string) error {
	if err := w.ended(); err != nil {
		return err
	}
	status, err := w.rest.Status(ctx, name)
	if err != nil {
		return nil // it may be on its way; the process lives
	}
	for _, t := range status.Tasks {
		if t.State == restapi.StateFailed || t.State == restapi.StateRestarting {
			return fmt.Errorf("task %d of %s failed: %s", t.ID, name, t.Error)
		}
	}
	return nil
}

// mallocs is how many objects the worker's runtime has allocated so far.
func (w *runningWorker) mallocs(ctx context.Context) (float64, error) {
	m, err := w.metrics(ctx)
	if err != nil {
		return 0, err
	}
	return m.Value("go_memstats_mallocs_total")
}

// population is how many goroutines and open files the worker has.
func (w *runningWorker) population(ctx context.Context) (goroutines, files float64, err error) {
	m, err := w.metrics(ctx)
	if err != nil {
		return 0, 0, err
	}
	goroutines, err = m.Value("go_goroutines")
	if err == nil {
		files, err = m.Value("process_open_fds")
	}
	return goroutines, files, err
}

func (w *runningWorker) metrics(ctx context.Context) (metrics.Families, error) {
	return metrics.Read(ctx, w.address+"/metrics")
}

// workerContender is a connector with one task on a worker.
type workerContender struct {
	workers *workers
	w       *runningWorker
	name    string
	before  float64
}

func (c *workerContender) start(ctx context.Context, job bareJob) (*pinned, error) {
	var err error
	if c.w, err = c.workers.start(ctx); err != nil {
		return nil, err
	}
	if c.before, err = c.w.mallocs(ctx); err != nil {
		return nil, errors.Join(err, c.w.stop())
	}
	c.name = fmt.Sprintf("c%d", c.workers.started)
	if err := c.w.create(ctx, c.workers.env, c.name, job, 1); err != nil {
		return nil, errors.Join(err, c.w.stop())
	}
	return c.w.pinned, nil
}

func (c *workerContender) check(ctx context.Context) error { return c.w.failure(ctx, c.name) }

func (c *workerContender) finish(ctx context.Context) (float64, error) {
	after, err := c.w.mallocs(ctx)
	return after - c.before, errors.Join(err, c.w.rest.Delete(context.WithoutCancel(ctx), c.name), c.w.stop())
}
