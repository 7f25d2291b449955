package simulation

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
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/rocketmq-connect/operator/worker/allocate"
	"github.com/rocketmq-connect/operator/worker/cluster/fold"
	"github.com/rocketmq-connect/operator/worker/cluster/member"
	"github.com/rocketmq-connect/operator/worker/store/storefold"
)

var update = flag.Bool("update", false, "rewrite the traces of the scenarios")

const separator = "----\n"

// Each file in testdata is a script and, after a line of dashes, its trace. `go test -update` rewrites the traces.
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
			script, want, _ := strings.Cut(string(data), separator)
			got := runScript(t, script)
			if *update {
				if err := os.WriteFile(file, []byte(script+separator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("trace (-want +got); rewrite with -update:\n%s", diff)
			}
		})
	}
}

func runScript(t *testing.T, script string) string {
	t.Helper()
	s := newSim(1, plant{})
	for n, line := range strings.Split(script, "\n") {
		line, _, _ = strings.Cut(line, "#")
		if args := strings.Fields(line); len(args) > 0 {
			if err := s.command(args); err != nil {
				t.Fatalf("line %d: %q: %v", n+1, line, err)
			}
		}
	}
	if s.failed != nil {
		t.Error(s.failed)
	}
	return strings.Join(s.trace, "\n") + "\n"
}

// command carries one line out. The newest process of a worker id is meant by the id.
func (s *sim) command(args []string) error {
	settings, rest := map[string]string{}, []string(nil)
	for _, a := range args[1:] {
		if k, v, ok := strings.Cut(a, "="); ok && args[0] != "log" {
			settings[k] = v
		} else {
			rest = append(rest, a)
		}
	}
	if done, err := s.commandToAll(args[0], rest, settings); done || err != nil {
		return err
	}
	switch args[0] {
	case "advance":
		d, err := time.ParseDuration(rest[0])
		s.advance(d)
		return err
	case "slow":
		d, err := time.ParseDuration(rest[0])
		s.home.slow = d
		return err
	case "down":
		s.setDown(s.home, rest[0] == "true")
		return nil
	case "log":
		s.keep(s.log, entries("", []byte(strings.Join(rest, " "))), func(int64) {})
		return nil
	case "delay":
		d, err := time.ParseDuration(rest[0])
		s.terms.RebalanceDelayMS = d.Milliseconds()
		return err
	case "start":
		s.start(rest[0], settings["store"]).worker.auto = settings["auto"] != ""
		return nil
	}
	p := s.newest(rest[0])
	if p == nil {
		return fmt.Errorf("no worker %s", rest[0])
	}
	return s.commandTo(p, args[0], rest[1:], settings)
}

// commandToAll carries out what concerns connectors that run by themselves, brokers and name servers.
func (s *sim) commandToAll(verb string, rest []string, settings map[string]string) (done bool, err error) {
	var b *broker
	if len(rest) > 0 {
		b = s.broker(rest[0])
	}
	after, _ := time.ParseDuration(settings["after"])
	switch verb {
	case "connectors":
		for _, name := range []string{sourceConnector, sinkConnector} {
			s.ask(storefold.Write{Name: name, RequestID: s.id("request"), IfRevision: -1,
				Config: map[string]string{"connector.class": "sim", "max.tasks": settings["tasks"]}})
		}
	case "run":
		d, err := time.ParseDuration(rest[0])
		s.slices(d)
		return true, err
	case "arrived":
		s.showArrived()
	case "name-servers":
		s.restartNameServers()
	case "roll":
		s.roll([]*broker{b, s.broker(rest[1])}, after)
	case "broker":
		s.setDown(b, rest[1] == "down")
	case "grow":
		s.grow(b)
	case "failover":
		lose, err := strconv.Atoi(settings["lose"])
		s.failover(b, after, lose)
		return true, err
	case "empty":
		s.empty(b, after)
	default:
		return false, nil
	}
	return true, nil
}

// showArrived prints how many records of each partition the source's system has, and the sink's got, in what order.
func (s *sim) showArrived() {
	for i := range partitions {
		o := &s.flow.orders[i]
		s.tracef("  %s by %s: %d of %d arrived, the last is %d", partitionName(i), o.binding.Queue(i), len(o.seen), s.flow.produced, o.last)
	}
	for _, p := range s.procs {
		for _, u := range sortedRuns(p.worker.runs) {
			if a := p.worker.runs[u]; p.alive && p.fatal == nil && a.sink != nil && a.sink.reading != nil {
				s.tracef("  %s of %s reads %v%s", u, p.id, a.sink.reading.Queues(), strings.TrimRight("; "+a.sink.reading.Warning(nil), "; "))
			}
		}
	}
}

func (s *sim) commandTo(p *proc, verb string, rest []string, settings map[string]string) error {
	switch verb {
	case "crash":
		s.crash(p)
	case "freeze":
		s.freeze(p)
	case "thaw":
		s.thaw(p)
	case "cut":
		s.setCut(p, rest[0] == "true")
	case "damage":
		p.bad = settings["lasting"] != ""
		s.damage(p)
	case "step-clock":
		d, err := time.ParseDuration(rest[0])
		p.wallStep += d
		return err
	case "claim":
		s.claimByHand(p, rest, settings)
	case "release":
		for _, name := range rest {
			o, _ := p.m.Fold().Owner(unitOf(name))
			p.m.Release([]member.Grant{{Unit: unitOf(name), Generation: o.Generation, Epoch: o.Epoch}})
		}
		s.wake(p)
	case "stop":
		e, ok, err := p.m.Leave()
		if err != nil || !ok {
			return fmt.Errorf("leaving: %t %w", ok, err)
		}
		s.sendLeave(p, e.Value)
	case "view":
		s.showView(p)
	default:
		return fmt.Errorf("unknown command %s", verb)
	}
	return nil
}

func (s *sim) newest(id string) *proc {
	for _, p := range slices.Backward(s.procs) {
		if p.id == id {
			return p
		}
	}
	return nil
}

func (s *sim) claimByHand(p *proc, names []string, settings map[string]string) {
	var reqs []member.ClaimRequest
	for _, name := range names {
		epoch, _ := strconv.ParseInt(settings["epoch"], 10, 64)
		above, _ := strconv.ParseInt(settings["above"], 10, 64)
		reqs = append(reqs, member.ClaimRequest{Unit: unitOf(name), Epoch: epoch, Above: above})
	}
	request := p.m.Claim(reqs)
	if settings["abandon"] != "" {
		s.send(p)
		p.m.Abandon(request)
	}
	s.wake(p)
}

func unitOf(name string) fold.Unit {
	connector, task, ok := strings.Cut(name, "/")
	n, _ := strconv.Atoi(task)
	if !ok {
		n = allocate.ConnectorTask
	}
	return fold.Unit{Connector: connector, Task: n}
}

// showView prints what a worker has folded and what it may do.
func (s *sim) showView(p *proc) {
	f := p.m.Fold()
	lease := p.m.Lease()
	session, ok := p.m.Session()
	s.tracef("view of %s: session=%d joined=%t lease=%v away=%v", p.id, session, ok, lease.Left(s.time(p)).Round(time.Millisecond), f.Away())
	for _, m := range f.Sessions() {
		s.tracef("  member %s session=%d eligible=%t", m.Worker, m.ID, f.Eligible(m))
	}
	owners := map[fold.Unit]fold.Owner{}
	f.Owners(func(u fold.Unit, o fold.Owner) { owners[u] = o })
	for _, u := range slices.SortedFunc(maps.Keys(owners), allocate.Compare) {
		o := owners[u]
		left, owned := p.m.Open(s.time(p), member.Grant{Unit: u, Generation: o.Generation, Epoch: o.Epoch})
		s.tracef("  unit %s session=%d gen=%d epoch=%d open=%t mine=%t", u, o.Session, o.Generation, o.Epoch, left > 0, owned)
	}
	asked := map[string]int64{}
	f.Asked(func(c string, e int64) { asked[c] = e })
	for _, c := range slices.Sorted(maps.Keys(asked)) {
		s.tracef("  asked %s epoch=%d", c, asked[c])
	}
}
