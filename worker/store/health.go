package store

import (
	"github.com/rocketmq-connect/operator/worker/keyedlog"
	"github.com/rocketmq-connect/operator/worker/rmq"
)

// Trouble is what keeps one store from being read or written.
type Trouble struct {
	// Store is config, position, offset or status; Topic is its topic.
	Store, Topic string
	rmq.Trouble
}

type namedTable struct {
	table       *keyedlog.Table
	name, topic string
}

// Troubles lists the stores that cannot be read or written at the moment.
func (s *Stores) Troubles() []Trouble {
	var out []Trouble
	for _, t := range s.tables {
		if found, ok := t.table.Trouble(); ok {
			out = append(out, Trouble{Store: t.name, Topic: t.topic, Trouble: found})
		}
	}
	return out
}
