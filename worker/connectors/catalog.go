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
// they are asked whether a config that names no class is theirs.
type Classes []connector.Connector

// Catalog returns the built-in classes, for one worker.
func Catalog() Classes {
	return Classes{kafka.NewSourceConnector(), kafka.NewSinkConnector()}
}

// Find returns the connector of a class name or alias. Its error lists what exists.
func (c Classes) Find(class string) (connector.Connector, error) {
	for _, each := range c {
		if spec := each.Spec(); spec.Class == class || slices.Contains(spec.Aliases, class) {
			return each, nil
		}
	}
	return nil, fmt.Errorf("connector.class %q is not known to this worker; it has %s", class, strings.Join(c.names(), ", "))
}

// Implied returns the class of a config that names none; of several, the first of the list.
func (c Classes) Implied(cfg map[string]string) (string, error) {
	return connector.Implied(c.specs(), cfg)
}

// List returns the Spec of every class, by class name.
func (c Classes) List() []connector.Spec {
	specs := c.specs()
	slices.SortFunc(specs, func(a, b connector.Spec) int { return strings.Compare(a.Class, b.Class) })
	return specs
}

func (c Classes) specs() []connector.Spec {
	specs := make([]connector.Spec, 0, len(c))
	for _, each := range c {
		specs = append(specs, each.Spec())
	}
	return specs
}

func (c Classes) names() []string {
	var names []string
	for _, spec := range c.List() {
		names = append(names, spec.Class)
	}
	return names
}
