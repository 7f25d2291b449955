package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/worker/cluster"
)

// patience is how long a cluster may take to be whole again, and the flow to catch up, on a machine that is busy.
const patience = 3 * time.Minute

var errViolated = errors.New("the rounds found violations")

// outcome is what a round showed.
type outcome struct {
	Seed    uint64
	Round   int
	Fault   string
	Took    time.Duration
	Unowned []unowned
	// Repeats are records that came out more than once, Allowed how many of them the fault explains; Peak is the most that
	// came out within a second.
	Repeats, Allowed, Peak int
	// Sent and CameOut are different records. Lost ones were excused: a broker lost them with its store. Missing ones had to
	// come out, and did not.
	Sent, CameOut, Lost, Missing int
	OutOfOrder, Changed, Foreign int
	// Attempts are those of tasks that ran in the round.
	Attempts   int
	Skipped    string   `json:",omitempty"`
	Violations []string `json:",omitempty"`
	// stuck says that the next round would begin with a broken cluster.
	stuck bool
}

// play carries the rounds out and prints what they showed.
func (s *scene) play(ctx context.Context) error {
	only, ok := named(s.only)
	if s.only != "" && !ok {
		return fmt.Errorf("there is no fault %q", s.only)
	}
	results, err := newResults(s.out)
	if err != nil {
		return err
	}
	defer results.Close()
	var done []outcome
	machine := s.machine(ctx)
	s.flow.mark() // how fast it began is no round's peak
	for n := s.from; n < s.from+s.rounds && ctx.Err() == nil; n++ {
		f := only
		if s.only == "" {
			f = pick(s.seed, n)
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

// round does one fault to the cluster, waits until it is whole and the flow has caught up, and checks.
func (s *scene) round(ctx context.Context, n int, f fault) (outcome, error) {
	out := outcome{Seed: s.seed, Round: n, Fault: f.name}
	begun, before := cluster.Now(), s.last
	st := &strike{fleet: s.fleet, rng: rand.New(rand.NewPCG(s.seed, 1<<32+uint64(n))), tasks: s.tasks, topic: s.topic(), flow: s.flow,
		say: func(format string, args ...any) { s.say("round %d: %s", n, fmt.Sprintf(format, args...)) }}
	limited, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	err := errors.Join(pause(limited, st.seconds(0.5, 2)), f.do(limited, st))
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
	after := s.flow.mark()
	s.last, out.Took = after, cluster.Now()-begun
	out.difference(before, after)
	out.Violations = append(out.Violations, compare(before, after)...)
	intervals := since(s.fleet.own.intervals(cluster.Now()), begun)
	out.Attempts = len(intervals)
	if !f.clean {
		out.Allowed = bound{rate: s.rate, peak: out.Peak, resent: f.resent, window: st.window}.repeats(intervals, st.marks)
	}
	if out.Repeats > out.Allowed {
		out.Violations = append(out.Violations, fmt.Sprintf("%d records came out more than once, the fault explains %d", out.Repeats, out.Allowed))
	}
	out.Violations = append(out.Violations, audit.Overlaps(intervals)...)
	out.Unowned = charge(audit.Gaps(intervals, begun), st.marks)
	s.tell(out)
	return out, nil
}

// difference notes what came out between two marks.
func (o *outcome) difference(before, after tally) {
	o.Repeats, o.Peak, o.Missing = after.Duplicates-before.Duplicates, after.Peak, after.Missing
	o.Sent, o.CameOut, o.Lost = after.Sent-before.Sent, after.Distinct-before.Distinct, after.Lost-before.Lost
	o.OutOfOrder, o.Changed, o.Foreign = after.OutOfOrder-before.OutOfOrder, after.Corrupt-before.Corrupt, after.Foreign-before.Foreign
}

// recovered waits until the cluster is whole and all that was sent until then has come out.
func (s *scene) recovered(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.fleet.settled(ctx, s.tasks); err != nil {
		return err
	}
	if err := pause(ctx, time.Second); err != nil {
		return err
	}
	if err := s.flow.drained(ctx); err != nil {
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

// compare says what came out wrong between two marks.
func compare(before, after tally) []string {
	var out []string
	for what, n := range map[string]int{
		"came out of order": after.OutOfOrder - before.OutOfOrder, "were changed": after.Corrupt - before.Corrupt,
		"are of somebody else": after.Foreign - before.Foreign,
	} {
		if n > 0 {
			out = append(out, fmt.Sprintf("%d records %s", n, what))
		}
	}
	if after.Failed != nil {
		out = append(out, after.Failed.Error())
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
	s.say("%s", line)
	for _, v := range out.Violations {
		s.say("round %d: VIOLATION: %s", out.Round, v)
	}
	if len(out.Violations) > 0 {
		s.say("round %d: repeat it by: make chaos SEED=%d FROM=%d ROUNDS=1", out.Round, s.seed, out.Round)
	}
}
