package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/process"
	"github.com/rocketmq-connect/operator/test/wait"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
)

var errEnded = errors.New("a worker ended by itself")

// member is one worker.
type member struct {
	id, log string
	proc    *process.Worker
	highest int64 // of its memory, in bytes
}

// fleet is the workers of a run.
type fleet struct {
	dir, binary, cluster, names, token string
	members                            []*member
	held                               string // how their memory is
	cage                               cage
}

func newFleet(dir, binary, names string) *fleet {
	f := &fleet{dir: dir, binary: binary, cluster: filepath.Base(dir), names: names, token: rand.Text()}
	f.cage, f.held = newCage(f.cluster)
	return f
}

func (f *fleet) topic(kind string) string { return f.cluster + "-" + kind }

// start runs a new member with an empty store.
func (f *fleet) start(ctx context.Context, id string) (*member, error) {
	m := &member{id: id, log: filepath.Join(f.dir, id+".log")}
	store, token := filepath.Join(f.dir, id), filepath.Join(f.dir, "token")
	port, err := process.FreePort(ctx)
	if err := errors.Join(err, os.MkdirAll(store, 0o750), os.WriteFile(token, []byte(f.token), 0o600)); err != nil {
		return nil, fmt.Errorf("preparing a worker: %w", err)
	}
	conf := filepath.Join(f.dir, id+".conf")
	err = process.Conf{ID: id, ClusterID: f.cluster, NameServers: f.names, StoreDir: store, Port: port,
		More: fmt.Sprintf("restTokenFile=%s\nadvertisedAddress=127.0.0.1:%d\n", token, port)}.Write(conf)
	if err != nil {
		return nil, err
	}
	log, err := os.Create(m.log)
	if err != nil {
		return nil, fmt.Errorf("opening a worker's log: %w", err)
	}
	defer log.Close() // the process has its own
	if m.proc, err = process.Start(f.binary, conf, port, log, log); err != nil {
		return nil, err
	}
	f.members = append(f.members, m)
	return m, f.cage.enter(m.proc.PID())
}

// peak is the most memory that the worker has had resident, in bytes, as the kernel noted it; of one that has ended, as
// of the last look.
func (m *member) peak() int64 {
	if now, err := process.Memory(m.proc.PID(), "VmHWM"); err == nil {
		m.highest = max(m.highest, now)
	}
	return m.highest
}

// ended are the workers that are gone, and how.
func (f *fleet) ended() (out []string) {
	for _, m := range f.members {
		if m.proc.Ended() {
			out = append(out, fmt.Sprintf("%s ended with code %d:\n%s", m.id, m.proc.ExitCode(), process.Tail(m.log)))
		}
	}
	return out
}

// create makes a connector, and waits until its tasks run.
func (f *fleet) create(ctx context.Context, c restapi.Connector) error {
	err := wait.Until(ctx, time.Second, func(ctx context.Context) error {
		_, err := f.members[0].proc.Client(f.token).Put(ctx, c, restclient.AnyRevision)
		return err
	})
	if err != nil {
		return fmt.Errorf("creating connector %s: %w", c.Name, err)
	}
	if c.State == restapi.StateStopped {
		return nil
	}
	return f.settled(ctx, map[string]int{c.Name: c.MaxTasks})
}

// settled waits until all members see each other and the connectors' tasks run.
func (f *fleet) settled(ctx context.Context, tasks map[string]int) error {
	return wait.Until(ctx, 200*time.Millisecond, func(ctx context.Context) error {
		if gone := f.ended(); len(gone) > 0 {
			return wait.Final(fmt.Errorf("%w: %s", errEnded, strings.Join(gone, "\n")))
		}
		var clients []*restclient.Client
		for _, m := range f.members {
			clients = append(clients, m.proc.Client(f.token))
		}
		return process.Whole(ctx, clients, tasks)
	})
}

// running are the attempts of the flow's tasks that have not ended, as the workers' logs say.
func (f *fleet) running() ([]audit.Interval, error) {
	var events []audit.Event
	for _, m := range f.members {
		text, err := os.ReadFile(m.log)
		if err != nil {
			return nil, fmt.Errorf("reading a worker's log: %w", err)
		}
		for line := range strings.Lines(string(text)) {
			if e, ok := audit.Parse(line); ok && (e.Connector == sourceName || e.Connector == sinkName) {
				events = append(events, e)
			}
		}
	}
	var out []audit.Interval
	for _, in := range audit.Intervals(events, nil, cluster.Now()) {
		if in.Open {
			in.To = 0 // which is when it was asked
			out = append(out, in)
		}
	}
	return out, nil
}

// owner is who runs a task; as long as it is the same, the task has not moved.
type owner struct {
	audit.Task
	worker     string
	generation int64
}

func owners(running []audit.Interval) map[owner]audit.Interval {
	out := map[owner]audit.Interval{}
	for _, in := range running {
		out[owner{in.Task, in.Worker, in.Generation}] = in
	}
	return out
}

// compare says which tasks moved, and how many began again where they were, as they do when a lease ran out or Kafka
// was away.
func compare(before, after []audit.Interval) (moved []string, anew int) {
	was, is := owners(before), owners(after)
	for o, in := range is {
		old, there := was[o]
		switch {
		case !there:
			moved = append(moved, fmt.Sprintf("%s runs on %s, generation %d", o.Task, o.worker, o.generation))
		case old != in:
			anew++
		}
	}
	for o := range was {
		if _, there := is[o]; !there {
			moved = append(moved, fmt.Sprintf("%s runs on %s no more, generation %d", o.Task, o.worker, o.generation))
		}
	}
	return moved, anew
}

// close ends what still runs.
func (f *fleet) close() {
	for _, m := range f.members {
		m.proc.Kill()
	}
	f.cage.remove()
}
