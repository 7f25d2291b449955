package resttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rocketmq-connect/operator/worker/connector"
)

// Class is a connector class that its Spec describes, and that does nothing.
type Class struct{ Described connector.Spec }

// Spec is what was given.
func (f Class) Spec() connector.Spec { return f.Described }

// Validate fails as the topics say.
func (f Class) Validate(cfg connector.Config) error {
	switch cfg["kafka.topics"] + cfg["topicNames"] {
	case "panic":
		panic("boom")
	case "panic with all":
		panic(fmt.Sprint(cfg))
	case "tell all":
		return fmt.Errorf("kafka.topics cannot be read by %v", cfg)
	case "tell all as JSON":
		text, err := json.Marshal(cfg)
		return errors.Join(err, fmt.Errorf("kafka.topics cannot be read by %s", text))
	case "needs a name":
		if !strings.Contains(cfg["login"], "name=") {
			return errors.New("login must have name=")
		}
	case "bad topic":
		return errors.New("kafka.topics must not have blanks")
	}
	return nil
}

// Tasks makes none.
func (f Class) Tasks(context.Context, connector.Config, int) ([]connector.Config, error) {
	return nil, nil
}

// Catalog is a list of classes.
type Catalog []Class

// Find returns the class of a name or alias.
func (f Catalog) Find(class string) (connector.Connector, error) {
	for _, c := range f {
		if c.Described.Class == class || slices.Contains(c.Described.Aliases, class) {
			return c, nil
		}
	}
	return nil, fmt.Errorf("connector.class %q is not known to this worker; it has KafkaSink, KafkaSource", class)
}

// Implied returns the class of a config that names none.
func (f Catalog) Implied(cfg map[string]string) (string, error) {
	return connector.Implied(f.List(), cfg)
}

// List returns the Specs.
func (f Catalog) List() []connector.Spec {
	var out []connector.Spec
	for _, c := range f {
		out = append(out, c.Described)
	}
	return out
}

// Kafka is a catalog of two classes with every kind of setting.
func Kafka() Catalog {
	broker := connector.Key{
		Name:        "kafka.bootstrap.server",
		Type:        connector.List,
		Required:    true,
		Destination: true,
		Doc:         "host:port of the brokers",
	}
	hidden := connector.Key{Name: "login", Type: connector.String, Secret: true, Doc: "a secret whose name does not say so"}
	return Catalog{
		{
			connector.Spec{
				Class:     "KafkaSource",
				Aliases:   []string{"java.KafkaSource"},
				Kind:      connector.KindSource,
				ImpliedBy: []string{"kafka.topics"},
				Keys: []connector.Key{
					broker,
					hidden,
					{Name: "kafka.topics", Type: connector.List, Required: true, Topics: true, Doc: "topics"},
					{
						Name: "poll",
						Type: connector.Int,
					},
					{Name: "partitions"},
					{Name: "mode", Type: connector.String, Enum: []string{"fast", "safe"}},
				},
				Prefixes: []string{"kafka.client."},
			},
		},
		{connector.Spec{Class: "KafkaSink", Kind: connector.KindSink, ImpliedBy: []string{"topicNames", "kafka.bootstrap.server"},
			Keys: []connector.Key{broker, hidden, {Name: "topicNames", Type: connector.List, Required: true, Doc: "topics"}}}},
	}
}
