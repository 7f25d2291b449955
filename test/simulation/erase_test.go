package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/worker/keyedlog/replica"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

// passingConnector comes and goes. It is stopped all the while: what is looked at is what is left of it.
const passingConnector = "c"

// secretText is in its configs and task sets.
const secretText = "hunter2"

// passes says in each how many seeds it does: it changes what else happens.
const passes = 3

// passing has the connector made, changed, and deleted, twice; somebody publishes tasks for it meanwhile. In the end
// the user deletes it again, as the operator does, for a broker that lost records may have undone it.
func (s *sim) passing() {
	at := time.Duration(0)
	later := func(fn func()) {
		at += s.random(4 * time.Second)
		s.at(at, fn)
	}
	for range 2 {
		for range 2 {
			later(func() {
				id := s.id("request")
				s.ask(storefold.Write{Name: passingConnector, IfRevision: -1, State: states.WantStopped, RequestID: id,
					Config: map[string]string{"connector.class": "sim", "password": secretText, "for": id}})
			})
			later(s.publishPassing)
		}
		later(s.deletePassing)
	}
	for after := 5 * time.Second; after < simCalm; after += 25 * time.Second {
		s.at(simFaults+after, s.deletePassing)
	}
}

// publishPassing has a worker publish tasks for the epoch that it knows, as an owner does.
func (s *sim) publishPassing() {
	live := s.live()
	ids := slices.Sorted(maps.Keys(live))
	if len(ids) == 0 {
		return
	}
	p := live[ids[s.rng.IntN(len(ids))]]
	s.run(p, func() {
		configs := p.worker.stores.configs
		view, ok := configs.View(passingConnector)
		if !ok || view.Deleted {
			return
		}
		next, _, err := configs.Publish(passingConnector, view.Epoch, []map[string]string{{"url": secretText}}, s.id("tasks"))
		if err == nil && next != nil {
			s.publish(p, p.worker.stores.config, []replica.Record{*next}, nil, func(error) {})
		}
	})
}

// orphaned reports that there are tasks of an epoch whose config is lost.
func orphaned(configs *storefold.Configs) bool {
	var tasks storeRecord
	value, ok := configs.Current("tasks/" + passingConnector)
	view, _ := configs.View(passingConnector)
	return ok && json.Unmarshal(value, &tasks) == nil && tasks.Epoch > view.Epoch
}

func (s *sim) deletePassing() {
	s.ask(storefold.Write{Name: passingConnector, IfRevision: -1, Delete: true, RequestID: s.id("request")})
}

// unerased says where anything of a deleted connector is still to be found, or of a task set whose epoch is over: in
// what workers hold, and so write into their files, in what they would publish again, or in the last record of a key.
// "" if nowhere. Excused is a task set whose config the topic and all workers have lost: it is erased once the
// connector is made again.
func (s *sim) unerased() string {
	if log, ok := s.flow.judges[s.config].fold.(*storefold.Configs); ok && s.config.losses > 0 && orphaned(log) {
		return ""
	}
	for _, p := range s.procs {
		if !p.alive || p.fatal != nil {
			continue
		}
		if view, ok := p.worker.stores.configs.View(passingConnector); ok && !view.Deleted {
			return "ERASED: " + p.id + " holds " + passingConnector + " as not deleted"
		}
		for key, value := range stateOf(p.worker.stores.configs) {
			if strings.Contains(value, secretText) {
				return fmt.Sprintf("ERASED: %s holds of %s %s", p.id, key, value)
			}
		}
	}
	last := map[string]string{}
	for _, e := range s.config.entries {
		last[e.Key] = string(e.Value)
	}
	for _, key := range slices.Sorted(maps.Keys(last)) {
		if strings.Contains(last[key], secretText) {
			return fmt.Sprintf("ERASED: the last record of %s is %s", key, last[key])
		}
	}
	return ""
}
