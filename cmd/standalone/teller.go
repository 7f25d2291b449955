package main

import (
	"fmt"
	"time"

	"github.com/rocketmq-connect/operator/worker/rest/restapi"
)

// teller prints what changes of the connectors.
type teller struct {
	runner *runner
	shown  map[string]string
}

func (t *teller) take(ev restapi.WatchEvent) error {
	if ev.Type != restapi.EventConnector || ev.Connector == nil || !t.mine(ev.Name) {
		return nil
	}
	c := ev.Connector
	t.tell(c.Name, connectorLine(*c))
	for _, task := range c.Tasks {
		t.tell(fmt.Sprintf("%s/%d", c.Name, task.ID), taskLine(task))
	}
	return nil
}

func (t *teller) mine(name string) bool {
	for _, c := range t.runner.wanted {
		if c.want.Name == name {
			return true
		}
	}
	return false
}

// tell prints a line once.
func (t *teller) tell(what, text string) {
	if t.shown[what] != text {
		t.shown[what] = text
		t.runner.say("%s: %s", what, text)
	}
}

func connectorLine(c restapi.ConnectorStatus) string {
	running := 0
	for _, t := range c.Tasks {
		if t.State == restapi.StateRunning {
			running++
		}
	}
	text := fmt.Sprintf("%s, %d of %d tasks run", c.State, running, len(c.Tasks))
	if c.Error != "" {
		text += ": " + c.Error
	}
	return text
}

func taskLine(t restapi.TaskStatus) string {
	text := t.State
	if t.Error != "" {
		text += ": " + t.Error
	}
	if t.NextRestart != nil {
		text += fmt.Sprintf(" (again at %s)", t.NextRestart.Local().Format(time.TimeOnly))
	}
	return text
}
