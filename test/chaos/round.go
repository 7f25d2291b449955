package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/rocketmq-connect/operator/test/audit"
	"github.com/rocketmq-connect/operator/worker/cluster"
)

// patience is how long a cluster may take to be whole again, and the flow to catch up, on a machine that is busy.
const patience = 3 * time.Minute

var errViolated = errors.New("the rounds found violations")

// outcome is what a round showed.
type outcome struct {
	round   int
	fault   string
	unowned []unowned
	// repeats are records that came out more than once, allowed how many of them the fault explains; peak is the most
	// that came out within a second. lost are records that were excused: a broker lost them with its store.
	repeats, allowed, peak, lost int
	skipped                      string
	violations                   []string
	// stuck says that the next round would begin with a broken cluster.
	stuck bool
}

// play carries the rounds out and prints what they showed.
func (s *scene) play(ctx context.Context) error {
	only, ok := named(s.only)
	if s.only != "" && !ok {
		return fmt.Errorf("there is no fault %q", s.only)
	}
	var done []outcome
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
		if out.stuck {
			break
		}
	}
	return errors.Join(report(s, done), context.Cause(ctx))
}

// round does one fault to the cluster, waits until it is whole and the flow has caught up, and checks.
func (s *scene) round(ctx context.Context, n int, f fault) (outcome, error) {
	out := outcome{round: n, fault: f.name}
	begun, before := cluster.Now(), s.flow.mark()
	st := &strike{fleet: s.fleet, rng: rand.New(rand.NewPCG(s.seed, 1<<32+uint64(n))), tasks: s.tasks, topic: s.topic(), flow: s.flow,
		say: func(format string, args ...any) { s.say("round %d: %s", n, fmt.Sprintf(format, args...)) }}
	limited, cancel := context.WithTimeout(ctx, 2*patience)
	defer cancel()
	err := errors.Join(pause(limited, st.seconds(0.5, 2)), f.do(limited, st))
	out.skipped = st.skipped
	if err == nil {
		err = s.recovered(ctx)
	}
	if ctx.Err() != nil {
		return out, context.Cause(ctx)
	}
	if err != nil {
		out.violations, out.stuck = append(out.violations, err.Error()), true
	}
	if err := s.collect(); err != nil {
		return out, err
	}
	after := s.flow.mark()
	out.repeats, out.peak, out.lost = after.Duplicates-before.Duplicates, after.Peak, after.Lost-before.Lost
	out.violations = append(out.violations, compare(before, after)...)
	intervals := since(s.fleet.own.intervals(cluster.Now()), begun)
	if !f.clean {
		out.allowed = bound{rate: s.rate, peak: out.peak, resent: f.resent, window: st.window}.repeats(intervals, st.marks)
	}
	if out.repeats > out.allowed {
		out.violations = append(out.violations, fmt.Sprintf("%d records came out more than once, the fault explains %d", out.repeats, out.allowed))
	}
	out.violations = append(out.violations, audit.Overlaps(intervals)...)
	out.unowned = charge(audit.Gaps(intervals, begun), st.marks)
	s.tell(out)
	return out, nil
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
	for _, u := range out.unowned {
		if u.Took >= longest.Took {
			longest = u
		}
	}
	line := fmt.Sprintf("round %d: %d times unowned", out.round, len(out.unowned))
	if len(out.unowned) > 0 {
		line += fmt.Sprintf(", longest %s (%s, %s → %s, %s)", longest.Took.Round(time.Millisecond), longest.Gap.Task,
			longest.Gap.OldWorker, longest.Gap.NewWorker, longest.Kind)
	}
	line += fmt.Sprintf(", %d repeats of at most %d", out.repeats, out.allowed)
	if out.lost > 0 {
		line += fmt.Sprintf(", %d records lost with the broker's store", out.lost)
	}
	s.say("%s", line)
	for _, v := range out.violations {
		s.say("round %d: VIOLATION: %s", out.round, v)
	}
	if len(out.violations) > 0 {
		s.say("round %d: repeat it by: make chaos SEED=%d FROM=%d ROUNDS=1", out.round, s.seed, out.round)
	}
}
