// Package connectors lists the connector classes that are built into the worker.
package connectors

import (
	"fmt"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/connectors/kafka"
)

// Classes is a list of connector classes, no two of which share a class name or an alias. Its order is that in which
// they are asked whether a config that names no class is theirs. The zero value has none.
type Classes struct {
	all   []connector.Connector
	specs []connector.Spec // of each: they are constant, and asked for at every look at a connector
}

// Catalog returns the built-in classes, for one worker.
func Catalog() Classes { return Of(kafka.NewSourceConnector(), kafka.NewSinkConnector()) }

// Of makes a list of classes.
func Of(classes ...connector.Connector) Classes { return Classes{}.With(classes...) }

// With returns the list with more classes behind it.
func (c Classes) With(more ...connector.Connector) Classes {
	out := Classes{all: slices.Clone(c.all), specs: slices.Clone(c.specs)}
	for _, each := range more {
		out.all, out.specs = append(out.all, each), append(out.specs, each.Spec())
	}
	return out
}

// Find returns the connector of a class name or alias. Its error lists what exists.
func (c Classes) Find(class string) (connector.Connector, error) {
	for i, spec := range c.specs {
		if spec.Class == class || slices.Contains(spec.Aliases, class) {
			return c.all[i], nil
		}
	}
	return nil, fmt.Errorf("connector.class %q is not known to this worker; it has %s", class, strings.Join(c.names(), ", "))
}

// Implied returns the class of a config that names none; of several, the first of the list.
func (c Classes) Implied(cfg map[string]string) (string, error) {
	return connector.Implied(c.specs, cfg)
}

// List returns the Spec of every class, by class name.
func (c Classes) List() []connector.Spec {
	specs := slices.Clone(c.specs)
	slices.SortFunc(specs, func(a, b connector.Spec) int { return strings.Compare(a.Class, b.Class) })
	return specs
}

func (c Classes) names() []string {
	var names []string
	for _, spec := range c.List() {
		names = append(names, spec.Class)
	}
	return names
}
