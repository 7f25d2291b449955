package check

import (
	"sync"

	"github.com/rocketmq-connect/operator/worker/config"
	"github.com/rocketmq-connect/operator/worker/connector"
	"github.com/rocketmq-connect/operator/worker/redact"
)

// Catalog finds connector classes.
type Catalog interface {
	Find(class string) (connector.Connector, error)
	// Implied returns the class of a config that names none; its error says what to set.
	Implied(cfg map[string]string) (string, error)
}

// Classes finds the class of a config. It is safe for concurrent use.
type Classes struct {
	catalog Catalog
	specs   sync.Map // class → connector.Spec, which is constant: every refresh asks for that of each connector
}

// NewClasses makes the Classes of a catalog.
func NewClasses(catalog Catalog) *Classes { return &Classes{catalog: catalog} }

// Of returns the config's class.
func (c *Classes) Of(cfg map[string]string) (connector.Connector, error) {
	class, err := config.ClassOf(cfg, c.catalog.Implied)
	if err != nil {
		return nil, err
	}
	return c.catalog.Find(class)
}

// Spec returns the Spec of the config's class; one with only the class's name when the class is not known here.
func (c *Classes) Spec(cfg map[string]string) connector.Spec {
	class, err := config.ClassOf(cfg, c.catalog.Implied)
	if err != nil {
		return connector.Spec{}
	}
	if spec, ok := c.specs.Load(class); ok {
		return spec.(connector.Spec)
	}
	found, err := c.catalog.Find(class)
	if err != nil {
		return connector.Spec{Class: class}
	}
	spec := found.Spec()
	c.specs.Store(class, spec)
	return spec
}

// Policy says what of a connector's values may be shown, its tasks' too: those of which its class knows that they are
// no secrets, and the worker's own. Of a class that is not known here, that is only the latter.
//
// Invariant S1: no secret value is in a REST answer.
func (c *Classes) Policy(cfg map[string]string) redact.Policy { return PolicyOf(c.Spec(cfg)) }

// PolicyOf is the Policy of configs of one class.
func PolicyOf(spec connector.Spec) redact.Policy {
	return func(key string) bool { return spec.Secret(key, config.Reserved) }
}
