package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/test/chaos/rig"
	"github.com/rocketmq-connect/operator/test/chaos/traffic"
	"github.com/rocketmq-connect/operator/worker/cluster"
	"github.com/rocketmq-connect/operator/worker/service"
)

// patience is how long a cluster may take to be whole again, and the flow to catch up, on a machine that is busy.
const patience = 3 * time.Minute

var errViolated = errors.New("the rounds found violations")

// outcome is what a round showed: one value, a column of the report and of its JSON for each field.
type outcome struct {
	// Topology is what RocketMQ was made of; empty in results of before there was a choice.
	Topology string
	Seed     uint64
	Round    int
	Fault    string
	Took     time.Duration
	Unowned  []unowned
	// Repeats are records that came out more than once, Allowed how many of them the fault explains; Peak is the most that
	// came out within a second.
	Repeats, Allowed, Peak int
	// Sent and CameOut are different records. Lost ones were excused: a broker lost them with its store. Missing ones had
	// to come out, and did not.
	Sent, CameOut, Lost, Missing int
	// Late ones came out of order, and were excused: a broker lost them after it had confirmed them, and they were sent
	// again.
	Late int `json:",omitempty"`
	// OutOfOrder are by their key, Overtaken by their partition.
	OutOfOrder, Overtaken, Changed, Foreign int
	// Attempts are those of tasks that ran in the round.
	Attempts   int
	Skipped    string   `json:",omitempty"`
	Violations []string `json:",omitempty"`
	// stuck says that the next round would begin with a broken cluster.
	stuck bool
}

// play carries the rounds out and prints what they showed.
func (s *scene) play(ctx context.Context) error {
	chosen, err := s.chosen()
	if err != nil {
		return err
	}
	results, err := newResults(s.out)
	if err != nil {
		return err
	}
	defer results.Close()
	var done []outcome
	machine := s.machine(ctx)
	s.flows.Mark() // how fast it began is no round's peak
	for n := s.from; n < s.from+s.rounds && ctx.Err() == nil; n++ {
		f := pick(s.topology, s.seed, n)
		if len(chosen) > 0 {
			f = chosen[(n-s.from)%len(chosen)]
		}
		out, err := s.round(ctx, n, f)
		if err != nil {
			return err
		}
		done = append(done, out)
		if err := results.add(out); err != nil {
			return err
		}
		if out.stuck {
			break
		}
	}
	fmt.Println()
	return errors.Join(report(os.Stdout, done, machine.String()), context.Cause(ctx))
}

// chosen are the faults that take turns instead of those of the seed.
func (s *scene) chosen() ([]fault, error) {
	var out []fault
	for name := range strings.SplitSeq(s.only, ";") {
		f, ok := named(s.topology, name)
		if !ok && name != "" {
			return nil, fmt.Errorf("there is no fault %q on %s", name, s.topology)
		}
		if ok {
			out = append(out, f)
		}
	}
	return out, nil
}

// round does one fault to the cluster, waits until it is whole and the flow has caught up, and checks.
func (s *scene) round(ctx context.Context, n int, f fault) (outcome, error) {
	out := outcome{Topology: s.topology, Seed: s.seed, Round: n, Fault: f.name}
	begun, before := cluster.Now(), s.last
	st := &strike{
		fleet: s.fleet,
		rng:   rand.New(rand.NewPCG(s.seed, stream(s.topology)+1<<32+uint64(n))),
		tasks: s.tasks,
		pairs: s.pairs,
		flows: s.flows,
		say:   func(format string, args ...any) { s.say("round %d: %s", n, fmt.Sprintf(format, args...)) },
	}
	limited, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	err := errors.Join(service.Sleep(limited, st.seconds(0.5, 2)), f.do(limited, st))
	out.Skipped = st.skipped
	if err == nil {
		err = s.recovered(ctx)
	}
	if ctx.Err() != nil {
		return out, context.Cause(ctx)
	}
	if err != nil {
		out.Violations, out.stuck = append(out.Violations, err.Error()), true
	}
	if err := s.collect(); err != nil {
		return out, err
	}
	after := s.flows.Mark()
	s.last, out.Took = after, cluster.Now()-begun
	out.difference(before.Sum(), after.Sum())
	out.Violations = append(out.Violations, compare(before, after)...)
	intervals := since(s.fleet.own.intervals(cluster.Now()), begun)
	out.Attempts = len(intervals)
	if !f.clean {
		out.Allowed = s.bound(out.Peak, f.resent, st.gone).repeats(intervals, st.marks)
	}
	if out.Repeats > out.Allowed {
		out.Violations = append(
			out.Violations,
			fmt.Sprintf("%d records came out more than once, the fault explains %d", out.Repeats, out.Allowed),
		)
	}
	out.Violations = append(out.Violations, audit.Overlaps(intervals)...)
	out.Unowned = charge(audit.Gaps(intervals, begun), st.marks)
	s.tell(out)
	return out, nil
}

// bound is that of this scene's flows.
func (s *scene) bound(peak, resent, gone int) bound {
	masters := len(s.fleet.brokers.MasterNames())
	b := bound{rate: s.eachRate(), peak: peak, resent: resent, gone: gone, share: float64(masters) / tasksEach}
	for range s.pairs {
		b.queues += queuesEach * masters
	}
	return b
}

// difference notes what came out between two marks.
func (o *outcome) difference(before, after traffic.Tally) {
	o.Repeats, o.Peak, o.Missing = after.Duplicates-before.Duplicates, after.Peak, after.Missing
	o.Sent, o.CameOut, o.Lost = after.Sent-before.Sent, after.Distinct-before.Distinct, after.Lost-before.Lost
	o.Late = after.Late - before.Late
	o.OutOfOrder, o.Overtaken = after.OutOfOrder-before.OutOfOrder, after.Overtaken-before.Overtaken
	o.Changed, o.Foreign = after.Corrupt-before.Corrupt, after.Foreign-before.Foreign
}

// recovered waits until the cluster is whole and all that was sent until then has come out.
func (s *scene) recovered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.fleet.settled(ctx, s.tasks); err != nil {
		return err
	}
	if err := service.Sleep(ctx, time.Second); err != nil {
		return err
	}
	if err := s.flows.Drained(ctx); err != nil {
		return err
	}
	return s.fleet.settled(ctx, s.tasks)
}

// collect reads the audit lines that the workers wrote since the last round.
func (s *scene) collect() error {
	for _, m := range s.fleet.members {
		events, err := m.audit.next()
		if err != nil {
			return err
		}
		s.fleet.own.events = append(s.fleet.own.events, events...)
		s.fleet.own.exact = s.fleet.own.exact || m.audit.exact
	}
	return nil
}

// compare says what came out wrong between two marks, flow by flow.
func compare(before, after traffic.Tallies) []string {
	var out []string
	for i, a := range after {
		var b traffic.Tally
		if i < len(before) {
			b = before[i]
		}
		by := ""
		if a.Name != "" {
			by = " (queue by " + a.Name + ")"
		}
		for what, n := range map[string]int{
			"came out of the order of their key": a.OutOfOrder - b.OutOfOrder, "came out of the order of their partition": a.Overtaken - b.Overtaken,
			"were changed": a.Corrupt - b.Corrupt, "are of somebody else": a.Foreign - b.Foreign,
		} {
			if n > 0 {
				out = append(out, fmt.Sprintf("%d records %s%s", n, what, by))
			}
		}
		if a.Failed != nil {
			out = append(out, a.Failed.Error())
		}
	}
	return out
}

func (s *scene) tell(out outcome) {
	var longest unowned
	for _, u := range out.Unowned {
		if u.Took >= longest.Took {
			longest = u
		}
	}
	line := fmt.Sprintf("round %d: %d times unowned", out.Round, len(out.Unowned))
	if len(out.Unowned) > 0 {
		line += fmt.Sprintf(", longest %s (%s, %s → %s, %s)", longest.Took.Round(time.Millisecond), longest.Gap.Task,
			longest.Gap.OldWorker, longest.Gap.NewWorker, longest.Kind)
	}
	line += fmt.Sprintf(", %d repeats of at most %d", out.Repeats, out.Allowed)
	if out.Lost > 0 {
		line += fmt.Sprintf(", %d records lost with the broker's store", out.Lost)
	}
	if out.Late > 0 {
		line += fmt.Sprintf(", %d late after it lost them", out.Late)
	}
	s.say("%s", line)
	for _, v := range out.Violations {
		s.say("round %d: VIOLATION: %s", out.Round, v)
	}
	if len(out.Violations) > 0 {
		s.say("round %d: repeat it by: make chaos%s SEED=%d FROM=%d ROUNDS=1", out.Round, s.makeArgs(out.Fault), s.seed, out.Round)
	}
}

// makeArgs are what make is given besides for a round of the same kind on the same topology.
func (s *scene) makeArgs(fault string) (args string) {
	if s.topology != rig.Single {
		args = " TOPOLOGY=" + s.topology
	}
	if s.only != "" {
		args += fmt.Sprintf(" CHAOS_FLAGS='-only %q'", fault)
	}
	return args
}
