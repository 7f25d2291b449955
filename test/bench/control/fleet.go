package control

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rocketmq-connect/operator/test/metrics"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	// stuck bounds every wait for the workers.
	stuck = 3 * time.Minute
	// look is how often the workers are looked at while something is awaited.
	look = 20 * time.Millisecond
)

// fleet is the workers of one cluster.
type fleet struct {
	binary, dir string
	conf        process.Conf // of all, but for id, port and store directory
	workers     []*member
}

// member is one worker, which may be started several times.
type member struct {
	*process.Worker
	conf process.Conf
	rest *restclient.Client
	err  *process.Output
}

// add makes room for a worker.
func (f *fleet) add(ctx context.Context) error {
	port, err := process.FreePort(ctx)
	if err != nil {
		return err
	}
	m := &member{conf: f.conf, rest: restclient.New(fmt.Sprintf("http://127.0.0.1:%d", port), "", nil)}
	m.conf.ID, m.conf.Port = fmt.Sprintf("control-%d", len(f.workers)), port
	m.conf.StoreDir = filepath.Join(f.dir, m.conf.ID)
	m.conf.More = fmt.Sprintf("httpHost=127.0.0.1\nadvertisedAddress=127.0.0.1:%d\n", port)
	f.workers = append(f.workers, m)
	return nil
}

// start starts every worker at once, and returns how long it took until all said that they are ready.
func (f *fleet) start(ctx context.Context) (time.Duration, error) {
	begun := time.Now()
	for _, m := range f.workers {
		conf := m.conf.StoreDir + ".conf"
		if err := m.conf.Write(conf); err != nil {
			return 0, err
		}
		m.err = &process.Output{}
		var err error
		if m.Worker, err = process.Start(f.binary, conf, m.conf.Port, m.err, m.err); err != nil {
			return 0, err
		}
	}
	err := f.await(ctx, "every worker is ready", func(m *member) bool {
		_, err := m.Get(ctx, "/readyz")
		return err == nil
	})
	return time.Since(begun), err
}

// stop ends every worker that runs, and forgets what they stored if it is not to be kept.
func (f *fleet) stop(keep bool) error {
	var errs []error
	for _, m := range f.running() {
		errs = append(errs, m.Signal(syscall.SIGTERM))
	}
	for _, m := range f.running() {
		errs = append(errs, m.Await(time.Minute))
	}
	for _, m := range f.workers {
		if !keep {
			errs = append(errs, os.RemoveAll(m.conf.StoreDir))
		}
	}
	return errors.Join(errs...)
}

func (f *fleet) running() []*member {
	var out []*member
	for _, m := range f.workers {
		if m.Worker != nil && !m.Ended() {
			out = append(out, m)
		}
	}
	return out
}

// await waits until the condition holds for each worker that runs, all at one look.
func (f *fleet) await(ctx context.Context, what string, holds func(*member) bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, stuck, fmt.Errorf("it is not so after %s that %s", stuck, what))
	defer cancel()
	want := len(f.running())
	for {
		members, ok := f.running(), true
		if len(members) < want {
			return f.ended()
		}
		for _, m := range members {
			ok = ok && holds(m)
		}
		if ok {
			return nil
		}
		if err := service.Sleep(ctx, look); err != nil {
			return err
		}
	}
}

// ended says which worker ended by itself, and what it said at last.
func (f *fleet) ended() error {
	for _, m := range f.workers {
		if m.Worker != nil && m.Ended() {
			said := m.err.String()
			return fmt.Errorf("worker %s ended with %d: %s", m.conf.ID, m.ExitCode(), said[max(0, len(said)-2000):])
		}
	}
	return errors.New("a worker ended")
}

// starts counts the attempts that the workers that run have begun since they were started, by their audit lines.
func (f *fleet) starts() int {
	n := 0
	for _, m := range f.running() {
		n += strings.Count(m.err.String(), `"task-start"`)
	}
	return n
}

const cpuSeconds = "process_cpu_seconds_total"

// cpu is what the workers that run have taken since they were started, in seconds.
func (f *fleet) cpu(ctx context.Context) (sum float64, err error) {
	for _, m := range f.running() {
		seconds, err := m.figure(ctx, cpuSeconds)
		if err != nil {
			return 0, err
		}
		sum += seconds
	}
	return sum, nil
}

// figure is one of the worker's metrics, of those without labels.
func (m *member) figure(ctx context.Context, name string) (float64, error) {
	all, err := metrics.Read(ctx, m.URL("/metrics"))
	if err != nil {
		return 0, err
	}
	return all.Value(name)
}

// each calls fn for 0 to n-1, several at a time.
func each(n, workers int, fn func(i int) error) error {
	next := make(chan int)
	errs := make(chan error, workers)
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for i := range next {
				if err := fn(i); err != nil {
					select {
					case errs <- err:
					default:
					}
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	group.Wait()
	close(errs)
	return <-errs
}
