// Package audit reads the audit lines of workers and says from them who ran which task when: whether a task ever ran on
// two workers at once, and how long it ran nowhere.
package audit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Task names one task of one connector.
type Task struct {
	Connector string
	Task      int
}

// String is connector-task.
func (t Task) String() string { return fmt.Sprintf("%s-%d", t.Connector, t.Task) }

// Event is one audit line: the start or the stop of one attempt of a task. At is CLOCK_BOOTTIME, which all workers of
// one machine share.
type Event struct {
	Kind       string `json:"audit"`
	Worker     string `json:"worker"`
	Connector  string `json:"connector"`
	Task       int    `json:"task"`
	Generation int64  `json:"generation"`
	Epoch      int64  `json:"epoch"`
	Attempt    int64  `json:"attempt"`
	At         int64  `json:"boottime_ns"`
	// Ended, in a stop, is when the last delivery had ended: before At when the worker was frozen or cut off, and wrote
	// the line late.
	Ended int64 `json:"ended_ns"`
}

// end is when the attempt that the line stops had ended.
func (e Event) end() time.Duration {
	if e.Ended > 0 && e.Ended < e.At {
		return time.Duration(e.Ended)
	}
	return time.Duration(e.At)
}

// The kinds of audit lines.
const (
	Start = "task-start"
	Stop  = "task-stop"
)

// Parse reads a worker's log line; false when it is no audit line.
func Parse(line string) (Event, bool) {
	var e Event
	if !strings.Contains(line, `"audit"`) || json.Unmarshal([]byte(line), &e) != nil {
		return Event{}, false
	}
	return e, e.Kind == Start || e.Kind == Stop
}

// Interval is one attempt of a task on a worker, from its start to the end of its deliveries in CLOCK_BOOTTIME. Open
// intervals have not ended by the time of the report.
type Interval struct {
	Task
	Worker              string
	Generation, Attempt int64
	From, To            time.Duration
	Open                bool
}

// Death is the observed end of a worker's process; it closes the intervals that the process left open.
type Death struct {
	Worker string
	At     time.Duration
}

// Intervals pairs starts with stops. Repeated lines count once. What ended before it started never was. What a dead
// worker left open ends with its first death after the start; what is open otherwise ends at now.
func Intervals(events []Event, deaths []Death, now time.Duration) []Interval {
	stops := map[Event]time.Duration{}
	for _, e := range events {
		if e.Kind == Stop {
			stops[e.attempt()] = e.end()
		}
	}
	seen := map[Event]bool{}
	var out []Interval
	for _, e := range events {
		if e.Kind != Start || seen[e.attempt()] {
			continue
		}
		seen[e.attempt()] = true
		in := Interval{Task: Task{e.Connector, e.Task}, Worker: e.Worker, Generation: e.Generation, Attempt: e.Attempt, From: time.Duration(e.At)}
		if stop, ok := stops[e.attempt()]; ok {
			in.To = stop
		} else {
			in.To, in.Open = endOf(in, deaths, now)
		}
		if in.To < in.From {
			continue // its lease was over before the line of its start was written: it delivered nothing
		}
		out = append(out, in)
	}
	slices.SortFunc(out, func(a, b Interval) int {
		if c := strings.Compare(a.Task.String(), b.Task.String()); c != 0 {
			return c
		}
		return int(a.From - b.From)
	})
	return out
}

// attempt is the event without what differs between its start and its stop.
func (e Event) attempt() Event {
	e.Kind, e.At, e.Ended = "", 0, 0
	return e
}

func endOf(in Interval, deaths []Death, now time.Duration) (to time.Duration, open bool) {
	to, open = now, true
	for _, d := range deaths {
		if d.Worker == in.Worker && d.At >= in.From && d.At < to {
			to, open = d.At, false
		}
	}
	return to, open
}

// Overlaps lists each pair of intervals of one task that ran at the same time; empty is what must be.
func Overlaps(sorted []Interval) []string {
	var out []string
	for i, a := range sorted {
		for _, b := range sorted[i+1:] {
			if a.Task == b.Task && b.From < a.To && a.From < b.To { // one that ended as it began is beside what began with it
				out = append(out, fmt.Sprintf("%s: generation %d on %s until %v, generation %d on %s from %v",
					a.Task, a.Generation, a.Worker, a.To, b.Generation, b.Worker, b.From))
			}
		}
	}
	return out
}

// Gap is a time in which a task ran nowhere, between two of its intervals.
type Gap struct {
	Task
	OldWorker, NewWorker string
	From, To             time.Duration
}

// Gaps lists, for each task, the times between its intervals that end after since.
func Gaps(sorted []Interval, since time.Duration) []Gap {
	var out []Gap
	for i := 1; i < len(sorted); i++ {
		a, b := sorted[i-1], sorted[i]
		if a.Task == b.Task && b.From > since {
			out = append(out, Gap{Task: a.Task, OldWorker: a.Worker, NewWorker: b.Worker, From: a.To, To: b.From})
		}
	}
	return out
}
