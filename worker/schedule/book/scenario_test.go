package book

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/states"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

var update = flag.Bool("update", false, "write the traces of the scenario files again")

// stage is the world of a scenario: one log, what each worker holds, and no time. Each planned action is carried out at
// once, except that a stop leaves its unit stopping until the scenario says that it has drained.
type stage struct {
	t       *testing.T
	view    member.View
	configs map[string]storefold.Connector
	held    map[string]map[Unit]*Held
	next    int64
	adopt   bool
	trace   []string
}

// TestScenarios plays testdata/*.txt: commands, a line "----", and the trace they give.
//
//	join W | leave W            a session begins or ends
//	connector C state tasks     a config: another number of tasks is a new epoch
//	plan W                      one pass of a worker
//	settle                      passes of all workers until nothing is left to do
//	drained W U                 a stopping unit has stopped
//	silent                      what is free has been free for a session
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			script, want, _ := strings.Cut(string(data), "----\n")
			s := &stage{
				t:       t,
				configs: map[string]storefold.Connector{},
				held:    map[string]map[Unit]*Held{},
				view: member.View{
					Joined:     true,
					Owners:     map[Unit]fold.Owner{},
					Floors:     map[string]int64{},
					Allocation: allocate.Params{Strategy: "Averagely"},
				},
			}
			for line := range strings.Lines(script) {
				s.command(strings.Fields(line))
			}
			got := strings.Join(s.trace, "\n") + "\n"
			if *update {
				if err := os.WriteFile(file, []byte(script+"----\n"+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("trace (-want +got):\n%s", diff)
			}
		})
	}
}

func (s *stage) command(words []string) {
	if len(words) == 0 || words[0] == "#" {
		return
	}
	s.trace = append(s.trace, "> "+strings.Join(words, " "))
	switch words[0] {
	case "join":
		s.view.Members = append(s.view.Members, member.Member{Session: s.next, Worker: words[1], Eligible: true})
		s.view.Homes = append(s.view.Homes, words[1])
		s.held[words[1]] = map[Unit]*Held{}
		s.next++
	case "leave":
		session := s.session(words[1])
		s.view.Members = slices.DeleteFunc(s.view.Members, func(m member.Member) bool { return m.Session == session })
		s.view.Homes = slices.DeleteFunc(s.view.Homes, func(w string) bool { return w == words[1] })
		maps.DeleteFunc(s.view.Owners, func(_ Unit, o fold.Owner) bool { return o.Session == session })
		delete(s.held, words[1])
	case "connector":
		s.connector(words[1], states.Wanted(words[2]), words[3])
	case "plan":
		s.plan(words[1])
	case "settle":
		for n := len(s.trace); ; n = len(s.trace) {
			for _, w := range slices.Sorted(maps.Keys(s.held)) {
				s.plan(w)
			}
			if len(s.trace) == n {
				return
			}
		}
	case "drained":
		u := s.unit(words[2])
		s.held[words[1]][u].Phase = Idle
	case "silent":
		s.adopt = true
	default:
		s.t.Fatalf("unknown command %q", words)
	}
}

func (s *stage) session(worker string) int64 {
	for _, m := range s.view.Members {
		if m.Worker == worker {
			return m.Session
		}
	}
	return -1
}

func (s *stage) unit(name string) Unit {
	for u := range s.view.Owners {
		if u.String() == name {
			return u
		}
	}
	s.t.Fatalf("nobody owns %s", name)
	return Unit{}
}

func (s *stage) connector(name string, state states.Wanted, tasks string) {
	n, err := strconv.Atoi(tasks)
	if err != nil {
		s.t.Fatal(err)
	}
	c := s.configs[name]
	if c.Name == "" || c.Config["n"] != tasks {
		c.Epoch, c.Tasks = c.Epoch+1, nil
	}
	c.Name, c.State, c.Config = name, state, map[string]string{"n": tasks}
	s.configs[name] = c
	if n < 0 {
		delete(s.configs, name)
	}
}

// plan plans for one worker and carries it out.
func (s *stage) plan(worker string) {
	in := Input{Worker: worker, View: s.view, Held: s.held[worker], Adopt: map[Unit]bool{}}
	in.View.Self = s.session(worker)
	for _, name := range slices.Sorted(maps.Keys(s.configs)) {
		in.Connectors = append(in.Connectors, s.configs[name])
	}
	for u := range wanted(in.Connectors) {
		in.Adopt[u] = s.adopt
	}
	for _, a := range Plan(in) {
		s.trace = append(s.trace, fmt.Sprintf("%s: %s", worker, render([]Action{a})))
		h := s.held[worker][a.Unit]
		if h == nil {
			h = &Held{}
			s.held[worker][a.Unit] = h
		}
		switch a.Kind {
		case ActClaim:
			s.view.Owners[a.Unit] = fold.Owner{Session: in.View.Self, Generation: s.next, Epoch: a.Epoch}
			h.Granted, h.Kept, h.KeptFrom = s.next, a.For != in.View.Self, a.For
			s.next++
		case ActStart:
			h.Generation, h.Phase = a.Generation, Running
			if a.Unit.Task == allocate.ConnectorTask {
				s.divide(a.Unit.Connector)
				h.Phase = Idle
			}
		case ActStop, ActKill:
			h.Phase = Stopping
		case ActRelease:
			h.Given = a.Generation
			delete(s.view.Owners, a.Unit)
		}
	}
}

func (s *stage) divide(name string) {
	c := s.configs[name]
	n, _ := strconv.Atoi(c.Config["n"])
	c.Tasks = make([]map[string]string, n)
	s.configs[name] = c
}
