package storefold

import "maps"

// erasedID is the id of a task set of which only the epoch is left. No worker makes it up.
const erasedID = "erased"

func (v *tasksValue) erased() bool { return v.ID == erasedID }

// erase is what is left of a task set whose epoch is over: the epoch, which is not given to tasks again. It is the same
// for all who erase it, and workers that know nothing of it take it for the task set of an epoch that is over.
func (v *tasksValue) erase() *tasksValue {
	return &tasksValue{V: Version, Name: v.Name, Epoch: v.Epoch, Tasks: []map[string]string{}, ID: erasedID}
}

// over says whether no task of the set will run any more: the connector has gone on, or is deleted.
func (f *Configs) over(v *tasksValue) bool {
	c := f.connectors[connectorKey(v.Name)]
	return c != nil && (v.Epoch < c.Epoch || c.Deleted && v.Epoch == c.Epoch)
}

// current says whether tasks of the set run, or are to run.
func (f *Configs) current(v *tasksValue) bool {
	c := f.connectors[connectorKey(v.Name)]
	return c != nil && v.Epoch == c.Epoch && !c.Deleted
}

// follow erases what the next value of a connector, which has been accepted over held, leaves behind.
func (f *Configs) follow(next, held *connectorValue) {
	if held != nil && len(held.Config) > 0 && !maps.Equal(held.Config, next.Config) {
		f.erasures++
	}
	key := tasksKey(next.Name)
	if t := f.tasks[key]; t != nil && !t.erased() && f.over(t) {
		f.tasks[key] = t.erase()
		f.hidden = append(f.hidden, key)
		f.erasures++
	}
}

// Erasures rises with each config and task set that is replaced by another, or by nothing: what was kept of it
// elsewhere is out of date, and may hold secrets.
func (f *Configs) Erasures() int64 { return f.erasures }

// Hidden gives the keys whose values were erased by records of other keys since the last call.
func (f *Configs) Hidden() []string {
	out := f.hidden
	f.hidden = nil
	return out
}
