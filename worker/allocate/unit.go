// Package allocate says who should run what: pure strategies from workers and units to owners, and from queues and sink
// tasks to queue lists.
package allocate

import "strconv"

// ConnectorTask is the Task of the unit that stands for the connector itself.
const ConnectorTask = -1

// Unit is what is owned and run: a connector (Task is ConnectorTask) or one of its tasks.
type Unit struct {
	Connector string
	Task      int
}

// String is the unit's ring key: <connector>, or <connector>-<task>.
func (u Unit) String() string {
	if u.Task == ConnectorTask {
		return u.Connector
	}
	return u.Connector + "-" + strconv.Itoa(u.Task)
}
