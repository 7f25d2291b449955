// Package control measures what a cluster of workers does around the records: writes of configs, starts, and the loss
// of a worker, with many connectors whose tasks do nothing.
package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/rmq"
	"github.com/rocketmq-connect/operator/worker/service"
)

// Options say what is measured.
type Options struct {
	// Binary is the worker's, with IdleSource among its classes; Dir is for its files.
	Binary, Dir string
	// NameServer is where RocketMQ is, and Cluster the name of a new cluster there.
	NameServer, Cluster                  string
	Workers, Connectors, TasksEach, Puts int
	RMQ                                  *rmq.Client
	Say                                  func(format string, args ...any)
}

const (
	// settle is how long the cluster is left alone before it counts as at rest, and restTime how long it is then looked
	// at.
	settle   = 20 * time.Second
	restTime = 30 * time.Second
	// creators is how many connectors are created at a time.
	creators = 8
)

// run is one measurement.
type run struct {
	Options
	fleet fleet
	rows  [][2]string
	rest  []rest
	grown []growth
}

// rest is what one worker takes while nothing happens.
type rest struct{ memory, busy float64 }

// Run measures, and returns the tables, of what was done before a failure, too.
func Run(ctx context.Context, o Options) (report string, err error) {
	r := &run{Options: o, fleet: fleet{binary: o.Binary, dir: o.Dir, conf: process.Conf{ClusterID: o.Cluster, NameServers: o.NameServer}}}
	for range o.Workers {
		if err := r.fleet.add(ctx); err != nil {
			return "", err
		}
	}
	defer func() { err = errors.Join(err, r.fleet.stop(false)) }()
	for _, step := range []func(context.Context) error{r.create, r.restarts, r.atRest, r.puts, r.lose} {
		if err := step(ctx); err != nil {
			return r.report(), err
		}
	}
	return r.report(), nil
}

func (r *run) tasks() int { return r.Connectors * r.TasksEach }

func (r *run) note(what, figure string, args ...any) {
	figure = fmt.Sprintf(figure, args...)
	r.Say("control: %s: %s", what, figure)
	r.rows = append(r.rows, [2]string{what, figure})
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f s", d.Seconds()) }

func nameOf(i int) string { return fmt.Sprintf("control-%04d", i) }

func (r *run) connector(i int, note string) restapi.Connector {
	return restapi.Connector{Name: nameOf(i), Class: idleClass, Config: map[string]string{idleNote: note}, MaxTasks: r.TasksEach}
}

// create starts the cluster for the first time, and creates everything.
func (r *run) create(ctx context.Context) error {
	ready, err := r.fleet.start(ctx)
	if err != nil {
		return err
	}
	r.note("first boot, no topics and no connectors: all ready", "%s", seconds(ready))
	watch := r.fleet.workers[0].shown(ctx)
	defer watch.close()
	before, err := r.fleet.cpu(ctx)
	if err != nil {
		return err
	}
	begun := time.Now()
	err = each(r.Connectors, creators, func(i int) error {
		_, err := r.fleet.workers[i%len(r.fleet.workers)].rest.Put(ctx, r.connector(i, "first"), 0)
		return err
	})
	if err != nil {
		return fmt.Errorf("creating connectors: %w", err)
	}
	took := time.Since(begun)
	r.note(
		fmt.Sprintf("%d connectors created, %d at a time", r.Connectors, creators),
		"%s, %.0f writes/s",
		seconds(took),
		float64(r.Connectors)/took.Seconds(),
	)
	return r.awaitAll(ctx, watch, phase{since: "after the first of these writes", begun: begun, spent: before})
}

// phase is what is measured until all tasks run.
type phase struct {
	since string
	begun time.Time
	// spent is the CPU that the workers had taken before.
	spent float64
	// lost is a worker that was killed: tasks that are still shown as its own do not count.
	lost string
}

// awaitAll waits until a worker shows all tasks as running. That costs the workers little, unlike asking for their
// metrics.
func (r *run) awaitAll(ctx context.Context, watch *shown, p phase) error {
	took, err := watch.await(ctx, p.begun, r.tasks(), p.lost)
	if err != nil {
		return err
	}
	r.note(fmt.Sprintf("all %d tasks shown as running, %s", r.tasks(), p.since), "%s", seconds(took))
	spent, err := r.fleet.cpu(ctx)
	r.note("… CPU that the workers took for it", "%.1f s", spent-p.spent)
	return err
}

// restarts stops and starts the whole cluster.
func (r *run) restarts(ctx context.Context) error {
	for _, keep := range []bool{true, false} {
		what := "with empty store directories"
		if keep {
			what = "with their store directories"
		}
		begun := time.Now()
		if err := r.fleet.stop(keep); err != nil {
			return err
		}
		r.note("all workers stopped", "%s", seconds(time.Since(begun)))
		begun = time.Now()
		ready, err := r.fleet.start(ctx)
		if err != nil {
			return err
		}
		r.note("boot of all workers "+what+": all ready", "%s", seconds(ready))
		watch := r.fleet.workers[0].shown(ctx)
		err = r.awaitAll(ctx, watch, phase{since: "after that boot's start", begun: begun})
		watch.close()
		if err != nil {
			return err
		}
		r.note("… starts of tasks that it took", "%d", r.fleet.starts())
	}
	return nil
}

// atRest measures what the cluster takes while nothing happens.
func (r *run) atRest(ctx context.Context) error {
	if err := service.Sleep(ctx, settle); err != nil {
		return err
	}
	const memory = "process_resident_memory_bytes"
	from, err := ends(ctx, r.RMQ, r.Cluster)
	if err != nil {
		return err
	}
	begun, before := time.Now(), make([]float64, len(r.fleet.workers))
	for i, m := range r.fleet.workers {
		if before[i], err = m.figure(ctx, cpuSeconds); err != nil {
			return err
		}
	}
	if err := service.Sleep(ctx, restTime); err != nil {
		return err
	}
	for i, m := range r.fleet.workers {
		seconds, err := m.figure(ctx, cpuSeconds)
		if err != nil {
			return err
		}
		busy := (seconds - before[i]) / time.Since(begun).Seconds()
		resident, err := m.figure(ctx, memory)
		if err != nil {
			return err
		}
		r.rest = append(r.rest, rest{memory: resident, busy: busy})
	}
	r.grown, err = grown(ctx, r.RMQ, r.Cluster, from)
	return err
}

// puts changes configs one at a time, and measures until every worker shows the change.
func (r *run) puts(ctx context.Context) error {
	watch := r.fleet.workers[0].shown(ctx)
	defer watch.close()
	var answered, seen []time.Duration
	before, err := r.fleet.cpu(ctx)
	if err != nil {
		return err
	}
	for i := range r.Puts {
		c := r.connector(i*7%r.Connectors, fmt.Sprint("change ", i))
		begun := time.Now()
		stored, err := r.fleet.workers[i%len(r.fleet.workers)].rest.Put(ctx, c, restclient.AnyRevision)
		if err != nil {
			return fmt.Errorf("changing a config: %w", err)
		}
		answered = append(answered, time.Since(begun))
		if err := r.seen(ctx, stored); err != nil {
			return err
		}
		seen = append(seen, time.Since(begun))
	}
	slices.Sort(answered)
	slices.Sort(seen)
	r.note(fmt.Sprintf("%d config changes, one at a time: answered", r.Puts), "%s", quantiles(answered))
	r.note("… and shown by every worker", "%s", quantiles(seen))
	if _, err := watch.await(ctx, time.Now(), r.tasks(), ""); err != nil {
		return err
	}
	spent, err := r.fleet.cpu(ctx)
	r.note("… CPU that the workers took for each, restarts of its tasks included", "%.0f ms", 1000*(spent-before)/float64(r.Puts))
	return err
}

// seen waits until every worker shows the connector as stored.
func (r *run) seen(ctx context.Context, stored restapi.Connector) error {
	var group sync.WaitGroup
	errs := make([]error, len(r.fleet.workers))
	for i, m := range r.fleet.workers {
		group.Go(func() {
			for {
				got, err := m.rest.Get(ctx, stored.Name)
				if err == nil && got.Revision >= stored.Revision {
					return
				}
				if errs[i] = err; err != nil || service.Sleep(ctx, time.Millisecond) != nil {
					return
				}
			}
		})
	}
	group.Wait()
	return errors.Join(errs...)
}

func quantiles(sorted []time.Duration) string {
	at := func(q float64) float64 {
		return float64(sorted[min(len(sorted)-1, int(q*float64(len(sorted))))].Microseconds()) / 1000
	}
	return fmt.Sprintf("p50 %.1f ms, p90 %.1f ms, p99 %.1f ms", at(.5), at(.9), at(.99))
}

// lose kills the oldest worker for good, which costs the others the most.
func (r *run) lose(ctx context.Context) error {
	lost := r.fleet.workers[0]
	watch := r.fleet.workers[1].shown(ctx)
	defer watch.close()
	if _, err := watch.await(ctx, time.Now(), r.tasks(), ""); err != nil {
		return err
	}
	begun := time.Now()
	lost.Kill()
	before, err := r.fleet.cpu(ctx)
	if err != nil {
		return err
	}
	return r.awaitAll(ctx, watch, phase{since: "after a worker was killed for good", begun: begun, spent: before, lost: lost.conf.ID})
}

// report shows everything as markdown.
func (r *run) report() string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %d connectors with %d tasks on %d workers | |\n|---|---|\n", r.Connectors, r.tasks(), r.Workers)
	for _, row := range r.rows {
		fmt.Fprintf(&b, "| %s | %s |\n", row[0], row[1])
	}
	for i, w := range r.rest {
		fmt.Fprintf(&b, "| worker %d at rest | %.0f MiB, %.1f %% of a core |\n", i+1, w.memory/(1<<20), 100*w.busy)
	}
	if r.grown != nil {
		b.WriteString("\n| internal topic at rest | records/h | MB/h |\n|---|---|---|\n")
	}
	for _, g := range r.grown {
		fmt.Fprintf(&b, "| %s | %.0f | %.2f |\n", g.topic, perHour(g.records, restTime), perHour(g.bytes, restTime)/1e6)
	}
	return b.String()
}
