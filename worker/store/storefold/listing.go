package storefold

import (
	"slices"
	"strings"
)

// Listing is the connectors at one time. It never changes, and what did not change is shared by the listings after it.
type Listing struct {
	// Version is the caller's.
	Version int64
	// Connectors are sorted by name, deleted ones left out.
	Connectors []Connector
	made       map[string]made // by key
}

// made is a view of a connector and what it was made of. Values are replaced, never changed.
type made struct {
	value *connectorValue
	tasks *tasksValue
	view  Connector
}

// List makes the listing after the one given, if any: most changes are of one connector.
func (f *Configs) List(before *Listing) *Listing {
	if before == nil {
		before = &Listing{}
	}
	out := &Listing{made: make(map[string]made, len(f.connectors))}
	for key, v := range f.connectors {
		if v.Deleted {
			continue
		}
		m := made{value: v, tasks: f.tasks[tasksKey(v.Name)]}
		if old := before.made[key]; old.value == m.value && old.tasks == m.tasks {
			m = old
		} else {
			m.view, _ = f.View(v.Name)
		}
		out.made[key] = m
		out.Connectors = append(out.Connectors, m.view)
	}
	slices.SortFunc(out.Connectors, func(a, b Connector) int { return strings.Compare(a.Name, b.Name) })
	return out
}
