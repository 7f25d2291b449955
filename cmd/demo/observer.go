package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
	"github.com/rocketmq-connect/operator/worker/rest/restclient"
	"github.com/rocketmq-connect/operator/worker/service"
)

const (
	sourceName = "kafka-to-rocketmq"
	sinkName   = "rocketmq-to-kafka"
	tasks      = 3
	// askAgain is how long to wait for a worker to become ready.
	askAgain    = 200 * time.Millisecond
	callTimeout = 2 * time.Second
)

// unit is a connector (task "") or a task, as the workers show it.
type unit struct {
	Name   string
	Task   string
	State  string
	Worker string
	Error  string
}

// title is how people call the unit.
func (u unit) title() string {
	if u.Task == "" {
		return u.Name
	}
	return u.Name + "/" + u.Task
}

// observer follows the cluster through any worker that answers.
type observer struct {
	fleet   *fleet
	journal *journal
	http    *http.Client

	mu         sync.Mutex
	members    []string
	connectors map[string]restapi.ConnectorStatus
	from       string // the worker that the view is from; empty: none answers
}

func newObserver(f *fleet, j *journal) *observer {
	transport := &http.Transport{ResponseHeaderTimeout: callTimeout, MaxIdleConnsPerHost: 1, IdleConnTimeout: 5 * time.Second}
	return &observer{fleet: f, journal: j, http: &http.Client{Transport: transport}, connectors: map[string]restapi.ConnectorStatus{}}
}

func (o *observer) client(w workerState) *restclient.Client {
	return restclient.New("http://"+net.JoinHostPort("127.0.0.1", strconv.Itoa(w.port)), "", o.http)
}

// any calls fn with the workers that run, one after the other, until one succeeds.
func (o *observer) any(ctx context.Context, fn func(context.Context, *restclient.Client) error) error {
	err := errors.New("no worker runs")
	for _, w := range o.fleet.list() {
		if !w.Running {
			continue
		}
		callCtx, cancel := context.WithTimeout(ctx, callTimeout)
		err = fn(callCtx, o.client(w))
		cancel()
		if err == nil || restclient.Invalid(err) {
			return err
		}
	}
	return err
}

// create brings the two connectors up once a worker is ready.
func (o *observer) create(ctx context.Context, kafka string) error {
	for _, c := range []restapi.Connector{
		{Name: sourceName, Class: "KafkaSource", MaxTasks: tasks, Config: map[string]string{"kafka.bootstrap.server": kafka,
			"kafka.topics": topic}},
		{Name: sinkName, Class: "KafkaSink", MaxTasks: tasks, Config: map[string]string{
			"kafka.bootstrap.server": kafka, "topicNames": topic, "topic.rename.format": "${topic}-copy",
		}},
	} {
		put := func(ctx context.Context, client *restclient.Client) error {
			_, err := client.Put(ctx, c, restclient.AnyRevision)
			return err
		}
		for {
			err := o.any(ctx, put)
			if err == nil {
				o.journal.add("%s was created", c.Name)
				break
			}
			if restclient.Invalid(err) {
				return fmt.Errorf("creating %s: %w", c.Name, err)
			}
			if service.Sleep(ctx, askAgain) != nil {
				return nil
			}
		}
	}
	return nil
}

// toggleSource pauses the source, or resumes it.
func (o *observer) toggleSource(ctx context.Context) error {
	o.mu.Lock()
	c, ok := o.connectors[sourceName]
	o.mu.Unlock()
	if !ok {
		return nil
	}
	want, done := restapi.StatePaused, "is to pause: records wait in Kafka"
	if c.Desired == restapi.StatePaused {
		want, done = restapi.StateRunning, "is to go on"
	}
	err := o.any(ctx, func(ctx context.Context, client *restclient.Client) error {
		_, err := client.SetState(ctx, sourceName, want)
		return err
	})
	if err != nil {
		return fmt.Errorf("setting the state of %s: %w", sourceName, err)
	}
	o.journal.add("%s %s", sourceName, done)
	return nil
}

// watch follows the cluster until ctx ends. A worker that goes away while it is asked is why there are others.
func (o *observer) watch(ctx context.Context) error {
	defer o.http.CloseIdleConnections()
	for {
		for _, w := range o.fleet.list() {
			if !w.Running {
				continue
			}
			in := intake{o: o, worker: w.ID}
			// It always ends with an error, which says no more than that another worker is to be asked.
			_ = o.client(w).Watch(ctx, 0, in.take)
			if ctx.Err() != nil {
				return nil
			}
			o.lost(w.ID)
		}
		if service.Sleep(ctx, askAgain) != nil {
			return nil
		}
	}
}

// lost notes that the worker does not answer any more.
func (o *observer) lost(worker string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.from == worker {
		o.from = ""
	}
}

// intake is one watch stream. The whole state that it begins with replaces the view in one step.
type intake struct {
	o          *observer
	worker     string
	synced     bool
	members    []string
	connectors map[string]restapi.ConnectorStatus
}

func (in *intake) take(ev restapi.WatchEvent) error {
	if ev.Type == restapi.EventSnapshot {
		in.connectors, in.synced = map[string]restapi.ConnectorStatus{}, false
	}
	switch {
	case ev.Type == restapi.EventConnector && ev.Connector != nil:
		in.connectors[ev.Name] = *ev.Connector
	case ev.Type == restapi.EventDeleted:
		delete(in.connectors, ev.Name)
	case ev.Type == restapi.EventCluster && ev.Cluster != nil:
		in.members = nil
		for _, m := range ev.Cluster.Members {
			in.members = append(in.members, m.Worker)
		}
	case ev.Type == restapi.EventSynced:
		in.synced = true
	}
	if in.synced {
		in.o.show(in)
	}
	return nil
}

// show makes the stream's state the view, and notes what changed.
func (o *observer) show(in *intake) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, id := range in.members {
		if !slices.Contains(o.members, id) {
			o.journal.add("%s joined the cluster", id)
		}
	}
	for _, id := range o.members {
		if !slices.Contains(in.members, id) {
			o.journal.add("%s is no member any more", id)
		}
	}
	before := map[string]unit{}
	for _, u := range units(o.connectors) {
		before[u.title()] = u
	}
	o.from, o.members, o.connectors = in.worker, slices.Clone(in.members), map[string]restapi.ConnectorStatus{}
	for name, c := range in.connectors {
		o.connectors[name] = c
	}
	for _, u := range units(o.connectors) {
		if was := before[u.title()]; u.Task != "" {
			o.noteChange(was, u)
		}
	}
}

func (o *observer) noteChange(was, now unit) {
	switch {
	case was.Worker != now.Worker && now.Worker != "":
		o.journal.add("%s runs on %s", now.title(), now.Worker)
	case was.Worker != now.Worker:
		o.journal.add("%s has no worker", now.title())
	case now.Error != "" && was.Error != now.Error:
		o.journal.add("%s: %s", now.title(), now.Error)
	}
}

// units lists connectors and their tasks in order.
func units(connectors map[string]restapi.ConnectorStatus) []unit {
	var out []unit
	for name, c := range connectors {
		out = append(out, unit{Name: name, State: c.State, Worker: c.Worker, Error: c.Error})
		for _, t := range c.Tasks {
			out = append(out, unit{Name: name, Task: strconv.Itoa(t.ID), State: t.State, Worker: t.Worker, Error: t.Error})
		}
	}
	slices.SortFunc(out, func(a, b unit) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Task, b.Task)) })
	return out
}

// view returns the members, the units, and the worker that says so; it is empty while none answers.
func (o *observer) view() (members []string, all []unit, from string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.members), units(o.connectors), o.from
}
